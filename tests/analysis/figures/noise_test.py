"""Tests of return under observation noise."""

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis import figures
from rigl_rl.analysis.figures import noise


@pytest.fixture
def write(tmp_path):
  def write(
    name,
    method,
    sparsity=0.9,
    returns=None,
    step=10_000_000,
    score=20.0,
    **kwargs,
  ):
    path = synthetic_runs.write_run(
      tmp_path / name,
      method,
      'DQN',
      'Pong',
      score,
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
    'graesser22/fig06',
    analysis.load(tmp_path),
    figures.Options(resamples=10, comparable_policies=0),
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
  assert set(drawing.data.policies) == {'all'}
  assert 'All policies; the paper selects some' in _face(drawing)


def _face(drawing):
  return ' '.join(drawing.figure._suptitle.get_text().split())


def test_policies_of_comparable_performance(write, tmp_path):
  """The 2 best of RigL reach 11, those of the dense network 18."""
  for method, scores in (
    ('Dense', (19.0, 17.0, 12.0, 9.0, -20.0)),
    ('RigL', (3.0, 10.0, 12.0)),
    ('SET', (11.5,)),
  ):
    for seed, score in enumerate(scores):
      write(
        f'{method}{seed}',
        method,
        returns={0: score, 10: score / 2},
        score=score,
        spread=0.0,
        seed=seed,
      )
  write(
    'trained', 'SET', more={'DopamineRunner.evaluation_noise': 10.0}, seed=9
  )
  drawing = figures.draw(
    'graesser22/fig06',
    analysis.load(tmp_path),
    figures.Options(resamples=2, comparable_policies=2),
  )
  clean = drawing.data[drawing.data.observation_noise == 0]
  found = clean.set_index('method')[['return_mean', 'seeds', 'policies']]
  assert found.to_dict('index') == {
    'Dense': {
      'return_mean': 10.5,
      'seeds': '2 3',
      'policies': '2 of 5, nearest to 11',
    },
    'RigL': {
      'return_mean': 11.0,
      'seeds': '1 2',
      'policies': '2 of 3, nearest to 11',
    },
    'SET': {
      'return_mean': 11.5,
      'seeds': '0',
      'policies': '1 of 1, nearest to 11',
    },
  }
  assert (
    'of each line those 2 whose final scores are nearest to the lowest of the '
    "lines' means of their 2 best: Pong 11 (lines: 10.5 to 11.5)."
  ) in _face(drawing)
  assert drawing.notes[0] == '9 runs.'
  left_out = '1 run is evaluated only under noise, and left out.'
  assert left_out in drawing.notes


def test_no_policy_can_be_chosen(write, tmp_path):
  write('trained', 'SET', more={'DopamineRunner.evaluation_noise': 10.0})
  with pytest.raises(figures.NothingToDraw, match='--comparable_policies=0'):
    figures.draw('graesser22/fig06', analysis.load(tmp_path))


def test_a_game_without_evaluations_says_so(write, tmp_path):
  write('dense', 'Dense', returns={0: 20.0})
  drawing = figures.draw(
    'graesser22/fig06', analysis.load(tmp_path), figures.Options(resamples=2)
  )
  assert [cell.get_title() for cell in drawing.figure.axes] == ['Pong']
  note = 'Not drawn, no run evaluated under noise: MsPacman; Qbert.'
  assert drawing.notes[-1] == note and note in _face(drawing)


def test_runs_that_are_not_evaluated(write, tmp_path):
  write('dense', 'Dense')
  with pytest.raises(figures.NothingToDraw, match='launch.evaluate'):
    figures.draw('graesser22/fig06', analysis.load(tmp_path))
