"""Return over training: a line a method or setting, a panel a task."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping

import pandas as pd
from matplotlib import ticker

from rigl_rl.analysis.figures import base, selection, style


@dataclasses.dataclass(frozen=True)
class Line:
  """A line of a panel.

  Attributes:
    label: in the legend.
    agent: 'SAC' or 'TD3'.
    method: as the table of runs has it.
    where: what its runs have, by column; a number is met within 2 %, so that
      sparsities which come of a random graph are found.
    setting: number of its style, if lines are settings of one method; None for
      the method's own style.
  """

  label: str
  agent: str
  method: str
  where: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  setting: int | None = None


@dataclasses.dataclass(frozen=True)
class Panel:
  """A panel.

  Attributes:
    title: above it; `{task}` stands for its task.
    task: without its version; each version that there are runs of has a panel.
    lines: in the order of the legend.
    varied: what `selection.select` lets runs differ in.
  """

  title: str
  task: str
  lines: tuple[Line, ...]
  varied: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class LearningCurves(base.Kind):
  """Figures 1 to 4 of Sokar et al. (2022).

  Lines are means over seeds, "the shaded region represents the standard
  deviation of the average evaluation over 5 runs" (figure 1): of their number,
  not one less.

  Attributes:
    panels: in order.
    train_steps: of the paper's runs.
    columns: panels side by side.
  """

  panels: tuple[Panel, ...]
  train_steps: int
  columns: int = 3

  x_label = 'environment steps'
  y_label = 'return'
  intervals = 'Shaded areas: standard deviation over runs.'
  empty = 'no run'
  grid = {'panel': (2.8, 2.2)}

  def find(self, request):
    points, panels = [], []
    for panel in self.panels:
      candidates = pd.concat(
        [_matching(request.results.runs, line) for line in panel.lines]
      )
      # Runs of other panels may be longer, and would push these out.
      candidates = candidates[~candidates.index.duplicated()]
      by_line = []
      for line in panel.lines:
        chosen = selection.select(
          candidates,
          line.agent,
          tasks=[panel.task],
          paper='sokar22',
          varied=panel.varied,
        )
        own = _matching(chosen.runs, line)
        runs = request.progress.take(
          chosen, own, ['task'], self.train_steps, unfinished=True
        )
        by_line.append((line, runs))
      drawn = pd.concat([runs for _, runs in by_line])
      for task in selection.tasks_of(drawn, [panel.task]):
        part = dataclasses.replace(
          panel, title=panel.title.format(task=task), task=task
        )
        panels.append(part)
        for line, runs in by_line:
          what = {
            'panel': part.title,
            'task': task,
            'line': line.label,
            'method': line.method,
          }
          own = _points(runs[runs.task == task], request.results.evaluations)
          points += [{**what, **row} for row in own]
    if not points:
      agents = self.legend_order(())
      raise base.NothingToDraw(f'no run of {", ".join(agents)}')
    return dataclasses.replace(self, panels=tuple(panels)), pd.DataFrame(points)

  def legend_order(self, labels):
    return dict.fromkeys(
      line.label for panel in self.panels for line in panel.lines
    )

  def draw_panel(self, axes, panel, points, canvas):
    for line in panel.lines:
      own = points[points.line == line.label]
      if len(own):
        canvas.lines[line.label] = _draw_line(axes, own, line)
    axes.xaxis.set_major_formatter(style.short_number)
    axes.yaxis.set_major_formatter(style.short_number)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.margins(x=0.02)


def _matching(runs: pd.DataFrame, line: Line) -> pd.DataFrame:
  runs = runs[runs.method == line.method]
  for column, value in line.where.items():
    values = runs[column]
    if isinstance(value, bool):
      runs = runs[values.astype(bool) == value]
    else:
      runs = runs[(values - value).abs() <= 0.02 * abs(value)]
  return runs


def _points(
  runs: pd.DataFrame, evaluations: pd.DataFrame
) -> list[dict[str, Any]]:
  """Mean and standard deviation over runs, evaluation by evaluation."""
  own = evaluations[evaluations.directory.isin(runs.directory)]
  if not len(own):
    return []
  # Steps may differ by an episode from run to run; the number does not.
  number = own.groupby('directory').cumcount()
  points = []
  for _, group in own.groupby(number):
    returns = group.return_mean.to_numpy(float)
    points.append(
      {
        'step': float(group.step.mean()),
        'return_mean': float(returns.mean()),
        'return_std': float(returns.std()),
        'runs': len(returns),
      }
    )
  return points


def _draw_line(axes: Any, points: pd.DataFrame, line: Line) -> Any:
  look = style.of_method(line.method)
  if line.setting is not None:
    look = style.of_setting(line.setting)
  axes.fill_between(
    points.step,
    points.return_mean - points.return_std,
    points.return_mean + points.return_std,
    color=look.color,
    alpha=0.15,
    linewidth=0,
  )
  return base.line(
    axes,
    points.step,
    points.return_mean,
    look,
    # A few markers tell lines apart; one for each evaluation would hide them.
    markevery=max(len(points) // 6, 1),
    markersize=4.5,
  )
