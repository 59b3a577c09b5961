"""What all kinds of figures share: what they take, draw on, and return."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import itertools
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

from rigl_rl.analysis import statistics, tables
from rigl_rl.analysis.figures import selection, style
from rigl_rl.errors import UserError

# Of figures and tables of what the networks of gin files cost.
COUNTED = ('Counted, not trained.',)
NO_COSTS = 'only python -m launch.figures reads costs'
# What figures of return against size can have on their x axis.
AXES = {
  'parameters': 'parameters',
  'forward_flops': 'forward FLOPs per example',
  'training_flops': 'FLOPs of the training',
}


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
    x: what figures of return against size have on their axis, see `AXES`.
    references: scores by which MuJoCo's are normalized, by task, see
      `normalize`; None for those of dense SAC among the results.
    resamples: of each bootstrap.
    comparable_policies: per line of figure 6, >= 0; see `comparable`. 0 for
      all, regardless of their performance.
    read_costs: maps gin files, bindings and sparsities to what
      `rigl_rl.costs.jobs.sparsity_rows` returns; None if costs cannot be read.
    read_training_cost: maps gin files and bindings of an off-policy
      actor-critic agent to dense_weights, sparse_weights, dense_flops and
      sparse_flops, as Sokar et al. count them; or None.
    planned: number of runs in a figure's sweep file, by the figure's name.

  Raises:
    UserError: `x` is no axis.
  """

  x: str = 'parameters'
  references: Mapping[str, float] | None = None
  resamples: int = statistics.RESAMPLES
  comparable_policies: int = 3
  read_costs: Callable[..., list[dict[str, Any]]] | None = None
  read_training_cost: Callable[..., dict[str, float]] | None = None
  planned: Mapping[str, int] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    if self.x not in AXES:
      raise UserError(
        f'--x is {self.x!r}, but must be one of {", ".join(AXES)}.'
      )


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

  def select(
    self, *args: Any, among: pd.DataFrame | None = None, **kwargs: Any
  ) -> pd.DataFrame:
    """Chooses runs as `selection.select` does; notes what was left out.

    Args:
      *args: of `selection.select`, behind the runs.
      among: the runs to choose from; None for all results.
      **kwargs: of `selection.select`.
    """
    runs = self.results.runs if among is None else among
    chosen = selection.select(runs, *args, **kwargs)
    self.progress.note(chosen.notes)
    return chosen.runs

  def estimate(
    self,
    runs: pd.DataFrame,
    *stream: str,
    score: str = 'final_score',
    statistic: str = 'mean',
  ) -> dict[str, Any]:
    """Returns the cells of a point: return, 95 % interval, runs, seeds.

    Args:
      runs: behind the point.
      *stream: what tells the point from the figure's others; it names the
        bootstrap's stream of random numbers.
      score: column of the returns.
      statistic: 'mean' or 'iqm', over the runs.
    """
    pool = statistics.STATISTICS[statistic]
    estimate = pool(
      runs[score], self.name, *stream, resamples=self.options.resamples
    )
    return {
      f'return_{statistic}': estimate.value,
      'return_low': estimate.low,
      'return_high': estimate.high,
      'runs': estimate.runs,
      'seeds': ' '.join(str(seed) for seed in sorted(runs.seed)),
    }


@dataclasses.dataclass(frozen=True)
class Panel:
  """Runs of one panel, or of a row of one panel per task.

  Attributes:
    title: above it; of a row, what stands before the task.
    agent: 'DQN', 'SAC' or 'PPO'.
    network: 'MLP', 'CNN' or 'ResNet'.
    tasks: without versions, in order.
  """

  title: str
  agent: str
  network: str
  tasks: tuple[str, ...]


class Cell(NamedTuple):
  """A panel of a figure, and what it shows.

  Attributes:
    title: above it.
    points: its rows of the data; a panel without any is not drawn.
    panel: what else `Kind.draw_panel` needs.
    row: of the figure. Panels of a figure of one row are wrapped; otherwise
      those below each other belong together.
  """

  title: str
  points: pd.DataFrame
  panel: Any = None
  row: Any = None


class Found(NamedTuple):
  """What a kind of figure found.

  Attributes:
    data: all points.
    cells: the panels, in order, also empty ones.
    x_label: in place of the kind's own.
    legend: labels of lines in order; () for the order of methods.
    face_notes: what only the figure's face says beside the notes.
    notes: in place of those of `Request.progress`.
  """

  data: pd.DataFrame
  cells: Sequence[Cell]
  x_label: str | None = None
  legend: Sequence[str] = ()
  face_notes: Sequence[str] = ()
  notes: Sequence[str] | None = None


@dataclasses.dataclass
class Canvas:
  """A figure that is being drawn.

  Attributes:
    figure: of matplotlib.
    axes: an array [rows, columns]; what stays empty is hidden.
    x: name of all x axes; '' if panels name their own.
    lines: what the legend shows first, by label.
    marks: what it shows behind them.
  """

  figure: Any
  axes: Any
  x: str = ''
  lines: dict[str, Any] = dataclasses.field(default_factory=dict)
  marks: dict[str, Any] = dataclasses.field(default_factory=dict)


@contextlib.contextmanager
def canvas(
  title: str,
  notes: Sequence[str],
  shape: tuple[int, int] = (1, 1),
  x: str = '',
  y: str = '',
  order: Callable[[Iterable[str]], Iterable[str]] = list,
  **grid: Any,
) -> Iterator[Canvas]:
  """Makes a figure; what is around the panels is drawn at the end.

  Args:
    title: above it.
    notes: what a reader has to know.
    shape: rows and columns of panels.
    x: name of all x axes; '' if panels name their own.
    y: name of all y axes; '' if panels name their own.
    order: maps the labels of `lines` to the order of the legend, in which
      others may stand, too.
    **grid: of `style.grid`.
  """
  with style.settings():
    drawn = Canvas(*style.grid(*shape, **grid), x)
    yield drawn
    style.label_axes(drawn.axes, x, y)
    style.add_header(drawn.figure, title, notes)
    lines = drawn.lines
    legend = {label: lines[label] for label in order(lines) if label in lines}
    if legend or drawn.marks:
      style.add_legend(drawn.figure, {**legend, **drawn.marks})


class Kind(abc.ABC):
  """A kind of figure: a dataclass of what its figures differ in.

  Attributes:
    columns: panels side by side, at most, in a figure of one row.
    x_label: name of all x axes; '' if panels name their own.
    y_label: the same of y axes.
    intervals: says what the intervals are; '' if there are none.
    empty: says what a panel lacks that has nothing to show.
    grid: of `style.grid`.
  """

  columns = 3
  x_label = y_label = ''
  intervals = style.SHADED
  empty = 'no finished run'
  grid: Mapping[str, Any] = {}

  def draw(self, request: Request) -> Drawing:
    """Draws it; see `figures.draw`."""
    found = self.find(request)
    notes = list(request.progress.notes if found.notes is None else found.notes)
    missing = [cell.title for cell in found.cells if not len(cell.points)]
    if missing:
      notes.append(f'Not drawn, {self.empty}: {"; ".join(missing)}.')
    face = [*notes, *found.face_notes]
    if self.intervals:
      face.append(style.intervals(self.intervals, found.data.runs))
    rows = _places(found.cells, self.columns)
    with canvas(
      request.title,
      face,
      (len(rows), len(rows[0])),
      self.x_label if found.x_label is None else found.x_label,
      self.y_label,
      lambda labels: found.legend or style.ordered(labels),
      **self.grid,
    ) as drawn:
      for axes, cell in zip(drawn.axes.flat, itertools.chain(*rows)):
        if cell is not None:
          axes.set_title(cell.title)
          self.draw_panel(axes, cell, drawn)
    return Drawing(found.data, notes, drawn.figure)

  @abc.abstractmethod
  def find(self, request: Request) -> Found:
    """Finds what is drawn, and counts its runs.

    Raises:
      NothingToDraw: there are no results.
    """

  @abc.abstractmethod
  def draw_panel(self, axes: Any, cell: Cell, canvas: Canvas) -> None:
    """Draws a panel that has points; adds what the legend shows to canvas."""


def _places(cells: Sequence[Cell], columns: int) -> list[list[Cell | None]]:
  """Returns the figure's grid of panels, None where nothing is drawn."""
  rows: list[list[Cell | None]] = [
    [cell if len(cell.points) else None for cell in row]
    for _, row in itertools.groupby(cells, lambda cell: cell.row)
  ]
  if len(rows) == 1:
    drawn: list[Cell | None] = [cell for cell in rows[0] if cell]
    columns = min(columns, len(drawn))
    rows = [drawn[n : n + columns] for n in range(0, len(drawn), columns)]
  used_columns = filter(any, itertools.zip_longest(*filter(any, rows)))
  return list(map(list, zip(*used_columns)))


def cells(
  data: pd.DataFrame, panels: Iterable[Any], column: str = 'panel'
) -> list[Cell]:
  """Returns a cell per panel, whose points have its title in a column."""
  return [Cell(p.title, data[data[column] == p.title], p) for p in panels]


def line(axes: Any, x: Any, y: Any, look: style.Style, **kwargs: Any) -> Any:
  """Draws a line; returns its handle."""
  kwargs = {'linestyle': look.line, 'marker': look.marker, **kwargs}
  (handle,) = axes.plot(x, y, color=look.color, **kwargs)
  return handle


def curve(
  axes: Any, x: Any, y: Any, look: style.Style, marks: int = 6, **kwargs: Any
) -> Any:
  """Draws a line of many points, on which a few markers tell it from others."""
  every = max(len(x) // marks, 1)
  return line(axes, x, y, look, markevery=every, markersize=4.5, **kwargs)


def shade(axes: Any, x: Any, points: pd.DataFrame, color: str, alpha=0.13):
  """Draws the intervals of a line as an area."""
  low, high = points.return_low, points.return_high
  axes.fill_between(x, low, high, color=color, alpha=alpha, linewidth=0)


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
  lines = [f'| {" | ".join(row)} |' for row in (header, *rows)]
  lines.insert(1, f'|{"---|" * len(header)}')
  return '\n'.join([f'**{title}**', '', ' '.join(notes), '', *lines]) + '\n'
