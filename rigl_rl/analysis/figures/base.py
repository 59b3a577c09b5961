"""What all kinds of figures share: what they take, draw on, and return."""

from __future__ import annotations

import abc
import dataclasses
import itertools
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Sequence

import pandas as pd

from rigl_rl import wording
from rigl_rl.analysis import normalization, statistics
from rigl_rl.analysis.figures import mismatch, selection, style
from rigl_rl.errors import UserError

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
    planned: number of runs in a figure's sweep file, by the figure's name.

  Raises:
    UserError: `x` is no axis.
  """

  x: str = 'parameters'
  references: Mapping[str, float] | None = None
  resamples: int = statistics.RESAMPLES
  comparable_policies: int = 3
  planned: Mapping[str, int] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    if self.x not in AXES:
      raise UserError(
        f'--x is {self.x!r}, but must be one of {", ".join(AXES)}.'
      )


@dataclasses.dataclass(frozen=True)
class Request:
  """What a kind of figure draws from; counts the runs that it draws.

  Attributes:
    name: of the figure, as `figures.names` returns it.
    results: of `tables.load`; None where none are needed.
    options: what the user chose.
  """

  name: str
  results: Any = None
  options: Options = Options()
  _drawn: list[pd.DataFrame] = dataclasses.field(default_factory=list)
  _unfinished: set[str] = dataclasses.field(default_factory=set)
  _notes: list[str] = dataclasses.field(default_factory=list)

  def select(
    self, *args: Any, among: pd.DataFrame | None = None, **kwargs: Any
  ) -> pd.DataFrame:
    """Chooses runs, of all results or `among` some; notes what was left out.

    The arguments are those of `selection.select`, behind the runs.
    """
    runs = self.results.runs if among is None else among
    chosen, notes = selection.select(runs, *args, **kwargs)
    self._notes.extend(notes)
    return chosen

  def take(
    self, runs: pd.DataFrame, columns: Sequence[str], unfinished: bool = False
  ) -> pd.DataFrame:
    """Counts the runs of a panel, and returns those that it draws.

    With `unfinished`, unfinished runs are drawn as far as they came; `columns`
    make a point, see `selection.once_a_seed`.
    """
    drawn = runs if unfinished else selection.finished(runs)
    drawn, notes = selection.once_a_seed(drawn, columns)
    if unfinished:
      runs = drawn
    self.add(drawn[drawn.finished], runs, notes)
    return drawn

  def add(
    self, drawn: pd.DataFrame, chosen: pd.DataFrame, notes: Iterable[str] = ()
  ) -> None:
    """Counts runs, each once; notes if they are shorter than the paper's.

    Args:
      drawn: those that are drawn.
      chosen: those and others of the same agent and network; the ones among
        them that are not finished are counted as such.
      notes: further ones for the reader.
    """
    self._drawn.append(drawn)
    self._unfinished.update(chosen.directory[~chosen.finished])
    self._notes.extend(notes)
    if not len(chosen):
      return
    agent = chosen.agent.iloc[0]
    steps = selection.paper_steps(agent, chosen.network.iloc[0])
    lengths = sorted(set(chosen.train_steps[chosen.train_steps < steps]))
    if lengths:
      shown = ' or '.join(f'{int(length):,}' for length in lengths)
      self._notes.append(
        f"Short runs of {agent}: {shown} of the paper's {steps:,} steps."
      )

  @property
  def notes(self) -> list[str]:
    """How complete the figure is, and what else was noted."""
    runs = pd.concat(self._drawn).drop_duplicates('directory')
    drawn, planned = len(runs), self.options.planned.get(self.name)
    text = wording.count(drawn, 'run')
    if planned and drawn <= planned:
      text = f'{drawn:,} of {wording.count(planned, "run")}'
    elif planned:
      # Sweeps of other figures have more sparsities, for example.
      text += f', more than the {planned:,} of its sweep'
    unfinished = self._unfinished - set(runs.directory)
    if unfinished:
      text += f', {len(unfinished):,} begun and not finished'
    notes = [f'{text}.']
    if versions := selection.with_versions(runs.task):
      notes.append(f'Not pooled: {", ".join(versions)}.')
    return list(dict.fromkeys([*notes, *self._notes, *mismatch.note(runs)]))

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
  """Runs of one panel, or of a row of one panel per task."""

  title: str  # Of a row, what stands before the task.
  agent: str  # 'DQN', 'SAC' or 'PPO'.
  network: str  # 'MLP', 'CNN' or 'ResNet'.
  tasks: tuple[str, ...]  # Without versions, in order.
  distribution: str = selection.ERK  # Of sparse networks.
  # Where it shows one: of sparse networks, and of those that small dense ones
  # are as large as.
  sparsity: float = 0.0
  scalar: str = ''  # The name of what it shows in TensorBoard's events.

  def select(self, request: Request, **kwargs: Any) -> pd.DataFrame:
    """Chooses its runs; `kwargs` are of `selection.select`."""
    runs = self.agent, self.network, self.tasks
    return request.select(*runs, distribution=self.distribution, **kwargs)

  def by_version(
    self, runs: pd.DataFrame
  ) -> Iterator[tuple[Panel, pd.DataFrame]]:
    """Yields what may be averaged over tasks: per version, if one has two."""
    if not selection.with_versions(runs.task):
      yield self, runs
      return
    versions = runs.task.map(lambda t: t[len(normalization.family(t)) :])
    for version, own in runs.groupby(versions):
      yield dataclasses.replace(self, title=f'{self.title}, {version}'), own


class Cell(NamedTuple):
  """A panel of a figure, and what it shows."""

  title: str
  points: pd.DataFrame  # Of the data; a panel without any is not drawn.
  panel: Any = None  # What else `Kind.draw_panel` needs.
  # Of the figure. Panels of a figure of one row are wrapped; otherwise those
  # below each other belong together.
  row: Any = None


class Found(NamedTuple):
  """What a kind of figure found."""

  data: pd.DataFrame  # All points.
  cells: Sequence[Cell]  # In order, also empty ones.
  x_label: str | None = None  # In place of the kind's own.
  legend: Sequence[str] = ()  # Labels in order; () for the order of methods.
  face_notes: Sequence[str] = ()  # What only the figure's face says.
  notes: Sequence[str] | None = None  # In place of the request's.


@dataclasses.dataclass(frozen=True)
class Kind(abc.ABC):
  """A kind of figure: a dataclass of what its figures differ in."""

  title: str

  columns = 3  # Panels side by side, at most, in a figure of one row.
  x_label = y_label = ''  # Names of all axes; '' if panels name their own.
  intervals = style.SHADED  # Says what the intervals are; '' if none.
  empty = 'no finished run'  # What a panel lacks that has nothing to show.
  grid = dict[str, Any]()  # Arguments of `style.grid`.

  def draw(self, request: Request) -> Drawing:
    """Draws it; see `figures.draw`."""
    found = self.find(request)
    missing = [cell.title for cell in found.cells if not len(cell.points)]
    if len(missing) == len(found.cells):
      raise NothingToDraw(f'{self.empty} of {"; ".join(missing)}')
    notes = list(request.notes if found.notes is None else found.notes)
    if missing:
      notes.append(f'Not drawn, {self.empty}: {"; ".join(missing)}.')
    face = [*notes, *found.face_notes]
    if self.intervals:
      face.append(style.intervals(self.intervals, found.data.runs))
    rows = _places(found.cells, self.columns)
    x_label = self.x_label if found.x_label is None else found.x_label
    legend = found.legend or style.ordered(found.data.get('method', ()))
    handles: dict[str, Any] = {}
    with style.settings():
      figure, grid = style.grid(len(rows), len(rows[0]), **self.grid)
      for axes, cell in zip(grid.flat, itertools.chain(*rows)):
        if cell is not None:
          axes.set_title(cell.title)
          self.draw_panel(axes, cell)
          drawn, labels = axes.get_legend_handles_labels()
          handles.update(zip(labels, drawn))
      style.label_axes(grid, x_label, self.y_label)
      style.add_header(figure, self.title, face)
      if handles:
        # What is pointed out goes behind the lines.
        order = dict.fromkeys([*legend, *handles])
        style.add_legend(figure, {k: handles[k] for k in order if k in handles})
    return Drawing(found.data, notes, figure)

  @abc.abstractmethod
  def find(self, request: Request) -> Found:
    """Finds what is drawn, and counts its runs.

    Raises:
      NothingToDraw: there are no results, and more to say of it than which
        panels would be empty.
    """

  @abc.abstractmethod
  def draw_panel(self, axes: Any, cell: Cell) -> None:
    """Draws a panel that has points, with labels of what the legend shows."""


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


def line(axes: Any, x: Any, y: Any, look: style.Style, **kwargs: Any) -> None:
  """Draws a line."""
  kwargs = {'linestyle': look.line, 'marker': look.marker, **kwargs}
  axes.plot(x, y, color=look.color, **kwargs)


def curve(
  axes: Any, x: Any, y: Any, look: style.Style, marks: int = 6, **kwargs: Any
) -> None:
  """Draws a line of many points, on which a few markers tell it from others."""
  every = max(len(x) // marks, 1)
  line(axes, x, y, look, markevery=every, markersize=4.5, **kwargs)


def shade(axes: Any, x: Any, points: pd.DataFrame, color: str, alpha=0.13):
  """Draws the intervals of a line as an area."""
  low, high = points.return_low, points.return_high
  axes.fill_between(x, low, high, color=color, alpha=alpha, linewidth=0)


def bars(axes: Any, x: Any, points: pd.DataFrame, color: str, width=0.8):
  """Draws intervals as vertical lines: a single point has no area."""
  low, high = points.return_low, points.return_high
  axes.vlines(x, low, high, color=color, linewidth=width)


def level(axes: Any, y: float, method: str = 'Dense', **kwargs: Any) -> None:
  """Draws a horizontal line that other methods are compared with."""
  kwargs = {'linewidth': 0.9, 'linestyle': (0, (7, 3)), **kwargs}
  axes.axhline(y, color=style.of_method(method).color, **kwargs)


def mark(axes: Any, x: float, **kwargs: Any) -> None:
  """Draws a vertical line at a value that is pointed out."""
  axes.axvline(x, color=style.GRAY, linewidth=1.1, linestyle=':', **kwargs)


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
