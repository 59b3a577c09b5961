"""How figures look: one color, marker and line style per method, everywhere.

Markers and line styles differ as colors do, and colors differ in lightness, so
that figures can be read in gray.
"""

from __future__ import annotations

import io
import math
import textwrap
from typing import Any, Collection, Iterable, Mapping, NamedTuple, Sequence

from matplotlib import colors, rc_context, ticker
from matplotlib.figure import Figure


class Style(NamedTuple):
  """How a method is drawn."""

  color: str
  marker: str
  line: Any
  hatch: str


_DASHED = (0, (5, 2))
_DOTTED = (0, (1.2, 1.5))
_DASH_DOT = (0, (5, 1.5, 1.2, 1.5))

# In the order of legends; a system of Sokar et al. looks like the most similar
# method.
_STYLES = {
  'Dense': Style('#1a1a1a', 's', '-', ''),
  'Small dense': Style('#808080', 'X', _DASHED, '....'),
  'Static': Style('#3cb583', '>', _DOTTED, '////'),
  'SET': Style('#1c5fb0', '<', _DASH_DOT, '\\\\\\\\'),
  'RigL': Style('#e8961a', 'o', '-', 'xxxx'),
  'Pruning': Style('#a3195b', 'D', _DASHED, '++++'),
  'TD3': Style('#1a1a1a', 's', '-', ''),
  'Static-TD3': Style('#3cb583', '>', _DOTTED, '////'),
  'DS-TD3': Style('#1c5fb0', 'o', _DASHED, '\\\\\\\\'),
  'SAC': Style('#e8961a', '^', _DASH_DOT, 'xxxx'),
  'DS-SAC': Style('#a3195b', 'D', '-', '++++'),
}
# For methods that are not ours, and for settings, in order.
_OTHERS = (
  Style('#1a1a1a', 's', '-', ''),
  Style('#2a78c8', 'o', _DASHED, '\\\\\\\\'),
  Style('#e08a00', '^', _DASH_DOT, 'xxxx'),
  Style('#a3195b', 'D', _DOTTED, '++++'),
  Style('#1b9e5a', 'v', '-', '////'),
  Style('#7a5fc0', 'P', _DASHED, '....'),
  Style('#8c5a2b', '*', _DASH_DOT, 'oo'),
)
GRAY = '#777777'
_MINUS = '\N{MINUS SIGN}'  # As matplotlib's own ticks have it.
SHADED = 'Shaded: 95 % confidence intervals.'

_SETTINGS = {
  'font.size': 9,
  'axes.titlesize': 10,
  'axes.labelsize': 9,
  'axes.grid': True,
  'axes.axisbelow': True,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'grid.color': '#dddddd',
  'grid.linewidth': 0.6,
  'hatch.linewidth': 0.5,
  'legend.frameon': False,
  'lines.linewidth': 1.5,
  'lines.markersize': 5.5,
  'pdf.fonttype': 42,  # Text stays text.
}


def settings():
  """A context in which figures are made: matplotlib's own apart from it."""
  return rc_context(_SETTINGS)


def ordered(methods: Iterable[str]) -> list[str]:
  """Returns methods in the order of legends, those not ours at the end."""
  methods = set(methods)
  known = [name for name in _STYLES if name in methods]
  return known + sorted(methods - set(_STYLES))


def of_method(method: str, among: Collection[str] = ()) -> Style:
  """Returns the style of a method, as the tables name it.

  Those not ours get the remaining styles, in order of names `among` all methods
  of the figure.
  """
  if method in _STYLES:
    return _STYLES[method]
  others = [name for name in ordered({*among, method}) if name not in _STYLES]
  # From the end of the list, which is least like the methods above.
  return _OTHERS[-1 - others.index(method) % len(_OTHERS)]


def of_setting(index: int) -> Style:
  """Returns the style of the n-th value of a setting, from 0."""
  turn, index = divmod(index, len(_OTHERS))
  # Colors return with another marker and line.
  look = _OTHERS[(index + turn) % len(_OTHERS)]
  return look._replace(color=_OTHERS[index].color)


def filled(look: Style) -> dict[str, Any]:
  """Returns how matplotlib draws a bar in a style, hiding what is behind it."""
  lighter = [0.45 + 0.55 * part for part in colors.to_rgb(look.color)]
  return {'color': lighter, 'hatch': look.hatch, 'edgecolor': look.color}


def grid(
  rows: int,
  columns: int,
  panel: tuple[float, float] = (2.6, 2.2),
  **kwargs: Any,
) -> tuple[Figure, Any]:
  """Makes a figure of panels, without pyplot, which is global state.

  `panel` is the width and height of each, in inches; `kwargs` are of
  `Figure.subplots`. Returns the figure and an array [rows, columns] of axes.
  """
  width = max(panel[0] * columns + 0.6, 5.0)
  figure = Figure(
    figsize=(width, panel[1] * rows + 1.3), dpi=150, layout='constrained'
  )
  return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def add_header(figure: Figure, title: str, notes: Sequence[str]) -> None:
  """Writes title and notes above the panels; makes room for them."""
  # About 14 letters to an inch at this size.
  width = int(14 * figure.get_figwidth())
  text = ' '.join(notes).replace(' %', '\N{NO-BREAK SPACE}%')
  lines = textwrap.wrap(title, width) + textwrap.wrap(text, width)
  _make_room(figure, len(lines))
  figure.suptitle(
    '\n'.join(lines), x=0.01, horizontalalignment='left', fontsize=9.5
  )


def _make_room(figure: Figure, lines: int) -> None:
  """Makes a figure higher for text of more than two lines."""
  figure.set_figheight(figure.get_figheight() + 0.17 * max(lines - 2, 0))


def intervals(text: str, runs: Sequence[int]) -> str:
  """Says what intervals are, unless each point is of a single run."""
  if max(runs) == 1:
    return 'Points of one run, without intervals.'
  return f'{text} Points of one run have none.' if min(runs) == 1 else text


def add_legend(figure: Figure, handles: Mapping[str, Any]) -> None:
  """Writes the legend below all panels, in as many columns as fit; makes room.

  All panels have been drawn; `handles` are by label.
  """
  longest = max(map(len, handles), default=1)
  room = max(int(figure.get_figwidth() / (0.55 + 0.075 * longest)), 1)
  # Rows of even length.
  columns = math.ceil(len(handles) / math.ceil(len(handles) / room))
  _make_room(figure, math.ceil(len(handles) / columns))
  figure.legend(
    list(handles.values()),
    list(handles),
    loc='outside lower center',
    ncols=columns,
    handlelength=3.2,
  )


def label_axes(axes: Any, x: str, y: str) -> None:
  """Names the outer axes of a figure, and hides panels without data.

  Args:
    axes: an array [rows, columns].
    x: name of the lowest x axis in each column; '' if panels have their own.
    y: name of the first y axis in each row; '' if panels have their own.
  """
  for cell in axes.flat:
    if not cell.has_data():
      cell.set_axis_off()
  for column in axes.T:
    for cell in [cell for cell in column if cell.axison][-1:]:
      cell.set_xlabel(x or cell.get_xlabel())
      cell.tick_params(labelbottom=True)  # A panel below may hide it.
  for row in axes:
    for cell in [cell for cell in row if cell.axison][:1]:
      cell.set_ylabel(y or cell.get_ylabel())


def short_number(value: float, _: Any = None) -> str:
  """Writes a number as ticks have it: 20k, 2.5M, 1e14."""
  for size, unit in ((1e12, None), (1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
    if abs(value) >= size:
      return _written(value / size, 4) + unit if unit else _written(value, 3)
  return _written(value, 4)


def setting(value: float) -> str:
  """Writes a setting as gin files do: 1,000, 0.3, 1e-4."""
  if 0 < abs(value) < 0.01:
    mantissa, _, exponent = f'{value:e}'.partition('e')
    return f'{float(mantissa):g}e{int(exponent)}'.replace('-', _MINUS)
  return f'{value:,g}'.replace('-', _MINUS)


def percent(share: float) -> str:
  """Writes a signed share in percent: +5.6 %."""
  return f'{100 * share:+.1f} %'.replace('-', _MINUS)


def _written(value: float, digits: int) -> str:
  return f'{value:.{digits}g}'.replace('e+', 'e').replace('-', _MINUS)


def log_axis(axis: Any, values: Sequence[float]) -> None:
  """Makes an axis of these values logarithmic, with ticks that read easily."""
  getattr(axis.axes, f'set_{axis.axis_name}scale')('log')
  ratio = max(values) / min(values) if min(values) > 0 else 10
  # Within two decades, powers of ten would be too few ticks.
  subs = (1.0,) if ratio > 100 else (1.0, 3.0) if ratio > 10 else (1, 2, 5)
  locator = ticker.LogLocator(base=10, subs=subs, numticks=12)
  axis.set_major_locator(ticker.MaxNLocator(5) if ratio < 4 else locator)
  axis.set_minor_locator(ticker.NullLocator())
  axis.set_major_formatter(ticker.FuncFormatter(short_number))


def rendered(figure: Figure, kind: str) -> bytes:
  """Returns a figure as 'png' or 'pdf'; the same one gives the same bytes."""
  metadata = {'pdf': {'CreationDate': None}, 'png': {'Software': None}}[kind]
  buffer = io.BytesIO()
  with settings():
    figure.savefig(buffer, format=kind, metadata=metadata)
  return buffer.getvalue()
