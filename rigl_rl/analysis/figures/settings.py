"""Return by a setting: one bar per method, one group of bars per value."""

from __future__ import annotations

import dataclasses
from typing import Any, Iterator, Mapping

import pandas as pd
from matplotlib import ticker

from rigl_rl.analysis import normalization
from rigl_rl.analysis.figures import base, selection, style

# Names of axes and values, unless they are those of the table of runs.
_NAMES = {
  'initializer': 'sparsity-aware or default',
  'update_interval': 'gradient steps',
  'erdos_renyi_kernel': 'ERK',
  'sparsity_aware': 'aware',
  'layer_default': 'default',
}
# The task on which Graesser et al. searched (appendix A.3); figures 4 and 13 do
# not name theirs.
_SEARCHED = 'Walker2d'
_LEVELS = {'Dense': 'dense at full width', 'Static': 'Static (no updates)'}


@dataclasses.dataclass(frozen=True)
class Panel:
  """A panel: a group of bars per value of a column of the table of runs."""

  title: str
  column: str
  methods: tuple[str, ...]  # That are compared.
  where: Mapping[str, Any]  # What runs have, by column.
  varied: tuple[str, ...] = ()  # What `selection.select` lets runs differ in.
  agent: str = 'SAC'  # Or 'DQN'.
  task: str | None = None  # None for the one of most values, Walker2d first.
  # A method that has no value of the setting: a line through all groups.
  level: str = ''


@dataclasses.dataclass(frozen=True)
class ReturnBySetting(base.Kind):
  """Figures 4, 13 and 14 of Graesser et al."""

  panels: tuple[Panel, ...]
  columns: int = 3

  y_label = 'final return'
  intervals = 'Vertical lines: 95 % confidence intervals.'
  grid = {'panel': (3.4, 2.3)}

  def find(self, request):
    points, cells = [], []
    for panel in self.panels:
      tasks = [panel.task] if panel.task else None
      runs = request.select(panel.agent, 'MLP', tasks, varied=panel.varied)
      runs = _matching(runs, panel)
      task = _main_task(runs, panel)
      own = runs[runs.task == task]
      drawn, notes = selection.once_a_seed(
        selection.finished(own), ['task', 'method', panel.column]
      )
      if (drawn.method == panel.level).all():
        drawn = drawn[:0]  # There is nothing to compare the level with.
      versions = selection.tasks_of(runs, [normalization.family(task)])
      if others := ', '.join(sorted({*versions} - {task})):
        notes.append(f'{panel.title}: {task}; not drawn: {others}.')
      request.add(drawn, own, notes)
      found = list(_points(drawn, panel, request))
      title = panel.title
      if found and not panel.task:
        title += f', {task}'
      cells.append(base.Cell(title, pd.DataFrame(found), panel))
      points += found
    return base.Found(pd.DataFrame(points), cells)

  def draw_panel(self, axes, cell):
    panel, points = cell.panel, cell.points
    level = points[points.method == panel.level]
    points = points[points.method != panel.level]
    values = sorted(set(points.value))
    methods = style.ordered(points.method)
    width = 0.84 / len(methods)
    for index, method in enumerate(methods):
      own = points[points.method == method]
      look = style.of_method(method, methods)
      offset = (index - (len(methods) - 1) / 2) * width
      positions = [values.index(value) + offset for value in own.value]
      how = {'linewidth': 0.8, 'label': method, **style.filled(look)}
      axes.bar(positions, own.return_mean, width=0.9 * width, **how)
      base.bars(axes, positions, own, '#1a1a1a', width=1.1)
    if len(level):
      y, label = level.return_mean.iloc[0], _LEVELS[panel.level]
      base.level(axes, y, panel.level, linewidth=1.1, zorder=3, label=label)
    axes.set_xlabel(_NAMES.get(panel.column, panel.column.replace('_', ' ')))
    names = [_written(value, panel.column) for value in values]
    axes.set_xticks(range(len(values)), names)
    # Also where the first or the last value has not all methods.
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.grid(visible=False, axis='x')
    axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.yaxis.set_major_formatter(style.short_number)
    ends = points[['return_mean', 'return_low', 'return_high']]
    if not (ends >= 0).any(axis=None):
      # Bars hang from 0; the axis stays below.
      axes.spines['top'].set_visible(True)
      axes.spines['bottom'].set_visible(False)


def _matching(runs: pd.DataFrame, panel: Panel) -> pd.DataFrame:
  """Runs that have what the panel asks for; dense ones have no sparsity."""
  runs = runs[runs.method.isin([*panel.methods, panel.level])]
  for column, value in panel.where.items():
    fits = runs[column] == value
    if isinstance(value, float):
      fits = selection.near(runs[column], [value])
    if column in ('sparsity', 'distribution', 'keep_dense'):
      fits |= runs.method == 'Dense'
    runs = runs[fits]
  return runs


def _main_task(runs: pd.DataFrame, panel: Panel) -> str:
  """The task on which most values were tried; '' without runs."""
  by_task = runs.groupby('task')
  counts, sizes = by_task[panel.column].nunique(), by_task.size()

  def rank(task):
    is_other = normalization.family(task) != _SEARCHED
    return -counts[task], is_other, -sizes[task], task

  return min(counts.index, key=rank, default='')


def _points(
  runs: pd.DataFrame, panel: Panel, request: base.Request
) -> Iterator[dict[str, Any]]:
  for method in style.ordered(runs.method):
    of_method = runs[runs.method == method]
    groups = of_method.groupby(panel.column)
    for value, group in [('', of_method)] if method == panel.level else groups:
      yield {
        'panel': panel.title,
        'task': group.task.iloc[0],
        'setting': panel.column,
        'value': value,
        'method': method,
        **request.estimate(group, panel.title, method, str(value)),
      }


def _written(value: Any, column: str) -> str:
  if isinstance(value, str):
    return _NAMES.get(value, value)
  if column == 'sparsity':
    return f'{100 * value:.3g} %'
  return style.setting(value)
