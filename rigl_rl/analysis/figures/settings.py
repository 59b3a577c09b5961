"""Return by a setting: a bar a method, a group a value."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Mapping

import pandas as pd
from matplotlib import ticker

from rigl_rl.analysis import normalization
from rigl_rl.analysis.figures import base, selection, style

_NAMES = {
  'erdos_renyi_kernel': 'ERK',
  'uniform': 'uniform',
  'sparsity_aware': 'aware',
  'layer_default': 'default',
}
# The task on which Graesser et al. searched (appendix A.3); figures 4 and 13 do
# not name theirs.
_SEARCHED = 'Walker2d'
_LEVELS = {'Dense': 'dense at full width', 'Static': 'Static (no updates)'}


@dataclasses.dataclass(frozen=True)
class Panel:
  """A panel.

  Attributes:
    title: above it.
    x: name of the axis.
    column: of the table of runs, whose values are the groups.
    methods: that are compared.
    where: what runs have, by column.
    varied: what `selection.select` lets runs differ in.
    agent: 'SAC' or 'DQN'.
    task: without version; None for the one of most values, Walker2d first.
    level: a method that has no value of the setting, drawn as a line through
      all groups; '' for none.
  """

  title: str
  x: str
  column: str
  methods: tuple[str, ...]
  where: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  varied: tuple[str, ...] = ()
  agent: str = 'SAC'
  task: str | None = None
  level: str = ''


@dataclasses.dataclass(frozen=True)
class ReturnBySetting(base.Kind):
  """Figures 4, 13 and 14 of Graesser et al.

  Attributes:
    panels: in order.
    train_steps: of the paper's runs, by agent.
    columns: panels side by side.
  """

  panels: tuple[Panel, ...]
  train_steps: Mapping[str, int]
  columns: int = 3

  y_label = 'final return'
  intervals = 'Vertical lines: 95 % confidence intervals.'
  grid = {'panel': (3.4, 2.3)}

  def find(self, request):
    points = []
    for panel in self.panels:
      chosen = selection.select(
        request.results.runs,
        panel.agent,
        'MLP',
        [panel.task] if panel.task else None,
        varied=panel.varied,
      )
      own = _matching(chosen.runs, panel)
      task = _main_task(own, panel)
      others = set(selection.tasks_of(own, [normalization.family(task)]))
      others -= {task}
      own = own[own.task == task]
      runs, notes = selection.once_a_seed(
        selection.finished(own), ['task', 'method', panel.column]
      )
      if (runs.method == panel.level).all():
        runs = runs[:0]  # A level alone has nothing to be compared with.
      if others:
        notes.append(
          f'{panel.title}: {task}; not drawn: {", ".join(sorted(others))}.'
        )
      request.progress.add(runs, own, [*chosen.notes, *notes])
      request.progress.add_length(own, self.train_steps[panel.agent])
      points += _points(runs, panel, task, request)
    if not points:
      titles = '; '.join(panel.title for panel in self.panels)
      raise base.NothingToDraw(f'no finished run of: {titles}')
    return self, pd.DataFrame(points)

  def title(self, panel, points):
    if panel.task or not len(points):
      return panel.title
    return f'{panel.title}, {points.task.iloc[0]}'

  def draw_panel(self, axes, panel, points, canvas):
    _draw_panel(axes, points, panel, canvas)
    axes.set_xlabel(panel.x)


def _matching(runs: pd.DataFrame, panel: Panel) -> pd.DataFrame:
  """Runs that have what the panel asks for; dense ones have no sparsity."""
  names = [*panel.methods, panel.level]
  runs = runs[runs.method.isin(names)]
  is_dense = runs.method == 'Dense'
  for column, value in panel.where.items():
    if isinstance(value, float):
      fits = (runs[column] - value).abs() < 1e-6
    else:
      fits = runs[column] == value
    if column in ('sparsity', 'distribution', 'keep_dense'):
      fits |= is_dense
    runs = runs[fits]
    is_dense = is_dense[fits]
  return runs


def _main_task(runs: pd.DataFrame, panel: Panel) -> str:
  """The task on which most values were tried."""
  if not len(runs):
    return ''
  counts = runs.groupby('task')[panel.column].nunique()
  sizes = runs.groupby('task').size()
  return min(
    counts.index,
    key=lambda task: (
      -counts[task],
      normalization.family(task) != _SEARCHED,
      -sizes[task],
      task,
    ),
  )


def _points(
  runs: pd.DataFrame, panel: Panel, task: str, request: base.Request
) -> list[dict[str, Any]]:
  points = []
  for method in style.ordered(runs.method):
    of_method = runs[runs.method == method]
    groups = of_method.groupby(panel.column)
    if method == panel.level:
      groups = [('', of_method)]
    for value, group in groups:
      points.append(
        {
          'panel': panel.title,
          'task': task,
          'setting': panel.column,
          'value': value,
          'method': method,
          **request.estimate(group, panel.title, method, str(value)),
        }
      )
  return points


def _written(value: Any, column: str) -> str:
  if isinstance(value, str):
    return _NAMES.get(value, value)
  if column == 'sparsity':
    return f'{100 * value:.3g} %'
  return style.setting(value)


def _draw_panel(
  axes: Any,
  points: pd.DataFrame,
  panel: Panel,
  canvas: base.Canvas,
) -> None:
  """Draws bars, and the level."""
  level = points[points.method == panel.level]
  points = points[points.method != panel.level]
  values = sorted(set(points.value))
  methods = style.ordered(points.method)
  width = 0.84 / max(len(methods), 1)
  for index, method in enumerate(methods):
    own = points[points.method == method]
    look = style.of_method(method, methods)
    offset = (index - (len(methods) - 1) / 2) * width
    positions = [values.index(value) + offset for value in own.value]
    canvas.lines[method] = axes.bar(
      positions,
      own.return_mean,
      width=0.9 * width,
      color=style.tint(look.color),
      hatch=look.hatch,
      edgecolor=look.color,
      linewidth=0.8,
    )
    base.bars(axes, positions, own, '#1a1a1a', width=1.1)
  if len(level):
    canvas.marks[_LEVELS[panel.level]] = base.level(
      axes, level.return_mean.iloc[0], panel.level, linewidth=1.1, zorder=3
    )
  axes.set_xticks(
    range(len(values)), [_written(value, panel.column) for value in values]
  )
  # Also where the first or the last value has not all methods.
  axes.set_xlim(-0.5, max(len(values), 1) - 0.5)
  axes.grid(visible=False, axis='x')
  axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
  axes.yaxis.set_major_formatter(style.short_number)
  ends = points[['return_mean', 'return_low', 'return_high']].to_numpy().ravel()
  if all(end < 0 for end in ends if math.isfinite(end)):
    # Bars hang from 0; the axis stays below.
    axes.spines['top'].set_visible(True)
    axes.spines['bottom'].set_visible(False)
