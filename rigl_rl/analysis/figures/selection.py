"""Chooses the runs of a figure by what they are, not by their directories."""

from __future__ import annotations

from typing import Collection, Iterable, Sequence

import pandas as pd

from rigl_rl import wording
from rigl_rl.analysis import normalization, pooling

# What the papers' main comparisons vary. A run whose sweep varied more belongs
# to another figure.
_MAIN_BINDINGS = {
  'graesser22': {
    'ENV_NAME',
    'GAME',
    'SPARSITY',
    'WIDTH',
    'SEED',
    'matched_width.sparsity',
    'sparsify.distribution',
  },
  'sokar22': {'ENV_NAME', 'SEED'},
}
# What a run has unless a figure varies it, by column of the table of runs: so
# that a run which no sweep started is judged as well.
_STANDARD = {
  'keep_dense': '',
  'power': 1.0,
  'observation_noise': 0.0,
  'initial_policy': '',
}
DENSE = ('Dense', 'Small dense')
ERK = 'erdos_renyi_kernel'


def select(
  runs: pd.DataFrame,
  agent: str,
  network: str | None = None,
  tasks: Iterable[str] | None = None,
  paper: str = 'graesser22',
  varied: Collection[str] = (),
  by_task: bool = True,
  distribution: str | None = None,
  methods: Collection[str] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
  """Chooses runs.

  Args:
    runs: as `load` returns them.
    agent: 'DQN', 'SAC', 'PPO' or 'TD3'.
    network: 'MLP', 'CNN' or 'ResNet'; None for all.
    tasks: without versions; None for all.
    paper: 'graesser22' or 'sokar22'.
    varied: what the figure varies beyond the paper's main comparison: bindings,
      parameters ('drop_fraction' of any algorithm, 'weight_decay') or columns.
      Runs that differ in anything else are left out.
    by_task: whether the runs of each task must have one length, or, where they
      are averaged over tasks, the runs of all tasks.
    distribution: of sparse networks; None for all.
    methods: None for all.

  Returns:
    Those that are as long as the longest of them, each config once; and notes
    of what was left out.
  """
  allowed = _MAIN_BINDINGS[paper] | set(varied)
  wanted = (runs.agent == agent) & (runs.paper == paper)
  if network is not None:
    wanted &= runs.network == network
  if tasks is not None:
    wanted &= runs.task.map(normalization.family).isin(list(tasks))
  wanted &= runs.swept.map(
    lambda names: all(
      name in allowed or name.rpartition('.')[2].lower() in allowed
      for name in filter(None, names.split(','))
    )
  ).astype(bool)
  for column, standard in _STANDARD.items():
    if column not in allowed:
      wanted &= runs[column] == standard
  if 'Budget.total' not in allowed:
    wanted &= runs.budget.isna()
  if paper == 'sokar22' and 'SPARSITY' not in allowed:
    # Dense runs are bound to 0.
    wanted &= ~runs.sparsity_bound | (runs.sparsity == 0)
  chosen = runs[wanted]

  # A config that was run twice is one run, and gives one score.
  chosen = chosen.sort_values(
    ['finished', 'steps', 'directory'], ascending=[False, False, True]
  ).drop_duplicates('fingerprint')
  longest = chosen.train_steps.max()
  if by_task:
    longest = chosen.groupby('task').train_steps.transform('max')
  is_shorter = chosen.train_steps < longest
  notes = []
  if is_shorter.any():
    notes.append(
      f'Left out: {wording.count(is_shorter.sum(), "run")} shorter than others '
      f'of {", ".join(sorted(set(chosen.task[is_shorter])))}.'
    )
  order = ['task', 'method', 'sparsity', 'seed', 'directory']
  chosen = chosen[~is_shorter].sort_values(order)
  if distribution is not None:
    is_dense = chosen.method.isin(DENSE)
    chosen = chosen[is_dense | (chosen.distribution == distribution)]
  if methods is not None:
    chosen = chosen[chosen.method.isin(methods)]
  return chosen, notes


def dense_sac(runs: pd.DataFrame) -> pd.DataFrame:
  """Returns the runs by whose scores MuJoCo's are normalized.

  They are the finished ones of the dense SAC of Graesser et al. at full width
  and in its own configuration, one per seed and task.
  """
  chosen, _ = select(runs, 'SAC', 'MLP', methods=['Dense'])
  return once_a_seed(finished(chosen), ['task'])[0]


def finished(runs: pd.DataFrame) -> pd.DataFrame:
  """Returns the runs that have a final score."""
  return runs[runs.finished & runs.final_score.notna()]


def near(numbers: pd.Series, values: Sequence[float]) -> pd.Series:
  """Returns which numbers equal one of some values, up to rounding."""
  distances = [(numbers - value).abs() < 1e-6 for value in values]
  return pd.concat(distances, axis=1).any(axis=1)


def once_a_seed(
  runs: pd.DataFrame, columns: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
  """Keeps one run of each seed at each point.

  Args:
    runs: in the order in which they are preferred.
    columns: what makes a point; with the task, so that versions of a task are
      never pooled.

  Returns:
    The runs; and notes, if some were left out, or if those of a point differ
    in more than their seed.
  """
  kept = runs.drop_duplicates([*columns, 'seed'])
  notes = pooling.differences(kept, columns)
  more = len(runs) - len(kept)
  if more:
    notes.append(
      f'Left out: {wording.count(more, "run")} of a seed that is there in '
      'another config.'
    )
  return kept, notes


def tasks_of(runs: pd.DataFrame, families: Sequence[str]) -> tuple[str, ...]:
  """Returns the tasks of runs, with their versions.

  `families` are without, in order; one that has no run is returned unchanged.
  """
  found: list[str] = []
  for family in families:
    tasks = {t for t in runs.task if normalization.family(t) == family}
    found += sorted(tasks) or [family]
  return tuple(found)


def with_versions(tasks: Iterable[str]) -> list[str]:
  """Returns the tasks that are there in several versions, in order."""
  tasks = sorted(set(tasks))
  families = list(map(normalization.family, tasks))
  return [t for t, f in zip(tasks, families) if families.count(f) > 1]


def paper_steps(agent: str, network: str) -> int:
  """Length of the paper's runs: environment steps, on Atari agent steps."""
  if agent != 'DQN':
    return 1_000_000
  return 100_000 if network == 'MLP' else 10_000_000
