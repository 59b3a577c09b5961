"""Chooses the runs of a figure by what they are, not by where they lie."""

from __future__ import annotations

import dataclasses
from typing import Collection, Iterable, Sequence

import pandas as pd

from rigl_rl import wording
from rigl_rl.analysis import normalization, pooling
from rigl_rl.analysis.figures import mismatch

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


@dataclasses.dataclass(frozen=True)
class Selection:
  """Runs of a figure, or of a panel.

  Attributes:
    runs: each config once.
    notes: what was left out.
  """

  runs: pd.DataFrame
  notes: Sequence[str]

  @property
  def finished(self) -> pd.DataFrame:
    """Those that have a final score."""
    return finished(self.runs)


def select(
  runs: pd.DataFrame,
  agent: str,
  network: str | None = None,
  tasks: Iterable[str] | None = None,
  paper: str = 'graesser22',
  varied: Collection[str] = (),
  by_task: bool = True,
) -> Selection:
  """Chooses runs.

  Args:
    runs: as `load` returns them.
    agent: 'DQN', 'SAC', 'PPO' or 'TD3'.
    network: 'MLP', 'CNN' or 'ResNet'; None for all.
    tasks: without versions; None for all.
    paper: 'graesser22' or 'sokar22'.
    varied: what the figure varies beyond the paper's main comparison, names of
      bindings or of columns. Runs that differ in anything else are left out.
    by_task: whether runs of one task alone have to be of one length, or those
      of all tasks, as they are averaged.

  Returns:
    Those that are as long as the longest of them, each config once.
  """
  allowed = _MAIN_BINDINGS[paper] | set(varied)
  wanted = (runs.agent == agent) & (runs.paper == paper)
  if network is not None:
    wanted &= runs.network == network
  families = runs.task.map(normalization.family)
  if tasks is not None:
    wanted &= families.isin(list(tasks))
  wanted &= runs.swept.map(lambda s: set(_split(s)) <= allowed).astype(bool)
  for column, standard in _STANDARD.items():
    if column not in allowed:
      wanted &= runs[column] == standard
  if 'Budget.total' not in allowed:
    wanted &= runs.budget.isna()
  if paper == 'sokar22' and 'SPARSITY' not in allowed:
    # Dense runs are bound to 0.
    wanted &= ~runs.sparsity_bound.astype(bool) | (runs.sparsity == 0)
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
  return Selection(chosen[~is_shorter].sort_values(order), notes)


def dense_sac(runs: pd.DataFrame) -> pd.DataFrame:
  """Returns the runs by whose scores MuJoCo's are normalized.

  Args:
    runs: as `load` returns them.

  Returns:
    The finished ones of the dense SAC of Graesser et al. at full width and in
    its own configuration, one per seed and task.
  """
  finished = select(runs, 'SAC', 'MLP').finished
  dense, _ = once_a_seed(finished[finished.method == 'Dense'], ['task'])
  return dense


def finished(runs: pd.DataFrame) -> pd.DataFrame:
  """Returns the runs that have a final score."""
  return runs[runs.finished.astype(bool) & runs.final_score.notna()]


def of_distribution(
  runs: pd.DataFrame, distribution: str = 'erdos_renyi_kernel'
) -> pd.DataFrame:
  """Returns the runs of a distribution; dense ones, whatever they bind."""
  is_dense = runs.method.isin(DENSE)
  return runs[is_dense | (runs.distribution == distribution)]


def _split(swept: str) -> list[str]:
  return [name for name in swept.split(',') if name]


def near(numbers: pd.Series, values: Sequence[float]) -> pd.Series:
  """Tells which numbers are one of some values, but for rounding."""
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

  Args:
    runs: of the table of runs.
    families: tasks without versions, in order; one that has no run is among
      the results as it is.
  """
  found: list[str] = []
  for family in families:
    tasks = {t for t in runs.task if normalization.family(t) == family}
    found += sorted(tasks) or [family]
  return tuple(found)


def by_version(runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
  """Splits runs that are averaged over tasks, if a task has two versions.

  Args:
    runs: of the table of runs.

  Returns:
    What to add to a title, and the runs: ('', all of them), or a part for each
    version, such as (', -v4', those of tasks with this version).
  """
  if not _have_versions(runs.task):
    return [('', runs)]
  versions = runs.task.map(lambda t: t[len(normalization.family(t)) :])
  return [(f', {version}', own) for version, own in runs.groupby(versions)]


def _have_versions(tasks: Iterable[str]) -> list[str]:
  """Returns the tasks that are there in several versions, in order."""
  tasks = sorted(set(tasks))
  families = [normalization.family(task) for task in tasks]
  return [
    task for task, family in zip(tasks, families) if families.count(family) > 1
  ]


class Progress:
  """Counts the runs behind a figure."""

  def __init__(self, planned: int | None):
    """Begins with none.

    Args:
      planned: how many there are to be; None if that is not known.
    """
    self._planned = planned
    self._drawn: set[str] = set()
    self._tasks: set[str] = set()
    self._drawn_runs: list[pd.DataFrame] = []
    self._unfinished: set[str] = set()
    self._notes: list[str] = []

  def take(
    self,
    chosen: Selection,
    runs: pd.DataFrame,
    columns: Sequence[str],
    paper_steps: int,
    unfinished: bool = False,
  ) -> pd.DataFrame:
    """Counts the runs of a panel, and returns those that it draws.

    Args:
      chosen: what `select` returned.
      runs: those of them that fit the panel.
      columns: what makes a point, see `once_a_seed`.
      paper_steps: length of the paper's runs.
      unfinished: whether unfinished runs are drawn, as far as they came.
    """
    drawn = runs if unfinished else finished(runs)
    drawn, notes = once_a_seed(drawn, columns)
    if unfinished:
      runs = drawn
    done = drawn[drawn.finished.astype(bool)]
    self.add(done, runs, [*chosen.notes, *notes])
    self.add_length(runs, paper_steps)
    return drawn

  def add(
    self, drawn: pd.DataFrame, chosen: pd.DataFrame, notes: Iterable[str] = ()
  ) -> None:
    """Counts runs, each once.

    Args:
      drawn: those that are drawn.
      chosen: those and others; the ones among them that are not finished are
        counted as such.
      notes: further ones for the reader.
    """
    self._drawn |= set(drawn.directory)
    self._tasks |= set(drawn.task)
    self._drawn_runs.append(drawn)
    self._unfinished |= set(chosen.directory[~chosen.finished.astype(bool)])
    self._notes += notes

  def add_length(self, runs: pd.DataFrame, paper_steps: int) -> None:
    """Notes that runs are shorter than the paper's, if they are.

    Args:
      runs: of one agent.
      paper_steps: length of the paper's.
    """
    lengths = sorted(set(runs.train_steps[runs.train_steps < paper_steps]))
    if lengths:
      shown = ' or '.join(f'{int(length):,}' for length in lengths)
      self._notes.append(
        f"Short runs of {runs.agent.iloc[0]}: {shown} of the paper's "
        f'{paper_steps:,} steps.'
      )

  @property
  def notes(self) -> list[str]:
    """How complete the figure is, and what else was noted."""
    drawn = len(self._drawn)
    text = wording.count(drawn, 'run')
    if self._planned and drawn <= self._planned:
      text = f'{drawn:,} of {wording.count(self._planned, "run")}'
    elif self._planned:
      # Sweeps of other figures have more sparsities, for example.
      text += f', more than the {self._planned:,} of its sweep'
    unfinished = len(self._unfinished - self._drawn)
    if unfinished:
      text += f', {unfinished:,} begun and not finished'
    notes = [f'{text}.']
    versions = _have_versions(self._tasks)
    if versions:
      notes.append(f'Not pooled: {", ".join(versions)}.')
    sizes = mismatch.note(pd.concat(self._drawn_runs)) if drawn else []
    return [*notes, *dict.fromkeys(self._notes), *sizes]
