"""What all kinds of figures share: what they take, draw on, and return."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import math
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

import pandas as pd

from rigl_rl.analysis import statistics, tables
from rigl_rl.analysis.figures import selection, style

# Of figures and tables of what the networks of gin files cost.
COUNTED = ('Counted, not trained.',)
NO_COSTS = 'costs are read by python -m launch.figures alone'


class NothingToDraw(Exception):
  """There are no results for a figure; the message says which are missing."""


@dataclasses.dataclass(frozen=True)
class Drawing:
  """A figure, or a table.

  Attributes:
    data: exactly what is drawn, one row per point, with the number of runs
      behind it.
    notes: what a reader has to know: how complete it is, and what was left out.
    figure: of matplotlib; None if it is a table.
    markdown: the table, if it is one.
  """

  data: pd.DataFrame
  notes: Sequence[str]
  figure: Any = None
  markdown: str = ''


@dataclasses.dataclass(frozen=True)
class Options:
  """What a user may choose.

  Attributes:
    x: what figures of return against size have on their axis: 'parameters',
      'forward_flops' or 'training_flops'.
    references: scores by which MuJoCo's are normalized, by task, see
      `normalize`; None for those of dense SAC among the results.
    resamples: of each bootstrap.
    comparable_policies: per line of figure 6, >= 0; see `comparable`. 0 for
      all, of whatever performance.
    read_costs: maps gin files, bindings and sparsities to what
      `rigl_rl.costs.jobs.sparsity_rows` returns; None if costs cannot be read.
    read_training_cost: maps gin files and bindings of an off-policy
      actor-critic agent to dense_weights, sparse_weights, dense_flops and
      sparse_flops, as Sokar et al. count them; or None.
    planned: number of runs in a figure's sweep file, by the figure's name.
  """

  x: str = 'parameters'
  references: Mapping[str, float] | None = None
  resamples: int = statistics.RESAMPLES
  comparable_policies: int = 3
  read_costs: Callable[..., list[dict[str, Any]]] | None = None
  read_training_cost: Callable[..., dict[str, float]] | None = None
  planned: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Request:
  """What a kind of figure draws from.

  Attributes:
    name: of the figure, as `figures.names` returns it.
    title: above it.
    results: as `tables.load` returns them.
    options: what the user chose.
    progress: counts the runs that are drawn.
  """

  name: str
  title: str
  results: tables.Results
  options: Options
  progress: selection.Progress

  def estimate(
    self, runs: pd.DataFrame, *stream: str, score: str = 'final_score'
  ) -> dict[str, Any]:
    """Returns the cells of a point: mean return, 95 % interval, runs, seeds.

    Args:
      runs: behind the point.
      *stream: what tells the point from the figure's others; it names the
        bootstrap's stream of random numbers.
      score: column of the returns.
    """
    estimate = statistics.mean(
      runs[score], self.name, *stream, resamples=self.options.resamples
    )
    return {
      'return_mean': estimate.value,
      'return_low': estimate.low,
      'return_high': estimate.high,
      'runs': estimate.runs,
      'seeds': ' '.join(str(seed) for seed in sorted(runs.seed)),
    }


@dataclasses.dataclass
class Canvas:
  """A figure that is being drawn.

  Attributes:
    figure: of matplotlib.
    axes: an array [rows, columns]; what is beyond the last panel is hidden.
    lines: what the legend shows first, by label.
    marks: what it shows behind them.
  """

  figure: Any
  axes: Any
  lines: dict[str, Any] = dataclasses.field(default_factory=dict)
  marks: dict[str, Any] = dataclasses.field(default_factory=dict)


@contextlib.contextmanager
def canvas(
  title: str,
  notes: Sequence[str],
  panels: int = 1,
  columns: float = math.inf,
  x: str = '',
  y: str = '',
  order: Callable[[Iterable[str]], Iterable[str]] = list,
  **grid: Any,
) -> Iterator[Canvas]:
  """Makes a figure; what is around the panels is drawn at the end.

  Args:
    title: above it.
    notes: what a reader has to know.
    panels: how many there are.
    columns: panels side by side, at most.
    x: name of all x axes; '' if panels name their own.
    y: name of all y axes; '' if panels name their own.
    order: maps the labels of `lines` to the order of the legend, in which
      others may stand, too.
    **grid: of `style.grid`.
  """
  columns = int(min(columns, panels))
  with style.settings():
    drawn = Canvas(*style.grid(math.ceil(panels / columns), columns, **grid))
    yield drawn
    for axes in drawn.axes.flat[panels:]:
      axes.set_axis_off()
    if x:
      style.label_x(drawn.axes, x)
    if y:
      style.label_y(drawn.axes, y)
    style.add_header(drawn.figure, title, notes)
    lines = drawn.lines
    legend = {label: lines[label] for label in order(lines) if label in lines}
    if legend or drawn.marks:
      style.add_legend(drawn.figure, {**legend, **drawn.marks})


class Kind(abc.ABC):
  """A kind of figure: a dataclass of what its figures differ in.

  Attributes:
    panels: in order; each has a title.
    columns: panels side by side, at most.
    x_label: name of all x axes; '' if panels name their own.
    y_label: the same of y axes.
    intervals: says what the intervals are; '' if there are none.
    empty: says that a panel has nothing to show.
    grid: of `style.grid`.
  """

  panels: Sequence[Any]
  columns: float = math.inf
  x_label = y_label = ''
  intervals = style.SHADED
  empty = 'no finished run'
  grid: Mapping[str, Any] = {}

  def draw(self, request: Request) -> Drawing:
    """Draws it; see `figures.draw`."""
    spec, data = self.find(request)
    notes = [*spec.notes(request), *spec.face_notes()]
    if self.intervals:
      notes.append(style.intervals(self.intervals, data.runs))
    cells = spec.cells(data)
    with canvas(
      request.title,
      notes,
      len(cells),
      spec.columns,
      spec.x_label,
      spec.y_label,
      spec.legend_order,
      **self.grid,
    ) as drawn:
      for axes, (panel, points) in zip(drawn.axes.flat, cells):
        if panel is not None:
          axes.set_title(spec.title(panel, points))
          if len(points):
            spec.draw_panel(axes, panel, points, drawn)
          else:
            spec.draw_empty(axes)
    return Drawing(data, spec.notes(request), drawn.figure)

  @abc.abstractmethod
  def find(self, request: Request) -> tuple[Kind, pd.DataFrame]:
    """Finds what is drawn, and counts its runs.

    Returns:
      This figure with the panels that there are results for, and the points.

    Raises:
      NothingToDraw: there are none.
    """

  @abc.abstractmethod
  def draw_panel(
    self, axes: Any, panel: Any, points: pd.DataFrame, canvas: Canvas
  ) -> None:
    """Draws a panel that has points; adds what the legend shows to canvas."""

  def draw_empty(self, axes: Any) -> None:
    """Draws a panel without points."""
    style.say_empty(axes, self.empty)

  def cells(self, data: pd.DataFrame) -> list[tuple[Any, pd.DataFrame]]:
    """Returns the panels and their points; (None, no points) for a gap."""
    return [(p, data[data.panel == p.title]) for p in self.panels]

  def title(self, panel: Any, points: pd.DataFrame) -> str:
    """Returns what stands above a panel."""
    del points
    return panel.title

  def legend_order(self, labels: Iterable[str]) -> Iterable[str]:
    """Returns the labels of lines in the legend's order."""
    return style.ordered(labels)

  def notes(self, request: Request) -> Sequence[str]:
    """Returns what a reader has to know."""
    return request.progress.notes

  def face_notes(self) -> Sequence[str]:
    """Returns what only the figure's face says beside."""
    return ()


def line(axes: Any, x: Any, y: Any, look: style.Style, **kwargs: Any) -> Any:
  """Draws a line; returns its handle."""
  kwargs = {'linestyle': look.line, 'marker': look.marker, **kwargs}
  (handle,) = axes.plot(x, y, color=look.color, **kwargs)
  return handle


def shade(axes: Any, x: Any, points: pd.DataFrame, color: str, alpha=0.13):
  """Draws the intervals of a line as an area."""
  axes.fill_between(
    x,
    points.return_low,
    points.return_high,
    color=color,
    alpha=alpha,
    linewidth=0,
  )


def bars(axes: Any, x: Any, points: pd.DataFrame, color: str, width=0.8):
  """Draws intervals as vertical lines: a single point has no area."""
  axes.vlines(
    x, points.return_low, points.return_high, color=color, linewidth=width
  )


def level(axes: Any, y: float, method: str = 'Dense', **kwargs: Any) -> Any:
  """Draws a horizontal line that other methods are compared with."""
  kwargs = {'linewidth': 0.9, 'linestyle': (0, (7, 3)), **kwargs}
  return axes.axhline(y, color=style.of_method(method).color, **kwargs)


def mark(axes: Any, x: float, **kwargs: Any) -> Any:
  """Draws a vertical line at a value that is pointed out."""
  return axes.axvline(
    x, color=style.GRAY, linewidth=1.1, linestyle=':', **kwargs
  )


def markdown(
  title: str,
  notes: Sequence[str],
  header: Sequence[str],
  rows: Iterable[Sequence[str]],
) -> str:
  """Returns a table in Markdown."""
  lines = [' | '.join(header), *(' | '.join(row) for row in rows)]
  lines = [f'| {line} |' for line in lines]
  lines.insert(1, f'|{"---|" * len(header)}')
  return '\n'.join([f'**{title}**', '', ' '.join(notes), '', *lines]) + '\n'
