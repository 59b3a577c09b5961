"""FLOPs against sparsity, from gin files alone: nothing is trained."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd

from rigl_rl.analysis.figures import base, style

_NAMES = {'erdos_renyi_kernel': 'ERK', 'uniform': 'Uniform'}


@dataclasses.dataclass(frozen=True)
class Panel:
  """A panel.

  Attributes:
    title: above it.
    gin_files: of a sparse network.
    gin_bindings: over them.
  """

  title: str
  gin_files: tuple[str, ...]
  gin_bindings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class FlopsAgainstSparsity(base.Kind):
  """Figure 7 of Graesser et al.: of one example's forward pass.

  Attributes:
    panels: in order.
    sparsities: at which FLOPs are counted.
  """

  panels: tuple[Panel, ...]
  sparsities: tuple[float, ...]

  x_label = 'sparsity in %'
  y_label = 'forward FLOPs of an example'
  intervals = ''
  grid = {'panel': (3.6, 2.6)}

  def find(self, request):
    read_costs = request.options.read_costs
    if read_costs is None:
      raise base.NothingToDraw(base.NO_COSTS)
    rows = [
      {'panel': panel.title, **row, 'runs': 0}
      for panel in self.panels
      for row in read_costs(
        panel.gin_files, panel.gin_bindings, self.sparsities
      )
    ]
    return self, pd.DataFrame(rows)

  def notes(self, request):
    return base.COUNTED

  def legend_order(self, labels):
    return labels

  def draw_panel(self, axes, panel, points, canvas):
    _draw_panel(axes, points, canvas.lines)


def _draw_panel(axes: Any, points: pd.DataFrame, lines: dict[str, Any]) -> None:
  dense = points.forward_flops.iloc[0] / points.forward_share.iloc[0]
  distributions = dict.fromkeys(points.distribution)
  for index, distribution in enumerate(distributions):
    own = points[points.distribution == distribution]
    look = style.of_setting(index + 1)
    lines[_NAMES.get(distribution, distribution)] = base.line(
      axes, 100 * own.sparsity, own.forward_flops, look, markersize=4
    )
  lines['dense'] = base.level(axes, dense)
  lines['80 % sparse'] = base.mark(axes, 80)
  axes.set_ylim(bottom=0)
  axes.yaxis.set_major_formatter(style.short_number)
  share = axes.secondary_yaxis(
    'right', functions=(lambda y: y / dense, lambda s: s * dense)
  )
  share.set_ylabel('share of dense')
