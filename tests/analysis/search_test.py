"""Tests of the winners of a search, on synthetic runs."""

import json

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis, sweeps
from rigl_rl.analysis import search

# One of each kind of the shipped searches, small.
_SWEEP = """
Sweep.grids = [@dense/Grid(), @rigl/Grid()]
Grid.directory = 'home'
Grid.names = {'WEIGHT_DECAY': ['MLPQNetwork.weight_decay']}
dense/Grid.label = 'Dense'
dense/Grid.gin_files = ['gin_configs/graesser22/dqn_classic/dense.gin']
dense/Grid.over = {
    'ENV_NAME': 'Acrobot-v1',
    'WEIGHT_DECAY': (0.0, 1e-6, 1e-3),
    'SEED': (0, 1),
}
rigl/Grid.label = 'RigL'
rigl/Grid.gin_files = ['gin_configs/graesser22/dqn_classic/rigl.gin']
rigl/Grid.over = {
    'ENV_NAME': 'Acrobot-v1',
    'SPARSITY': 0.8,
    'WEIGHT_DECAY': (1e-6, 1e-4),
    'RigL.drop_fraction': (0.3, 0.5),
    'sparsify.initializer': ('@sparsity_aware', '@layer_default'),
    'SEED': (0, 1),
}
"""


@pytest.fixture
def sweep(tmp_path):
  path = tmp_path / 'small.gin'
  path.write_text(_SWEEP)
  return sweeps.load(str(path))


@pytest.fixture
def write(tmp_path):
  """Writes the run of a sweep's Run, with a score."""

  def write(run, score, **kwargs):
    path = tmp_path / 'runs' / run.directory
    synthetic_runs.write_run(
      path, run.label, 'DQN', 'Acrobot-v1', seed=run.seed, **kwargs
    )
    if (path / 'summary.json').exists():
      summary = json.loads((path / 'summary.json').read_text())
      summary['final_score'] = score
      (path / 'summary.json').write_text(json.dumps(summary))

  return write


def _settings(sweep, tmp_path):
  base_dir = str(tmp_path / 'runs')
  results = analysis.load(base_dir)
  table = search.settings(sweep, results, base_dir)
  return table, search.notes(sweep, results, base_dir)


def test_the_best_mean_wins(sweep, write, tmp_path):
  for run in sweep.runs():
    decay = run.values['WEIGHT_DECAY']
    if run.label == 'Dense':
      # Of 1e-3 one seed is the best of all, and the mean is not.
      score = {0.0: -90.0, 1e-6: -80.0, 1e-3: (-60.0, -110.0)[run.seed]}[decay]
    else:
      score = -100.0 + 20 * (decay == 1e-4) + run.seed
      score += 5 * (run.values['RigL.drop_fraction'] == 0.3)
      score += run.values['sparsify.initializer'] == '@layer_default'
    write(run, score)
  table, notes = _settings(sweep, tmp_path)
  assert notes == ['22 of 22 runs finished.']
  assert list(table.columns) == [
    'method',
    'weight decay',
    'drop fraction',
    'initialization',
    *search.COLUMNS,
  ]
  dense = table[table.method == 'Dense']
  assert list(dense['weight decay']) == [1e-6, 1e-3, 0.0]
  assert list(dense.score) == [-80.0, -85.0, -90.0]
  assert list(dense.score_std) == [0.0, 25.0, 0.0]
  assert list(dense.winner) == [True, False, False]
  # Table 1: 1e-6.
  assert list(dense.in_paper) == [True, False, False]
  assert dense['drop fraction'].isna().all()
  rigl = table[table.method == 'RigL']
  assert len(rigl) == 8 and set(rigl.runs) == set(rigl.planned) == {2}
  (best,) = rigl[rigl.winner].itertuples()
  assert best == next(rigl.itertuples())
  assert (best[2], best[3], best[4]) == (1e-4, 0.3, 'layer_default')
  assert best.score == pytest.approx(-73.5)
  (paper,) = rigl[rigl.in_paper].to_dict('records')
  assert paper['weight decay'] == 1e-6
  assert paper['drop fraction'] == 0.5
  assert paper['initialization'] == 'sparsity_aware'


def test_seeds_of_one_setting_that_differ_are_reported(sweep, write, tmp_path):
  dense = [run for run in sweep.runs() if run.label == 'Dense']
  for run in dense:
    more = {'adam.learning_rate': 1e-3 if run.seed else 1e-2}
    write(run, -90.0, more=more if run.values['WEIGHT_DECAY'] == 0 else {})
  _, notes = _settings(sweep, tmp_path)
  assert notes[2] == (
    'Runs of one point differ beside their seed: adam.learning_rate '
    '(0.01, 0.001).'
  )


def test_missing_runs(sweep, write, tmp_path):
  dense = [run for run in sweep.runs() if run.label == 'Dense']
  for run in dense:
    decay = run.values['WEIGHT_DECAY']
    if decay == 1e-6:
      write(run, -90.0, scale=0.1, sweep='small')
    elif decay == 0.0 and run.seed == 0:
      # One run, and a lucky one.
      write(run, -60.0, scale=0.1, sweep='small')
    elif decay == 0.0:
      write(run, 0.0, finished=False)
  # Runs of something else.
  table, notes = _settings(sweep, tmp_path)
  assert notes == [
    '3 of 22 runs finished.',
    'Winners are of what there is.',
    'Runs are of 10 % of the training steps.',
  ]
  found = table[table.method == 'Dense']
  assert list(found['weight decay']) == [0.0, 1e-6, 1e-3]
  assert list(found.runs) == [1, 2, 0]
  assert list(found.winner) == [False, True, False]
  assert found.score.isna().tolist() == [False, False, True]
  rigl = table[table.method == 'RigL']
  assert not rigl.winner.any() and not rigl.runs.any()


def test_several_games_count_the_same(tmp_path):
  sweep = sweeps.load('graesser22/search_resnet')
  base = tmp_path / 'runs'

  def write(game, decay, rate, score, seed=0):
    (run,) = [
      run
      for run in sweep.runs(seeds=[seed])
      if run.values['GAME'] == game
      and run.values['WEIGHT_DECAY'] == decay
      and run.values['adam.learning_rate'] == rate
    ]
    path = base / run.directory
    synthetic_runs.write_run(
      path, 'Dense', 'DQN', game, seed=seed, network='ResNet'
    )
    summary = json.loads((path / 'summary.json').read_text())
    summary['final_score'] = score
    (path / 'summary.json').write_text(json.dumps(summary))

  for rate, pong in ((1e-4, 14.6), (1e-3, -20.7)):
    write('Pong', 1e-5, rate, pong)
    write('MsPacman', 1e-5, rate, 307.3)
    write('Qbert', 1e-5, rate, 163.9 if rate == 1e-4 else 600.0)
  write('Qbert', 0.0, 1e-4, 1e6)
  table, _ = _settings(sweep, tmp_path)
  assert list(table.columns[1:3]) == ['weight decay', 'learning rate']
  best = table.iloc[0]
  # A human's Pong, random play of the others.
  assert best.score == pytest.approx(1 / 3)
  assert best.winner and best.in_paper
  assert (best['weight decay'], best['learning rate']) == (1e-5, 1e-4)
  assert best.planned == 30 and best.runs == 3
  # One game gives no score.
  (alone,) = table[table.runs == 1].itertuples()
  assert alone.score != alone.score


@pytest.mark.parametrize(
  'name,counts',
  [
    ('dqn', {'Dense': 4, 'Pruning': 20, 'Static': 8, 'SET': 200, 'RigL': 200}),
    ('sac', {'Dense': 4, 'Pruning': 20, 'Static': 8, 'SET': 200, 'RigL': 200}),
    ('ppo', {'Dense': 4, 'Pruning': 20, 'Static': 8, 'SET': 200, 'RigL': 200}),
    ('resnet', {'Dense': 16}),
  ],
)
def test_the_papers_searches_hold_its_winners(name, counts, tmp_path):
  """Tables 1, 2, 3 and 5, typed from the paper."""
  (tmp_path / 'runs').mkdir()
  sweep = sweeps.load(f'graesser22/search_{name}')
  table, _ = _settings(sweep, tmp_path)
  assert table.method.value_counts().to_dict() == counts
  paper = {
    row['method']: tuple(
      value
      for name, value in row.items()
      if name not in ('method', *search.COLUMNS) and value == value
    )
    for row in table[table.in_paper].to_dict('records')
  }
  aware, default = 'sparsity_aware', 'layer_default'
  assert (
    paper
    == {
      'dqn': {
        'Dense': (1e-6,),
        'Pruning': (1e-6, 1000),
        'Static': (1e-6, aware),
        'RigL': (1e-6, 1000, 0.5, aware),
        'SET': (1e-6, 1000, 0.5, aware),
      },
      'sac': {
        'Dense': (1e-4,),
        'Pruning': (1e-4, 1000),
        'Static': (1e-4, default),
        'RigL': (1e-6, 1000, 0.5, aware),
        'SET': (1e-4, 250, 0.3, aware),
      },
      'ppo': {
        'Dense': (1e-6,),
        'Pruning': (1e-6, 500),
        'Static': (0, aware),
        'RigL': (1e-4, 250, 0.3, aware),
        'SET': (1e-6, 100, 0, aware),
      },
      'resnet': {'Dense': (1e-5, 1e-4)},
    }[name]
  )


def test_the_grids_of_the_appendix(tmp_path):
  """Appendix A.3, typed from the paper."""
  decays, intervals = [0, 1e-6, 1e-4, 1e-3], [100, 250, 500, 1000, 5000]
  (tmp_path / 'runs').mkdir()
  for name in ('dqn', 'sac', 'ppo'):
    sweep = sweeps.load(f'graesser22/search_{name}')
    table, _ = _settings(sweep, tmp_path)
    for method in ('SET', 'RigL'):
      own = table[table.method == method]
      assert sorted(set(own['weight decay'])) == decays
      assert sorted(set(own['update interval'])) == intervals
      assert sorted(set(own['drop fraction'])) == [0, 0.1, 0.2, 0.3, 0.5]
      assert len(set(own['initialization'])) == 2
    task = 'Acrobot-v1' if name == 'dqn' else 'Walker2d-v4'
    assert {run.values['ENV_NAME'] for run in sweep.runs()} == {task}
  table, _ = _settings(sweeps.load('graesser22/search_resnet'), tmp_path)
  assert sorted(set(table['weight decay'])) == [0, 1e-6, 1e-5, 1e-4]
  assert sorted(set(table['learning rate'])) == [1e-4, 2.5e-4, 1e-3, 2.5e-3]


def test_what_is_a_search(sweep):
  assert search.is_search(sweep)
  assert not search.is_search(sweeps.load('graesser22/fig06'))
