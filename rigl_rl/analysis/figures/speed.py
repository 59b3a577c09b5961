"""Time against sparsity, as `launch.benchmark` measures it."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, Sequence

import numpy as np
import pandas as pd

from rigl_rl.analysis.figures import base, style

_REFERENCE = 'dense'
_NAMES = {
  'masked': 'masked storage',
  'sparse': 'sparse storage',
  'auto': 'automatic storage',
  'sparseprop': 'SparseProp',
}


def relative_times(rates: Mapping[str, Sequence[float]]) -> pd.DataFrame:
  """Returns how long each contender takes, as multiples of the dense one.

  Args:
    rates: by contender, steps/s in each turn. Those called 'sparse_90' have
      90 % sparsity; but for 'dense', others are left out.

  Returns:
    A row each: `storage`, `sparsity`, the median `time` of all turns, each
    divided by the dense one's of the same turn, the least `low` and the
    greatest `high`, `steps_per_second` (a median) and the number of `turns`.
    Empty if there is no dense contender.
  """
  rows = []
  for contender, values in rates.items():
    storage, _, percent = contender.partition('_')
    if storage in _NAMES and percent.isdigit() and _REFERENCE in rates:
      times = np.divide(rates[_REFERENCE], values)
      rows.append(
        {
          'storage': storage,
          'sparsity': int(percent) / 100,
          'time': np.median(times),
          'low': times.min(),
          'high': times.max(),
          'steps_per_second': np.median(values),
          'turns': len(values),
        }
      )
  return pd.DataFrame(rows)


@dataclasses.dataclass(frozen=True)
class TimeAgainstSparsity(base.Kind):
  """Relative times beside the ideal, the share of active weights."""

  # Of `relative_times`, not empty; with a column `width`, a panel each.
  times: pd.DataFrame
  notes: Sequence[str] = ()

  x_label = 'sparsity in %'
  y_label = 'time, dense = 1'
  intervals = ''
  grid = {'panel': (4.6, 2.8)}

  def find(self, request):
    cells = [base.Cell('', self.times)]
    if 'width' in self.times:
      cells = [
        base.Cell(f'width {width:g}', rows)
        for width, rows in self.times.groupby('width')
      ]
    legend = list(_NAMES.values())
    return base.Found(self.times, cells, legend=legend, notes=self.notes)

  def draw_panel(self, axes, cell):
    times = cell.points
    shown = [name for name in _NAMES if name in set(times.storage)]
    for index, storage in enumerate(shown, start=1):
      own = times[times.storage == storage].sort_values('sparsity')
      look = style.of_setting(index)
      axes.errorbar(
        (100 * own.sparsity).to_numpy(),
        own.time.to_numpy(),
        yerr=[
          (own.time - own.low).to_numpy(),
          (own.high - own.time).to_numpy(),
        ],
        color=look.color,
        linestyle=look.line,
        marker=look.marker,
        capsize=2,
        label=_NAMES[storage],
      )
    base.level(axes, 1, label=_REFERENCE)
    ideal = {'color': style.GRAY, 'linewidth': 1.1, 'linestyle': ':'}
    axes.plot([0, 100], [1, 0], label='ideal: active weights', **ideal)
    axes.set_xlim(min(100 * times.sparsity.min() - 5, 45), 100)
    axes.set_ylim(0, 1.08 * max(1, times.high.max()))


def time_against_sparsity(
  times: pd.DataFrame, title: str, notes: Sequence[str] = ()
) -> Any:
  """Draws relative times; returns matplotlib's figure."""
  kind = TimeAgainstSparsity(title, times, notes)
  return kind.draw(base.Request('speed')).figure
