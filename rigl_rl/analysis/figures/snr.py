"""Signal-to-noise ratio of gradients over training: one line per sparsity."""

from __future__ import annotations

import dataclasses
from typing import Any, Iterator

import pandas as pd

from rigl_rl import wording
from rigl_rl.analysis import events
from rigl_rl.analysis.figures import base, style

_PREFIX = 'gradients/snr'
_COLUMNS = ('panel', 'method', 'sparsity', 'step', 'snr', 'tasks', 'runs')


@dataclasses.dataclass(frozen=True)
class SnrOverTraining(base.Kind):
  """Figure 5 of Graesser et al.

  A line is the mean over tasks of the mean over seeds. It has `bins` points;
  ratios between two of them are averaged.
  """

  panels: tuple[base.Panel, ...]
  methods: tuple[str, ...] = ('Dense', 'RigL')
  bins: int = 40

  x_label = 'environment steps'
  y_label = 'SNR of gradients'
  intervals = ''
  empty = 'no run that writes ratios (summarize_gradient_snr=True)'
  grid = {'panel': (2.9, 2.4)}

  def find(self, request):
    points: list[dict[str, Any]] = []
    panels = []
    scalars: dict[str, pd.DataFrame] = {}
    for panel in self.panels:
      own = panel.select(request, by_task=False, methods=self.methods)
      runs = request.take(
        own[own.gradient_snr],
        ['task', 'method', 'size_sparsity'],
        unfinished=True,
      )
      for directory in runs.directory:
        if directory not in scalars:
          scalars[directory] = events.read_scalars(directory, _PREFIX)
      for part, own in panel.by_version(runs):
        panels.append(part)
        points += self._points(part, own, scalars)
    data = pd.DataFrame(points, columns=_COLUMNS)
    sparsities = sorted(set(data.sparsity))
    cells = []
    for cell in base.cells(data, panels):
      tasks = set(' '.join(cell.points.tasks).split())
      count = f', {wording.count(len(tasks), "task")}' if tasks else ''
      cells.append(cell._replace(title=cell.title + count, panel=sparsities))
    lines = data.drop_duplicates(['sparsity', 'method']).sort_values('sparsity')
    legend = [_label(line.method, line.sparsity) for line in lines.itertuples()]
    return base.Found(data, cells, legend=legend)

  def draw_panel(self, axes, cell):
    for (sparsity, method), own in cell.points.groupby(['sparsity', 'method']):
      look = style.of_setting(cell.panel.index(sparsity))
      label = _label(method, sparsity)
      base.curve(axes, own.step, own.snr, look, label=label)
    style.log_axis(axes.yaxis, cell.points.snr)
    axes.xaxis.set_major_formatter(style.short_number)
    axes.margins(x=0.02)

  def _points(
    self,
    panel: base.Panel,
    runs: pd.DataFrame,
    scalars: dict[str, pd.DataFrame],
  ) -> Iterator[dict[str, Any]]:
    """The points of the panel's lines."""
    parts = []
    for run in runs.itertuples():
      own = scalars[run.directory]
      own = own[own.name == panel.scalar]
      parts.append(
        own.assign(
          bin=own.step * self.bins // (run.train_steps + 1),
          task=run.task,
          method=run.method,
          sparsity=round(run.size_sparsity, 6),
          directory=run.directory,
        )
      )
    if not sum(map(len, parts)):
      return
    groups = pd.concat(parts).groupby(['method', 'sparsity', 'bin'])
    for (method, sparsity, _), group in groups:
      by_run = group.groupby(['task', 'directory']).value.mean()
      yield {
        'panel': panel.title,
        'method': method,
        'sparsity': sparsity,
        'step': float(group.step.mean()),
        'snr': float(by_run.groupby('task').mean().mean()),
        'tasks': ' '.join(sorted(set(group.task))),
        'runs': group.directory.nunique(),
      }


def _label(method: str, sparsity: float) -> str:
  return f'{method}, {100 * sparsity:.3g} %' if sparsity else method
