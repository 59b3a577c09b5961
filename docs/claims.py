"""Computes the tables of docs/claims.md from the runs in results/.

  python docs/claims.py

writes them between the marks of that page. A test checks that they are there.
"""

from __future__ import annotations

import itertools
import math
import pathlib
from typing import (
  Any,
  Callable,
  Iterable,
  Iterator,
  Mapping,
  NamedTuple,
  Sequence,
)

import pandas as pd

from rigl_rl import analysis, sweeps, wording
from rigl_rl.analysis import normalization, statistics
from rigl_rl.analysis.figures import selection
from rigl_rl.sweeps import costs

_ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = _ROOT / 'docs' / 'claims.md'
RESULTS = _ROOT / 'results'
# Seeds of each method, task and sparsity: to be shown, and to be a verdict
# (Sokar et al. have five, Graesser et al. ten).
_SHOWN, _ENOUGH = 3, 5
# Bouthillier et al. (2021): a smaller probability of improvement is no
# meaningful one.
_MEANINGFUL = 0.75

_Rule = Callable[[statistics.Estimate], 'bool | None']


def better(found: statistics.Estimate) -> bool | None:
  """Whether the first method beats the second; None if that is open."""
  return True if found.low > 0.5 else False if found.high < 0.5 else None


def as_good(found: statistics.Estimate) -> bool | None:
  """Whether the first method is better or meaningfully no worse."""
  worst = 1 - _MEANINGFUL
  return True if found.low > worst else False if found.high < worst else None


def alike(found: statistics.Estimate) -> bool | None:
  """Whether neither method is meaningfully better."""
  reverse = statistics.Estimate(0.5, 1 - found.high, 1 - found.low, 0)
  return _all(as_good(found), as_good(reverse))


def _all(*answers: bool | None) -> bool | None:
  return False if False in answers else None if None in answers else True


class Suite(NamedTuple):
  """The runs of an agent on a family of tasks, of the papers' length."""

  name: str
  agent: str
  steps: int
  network: str = 'MLP'
  paper: str = 'graesser22'


class Comparison(NamedTuple):
  """Two groups of runs, each chosen by values of columns.

  Attributes:
    within: runs are compared that are equal in these columns.
    score: a column, of which more is better.
  """

  text: str
  first: Mapping[str, Sequence[Any]]
  second: Mapping[str, Sequence[Any]]
  rule: _Rule = better
  within: tuple[str, ...] = ('task', 'size_sparsity')
  score: str = 'final_score'


class Evidence(NamedTuple):
  """What a suite's runs say of a claim, and which runs would decide it.

  Attributes:
    sweep: its name, and filters of the runs that would do.
    comparisons: none while no run shows the claim.
    seen: what docs/results.md says of shorter runs.
  """

  suite: Suite
  sweep: tuple[str, ...]
  comparisons: tuple[Comparison, ...] = ()
  seen: str = '–'


_CLASSIC = Suite('DQN, classic control', 'DQN', 100_000)
_SAC = Suite('SAC, MuJoCo', 'SAC', 1_000_000)
_PPO = Suite('PPO, MuJoCo', 'PPO', 1_000_000)
_CNN = Suite('DQN, Atari', 'DQN', 10_000_000, 'CNN')
_TD3 = Suite('TD3, MuJoCo', 'TD3', 1_000_000, paper='sokar22')
SUITES = (_CLASSIC, _SAC, _PPO, _CNN, _TD3)
_AT_80_90 = 'SPARSITY!=0.5|0.95'
_SAC_SEEN = 'one seed, 200,000 steps: [{}](results.md#sac-on-halfcheetah)'
_PPO_SEEN = 'one seed, 300,000 steps: [{}](results.md#ppo-on-hopper)'
_TD3_SEEN = 'two seeds, 300,000 steps: [{}](results.md#td3-on-halfcheetah)'


def _main(
  *comparisons: Comparison, sac: str = '–', ppo: str = '–'
) -> list[Evidence]:
  """The four suites of figures 1, 2 and 8."""
  erk = 'sparsify.distribution!=uniform'
  sweep = 'graesser22/fig02_'
  return [
    Evidence(_CLASSIC, ('graesser22/fig08', _AT_80_90, erk), comparisons),
    Evidence(_SAC, (f'{sweep}sac', _AT_80_90), comparisons, sac),
    Evidence(_PPO, (f'{sweep}ppo', _AT_80_90), comparisons, ppo),
    Evidence(_CNN, (f'{sweep}dqn', _AT_80_90), comparisons),
  ]


def _methods(text: str, first: Any, second: Any, *more: Any) -> Comparison:
  return Comparison(text, {'method': first}, {'method': second}, *more)


def _no_loss(sparsity: float) -> Comparison:
  """Whether dynamic sparse training is as good as the dense network."""
  sparse = {'method': _DYNAMIC, 'size_sparsity': [sparsity]}
  text = f'SET, RigL at {100 * sparsity:.0f} % ≥ dense'
  return Comparison(text, sparse, {'method': ['Dense']}, as_good, ('task',))


def _ds(score: str) -> Evidence:
  groups = 'DS-TD3 > TD3', ['DS-TD3'], ['TD3'], better, ('task',)
  seen = _TD3_SEEN.format('DS-TD3 above TD3')
  sweep = 'sokar22/table01', 'label=TD3|DS-TD3'
  return Evidence(_TD3, sweep, (_methods(*groups, score),), seen)


_UNIFORM = 'uniform'
_DYNAMIC = ('SET', 'RigL')
_ERK = Comparison(
  'ERK > uniform',
  {'distribution': [selection.ERK]},
  {'distribution': [_UNIFORM]},
  within=('task', 'method', 'size_sparsity'),
)
CLAIMS: dict[str, list[Evidence]] = {
  'size': _main(
    *(
      _methods(f'{text} > small dense', [method], ['Small dense'])
      for text, method in (
        ('pruning', 'Pruning'),
        ('SET', 'SET'),
        ('RigL', 'RigL'),
      )
    )
  ),
  'order': _main(
    _methods('pruning ≥ SET, RigL', ['Pruning'], _DYNAMIC, as_good),
    _methods('SET, RigL > static', _DYNAMIC, ['Static']),
    sac=_SAC_SEEN.format('RigL a little above static'),
  ),
  'rigl': _main(_methods('RigL ≈ SET', ['RigL'], ['SET'], alike)),
  'sparsity': _main(
    *map(_no_loss, (0.8, 0.9)),
    sac=_SAC_SEEN.format('RigL at 90 % below dense'),
    ppo=_PPO_SEEN.format('RigL at 80 % below dense'),
  ),
  'erk': [
    Evidence(
      _CLASSIC,
      ('graesser22/fig08', _AT_80_90, 'label!=Dense|Small dense'),
      (_ERK,),
    ),
    Evidence(_SAC, ('graesser22/fig04', 'sparsify.distribution=*'), (_ERK,)),
  ],
  'drop': [Evidence(_SAC, ('graesser22/fig13', 'label=SET|RigL'))],
  'critic': [Evidence(_SAC, ('graesser22/fig03', 'ENV_NAME=HalfCheetah-v4'))],
  'snr': [
    Evidence(_CLASSIC, ('graesser22/fig05', 'ENV_NAME=CartPole*')),
    Evidence(_SAC, ('graesser22/fig05', 'ENV_NAME=HalfCheetah*')),
  ],
  'noise': [Evidence(_CNN, ('graesser22/fig06', 'GAME=Pong'))],
  'return': [_ds('final_score')],
  'area': [_ds('learning_curve_area')],
  'interval': [Evidence(_TD3, ('sokar22/fig02', 'UpdateSchedule.interval=*'))],
  'level': [Evidence(_TD3, ('sokar22/fig02', 'UpdateSchedule.interval!=*'))],
}


def load() -> pd.DataFrame:
  """Returns the finished runs of all suites, with those of figure 8's CSV.

  They have the papers' own settings and length; only distributions differ.
  """
  found = analysis.load(str(RESULTS)).runs
  found = found[found.finished]
  chosen = []
  for suite in SUITES:
    own, _ = selection.select(
      found, suite.agent, suite.network, paper=suite.paper
    )
    chosen.append(own[own.train_steps == suite.steps])
  runs = pd.concat([own for own in chosen if len(own)], ignore_index=True)
  runs = runs.assign(task=runs.task.map(normalization.family))
  runs = not_repeated(figure_8(), runs)
  return runs.assign(version=runs.git_revision.str[:7])


def not_repeated(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
  """Returns both, but no setting twice: new runs, once they have the seeds."""
  setting = ['task', 'method', 'size_sparsity']
  is_main = new.distribution != _UNIFORM
  counts = new[is_main].groupby(setting).seed.nunique()
  old_keys, new_keys = (
    pd.MultiIndex.from_frame(t[setting]) for t in (old, new)
  )
  is_repeated = old_keys.isin(counts[counts >= _SHOWN].index)
  waits = new_keys.isin(old_keys[~is_repeated]) & is_main
  return pd.concat([old[~is_repeated], new[~waits]], ignore_index=True)


def figure_8() -> pd.DataFrame:
  """The runs behind a CSV that has the mean of three seeds, and an interval.

  With three runs, the bootstrap's interval reaches from the lowest to the
  highest, and the mean gives the third. Which seed is which is not known.
  """
  table = pd.read_csv(RESULTS / 'graesser22_fig08.csv')
  table = table[(table.row == 'ERK') & (table.runs == 3)]
  middle = 3 * table.return_mean - table.return_low - table.return_high
  scores = (table.return_low, middle, table.return_high)
  return pd.concat(
    table.assign(
      seed=seed,
      final_score=score,
      size_sparsity=table.sparsity,
      paper='graesser22',
      git_revision='0e4ca2d',
    )
    for seed, score in enumerate(scores)
  )


def _of_suite(runs: pd.DataFrame, suite: Suite) -> pd.DataFrame:
  same = (runs.agent == suite.agent) & (runs.network == suite.network)
  return runs[same & (runs.paper == suite.paper)]


def pairs(
  runs: pd.DataFrame, comparison: Comparison
) -> dict[tuple[Any, ...], tuple[pd.DataFrame, pd.DataFrame]]:
  """Returns the runs of both groups, for each setting that has enough seeds."""
  if 'distribution' not in comparison.first:
    runs = runs[runs.distribution != _UNIFORM]
  groups = []
  for wanted in (comparison.first, comparison.second):
    chosen = runs
    for column, values in wanted.items():
      chosen = chosen[chosen[column].isin(values)]
    groups.append(dict(iter(chosen.groupby(list(comparison.within)))))
  first, second = groups
  found = {key: (first[key], second[key]) for key in first if key in second}
  return {key: both for key, both in found.items() if seeds(both) >= _SHOWN}


def seeds(groups: Iterable[pd.DataFrame]) -> int:
  """Returns the number of seeds of the group that has fewest."""
  return min(group.seed.nunique() for group in groups)


def verdict(answer: bool | None, seeds: int) -> str:
  """Words a verdict; too few seeds only point somewhere."""
  if answer is None:
    return 'open'
  if seeds < _ENOUGH:
    return f'open; points to {"yes" if answer else "no"}'
  return '**confirmed**' if answer else '**not confirmed**'


def claim_table(name: str, runs: pd.DataFrame) -> str:
  """Returns the table of a claim."""
  rows = [
    row for each in CLAIMS[name] for row in _evidence_rows(name, each, runs)
  ]
  return _markdown(
    ('agent, tasks', 'first, second', 'P(first > second)', 'by task'),
    ('seeds × settings', 'version', 'verdict', 'runs that would decide it'),
    rows,
  )


def _evidence_rows(
  name: str, evidence: Evidence, runs: pd.DataFrame
) -> Iterator[list[str]]:
  own = _of_suite(runs, evidence.suite)
  decides = _decides(evidence.sweep)
  found = [(each, pairs(own, each)) for each in evidence.comparisons]
  found = [(comparison, groups) for comparison, groups in found if groups]
  for comparison, groups in found:
    stream = name, evidence.suite.name, comparison.text
    estimate = _improvement(comparison, groups, *stream)
    by_task = {
      task: _improvement(comparison, dict(own), *stream, task)
      for task, own in itertools.groupby(groups.items(), lambda i: i[0][0])
    }
    answer = comparison.rule(estimate)
    if comparison.rule is alike:  # Opposite differences must not cancel.
      answer = _all(*map(alike, by_task.values()))
    fewest = min(map(seeds, groups.values()))
    words = verdict(answer, fewest)
    used = pd.concat([group for both in groups.values() for group in both])
    yield [
      evidence.suite.name,
      comparison.text,
      _interval(estimate, 2),
      ', '.join(f'{task} {own.value:.2f}' for task, own in by_task.items()),
      f'{fewest} × {len(groups)}',
      ', '.join(sorted(set(used.version))),
      words,
      decides if 'open' in words else '',
    ]
  if not found:
    yield [evidence.suite.name, evidence.seen, *'––––', 'open', decides]


def _improvement(
  comparison: Comparison, groups: Mapping[Any, Any], *stream: str
) -> statistics.Estimate:
  scores = [
    (first[comparison.score], second[comparison.score])
    for first, second in groups.values()
  ]
  return statistics.probability_of_improvement(scores, *stream)


def _decides(sweep: tuple[str, ...]) -> str:
  """Says what five seeds of a sweep's runs cost."""
  name, *filters = sweep
  runs = sweeps.load(name).runs(seeds=range(_ENOUGH), filters=filters)
  cost = costs.estimate(runs)
  return f'`{name}`: {cost.runs:,} runs, {cost.core_hours:,.0f} h'


def scores_table(runs: pd.DataFrame) -> str:
  """Returns means of final scores, of all suites of Graesser et al."""
  columns = {
    'dense of that size': ['Dense', 'Small dense'],
    'static': ['Static'],
  }
  columns |= {'SET': ['SET'], 'RigL': ['RigL'], 'pruning': ['Pruning']}
  rows = []
  for suite in SUITES[:-1]:
    own = _of_suite(runs, suite)
    own = own[own.distribution != _UNIFORM]
    for (task, sparsity), group in own.groupby(['task', 'size_sparsity']):
      rows.append([f'{suite.agent}, {task}', f'{100 * sparsity:g} %'])
      for column, methods in columns.items():
        chosen = group[group.method.isin(methods)]
        rows[-1].append(_mean(chosen, *rows[-1][:2], column))
  return _markdown(('agent, task', 'sparsity'), columns, rows)


def _mean(runs: pd.DataFrame, *stream: str) -> str:
  if runs.empty:
    return '–'
  found = statistics.mean(runs.final_score, *stream)
  few = f' ({wording.count(found.runs, "seed")})'
  return _interval(found, 1) + (few if found.runs < _SHOWN else '')


def _interval(found: statistics.Estimate, decimals: int) -> str:
  value, low, high = (f'{number:,.{decimals}f}' for number in found[:3])
  return f'{value} [{low},\N{NO-BREAK SPACE}{high}]' if low != 'nan' else value


def reference_table(name: str, runs: pd.DataFrame) -> str:
  """Returns others' numbers of 1 million steps, each with ours behind it."""
  table = pd.read_csv(RESULTS / 'references.csv').query('table == @name')
  is_dense = table.method == 'Dense'
  table['column'] = table.agent.where(is_dense, table.method)
  columns = list(dict.fromkeys(table.column))
  rows = []
  for (source, task), own in table.groupby(['source', 'task'], sort=False):
    cells = {row.column: _beside_ours(row, runs) for row in own.itertuples()}
    rows.append([source, task, *(cells.get(name, '–') for name in columns)])
  return _markdown(('source', 'task'), columns, rows)


def _beside_ours(row: Any, runs: pd.DataFrame) -> str:
  own = (runs.agent == row.agent) & (runs.method == row.method)
  own &= (runs.task == row.task) & (runs.distribution != _UNIFORM)
  scores = runs[own][row.score]
  theirs = _spread(row.mean, row.std, row.score)
  if scores.empty:
    return f'{theirs}; open'
  ours = _spread(scores.mean(), scores.std(), row.score)
  return f'{theirs}; **{ours}** ({wording.count(len(scores), "seed")})'


def _spread(mean: float, std: float, score: str) -> str:
  decimals = 0 if score == 'final_score' else 4
  spread = '' if math.isnan(std) or decimals else f' ± {std:,.0f}'
  return f'{mean:,.{decimals}f}{spread}'


def _markdown(
  left: Iterable[str], right: Iterable[str], rows: list[list[str]]
) -> str:
  heading = [*left, *right]
  lines = [heading, ['---'] * len(heading), *rows]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def updated(page: str) -> str:
  """Returns the text of the page with tables as the runs have them."""
  runs = load()
  tables = {name: claim_table(name, runs) for name in CLAIMS}
  tables['scores'] = scores_table(runs)
  for name in ('table 1', 'table 2', 'anchors'):
    tables[name] = reference_table(name, runs)
  for name, table in tables.items():
    begin, end = f'<!-- {name} -->', f'<!-- /{name} -->'
    before, after = page.split(begin)[0], page.split(end)[1]
    page = f'{before}{begin}\n\n{table}\n\n{end}{after}'
  return page


if __name__ == '__main__':
  PAGE.write_text(updated(PAGE.read_text('utf-8')), 'utf-8')
