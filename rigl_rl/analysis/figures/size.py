"""Return against parameters or FLOPs: a line a method, a panel a task."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Sequence

import pandas as pd
from matplotlib import patheffects

from rigl_rl.analysis import statistics, tables
from rigl_rl.analysis.figures import base, mismatch, selection, style
from rigl_rl.errors import UserError

AXES = {
  'parameters': 'parameters',
  'forward_flops': 'forward FLOPs of an example',
  'training_flops': 'FLOPs of the training',
}
_DENSE = ('Dense', 'Small dense')
# Graesser et al. mark the size of networks of this sparsity.
_MARKED = 0.8
# Sparsities are written along the first of these curves that there is.
_ANNOTATED = ('Pruning', 'RigL', 'SET', 'Static')


@dataclasses.dataclass(frozen=True)
class Row:
  """Panels that begin a row of the figure.

  Attributes:
    title: before the task's name, such as 'SAC, '; '' for none.
    agent: 'DQN', 'SAC' or 'PPO'.
    network: 'MLP', 'CNN' or 'ResNet'.
    tasks: without versions, in order; each version that there are runs of has
      a panel.
    train_steps: of the paper's runs.
    distribution: of sparse networks.
  """

  title: str
  agent: str
  network: str
  tasks: tuple[str, ...]
  train_steps: int
  distribution: str = 'erdos_renyi_kernel'


@dataclasses.dataclass(frozen=True)
class ReturnAgainstSize:
  """Figures 2 and 8 to 12 of Graesser et al.

  Attributes:
    rows: of panels.
    columns: panels side by side.
  """

  rows: tuple[Row, ...]
  columns: int = 3

  def draw(
    self, name: str, title: str, results: tables.Results, options: base.Options
  ) -> base.Drawing:
    """Draws it; see `figures.draw`."""
    if options.x not in AXES:
      raise UserError(
        f'--x is {options.x!r}, but must be one of {", ".join(AXES)}.'
      )
    progress = selection.Progress(options.planned.get(name))
    points, rows = [], []
    for row in self.rows:
      chosen = selection.select(results.runs, row.agent, row.network, row.tasks)
      runs, notes = selection.once_a_seed(
        _of_distribution(chosen.finished, row.distribution),
        ['task', 'method', 'size_sparsity', 'width'],
      )
      progress.add(
        runs,
        _of_distribution(chosen.runs, row.distribution),
        [*chosen.notes, *notes],
      )
      progress.add_length(runs, row.train_steps)
      tasks = selection.tasks_of(runs, row.tasks)
      rows.append(dataclasses.replace(row, tasks=tasks))
      for task in tasks:
        points += _points(runs[runs.task == task], row, task, name, options)
    if not points:
      raise base.NothingToDraw(
        'no finished run of '
        + ' or '.join(
          dict.fromkeys(
            f'{row.agent} ({row.network}) on {", ".join(row.tasks)}'
            for row in self.rows
          )
        )
      )
    data = pd.DataFrame(points)
    notes = progress.notes
    spec = dataclasses.replace(self, rows=tuple(rows))
    figure = _figure(spec, title, data, notes, options.x)
    return base.Drawing(data, notes, figure)


def _of_distribution(runs: pd.DataFrame, distribution: str) -> pd.DataFrame:
  # A dense network has none, whatever is bound.
  return runs[runs.method.isin(_DENSE) | (runs.distribution == distribution)]


def _points(
  runs: pd.DataFrame,
  row: Row,
  task: str,
  name: str,
  options: base.Options,
) -> list[dict[str, Any]]:
  """A row of data for each method and size, in order."""
  points = []
  for method in style.ordered(runs.method):
    of_method = runs[runs.method == method]
    # Widths given by hand stand for no sparsity; then each width is a point.
    keys = of_method.size_sparsity.round(6).astype(str)
    keys = keys.where(of_method.size_sparsity.notna(), of_method.width)
    sizes = [group for _, group in of_method.groupby(keys)]
    sizes.sort(key=lambda group: group.parameters.mean())
    for group in sizes:
      sparsity = round(float(group.size_sparsity.mean()), 6)
      estimate = statistics.mean(
        group.final_score,
        *(
          name,
          row.title,
          task,
          method,
          f'{sparsity:.6f}',
          group.width.iloc[0],
        ),
        resamples=options.resamples,
      )
      points.append(
        {
          'row': row.title.strip(', '),
          'task': task,
          'agent': row.agent,
          'network': row.network,
          'method': method,
          'sparsity': sparsity,
          'distribution': '' if method in _DENSE else row.distribution,
          **{axis: float(group[axis].mean()) for axis in AXES},
          'biases': float((group.parameters - group.active_weights).mean()),
          'size_mismatch': mismatch.cell(group),
          'return_mean': estimate.value,
          'return_low': estimate.low,
          'return_high': estimate.high,
          'runs': estimate.runs,
          'seeds': ' '.join(str(seed) for seed in sorted(group.seed)),
        }
      )
  return points


def _figure(
  spec: ReturnAgainstSize,
  title: str,
  data: pd.DataFrame,
  notes: Sequence[str],
  x: str,
) -> Any:
  columns = min(spec.columns, max(len(row.tasks) for row in spec.rows))
  num_rows = sum(math.ceil(len(row.tasks) / columns) for row in spec.rows)
  lines: dict[str, Any] = {}
  marks: dict[str, Any] = {}
  with style.settings():
    figure, axes = style.grid(num_rows, columns)
    position = 0
    for row in spec.rows:
      position = math.ceil(position / columns) * columns
      for task in row.tasks:
        cell = axes.flat[position]
        cell.set_title(row.title + task)
        points = data[(data.row == row.title.strip(', ')) & (data.task == task)]
        if len(points):
          _draw_panel(cell, points, x, lines, marks)
        else:
          style.say_empty(cell)
        position += 1
    style.label_x(axes, AXES[x])
    style.label_y(axes, 'final return')
    intervals = style.intervals(style.SHADED, data.runs)
    style.add_header(figure, title, [*notes, intervals])
    methods = {label: lines[label] for label in style.ordered(lines)}
    style.add_legend(figure, {**methods, **marks})
  return figure


def _draw_panel(
  axes: Any,
  points: pd.DataFrame,
  x: str,
  lines: dict[str, Any],
  marks: dict[str, Any],
) -> None:
  """Draws a task; adds what the legend shows to `lines` and `marks`."""
  dense = points[points.method == 'Dense']
  if len(dense):
    marks['dense at full width'] = axes.axhline(
      dense.return_mean.iloc[0],
      color=style.of_method('Dense').color,
      linewidth=0.9,
      linestyle=(0, (7, 3)),
      zorder=1,
    )
  marked = _marked_position(points, x)
  if marked is not None:
    marks[f'{100 * _MARKED:g} % sparse'] = axes.axvline(
      marked, color=style.GRAY, linewidth=1.1, linestyle=':', zorder=1
    )
  for method in style.ordered(points.method):
    own = points[points.method == method]
    # The curve of dense networks ends in the one of full width.
    line = pd.concat([own, dense]) if method == 'Small dense' else own
    line = line.sort_values(x)
    look = style.of_method(method, points.method)
    axes.fill_between(
      line[x],
      line.return_low,
      line.return_high,
      color=look.color,
      alpha=0.13,
      linewidth=0,
    )
    axes.plot(line[x], line.return_mean, color=look.color, linestyle=look.line)
    # A point that has no neighbor has no area.
    axes.vlines(
      own[x], own.return_low, own.return_high, color=look.color, linewidth=0.8
    )
    axes.plot(
      own[x],
      own.return_mean,
      color=look.color,
      marker=look.marker,
      linestyle='',
      zorder=3,
    )
    (lines[method],) = axes.plot(
      [], [], color=look.color, linestyle=look.line, marker=look.marker
    )
  _annotate(axes, points, x)
  axes.margins(x=0.08, y=0.14)  # Room for annotations.
  style.log_axis(axes.xaxis, points[x].min(), points[x].max())
  axes.yaxis.set_major_formatter(style.short_number)


def _marked_position(points: pd.DataFrame, x: str) -> float | None:
  """Where networks of 80 % sparsity are, if that can be told."""
  near = points[(points.sparsity - _MARKED).abs() < 0.01]
  # A pruned network's training begins dense.
  for found in (
    near[~near.method.isin([*_DENSE, 'Pruning'])],
    near[near.method == 'Pruning'],
    near,
  ):
    if len(found):
      return float(found[x].mean())
  dense = points[points.method == 'Dense']
  if x == 'parameters' and len(dense):
    biases = dense.biases.iloc[0]
    return (1 - _MARKED) * (dense.parameters.iloc[0] - biases) + biases
  return None


def _annotate(axes: Any, points: pd.DataFrame, x: str) -> None:
  """Writes sparsities along the pruning curve, or another if it is missing."""
  for method in _ANNOTATED:
    line = points[points.method == method]
    if len(line):
      break
  else:
    return
  for _, point in line.iterrows():
    axes.annotate(
      f'{100 * point.sparsity:.3g} %',
      (point[x], point.return_mean),
      xytext=(0, 6),
      textcoords='offset points',
      horizontalalignment='center',
      fontsize=7,
      color='#333333',
      path_effects=[patheffects.withStroke(linewidth=2, foreground='white')],
      zorder=4,
    )
