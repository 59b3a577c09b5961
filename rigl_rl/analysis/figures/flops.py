"""FLOPs against sparsity, from gin files alone: nothing is trained."""

from __future__ import annotations

import dataclasses
from typing import Any, Sequence

import pandas as pd

from rigl_rl.analysis import tables
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
class FlopsAgainstSparsity:
  """Figure 7 of Graesser et al.: of one example's forward pass.

  Attributes:
    panels: in order.
    sparsities: at which FLOPs are counted.
  """

  panels: tuple[Panel, ...]
  sparsities: tuple[float, ...]

  def draw(
    self, name: str, title: str, results: tables.Results, options: base.Options
  ) -> base.Drawing:
    """Draws it; see `figures.draw`. Results play no part."""
    del name, results
    if options.read_costs is None:
      raise base.NothingToDraw(
        'costs are read by python -m launch.figures alone'
      )
    rows = []
    for panel in self.panels:
      for row in options.read_costs(
        panel.gin_files, panel.gin_bindings, self.sparsities
      ):
        rows.append({'panel': panel.title, **row, 'runs': 0})
    data = pd.DataFrame(rows)
    notes = ['Counted, not trained.']
    return base.Drawing(data, notes, _figure(self, title, data, notes))


def _figure(
  spec: FlopsAgainstSparsity,
  title: str,
  data: pd.DataFrame,
  notes: Sequence[str],
) -> Any:
  lines: dict[str, Any] = {}
  with style.settings():
    figure, axes = style.grid(1, len(spec.panels), panel=(3.6, 2.6))
    for cell, panel in zip(axes.flat, spec.panels):
      points = data[data.panel == panel.title]
      dense = points.forward_flops.iloc[0] / points.forward_share.iloc[0]
      cell.set_title(panel.title)
      distributions = dict.fromkeys(points.distribution)
      for index, distribution in enumerate(distributions):
        own = points[points.distribution == distribution]
        look = style.of_setting(index + 1)
        label = _NAMES.get(distribution, distribution)
        (lines[label],) = cell.plot(
          100 * own.sparsity,
          own.forward_flops,
          color=look.color,
          linestyle=look.line,
          marker=look.marker,
          markersize=4,
        )
      lines['dense'] = cell.axhline(
        dense,
        color=style.of_method('Dense').color,
        linewidth=0.9,
        linestyle=(0, (7, 3)),
      )
      lines['80 % sparse'] = cell.axvline(
        80, color=style.GRAY, linewidth=1.1, linestyle=':'
      )
      cell.set_ylim(bottom=0)
      cell.yaxis.set_major_formatter(style.short_number)
      share = cell.secondary_yaxis(
        'right', functions=(lambda y, d=dense: y / d, lambda s, d=dense: s * d)
      )
      share.set_ylabel('share of dense')
    axes[0, 0].set_ylabel('forward FLOPs of an example')
    style.label_x(axes, 'sparsity in %')
    style.add_header(figure, title, notes)
    style.add_legend(figure, lines)
  return figure
