"""FLOPs against sparsity, counted from gin files: nothing is trained."""

from __future__ import annotations

import dataclasses
from typing import Mapping

import pandas as pd

from rigl_rl.analysis.figures import base, style

_NAMES = {'erdos_renyi_kernel': 'ERK', 'uniform': 'Uniform'}


@dataclasses.dataclass(frozen=True)
class FlopsAgainstSparsity(base.Kind):
  """Figure 7 of Graesser et al.: of one example's forward pass.

  Attributes:
    gin_files: of a sparse network, by the title of its panel.
    gin_bindings: over them.
    sparsities: at which FLOPs are counted.
  """

  gin_files: Mapping[str, str]
  gin_bindings: tuple[str, ...]
  sparsities: tuple[float, ...]

  x_label = 'sparsity in %'
  y_label = 'forward FLOPs per example'
  intervals = ''
  grid = {'panel': (3.6, 2.6)}

  def find(self, request):
    read_costs = request.options.read_costs
    if read_costs is None:
      raise base.NothingToDraw(base.NO_COSTS)
    data = pd.DataFrame(
      {'panel': title, **row, 'runs': 0}
      for title, file in self.gin_files.items()
      for row in read_costs((file,), self.gin_bindings, self.sparsities)
    )
    cells = [base.Cell(*panel) for panel in data.groupby('panel', sort=False)]
    return base.Found(data, cells, notes=base.COUNTED)

  def draw_panel(self, axes, cell, canvas):
    points = cell.points
    dense = points.forward_flops.iloc[0] / points.forward_share.iloc[0]
    distributions = points.groupby('distribution', sort=False)
    for index, (distribution, own) in enumerate(distributions, 1):
      canvas.lines[_NAMES.get(distribution, distribution)] = base.line(
        axes,
        100 * own.sparsity,
        own.forward_flops,
        style.of_setting(index),
        markersize=4,
      )
    canvas.marks['dense'] = base.level(axes, dense)
    canvas.marks['80 % sparse'] = base.mark(axes, 80)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(style.short_number)
    share = axes.secondary_yaxis(
      'right', functions=(lambda y: y / dense, lambda s: s * dense)
    )
    share.set_ylabel('share of dense')
