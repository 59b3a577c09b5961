"""Evaluations, times and summary of a run, also across a restart."""

import json
import math
import os
import pathlib

import numpy as np
import pytest

from helpers.run_directories import CONFIG, row
from rigl_rl.training import record, run_directory


def test_evaluations_are_written_exactly(run):
  run.append_evaluation(**row(2000, 0.1 + 0.2, 1 / 3))
  run.append_evaluation(
    **row(np.int64(4000), np.float32(0.1), np.float64(0), np.int32(5))
  )
  assert pathlib.Path(run.path('evaluations.csv')).read_text() == (
    'step,return_mean,return_std,episodes\n'
    '2000,0.30000000000000004,0.3333333333333333,20\n'
    '4000,0.10000000149011612,0.0,5\n'
  )
  assert record.read_evaluations(run.path()) == run.evaluations
  assert run.evaluations[0] == row(2000, 0.1 + 0.2, 1 / 3)


def test_no_evaluations_yet(run):
  assert record.read_evaluations(run.path()) == []


@pytest.mark.parametrize(
  'bad, error, message',
  [
    ({'step': 1}, TypeError, 'return_mean'),
    ({**row(1), 'seconds': 1.0}, TypeError, 'seconds'),
    (row(2000.5), TypeError, 'integer'),
    (row(2000), ValueError, 'step 2000 comes after 2000'),
    (row(1999), ValueError, 'step 1999 comes after 2000'),
  ],
)
def test_bad_rows_are_refused(run, bad, error, message):
  run.append_evaluation(**row(2000))
  before = pathlib.Path(run.path('evaluations.csv')).read_text()
  with pytest.raises(error, match=message):
    run.append_evaluation(**bad)
  assert pathlib.Path(run.path('evaluations.csv')).read_text() == before
  assert run.evaluations == [row(2000)]


def test_history_is_a_copy(run):
  run.append_evaluation(**row(1))
  run.evaluations[0]['step'] = 7
  run.get_state()['evaluations'].clear()
  assert run.evaluations == [row(1)]


def test_restart_equals_a_run_never_stopped(tmp_path):
  def evaluation(step):
    rng = np.random.default_rng(step)
    return row(step, rng.normal(), rng.random())

  def finish(run, start):
    for step in range(start, 6):
      run.append_evaluation(**evaluation(step))

  whole = run_directory.RunDirectory(str(tmp_path / 'whole'))
  whole.prepare(CONFIG)
  finish(whole, 1)

  run = run_directory.RunDirectory(str(tmp_path / 'killed'))
  run.prepare(CONFIG)
  for step in (1, 2):
    run.append_evaluation(**evaluation(step))
    run.append_timing(step, 10.0 * step, 100.0)
  checkpointer = run.checkpoints
  checkpointer.save(2, run.get_state())
  # After the checkpoint, then killed.
  run.append_evaluation(**evaluation(3))
  run.append_timing(3, 30.0, 100.0)

  again = run_directory.RunDirectory(str(tmp_path / 'killed'))
  again.set_state(checkpointer.load_latest()[1])
  # Loading writes nothing, because that could fail on a full disk.
  assert len(record.read_evaluations(again.path())) == 3
  assert again.prepare(CONFIG)
  # Cut back at once, not only at the next evaluation.
  assert len(record.read_evaluations(again.path())) == 2
  assert again.elapsed_seconds == 20.0
  finish(again, 3)
  again.append_timing(5, 77.0, 50.0)
  name = 'evaluations.csv'
  assert (tmp_path / 'killed' / name).read_bytes() == (
    tmp_path / 'whole' / name
  ).read_bytes()
  assert (tmp_path / 'killed' / 'timing.csv').read_text() == (
    'step,seconds,steps_per_second\n1,10.0,100.0\n2,20.0,100.0\n5,77.0,50.0\n'
  )


def test_start_over_without_a_checkpoint_drops_the_old_rows(run):
  run.append_evaluation(**row(1))
  run.append_evaluation(**row(2))
  again = run_directory.RunDirectory(run.path())
  assert again.prepare(CONFIG)
  again.append_evaluation(**row(1))
  assert record.read_evaluations(run.path()) == [row(1)]


def test_state_holds_no_clock(run):
  run.append_evaluation(**row(1))
  before = run.get_state()
  run.append_timing(1, 3.25, 7.0)
  assert run.get_state() == before


def test_spoiled_timing_costs_no_run(run):
  run.append_evaluation(**row(1))
  pathlib.Path(run.path('timing.csv')).write_text('nonsense\nx\n')
  again = run_directory.RunDirectory(run.path())
  again.set_state(run.get_state())
  assert again.elapsed_seconds == 0.0
  again.append_timing(1, 1.0, 2.0)


def test_elapsed_seconds_start_at_zero(run):
  assert run.elapsed_seconds == 0.0


def test_killed_while_rewriting_leaves_the_old_file(run, monkeypatch):
  run.append_evaluation(**row(1))
  before = pathlib.Path(run.path('evaluations.csv')).read_bytes()

  def die(*unused, **unused_too):
    raise KeyboardInterrupt

  monkeypatch.setattr(os, 'replace', die)
  with pytest.raises(KeyboardInterrupt):
    run.append_evaluation(**row(2))
  assert pathlib.Path(run.path('evaluations.csv')).read_bytes() == before


def test_summary_is_strict_sorted_json(run):
  record.write_json(
    run.path('summary.json'),
    {
      'seed': np.int64(3),
      'final_score': np.float32(0.5),
      'b': [np.bool_(True)],
      'nan': math.nan,
      'a': {'z': np.arange(2), 'inf': [math.inf]},
      'Δ': None,
    },
  )
  text = pathlib.Path(run.path('summary.json')).read_text(encoding='utf-8')
  assert (
    text
    == """{
  "a": {
    "inf": [
      null
    ],
    "z": [
      0,
      1
    ]
  },
  "b": [
    true
  ],
  "final_score": 0.5,
  "nan": null,
  "seed": 3,
  "Δ": null
}
"""
  )
  assert run.read_summary() == json.loads(text)


def test_finished(run):
  assert not run.finished
  record.write_json(run.path('summary.json'), {'finished': False})
  assert not run.finished
  record.write_json(
    run.path('summary.json'), {'finished': True, 'final_score': 1.0}
  )
  assert run.finished
  assert run_directory.RunDirectory(run.path()).finished


@pytest.mark.parametrize(
  'content', ['', '{"finished": tr', '[true]', '{"finished": 1}', 'null']
)
def test_spoiled_summary_is_not_finished(run, content):
  pathlib.Path(run.path('summary.json')).write_text(content)
  assert not run.finished
