"""Return over training: one line per method or setting, one panel per task."""

from __future__ import annotations

import dataclasses
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Sequence

import pandas as pd
from matplotlib import ticker

from rigl_rl.analysis.figures import base, selection, style


class Curves(base.Kind):
  """Lines over training; a cell's panel is their styles, by label."""

  x = 'step'  # Column of what is on the x axis.
  statistic = 'mean'  # Over the runs of a line; or 'iqm'.
  alpha = 0.15  # Opacity of the intervals.
  y_label = 'return'

  def draw_panel(self, axes, cell):
    for line, own in cell.points.groupby('line', sort=False):
      look, x = cell.panel[line], own[self.x]
      base.shade(axes, x, own, look.color, self.alpha)
      y = own[f'return_{self.statistic}']
      base.curve(axes, x, y, look, label=line)
    axes.xaxis.set_major_formatter(style.short_number)
    axes.yaxis.set_major_formatter(style.short_number)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.margins(x=0.02)


class Line(NamedTuple):
  """A line of a panel, or a column of a table."""

  label: str  # In the legend.
  method: str  # As the table of runs has it.
  # What its runs have, by column; a number is met within 2 %, so that
  # sparsities which result from a random graph are found.
  where: Mapping[str, float] = {}
  # Number of its style, if lines are settings of one method.
  setting: int | None = None

  def matching(self, runs: pd.DataFrame) -> pd.DataFrame:
    """Returns the runs that belong to the line."""
    runs = runs[runs.method == self.method]
    for column, value in self.where.items():
      distances = (runs[column].astype(float) - value).abs()
      runs = runs[distances <= 0.02 * abs(value)]
    return runs

  def look(self) -> style.Style:
    """Returns its style."""
    if self.setting is None:
      return style.of_method(self.method)
    return style.of_setting(self.setting)


def take(
  lines: Sequence[Line],
  request: base.Request,
  tasks: Iterable[str],
  varied: Sequence[str] = (),
  unfinished: bool = False,
) -> list[pd.DataFrame]:
  """Returns the runs of Sokar et al. that each line is drawn from.

  `tasks` are without versions; `varied` is of `selection.select`, `unfinished`
  of `Request.take`.
  """
  # Runs of other figures may be longer, and would push these out.
  runs = [line.matching(request.results.runs) for line in lines]
  candidates = pd.concat(runs)
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
    found.append(request.take(line.matching(own), ['task'], unfinished))
  return found


@dataclasses.dataclass(frozen=True)
class Panel:
  """A panel; each version of its task that there are runs of has one."""

  title: str  # `{task}` is replaced by its task.
  task: str  # Without its version.
  lines: tuple[Line, ...]  # In the order of the legend.
  varied: tuple[str, ...] = ()  # What `selection.select` lets runs differ in.


@dataclasses.dataclass(frozen=True)
class LearningCurves(Curves):
  """Figures 1 to 4 of Sokar et al. (2022).

  Lines are means over seeds, "the shaded region represents the standard
  deviation of the average evaluation over 5 runs" (figure 1): of their number,
  not one less.
  """

  panels: tuple[Panel, ...]
  columns: int = 3

  x_label = 'environment steps'
  intervals = 'Shaded areas: standard deviation over runs.'
  empty = 'no run'
  grid = {'panel': (2.8, 2.2)}

  def find(self, request):
    points, cells = [], []
    for panel in self.panels:
      by_line = take(panel.lines, request, [panel.task], panel.varied, True)
      for task in selection.tasks_of(pd.concat(by_line), [panel.task]):
        title = panel.title.format(task=task)
        own = []
        for line, runs in zip(panel.lines, by_line):
          what = {'panel': title, 'task': task}
          what |= {'line': line.label, 'method': line.method}
          drawn = runs[runs.task == task]
          found = _points(drawn, request.results.evaluations)
          own += [{**what, **row} for row in found]
        points += own
        shown = pd.DataFrame(own)
        if own:
          shown['return_low'] = shown.return_mean - shown.return_std
          shown['return_high'] = shown.return_mean + shown.return_std
        looks = {line.label: line.look() for line in panel.lines}
        cells.append(base.Cell(title, shown, looks))
    legend = dict.fromkeys(
      line.label for panel in self.panels for line in panel.lines
    )
    return base.Found(pd.DataFrame(points), cells, legend=list(legend))


def _points(
  runs: pd.DataFrame, evaluations: pd.DataFrame
) -> Iterator[dict[str, Any]]:
  """Mean and standard deviation over runs, evaluation by evaluation."""
  own = evaluations[evaluations.directory.isin(runs.directory)]
  # Steps may differ by an episode from run to run; the number does not.
  for _, group in own.groupby(own.groupby('directory').cumcount()):
    returns = group.return_mean.to_numpy(float)
    yield {
      'step': float(group.step.mean()),
      'return_mean': float(returns.mean()),
      'return_std': float(returns.std()),
      'runs': len(returns),
    }
