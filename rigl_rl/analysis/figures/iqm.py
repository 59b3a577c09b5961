"""Interquartile means over tasks: a row a method, a panel a sparsity."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import ticker

from rigl_rl import wording
from rigl_rl.analysis import normalization, statistics, tables
from rigl_rl.analysis.figures import base, mismatch, selection, style

# As the paper orders them, from top to bottom.
METHODS = ('Dense', 'Small dense', 'Static', 'SET', 'RigL', 'Pruning')


@dataclasses.dataclass(frozen=True)
class Panel:
  """A panel.

  Attributes:
    title: above it.
    agent: 'DQN', 'SAC' or 'PPO'.
    network: 'MLP', 'CNN' or 'ResNet'.
    sparsity: of sparse networks, and of those that small dense ones are as
      large as. The dense networks of full width are the same in all panels.
    tasks: that are averaged over.
    train_steps: of the paper's runs.
  """

  title: str
  agent: str
  network: str
  sparsity: float
  tasks: tuple[str, ...]
  train_steps: int


@dataclasses.dataclass(frozen=True)
class InterquartileMeans:
  """Figures 1 and 15 to 18 of Graesser et al.

  Attributes:
    panels: in order.
    columns: panels side by side.
  """

  panels: tuple[Panel, ...]
  columns: int = 2

  def draw(
    self, name: str, title: str, results: tables.Results, options: base.Options
  ) -> base.Drawing:
    """Draws it; see `figures.draw`."""
    progress = selection.Progress(options.planned.get(name))
    references = options.references
    if references is None:
      dense = selection.dense_sac(results.runs)
      references = dense.groupby('task').final_score.mean().to_dict()
      for panel in self.panels:
        # They are behind the figure, too, though PPO's has no bar of them.
        own = dense[dense.task.isin(selection.tasks_of(dense, panel.tasks))]
        progress.add(own, own)
        progress.add_length(own, panel.train_steps)
    points, reasons, panels = [], [], []
    for panel in self.panels:
      runs = _runs(panel, results.runs, progress)
      scores = [
        normalization.normalize(score, task, references)
        for score, task in zip(runs.final_score, runs.task)
      ]
      runs = runs.assign(normalized=np.array(scores, dtype=float))
      unknown = sorted(set(runs.task[runs.normalized.isna()]))
      if unknown:
        reason = (
          f'Left out: {", ".join(unknown)}, without a dense SAC score above 0 '
          'to normalize by.'
        )
        reasons.append(reason)
        progress.add(runs[:0], runs[:0], [reason])
      runs = runs[runs.normalized.notna()]
      progress.add(runs, runs)
      for version, own in selection.by_version(runs):
        part = dataclasses.replace(panel, title=panel.title + version)
        panels.append(part)
        for method in METHODS:
          point = _point(own[own.method == method], part, method, name, options)
          if point:
            points.append(point)
    if not points:
      wanted = ', '.join(
        dict.fromkeys(f'{p.agent} ({p.network})' for p in self.panels)
      )
      raise base.NothingToDraw(
        ' '.join(dict.fromkeys(reasons)) or f'no finished run of {wanted}'
      )
    data = pd.DataFrame(points)
    spec = dataclasses.replace(self, panels=tuple(panels))
    figure = _figure(spec, title, data, progress.notes)
    return base.Drawing(data, progress.notes, figure)


def _runs(
  panel: Panel, runs: pd.DataFrame, progress: selection.Progress
) -> pd.DataFrame:
  """The finished runs of a panel; notes how many others there are."""
  chosen = selection.select(
    runs, panel.agent, panel.network, panel.tasks, by_task=False
  )
  own = chosen.runs
  own = own[own.method.isin(METHODS)]
  is_dense = own.method.isin(['Dense', 'Small dense'])
  own = own[is_dense | (own.distribution == 'erdos_renyi_kernel')]
  same_size = (own.size_sparsity - panel.sparsity).abs() < 1e-6
  own = own[same_size | (own.method == 'Dense')]
  finished = own[own.finished.astype(bool) & own.final_score.notna()]
  finished, notes = selection.once_a_seed(finished, ['task', 'method'])
  progress.add(finished[:0], own, [*chosen.notes, *notes])
  progress.add_length(own, panel.train_steps)
  return finished


def _point(
  runs: pd.DataFrame,
  panel: Panel,
  method: str,
  name: str,
  options: base.Options,
) -> Mapping[str, Any] | None:
  if not len(runs):
    return None
  by_task = {
    task: group.normalized.to_numpy() for task, group in runs.groupby('task')
  }
  most = max(map(len, by_task.values()))
  scores = np.full((most, len(by_task)), math.nan)
  for column, values in enumerate(by_task.values()):
    scores[: len(values), column] = values
  estimate = statistics.interquartile_mean(
    scores, name, panel.title, method, resamples=options.resamples
  )
  return {
    'panel': panel.title,
    'agent': panel.agent,
    'network': panel.network,
    'method': method,
    'sparsity': 0.0 if method == 'Dense' else panel.sparsity,
    'iqm': estimate.value,
    'iqm_low': estimate.low,
    'iqm_high': estimate.high,
    'runs': estimate.runs,
    'tasks': ' '.join(f'{task}:{len(v)}' for task, v in by_task.items()),
    'num_tasks': len(by_task),
    'size_mismatch': mismatch.cell(runs),
  }


def _figure(
  spec: InterquartileMeans,
  title: str,
  data: pd.DataFrame,
  notes: Sequence[str],
) -> Any:
  columns = min(spec.columns, len(spec.panels))
  num_rows = -(-len(spec.panels) // columns)
  with style.settings():
    figure, axes = style.grid(num_rows, columns, panel=(4.2, 2.1))
    for cell, panel in zip(axes.flat, spec.panels):
      points = data[data.panel == panel.title]
      cell.set_title(panel.title)
      if len(points):
        _draw_panel(cell, points, panel)
      else:
        style.say_empty(cell)
    _label_x(axes, spec)
    intervals = style.intervals('Bars: 95 % confidence intervals.', data.runs)
    style.add_header(figure, title, [*notes, intervals])
  return figure


def _label_x(axes: Any, spec: InterquartileMeans) -> None:
  """Names the x axes: of all panels, if they are not normalized alike."""
  names = [
    'IQM of scores normalized by '
    + ('human' if panel.agent == 'DQN' else 'dense SAC')
    for panel in spec.panels
  ]
  if len(set(names)) == 1:
    style.label_x(axes, names[0])
    return
  for cell, name in zip(axes.flat, names):
    if cell.get_frame_on():
      cell.set_xlabel(name)


def _draw_panel(axes: Any, points: pd.DataFrame, panel: Panel) -> None:
  names = []
  for position, (_, point) in enumerate(points.iterrows()):
    look = style.of_method(point.method)
    if math.isfinite(point.iqm_low):
      axes.barh(
        position,
        point.iqm_high - point.iqm_low,
        left=point.iqm_low,
        height=0.62,
        color=style.tint(look.color),
        hatch=look.hatch,
        edgecolor=look.color,
        linewidth=0.6,
      )
    axes.plot(
      point.iqm,
      position,
      color=look.color,
      marker=look.marker,
      markeredgecolor='white',
      markeredgewidth=0.7,
      markersize=7.5,
    )
    name = 'Dense: 100 %' if point.method == 'Dense' else point.method
    missing = len(panel.tasks) - point.num_tasks
    names.append(
      f'{name}\n{wording.count(point.runs, "run")}'
      + (f', {point.num_tasks} of {len(panel.tasks)} tasks' if missing else '')
    )
  axes.set_yticks(range(len(names)), names, fontsize=7.5)
  axes.set_ylim(len(names) - 0.5, -0.5)
  axes.grid(visible=False, axis='y')
  # A bar's end is no end of the axis.
  axes.use_sticky_edges = False
  axes.margins(x=0.06)
  axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
