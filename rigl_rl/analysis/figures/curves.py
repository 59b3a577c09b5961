"""Return over training: one line per method or setting, one panel per task."""

from __future__ import annotations

import dataclasses
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

import pandas as pd
from matplotlib import ticker

from rigl_rl.analysis.figures import base, selection, style


class Line(NamedTuple):
  """A line of a panel, or a column of a table.

  Attributes:
    label: in the legend.
    method: as the table of runs has it.
    where: what its runs have, by column; a number is met within 2 %, so that
      sparsities which result from a random graph are found.
    setting: number of its style, if lines are settings of one method; None for
      the method's own style.
  """

  label: str
  method: str
  where: Mapping[str, Any] = {}
  setting: int | None = None

  def matching(self, runs: pd.DataFrame) -> pd.DataFrame:
    """Returns the runs that belong to the line."""
    runs = runs[runs.method == self.method]
    for column, value in self.where.items():
      distances = (runs[column].astype(float) - value).abs()
      runs = runs[distances <= 0.02 * abs(value)]
    return runs


def take(
  lines: Sequence[Line],
  request: base.Request,
  tasks: Iterable[str],
  varied: Sequence[str] = (),
  unfinished: bool = False,
) -> list[pd.DataFrame]:
  """Returns the runs of Sokar et al. that each line is drawn from.

  Args:
    lines: all of the panel or table.
    request: of the figure, which counts them.
    tasks: without versions.
    varied: what `selection.select` lets runs differ in.
    unfinished: whether unfinished runs are drawn, as far as they came.
  """
  # Runs of other figures may be longer, and would push these out.
  candidates = pd.concat(
    [line.matching(request.results.runs) for line in lines]
  )
  candidates = candidates[~candidates.index.duplicated()]
  found = []
  for line in lines:
    own = request.select(
      line.method.rpartition('-')[2],
      tasks=tasks,
      paper='sokar22',
      varied=varied,
      among=candidates,
    )
    own = line.matching(own)
    found.append(request.take(own, ['task'], unfinished))
  return found


@dataclasses.dataclass(frozen=True)
class Panel:
  """A panel.

  Attributes:
    title: above it; `{task}` is replaced by its task.
    task: without its version; each version that there are runs of has a panel.
    lines: in the order of the legend.
    varied: what `selection.select` lets runs differ in.
  """

  title: str
  task: str
  lines: tuple[Line, ...]
  varied: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class LearningCurves(base.Kind):
  """Figures 1 to 4 of Sokar et al. (2022).

  Lines are means over seeds, "the shaded region represents the standard
  deviation of the average evaluation over 5 runs" (figure 1): of their number,
  not one less.

  Attributes:
    panels: in order.
    columns: panels side by side.
  """

  panels: tuple[Panel, ...]
  columns: int = 3

  x_label = 'environment steps'
  y_label = 'return'
  intervals = 'Shaded areas: standard deviation over runs.'
  empty = 'no run'
  grid = {'panel': (2.8, 2.2)}

  def find(self, request):
    points, panels = [], []
    for panel in self.panels:
      by_line = take(panel.lines, request, [panel.task], panel.varied, True)
      for task in selection.tasks_of(pd.concat(by_line), [panel.task]):
        title = panel.title.format(task=task)
        panels.append(dataclasses.replace(panel, title=title))
        for line, runs in zip(panel.lines, by_line):
          what = {
            'panel': title,
            'task': task,
            'line': line.label,
            'method': line.method,
          }
          own = _points(runs[runs.task == task], request.results.evaluations)
          points += [{**what, **row} for row in own]
    legend = dict.fromkeys(
      line.label for panel in self.panels for line in panel.lines
    )
    if not points:
      raise base.NothingToDraw(f'no run of {", ".join(legend)}')
    data = pd.DataFrame(points)
    return base.Found(data, base.cells(data, panels), legend=list(legend))

  def draw_panel(self, axes, cell, canvas):
    for line in cell.panel.lines:
      own = cell.points[cell.points.line == line.label]
      if len(own):
        canvas.lines[line.label] = _draw_line(axes, own, line)
    axes.xaxis.set_major_formatter(style.short_number)
    axes.yaxis.set_major_formatter(style.short_number)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.margins(x=0.02)


def _points(
  runs: pd.DataFrame, evaluations: pd.DataFrame
) -> list[dict[str, Any]]:
  """Mean and standard deviation over runs, evaluation by evaluation."""
  own = evaluations[evaluations.directory.isin(runs.directory)]
  points = []
  # Steps may differ by an episode from run to run; the number does not.
  for _, group in own.groupby(own.groupby('directory').cumcount()):
    returns = group.return_mean.to_numpy(float)
    points.append(
      {
        'step': float(group.step.mean()),
        'return_mean': float(returns.mean()),
        'return_std': float(returns.std()),
        'runs': len(returns),
      }
    )
  return points


def _draw_line(axes: Any, points: pd.DataFrame, line: Line) -> Any:
  look = style.of_method(line.method)
  if line.setting is not None:
    look = style.of_setting(line.setting)
  area = points.assign(
    return_low=points.return_mean - points.return_std,
    return_high=points.return_mean + points.return_std,
  )
  base.shade(axes, points.step, area, look.color, alpha=0.15)
  return base.curve(axes, points.step, points.return_mean, look)
