"""Interquartile means over tasks: one row per method."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import ticker

from rigl_rl import wording
from rigl_rl.analysis import normalization, statistics
from rigl_rl.analysis.figures import base, mismatch, selection, style

# As the paper orders them, from top to bottom.
METHODS = ('Dense', 'Small dense', 'Static', 'SET', 'RigL', 'Pruning')


@dataclasses.dataclass(frozen=True)
class InterquartileMeans(base.Kind):
  """Figures 1 and 15 to 18 of Graesser et al."""

  panels: tuple[base.Panel, ...]

  columns = 2
  intervals = 'Bars: 95 % confidence intervals.'
  grid = {'panel': (4.2, 2.1)}

  def find(self, request):
    references = request.options.references
    if references is None:
      dense = selection.dense_sac(request.results.runs)
      references = dense.groupby('task').final_score.mean().to_dict()
      for panel in self.panels:
        # They are behind the figure, too, though PPO's has no bar of them.
        own = dense[dense.task.isin(selection.tasks_of(dense, panel.tasks))]
        request.add(own, own)
    points, reasons, panels = [], [], []
    for panel in self.panels:
      runs = _runs(panel, request)
      scores = [
        normalization.normalize(score, task, references)
        for score, task in zip(runs.final_score, runs.task)
      ]
      runs = runs.assign(normalized=np.array(scores, dtype=float))
      unknown = sorted(set(runs.task[runs.normalized.isna()]))
      if unknown:
        reasons.append(
          f'Left out: {", ".join(unknown)}, without a dense SAC score above 0 '
          'to normalize by.'
        )
      runs = runs[runs.normalized.notna()]
      request.add(runs, runs, reasons[-1:] if unknown else [])
      for part, own in panel.by_version(runs):
        panels.append(part)
        points += [
          _point(own[own.method == method], part, method, request)
          for method in METHODS
          if (own.method == method).any()
        ]
    if not points:
      wanted = dict.fromkeys(f'{p.agent} ({p.network})' for p in self.panels)
      why = ' '.join(dict.fromkeys(reasons))
      raise base.NothingToDraw(why or f'no finished run of {", ".join(wanted)}')
    data = pd.DataFrame(points)
    units = {_axis(p) for p in panels if (data.panel == p.title).any()}
    x_label = units.pop() if len(units) == 1 else ''
    cells = [
      cell._replace(panel=(cell.panel, '' if x_label else _axis(cell.panel)))
      for cell in base.cells(data, panels)
    ]
    return base.Found(data, cells, x_label)

  def draw_panel(self, axes, cell):
    panel, x_label = cell.panel
    axes.set_xlabel(x_label)
    names = []
    for position, (_, point) in enumerate(cell.points.iterrows()):
      look = style.of_method(point.method)
      if math.isfinite(point.iqm_low):
        bar = position, point.iqm_high - point.iqm_low, 0.62, point.iqm_low
        axes.barh(*bar, **style.filled(look), linewidth=0.6)
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
      wanted = len(panel.tasks)
      missing = point.num_tasks < wanted
      names.append(
        f'{name}\n{wording.count(point.runs, "run")}'
        + (f', {point.num_tasks} of {wanted} tasks' if missing else '')
      )
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis='y')
    # A bar's end is no end of the axis.
    axes.use_sticky_edges = False
    axes.margins(x=0.06)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5))


def _runs(panel: base.Panel, request: base.Request) -> pd.DataFrame:
  """The finished runs of a panel; notes how many others there are."""
  own = panel.select(request, by_task=False, methods=METHODS)
  same_size = (own.size_sparsity - panel.sparsity).abs() < 1e-6
  own = own[same_size | (own.method == 'Dense')]
  finished, notes = selection.once_a_seed(
    selection.finished(own), ['task', 'method']
  )
  # Only their references tell which of them are drawn.
  request.add(finished[:0], own, notes)
  return finished


def _point(
  runs: pd.DataFrame, panel: base.Panel, method: str, request: base.Request
) -> dict[str, Any]:
  by_task = {
    task: own.to_numpy() for task, own in runs.groupby('task').normalized
  }
  scores = pd.DataFrame.from_dict(by_task, orient='index').T
  estimate = statistics.interquartile_mean(
    scores.to_numpy(),
    *(request.name, panel.title, method),
    resamples=request.options.resamples,
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


def _axis(panel: base.Panel) -> str:
  reference = 'human' if panel.agent == 'DQN' else 'dense SAC'
  return f'IQM of scores normalized by {reference}'
