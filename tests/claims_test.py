"""docs/claims.md: its tables are those of the runs in results/."""

import importlib.util
import pathlib
import re

import numpy as np
import pandas as pd
import pytest

import rigl_rl
from rigl_rl.analysis import statistics

ROOT = pathlib.Path(__file__).parents[1]


def _load():
  path = ROOT / 'docs' / 'claims.py'
  spec = importlib.util.spec_from_file_location('claims', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


claims = _load()


def test_the_page_is_up_to_date():
  page = claims.PAGE.read_text('utf-8')
  assert claims.updated(page) == page, 'run: python docs/claims.py'
  assert page.count('<!--') == 2 * (len(claims.CLAIMS) + 4)


def test_results_are_whole_runs():
  ours = rigl_rl.load_runs(ROOT / 'results')
  assert len(ours) and ours.problems.empty and ours.runs.finished.all()
  assert len(list((ROOT / 'results').rglob('config.gin'))) == len(ours)
  for run in ours:
    info, returns = run.info, run.evaluations.return_mean
    rollout = 2048 if info.agent == 'PPO' else 1  # The last one is whole.
    assert 0 <= info.steps - info.train_steps < rollout
    if info.paper == 'graesser22':
      last = returns.tail(-(-len(returns) // 10))
      assert info.final_score == pytest.approx(last.mean(), rel=1e-12)
    files = list(pathlib.Path(run.directory).iterdir())
    assert sum(file.stat().st_size for file in files) < 60_000


def test_the_example_of_the_documentation(monkeypatch, capsys):
  text = (ROOT / 'docs' / 'analysis.md').read_text('utf-8')
  (code,) = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
  monkeypatch.chdir(ROOT)
  exec(code, {})
  assert re.search(r'MountainCar-v0 +Dense', capsys.readouterr().out)


@pytest.mark.parametrize(
  'rule, low, high, expected',
  [
    ('better', 0.51, 0.9, True),
    ('better', 0.1, 0.49, False),
    ('better', 0.49, 0.9, None),
    ('as_good', 0.26, 0.9, True),
    ('as_good', 0.1, 0.24, False),
    ('as_good', 0.2, 0.4, None),
    ('alike', 0.26, 0.74, True),
    ('alike', 0.76, 1.0, False),
    ('alike', 0.0, 0.24, False),
    ('alike', 0.3, 0.8, None),
  ],
)
def test_rules(rule, low, high, expected):
  found = statistics.Estimate((low + high) / 2, low, high, 20)
  assert getattr(claims, rule)(found) is expected


def _runs(seeds, gain):
  """DS-TD3 and TD3 on two tasks; DS-TD3 is better by `gain`."""
  rng = np.random.default_rng(0)
  return pd.DataFrame(
    {
      **{'agent': 'TD3', 'network': 'MLP', 'paper': 'sokar22'},
      **{'task': task, 'method': method, 'seed': seed},
      **{'distribution': '', 'version': 'abc'},
      'final_score': rng.normal() + gain * (method == 'DS-TD3'),
    }
    for task in ('Ant', 'Hopper')
    for method in ('TD3', 'DS-TD3')
    for seed in range(seeds)
  )


@pytest.mark.parametrize(
  'seeds, gain, expected',
  [
    (5, 9, '**confirmed**'),
    (5, -9, '**not confirmed**'),
    (5, 0, 'open'),
    (4, 9, 'open; points to yes'),
    (4, -9, 'open; points to no'),
  ],
)
def test_verdicts(seeds, gain, expected):
  table = claims.claim_table('return', _runs(seeds, gain))
  (row,) = table.splitlines()[2:]
  cells = [cell.strip() for cell in row.strip('|').split('|')]
  assert cells[6] == expected
  assert cells[4] == f'{seeds} × 2'
  assert bool(cells[7]) == expected.startswith('open')
  if gain == 9:
    assert cells[2] == '1.00 [1.00,\N{NO-BREAK SPACE}1.00]'
    assert cells[3] == 'Ant 1.00, Hopper 1.00'


def test_opposite_differences_do_not_make_methods_alike():
  runs = _runs(9, 9).assign(agent='DQN', paper='graesser22', size_sparsity=0.9)
  ds = runs.method == 'DS-TD3'
  first = ds == (runs.task == 'Ant')  # RigL wins on Ant, SET on Hopper.
  runs['method'] = np.where(first, 'RigL', 'SET')
  row, *_ = claims.claim_table('rigl', runs).splitlines()[2:]
  assert '| 0.50 [0.50,\N{NO-BREAK SPACE}0.50] | Ant 1.00, Hopper 0.00 |' in row
  assert '| **not confirmed** |' in row


def test_too_few_seeds_are_not_shown():
  (row,) = claims.claim_table('return', _runs(2, 9)).splitlines()[2:]
  assert '| open | `sokar22/table01`' in row


def test_scores_of_figure_8_are_those_of_five_evaluations():
  found = claims.figure_8()
  assert len(found) == 96
  # 5 evaluations of 20 episodes, whose returns are whole numbers.
  hundredths = 100 * found.final_score
  np.testing.assert_allclose(hundredths, hundredths.round(), atol=1e-6)
  table = pd.read_csv(claims.RESULTS / 'graesser22_fig08.csv')
  table = table[table.row == 'ERK'].set_index(['task', 'method', 'sparsity'])
  own = found.groupby(['task', 'method', 'size_sparsity']).final_score
  for key, scores in own:
    row = table.loc[key]
    assert sorted(scores)[0] == row.return_low
    assert sorted(scores)[2] == row.return_high
    assert scores.mean() == pytest.approx(row.return_mean)


def test_repeated_runs_take_the_place_of_figure_8s():
  old = claims.figure_8()
  first, second = (
    old.iloc[[i]][['task', 'method', 'size_sparsity']] for i in (1, 2)
  )
  new = pd.concat(
    [first.assign(seed=seed) for seed in range(3)]
    + [second.assign(seed=seed) for seed in range(2)]
    + [second.assign(seed=seed, distribution='uniform') for seed in range(3)]
  ).assign(version='new')
  both = claims.not_repeated(old, new)
  assert len(both) == 96 + 3  # The uniform ones are another setting.
  both = both[both.distribution != 'uniform']
  assert both.merge(first).version.tolist() == ['new'] * 3
  assert both.merge(second).version.isna().tolist() == [True] * 3
