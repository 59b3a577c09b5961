"""Tests of return by the actor's share."""

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis import figures


def test_figure_3(tmp_path):
  def write(name, method, score, sparsity=0.9, **kwargs):
    synthetic_runs.write_run(
      tmp_path / name,
      method,
      'SAC',
      'Walker2d-v4',
      score,
      sparsity,
      train_steps=1_000_000,
      sweep='graesser22/sac_mujoco',
      spread=0.0,
      **kwargs,
    )

  def budget(total, share, **more):
    return {
      'more': {'Budget.total': total, 'Budget.actor_share': share, **more},
      'actor_share': share + 0.0004,
    }

  widths = {'WIDTH': '@budget_width'}
  write('full', 'Dense', 100.0)
  write('small', 'Small dense', 60.0, 0.8)
  write('rigl', 'RigL', 90.0, 0.8, swept={'SPARSITY': 0.8})
  write('other_sparsity', 'RigL', 1.0, 0.5, swept={'SPARSITY': 0.5})
  write('d1', 'Dense', 95.0, **budget(1.0, 0.1, **widths))
  write('d2', 'Dense', 55.0, **budget(0.2, 0.1, **widths))
  write(
    'r2',
    'RigL',
    85.0,
    0.8,
    **budget(0.2, 0.1, ACTOR_SPARSITY='@actor/budget_sparsity()'),
  )
  drawing = figures.draw(
    'graesser22/fig03', analysis.load(tmp_path), figures.Options(resamples=10)
  )
  data = drawing.data
  found = {
    (row.budget, row.method, round(row.actor_share, 2)): row.return_mean
    for row in data.itertuples()
  }
  # The dense agent's own split, of 222,476 parameters with their biases.
  split = round(data[data.standard_split].actor_share.iloc[0], 2)
  assert 0.3 < split < 0.36
  standard = {key: value for key, value in found.items() if key[2] != 0.1}
  assert sorted(key[:2] for key in standard) == [
    (0.2, 'Dense'),
    (0.2, 'RigL'),
    (1.0, 'Dense'),
  ]
  assert sorted(standard.values()) == pytest.approx([60.0, 90.0, 100.0])
  given = {key: value for key, value in found.items() if key[2] == 0.1}
  assert given == pytest.approx(
    {
      (1.0, 'Dense', 0.1): 95.0,
      (0.2, 'Dense', 0.1): 55.0,
      (0.2, 'RigL', 0.1): 85.0,
    }
  )
  assert drawing.notes[0] == '6 runs.'


def test_no_runs(tmp_path):
  with pytest.raises(figures.NothingToDraw, match='Budget'):
    figures.draw('graesser22/fig03', analysis.load(tmp_path))
