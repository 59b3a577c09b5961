"""Tests of return under observation noise."""

import pytest

from rigl_rl import analysis
from rigl_rl.analysis import figures
from rigl_rl.analysis.figures import noise


@pytest.fixture
def write(synthetic_runs, tmp_path):
  def write(
    name, method, sparsity=0.9, returns=None, step=10_000_000, **kwargs
  ):
    path = synthetic_runs.write_run(
      tmp_path / name,
      method,
      'DQN',
      'Pong',
      20.0,
      sparsity,
      network='CNN',
      train_steps=10_000_000,
      **kwargs,
    )
    if returns:
      lines = [','.join(noise.COLUMNS)]
      lines += [f'{n},{value},0.5,10,{step},0,' for n, value in returns.items()]
      (path / noise.FILE).write_text('\n'.join(lines) + '\n')

  return write


def test_figure_6(write, tmp_path):
  write('dense0', 'Dense', returns={0: 20.0, 10: 10.0}, seed=0)
  write('dense1', 'Dense', returns={0: 18.0, 10: 8.0}, seed=1)
  write('small', 'Small dense', 0.5, {0: 15.0})
  write('rigl', 'RigL', 0.9, {0: 16.0, 10: 14.0})
  write('other', 'RigL', 0.8, {0: 1.0})
  write('static', 'Static', 0.9, {0: 1.0})
  write('not_evaluated', 'SET', 0.9)
  # Evaluated at a checkpoint before the last.
  write('too_early', 'SET', 0.9, {0: 1.0}, step=5_000_000, seed=1)
  # Trained with evaluations under noise.
  write('trained', 'SET', 0.5, more={'DopamineRunner.evaluation_noise': 10.0})
  drawing = figures.draw(
    'graesser22/fig06', analysis.load(tmp_path), figures.Options(resamples=10)
  )
  found = {
    (row.method, row.density, row.observation_noise): (
      row.return_mean,
      row.runs,
    )
    for row in drawing.data.itertuples()
  }
  trained = found.pop(('SET', 0.5, 10.0))
  assert trained[1] == 1
  assert found == {
    ('Dense', 1.0, 0.0): (19.0, 2),
    ('Dense', 1.0, 10.0): (9.0, 2),
    ('Dense', 0.5, 0.0): (15.0, 1),
    ('RigL', 0.1, 0.0): (16.0, 1),
    ('RigL', 0.1, 10.0): (14.0, 1),
  }
  assert drawing.notes[0] == '5 runs.'
  assert '2 runs are not evaluated under noise.' in drawing.notes


def test_a_game_without_evaluations_says_so(write, tmp_path):
  write('dense', 'Dense', returns={0: 20.0})
  drawing = figures.draw(
    'graesser22/fig06', analysis.load(tmp_path), figures.Options(resamples=2)
  )
  texts = [
    [text.get_text() for text in cell.texts] for cell in drawing.figure.axes
  ]
  empty = ['no run evaluated under noise']
  assert texts == [empty, [], empty]


def test_runs_that_are_not_evaluated(write, tmp_path):
  write('dense', 'Dense')
  with pytest.raises(figures.NothingToDraw, match='launch.evaluate'):
    figures.draw('graesser22/fig06', analysis.load(tmp_path))
