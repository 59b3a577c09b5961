"""Runs in processes of their own: killed and restarted, or with own code."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rigl_rl.training import checkpointing, run_directory

_ROOT = pathlib.Path(__file__).parents[2]
_RIGL = 'gin_configs/graesser22/dqn_classic/rigl.gin'
_BINDINGS = (
  'MLPQNetwork.hidden_units = (16, 16)',
  'sparsify.distribution = @uniform',
  'SparseDQNAgent.batch_size = 16',
  'SparseDQNAgent.replay_capacity = 2000',
  'SparseDQNAgent.min_replay_history = 200',
  'UpdateSchedule.interval = 100',
  'DopamineRunner.evaluation_period = 500',
  'DopamineRunner.evaluation_episodes = 3',
)


def _start(base_dir, *bindings, gin_files=(_RIGL,), cwd=None):
  """Starts `launch.train` as a user does; its output goes to one pipe."""
  path = os.pathsep.join(
    filter(None, (str(_ROOT), os.environ.get('PYTHONPATH')))
  )
  return subprocess.Popen(
    [sys.executable, '-m', 'launch.train', f'--base_dir={base_dir}']
    + [f'--gin_files={name}' for name in gin_files]
    + [f'--gin_bindings={binding}' for binding in (*_BINDINGS, *bindings)],
    cwd=cwd or _ROOT,
    env={**os.environ, 'PYTHONPATH': path},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def _finish(process):
  out, _ = process.communicate(timeout=300)
  assert process.returncode == 0, out
  return out


def _arrays(state, path=''):
  """{path: array} of a checkpoint, the replay's file names apart."""
  if isinstance(state, np.ndarray):
    return {path: state}
  items = ()
  if isinstance(state, dict):
    items = state.items()
  elif isinstance(state, (list, tuple)):
    items = enumerate(state)
  found = {}
  for key, value in items:
    found.update(_arrays(value, f'{path}/{key}'))
  return found


def _kill_when(process, reached):
  """Kills the process, without a warning, once `reached()`."""
  deadline = time.monotonic() + 240
  while not reached():
    assert process.poll() is None, process.communicate()[0]
    assert time.monotonic() < deadline
    time.sleep(0.005)
  process.send_signal(signal.SIGKILL)
  process.communicate()


@pytest.mark.slow
def test_killed_three_times(tmp_path):
  steps = 'TRAIN_STEPS = 6000'
  whole = _start(tmp_path / 'whole', steps)
  killed = tmp_path / 'killed'

  def rows():
    return len(run_directory.read_evaluations(str(killed)))

  # Before the first checkpoint, but in training: nothing to go on from.
  process = _start(killed, steps)
  _kill_when(process, lambda: (killed / 'config.gin').exists())
  # Just as an evaluation is written: its checkpoint is not there, or half.
  process = _start(killed, steps)
  _kill_when(process, lambda: rows() >= 4)
  # Somewhere between two evaluations, past the second checkpoint.
  resumed_from = rows()
  process = _start(killed, steps)
  checkpoints = checkpointing.Checkpointer(str(killed / 'checkpoints'))

  def later():
    return rows() >= 8 and max(checkpoints.steps(), default=0) >= 4000

  _kill_when(process, later)
  assert resumed_from < rows() < 12
  out = _finish(_start(killed, steps))
  assert 'Continues at step ' in out
  _finish(whole)

  expected = (tmp_path / 'whole' / 'evaluations.csv').read_bytes()
  assert (killed / 'evaluations.csv').read_bytes() == expected
  assert expected.count(b'\n') == 1 + 12
  states = [
    checkpointing.Checkpointer(str(path / 'checkpoints')).load_latest()
    for path in (tmp_path / 'whole', killed)
  ]
  assert states[0][0] == states[1][0]
  one, other = (_arrays(state) for _, state in states)
  # Weights, masks and slots, of both networks.
  assert one.keys() == other.keys()
  assert {path.split('/')[2] for path in one} >= {
    'online',
    'target',
    'optimizer',
  }
  for path, array in one.items():
    assert array.dtype == other[path].dtype
    np.testing.assert_array_equal(array, other[path], err_msg=path)
  for key in ('training_steps', 'exploration'):
    assert states[0][1]['agent'][key] == states[1][1]['agent'][key]
  summaries = [
    json.loads((path / 'summary.json').read_text())
    for path in (tmp_path / 'whole', killed)
  ]
  for summary in summaries:
    del summary['seconds']
  assert summaries[0] == summaries[1]


_ALGORITHM = '''
"""Keeps the mask, but says so."""

import gin

from rigl_rl.sparsity import algorithms


@gin.configurable
class Stubborn(algorithms.SET):
  """SET that drops nothing."""

  def __init__(self, motto='no'):
    super().__init__(drop_fraction=0.0)
    print(f'stubborn: {motto}')
'''

_GIN_FILE = """
include 'gin_configs/agents/dqn_classic.gin'
import my_stubborn_algorithm

sparsify.algorithm = @Stubborn()
Stubborn.motto = 'never'
"""


@pytest.mark.slow
def test_own_algorithm_in_the_current_directory(tmp_path):
  (tmp_path / 'my_stubborn_algorithm.py').write_text(_ALGORITHM)
  (tmp_path / 'mine.gin').write_text(_GIN_FILE)
  out = _finish(
    _start('run', 'TRAIN_STEPS = 600', gin_files=['mine.gin'], cwd=tmp_path)
  )
  assert 'stubborn: never' in out
  assert 'Stubborn at 90 % sparsity on CartPole-v0' in out
  summary = json.loads((tmp_path / 'run' / 'summary.json').read_text())
  assert summary['algorithm'] == 'Stubborn'
  # A user sees only what is about the run.
  assert 'Warning' not in out and 'Traceback' not in out
