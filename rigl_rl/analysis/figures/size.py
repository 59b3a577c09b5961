"""Return against parameters or FLOPs: one panel per task."""

from __future__ import annotations

import dataclasses
from typing import Any, Iterator

import pandas as pd
from matplotlib import patheffects

from rigl_rl.analysis.figures import base, mismatch, selection, style

# Graesser et al. mark the size of networks of this sparsity.
_MARKED = 0.8
# Sparsities are written along the first of these curves that there is.
_ANNOTATED = ('Pruning', 'RigL', 'SET', 'Static')


@dataclasses.dataclass(frozen=True)
class ReturnAgainstSize(base.Kind):
  """Figures 2 and 8 to 12 of Graesser et al."""

  rows: tuple[base.Panel, ...]  # Of panels, one per version of a task.

  y_label = 'final return'

  def find(self, request):
    x = request.options.x
    points, cells = [], []
    for row in self.rows:
      runs = request.take(
        row.select(request), ['task', 'method', 'size_sparsity', 'width']
      )
      for task in selection.tasks_of(runs, row.tasks):
        own = list(_points(runs[runs.task == task], row, request))
        points += own
        title = row.title + task
        cells.append(base.Cell(title, pd.DataFrame(own), x, row.title))
    return base.Found(pd.DataFrame(points), cells, base.AXES[x])

  def draw_panel(self, axes, cell):
    points, x = cell.points, cell.panel
    dense = points[points.method == 'Dense']
    if len(dense):
      full = dense.return_mean.iloc[0]
      base.level(axes, full, zorder=1, label='dense at full width')
    marked = _marked_position(points, dense, x)
    if marked is not None:
      base.mark(axes, marked, zorder=1, label=f'{100 * _MARKED:g} % sparse')
    for method in style.ordered(points.method):
      own = points[points.method == method]
      # The curve of dense networks ends in the one of full width.
      line = pd.concat([own, dense]) if method == 'Small dense' else own
      line = line.sort_values(x)
      look = style.of_method(method, points.method)
      base.shade(axes, line[x], line, look.color)
      base.line(axes, line[x], line.return_mean, look, marker='')
      base.bars(axes, own[x], own, look.color)
      base.line(axes, own[x], own.return_mean, look, linestyle='', zorder=3)
      base.line(axes, [], [], look, label=method)
    _annotate(axes, points, x)
    axes.margins(x=0.08, y=0.14)  # Room for annotations.
    style.log_axis(axes.xaxis, points[x])
    axes.yaxis.set_major_formatter(style.short_number)


def _points(
  runs: pd.DataFrame, row: base.Panel, request: base.Request
) -> Iterator[dict[str, Any]]:
  """A task's row of data for each method and size, in order."""
  for method in style.ordered(runs.method):
    of_method = runs[runs.method == method]
    # Widths bound as numbers match no sparsity; then each width is a point.
    keys = of_method.size_sparsity.round(6).astype(str)
    keys = keys.where(of_method.size_sparsity.notna(), of_method.width)
    sizes = [group for _, group in of_method.groupby(keys)]
    for group in sorted(sizes, key=lambda group: group.parameters.mean()):
      task, width = group.task.iloc[0], group.width.iloc[0]
      sparsity = round(float(group.size_sparsity.mean()), 6)
      is_dense = method in selection.DENSE
      stream = row.title, task, method, f'{sparsity:.6f}', width
      yield {
        'row': row.title.strip(', '),
        'task': task,
        'agent': row.agent,
        'network': row.network,
        'method': method,
        'sparsity': sparsity,
        'distribution': '' if is_dense else row.distribution,
        **group[list(base.AXES)].mean(),
        'biases': float((group.parameters - group.active_weights).mean()),
        'size_mismatch': mismatch.cell(group),
        **request.estimate(group, *stream),
      }


def _marked_position(
  points: pd.DataFrame, dense: pd.DataFrame, x: str
) -> float | None:
  """Where networks of 80 % sparsity are; None if that is not known."""
  near = points[(points.sparsity - _MARKED).abs() < 0.01]
  # A pruned network's training begins dense.
  for found in (
    near[~near.method.isin([*selection.DENSE, 'Pruning'])],
    near[near.method == 'Pruning'],
    near,
  ):
    if len(found):
      return float(found[x].mean())
  if x == 'parameters' and len(dense):
    biases = dense.biases.iloc[0]
    return (1 - _MARKED) * (dense.parameters.iloc[0] - biases) + biases
  return None


def _annotate(axes: Any, points: pd.DataFrame, x: str) -> None:
  """Writes sparsities along the pruning curve, or another if it is missing."""
  present = [method for method in _ANNOTATED if method in set(points.method)]
  for point in points[points.method.isin(present[:1])].to_dict('records'):
    axes.annotate(
      f'{100 * point["sparsity"]:.3g} %',
      (point[x], point['return_mean']),
      xytext=(0, 6),
      textcoords='offset points',
      horizontalalignment='center',
      fontsize=7,
      color='#333333',
      path_effects=[patheffects.withStroke(linewidth=2, foreground='white')],
      zorder=4,
    )
