"""Signal-to-noise ratio of gradients over training: a line a sparsity."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd
from matplotlib import ticker

from rigl_rl import wording
from rigl_rl.analysis import events
from rigl_rl.analysis.figures import base, selection, style

_PREFIX = 'gradients/snr'
# Ratio of the ends of an axis, below which ticks are evenly spaced.
_FEW = 5


@dataclasses.dataclass(frozen=True)
class Panel:
  """A panel.

  Attributes:
    title: above it.
    agent: 'DQN' or 'SAC'.
    name: of the scalar in TensorBoard's events.
    tasks: that are averaged over.
    train_steps: of the paper's runs.
  """

  title: str
  agent: str
  name: str
  tasks: tuple[str, ...]
  train_steps: int


@dataclasses.dataclass(frozen=True)
class SnrOverTraining(base.Kind):
  """Figure 5 of Graesser et al.

  A line is the mean over tasks of the mean over seeds.

  Attributes:
    panels: in order.
    methods: dense, and the one sparse method.
    bins: points of a line; ratios between two of them are averaged.
    sparsities: of all lines, by which they are told apart; once found.
  """

  panels: tuple[Panel, ...]
  methods: tuple[str, ...] = ('Dense', 'RigL')
  bins: int = 40
  sparsities: tuple[float, ...] = ()

  x_label = 'environment steps'
  y_label = 'SNR of gradients'
  intervals = ''
  empty = 'no run'
  grid = {'panel': (2.9, 2.4)}

  def find(self, request):
    frames, panels = [], []
    scalars: dict[str, pd.DataFrame] = {}
    for panel in self.panels:
      chosen = selection.select(
        request.results.runs, panel.agent, 'MLP', panel.tasks, by_task=False
      )
      own = selection.of_distribution(chosen.runs)
      own = own[own.gradient_snr.astype(bool) & own.method.isin(self.methods)]
      runs = request.progress.take(
        chosen,
        own,
        ['task', 'method', 'size_sparsity'],
        panel.train_steps,
        unfinished=True,
      )
      for directory in runs.directory:
        if directory not in scalars:
          scalars[directory] = events.read_scalars(directory, _PREFIX)
      for version, own in selection.by_version(runs):
        part = dataclasses.replace(panel, title=panel.title + version)
        panels.append(part)
        frames.append(self._points(part, own, scalars))
    frames = [frame for frame in frames if len(frame)]
    if not frames:
      agents = dict.fromkeys(panel.agent for panel in self.panels)
      raise base.NothingToDraw(
        f'no run of {" or ".join(agents)} that writes ratios '
        '(summarize_gradient_snr=True)'
      )
    data = pd.concat(frames, ignore_index=True)
    sparsities = tuple(sorted(set(data.sparsity)))
    spec = dataclasses.replace(
      self, panels=tuple(panels), sparsities=sparsities
    )
    return spec, data

  def title(self, panel, points):
    tasks = set(' '.join(points.tasks).split())
    count = f', {wording.count(len(tasks), "task")}' if tasks else ''
    return f'{panel.title}{count}'

  def legend_order(self, labels):
    return labels

  def draw_panel(self, axes, panel, points, canvas):
    for method, sparsity in sorted(
      set(zip(points.method, points.sparsity)), key=lambda key: key[1]
    ):
      of_method = points[points.method == method]
      own = of_method[of_method.sparsity == sparsity]
      label = f'{method}, {100 * sparsity:.3g} %' if sparsity else method
      canvas.lines[label] = base.line(
        axes,
        own.step,
        own.snr,
        style.of_setting(self.sparsities.index(sparsity)),
        markevery=max(len(own) // 6, 1),
        markersize=4.5,
      )
    _scale(axes, points.snr)

  def _points(
    self,
    panel: Panel,
    runs: pd.DataFrame,
    scalars: dict[str, pd.DataFrame],
  ) -> pd.DataFrame:
    """The panel's lines, as a table."""
    columns = ['panel', 'method', 'sparsity', 'step', 'snr', 'tasks', 'runs']
    parts = []
    for run in runs.itertuples():
      own = scalars[run.directory]
      own = own[own.name == panel.name]
      bins = own.step * self.bins // (run.train_steps + 1)
      parts.append(
        own.assign(
          bin=bins,
          task=run.task,
          method=run.method,
          sparsity=round(run.size_sparsity, 6),
          directory=run.directory,
        )
      )
    if not parts or not sum(map(len, parts)):
      return pd.DataFrame(columns=columns)
    every = pd.concat(parts)
    rows = []
    for keys, group in every.groupby(['method', 'sparsity', 'bin']):
      method, sparsity, _ = keys
      by_run = group.groupby(['task', 'directory']).value.mean()
      rows.append(
        {
          'panel': panel.title,
          'method': method,
          'sparsity': sparsity,
          'step': float(group.step.mean()),
          'snr': float(by_run.groupby('task').mean().mean()),
          'tasks': ' '.join(sorted(set(group.task))),
          'runs': group.directory.nunique(),
        }
      )
    return pd.DataFrame(rows, columns=columns)


def _scale(axes: Any, ratios: pd.Series) -> None:
  """Makes the axis of ratios logarithmic."""
  axes.set_yscale('log')
  axes.xaxis.set_major_formatter(style.short_number)
  low, high = ratios.min(), ratios.max()
  if 0 < high < _FEW * low:
    # Powers of ten, and what lies between them, would be a tick or two.
    axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
  axes.yaxis.set_major_formatter(style.plain_number)
  axes.yaxis.set_minor_formatter(style.few_plain_numbers(ratios))
  axes.margins(x=0.02)
