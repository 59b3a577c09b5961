"""Signal-to-noise ratio of gradients over training: a line a sparsity."""

from __future__ import annotations

import dataclasses
from typing import Any, Sequence

import pandas as pd
from matplotlib import ticker

from rigl_rl import wording
from rigl_rl.analysis import events, tables
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
class SnrOverTraining:
  """Figure 5 of Graesser et al.

  A line is the mean over tasks of the mean over seeds.

  Attributes:
    panels: in order.
    methods: dense, and the one sparse method.
    bins: points of a line; ratios between two of them are averaged.
  """

  panels: tuple[Panel, ...]
  methods: tuple[str, ...] = ('Dense', 'RigL')
  bins: int = 40

  def draw(
    self, name: str, title: str, results: tables.Results, options: base.Options
  ) -> base.Drawing:
    """Draws it; see `figures.draw`."""
    progress = selection.Progress(options.planned.get(name))
    frames, panels = [], []
    scalars: dict[str, pd.DataFrame] = {}
    for panel in self.panels:
      chosen = selection.select(
        results.runs, panel.agent, 'MLP', panel.tasks, by_task=False
      )
      runs = chosen.runs
      runs = runs[runs.gradient_snr.astype(bool)]
      runs = runs[runs.method.isin(self.methods)]
      is_dense = runs.method == 'Dense'
      runs = runs[is_dense | (runs.distribution == 'erdos_renyi_kernel')]
      runs, notes = selection.once_a_seed(
        runs, ['task', 'method', 'size_sparsity']
      )
      for directory in runs.directory:
        if directory not in scalars:
          scalars[directory] = events.read_scalars(directory, _PREFIX)
      progress.add(
        runs[runs.finished.astype(bool)], runs, [*chosen.notes, *notes]
      )
      progress.add_length(runs, panel.train_steps)
      for version, own in selection.by_version(runs):
        part = dataclasses.replace(panel, title=panel.title + version)
        panels.append(part)
        frames.append(self._points(part, own, scalars))
    frames = [frame for frame in frames if len(frame)]
    if not frames:
      raise base.NothingToDraw(
        'no run of '
        + ' or '.join(dict.fromkeys(panel.agent for panel in self.panels))
        + ' that writes ratios (summarize_gradient_snr=True)'
      )
    data = pd.concat(frames, ignore_index=True)
    spec = dataclasses.replace(self, panels=tuple(panels))
    figure = _figure(spec, title, data, progress.notes)
    return base.Drawing(data, progress.notes, figure)

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


def _figure(
  spec: SnrOverTraining,
  title: str,
  data: pd.DataFrame,
  notes: Sequence[str],
) -> Any:
  lines: dict[str, Any] = {}
  sparsities = sorted(set(data.sparsity))
  with style.settings():
    figure, axes = style.grid(1, len(spec.panels), panel=(2.9, 2.4))
    for cell, panel in zip(axes.flat, spec.panels):
      points = data[data.panel == panel.title]
      if not len(points):
        cell.set_title(panel.title)
        style.say_empty(cell, 'no run')
        continue
      tasks = set(' '.join(points.tasks).split())
      cell.set_title(f'{panel.title}, {wording.count(len(tasks), "task")}')
      for method, sparsity in sorted(
        set(zip(points.method, points.sparsity)), key=lambda key: key[1]
      ):
        own = points[(points.method == method) & (points.sparsity == sparsity)]
        look = style.of_setting(sparsities.index(sparsity))
        label = f'{method}, {100 * sparsity:.3g} %' if sparsity else method
        (lines[label],) = cell.plot(
          own.step,
          own.snr,
          color=look.color,
          linestyle=look.line,
          marker=look.marker,
          markevery=max(len(own) // 6, 1),
          markersize=4.5,
        )
      cell.set_yscale('log')
      cell.xaxis.set_major_formatter(style.short_number)
      low, high = points.snr.min(), points.snr.max()
      if 0 < high < _FEW * low:
        # Powers of ten, and what lies between them, would be a tick or two.
        cell.yaxis.set_major_locator(ticker.MaxNLocator(5))
        cell.yaxis.set_minor_locator(ticker.NullLocator())
      cell.yaxis.set_major_formatter(style.plain_number)
      cell.yaxis.set_minor_formatter(style.few_plain_numbers(points.snr))
      cell.margins(x=0.02)
    style.label_x(axes, 'environment steps')
    style.label_y(axes, 'SNR of gradients')
    style.add_header(figure, title, notes)
    style.add_legend(figure, lines)
  return figure
