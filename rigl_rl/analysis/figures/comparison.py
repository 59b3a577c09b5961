"""Learning curves of any runs, one line per group of runs that differ."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Callable, Sequence

import pandas as pd
from matplotlib import ticker

from rigl_rl import files, readers, wording
from rigl_rl.analysis import pooling
from rigl_rl.analysis.figures import base, curves, selection, style
from rigl_rl.training import record

# What can be on the x axis, and what it is called.
AXES = {
  'steps': 'training steps',
  'seconds': 'seconds of training',
  'flops': 'training FLOPs',
}
_WORDS = {'mean': 'mean', 'iqm': 'interquartile mean'}
_MARKS = '\'"@'  # Of text and references in gin.
_DISTRIBUTIONS = {'erdos_renyi_kernel': 'ERK', 'erdos_renyi_lambda': 'ER by λ'}
# What labels are made of, as far as it differs, and how values are written.
_PARTS: dict[str, Callable[[Any], str]] = {
  'agent': str,
  'network': str,
  'sparsity': lambda value: f'{100 * value:.3g} %' if value > 0 else '',
  'distribution': lambda value: _DISTRIBUTIONS.get(value, value),
  'width': 'width {}'.format,
  'train_steps': '{:,} steps'.format,
}


@dataclasses.dataclass(frozen=True)
class Comparison(curves.Curves):
  """One panel per task; runs of a line differ in their seed only."""

  statistic: str = 'mean'
  x: str = 'steps'  # One of AXES.

  alpha = 0.13
  grid = {'panel': (3.4, 2.5)}

  def find(self, request):
    runs = request.results.runs
    runs = runs.sort_values(['finished', 'steps'], ascending=False)
    runs = runs.drop_duplicates('fingerprint')
    runs = runs.assign(line=labels(runs))
    runs, notes = selection.once_a_seed(runs, ['task', 'line'])
    evaluations = _with_x(request.results.evaluations, runs, self.x)
    if not len(evaluations):
      raise base.NothingToDraw(f'no run with evaluations and {AXES[self.x]}')
    is_drawn = runs.directory.isin(evaluations.directory)
    for count, what in (
      ((~is_drawn).sum(), f'left out, without evaluations or {AXES[self.x]}'),
      ((is_drawn & ~runs.finished).sum(), 'not finished'),
    ):
      if count:
        notes.append(f'{wording.count(count, "run")} {what}.')
    points = []
    groups = evaluations.groupby(['task', 'line', 'number'])
    for (task, line, number), group in groups:
      estimate = request.estimate(
        *(group, task, line, str(number)),
        score='return_mean',
        statistic=self.statistic,
      )
      points.append(
        {
          'task': task,
          'line': line,
          'method': group.method.iloc[0],
          'steps': float(group.step.mean()),
          self.x: float(group.x.mean()),
          **estimate,
        }
      )
    notes.insert(0, f'{wording.count(is_drawn.sum(), "run")}.')
    return self.found(pd.DataFrame(points), notes)

  def found(self, data: pd.DataFrame, notes: Sequence[str]) -> base.Found:
    """Returns what draws points, as a CSV of this figure has them."""
    lines = style.ordered(data.line)
    looks = {line: style.of_method(line, lines) for line in lines}
    if set(lines) != set(data.method) or len(set(looks.values())) < len(looks):
      looks = {line: style.of_setting(n) for n, line in enumerate(lines)}
    # Curves go up and down too much for other styles of lines.
    looks = {line: look._replace(line='-') for line, look in looks.items()}
    return base.Found(
      data,
      [base.Cell(task, own, looks) for task, own in data.groupby('task')],
      x_label=AXES[self.x],
      legend=lines,
      notes=notes,
      face_notes=[f'Lines: {_WORDS[self.statistic]} over runs.'],
    )

  def draw_panel(self, axes, cell):
    super().draw_panel(axes, cell)
    if self.x == 'flops':
      axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=''))


def labels(runs: pd.DataFrame) -> pd.Series:
  """Names runs by what differs among those of a task, except seeds.

  Returns:
    Labels such as 'RigL' or 'RigL, 90 %', equal for runs that differ in their
    seed only. They begin with the method; then agent, network, sparsity,
    distribution, width and length are named before other bindings.
  """
  found = runs.method.astype(str)

  def count(names: pd.Series) -> int:
    return names.groupby(runs.task).nunique().sum()

  def refine(texts: pd.Series) -> None:
    nonlocal found
    candidate = found + texts.map(lambda text: f', {text}' if text else '')
    if count(candidate) > count(found):
      found = candidate

  for column, write in _PARTS.items():
    refine(runs[column].map(write))
  is_ambiguous = runs.groupby(['task', found]).setting.transform('nunique') > 1
  first = found
  for label in dict.fromkeys(first[is_ambiguous]):
    own = runs[first == label]
    settings = {
      run.Index: record.settings(record.read(run.directory))
      for run in own.itertuples()
    }
    names = dict.fromkeys(
      name
      for _, group in own.groupby('task')
      for name, _ in pooling.compared([settings[i] for i in group.index])
    )
    for name in names:
      texts = {
        index: f'{name} = {bound[name].strip(_MARKS)}'
        for index, bound in settings.items()
        if name in bound
      }
      refine(pd.Series(texts).reindex(runs.index, fill_value=''))
  return found


def _with_x(
  evaluations: pd.DataFrame, runs: pd.DataFrame, x: str
) -> pd.DataFrame:
  """The runs' evaluations with their number, line, and place on the x axis."""
  runs = runs.set_index('directory')
  own = evaluations[evaluations.directory.isin(runs.index)]
  own = own.assign(
    # Steps may differ by an episode from run to run; the number does not.
    number=own.groupby('directory').cumcount(),
    line=own.directory.map(runs.line),
    x=own.step.astype(float),
  )
  if x == 'flops':
    # Spread evenly over the training.
    totals = runs.training_flops / runs.steps
    own['x'] = own.step * own.directory.map(totals)
  elif x == 'seconds':
    times = {directory: _seconds(directory) for directory in runs.index}
    pairs = zip(own.directory, own.step)
    own['x'] = [times[directory].get(step) for directory, step in pairs]
  return own[own.x.notna()]


def _seconds(directory: str) -> dict[int, float]:
  """Seconds of training by step, as far as a run's timing.csv has them."""
  path = os.path.join(directory, 'timing.csv')
  if not files.exists(path):
    return {}
  rows = readers.read_table(path, {'step': int, 'seconds': float})
  return {row['step']: row['seconds'] for row in rows}
