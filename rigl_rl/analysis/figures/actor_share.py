"""Return by the actor's share of the parameters, at several budgets."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd

from rigl_rl.analysis.figures import base, mismatch, selection, style

_LABELS = {'Small dense': 'Dense'}


@dataclasses.dataclass(frozen=True)
class ReturnByActorShare(base.Kind):
  """Figure 3 of Graesser et al.: a column a task, a row a budget.

  "The vertical line corresponds to the standard parameter split and the
  horizontal line to the full dense training reward." Runs at the standard split
  are those of figure 2 that have no `Budget`: dense ones of full width, and at
  a sparsity of 80 and 90 % small dense ones and RigL.

  Attributes:
    tasks: without versions, in order.
    budgets: shares of the dense agent's parameters, in order.
    train_steps: of the paper's runs.
    agent: whose they are.
  """

  tasks: tuple[str, ...]
  budgets: tuple[float, ...]
  train_steps: int
  agent: str = 'SAC'

  x_label = "actor's share of parameters in %"
  y_label = 'final return'
  grid = {'sharex': True, 'sharey': 'col'}

  def find(self, request):
    chosen = selection.select(
      request.results.runs,
      self.agent,
      'MLP',
      self.tasks,
      varied=(
        'Budget.total',
        'Budget.actor_share',
        'ACTOR_SPARSITY',
        'CRITIC_SPARSITY',
      ),
    )
    runs = selection.of_distribution(chosen.runs)
    runs = runs[runs.method.isin(['Dense', 'Small dense', 'RigL'])]
    runs = runs.assign(
      curve=runs.method.replace(_LABELS),
      # What is not bound follows from how large the networks are.
      budget=runs.budget.fillna((1 - runs.size_sparsity).round(6)),
      split=runs.actor_share.round(2),
    )
    runs = runs[selection.near(runs.budget, self.budgets)]
    runs = request.progress.take(
      chosen, runs, ['task', 'curve', 'budget', 'split'], self.train_steps
    )
    points = []
    for keys, group in runs.groupby(['task', 'budget', 'curve', 'split']):
      task, budget, curve, split = keys
      stream = (task, f'{budget:g}', curve, f'{split:.2f}')
      points.append(
        {
          'task': task,
          'budget': budget,
          'method': curve,
          'actor_share': float(group.actor_share.mean()),
          'standard_split': bool((~group.swept.str.contains('Budget.')).any()),
          'parameters': float(group.parameters.mean()),
          'size_mismatch': mismatch.cell(group),
          **request.estimate(group, *stream),
        }
      )
    if not points:
      raise base.NothingToDraw(
        f'no finished run of {self.agent} on {", ".join(self.tasks)} with a '
        'Budget'
      )
    spec = dataclasses.replace(self, tasks=selection.tasks_of(runs, self.tasks))
    return spec, pd.DataFrame(points)

  @property
  def columns(self):  # type: ignore[override]
    return len(self.tasks)

  def cells(self, data):
    return [
      ((task, budget), data[data.task == task])
      for budget in self.budgets
      for task in self.tasks
    ]

  def title(self, panel, points):
    task, budget = panel
    return f'{task}, {100 * budget:g} % of parameters'

  def draw_empty(self, axes):
    _say_empty(axes)
    axes.tick_params(left=False, labelleft=False)
    axes.set_xlim(0, 100)

  def draw_panel(self, axes, panel, points, canvas):
    _mark_dense(axes, points, canvas.marks)
    points = points[(points.budget - panel[1]).abs() < 1e-6]
    for method in style.ordered(points.method):
      own = points[points.method == method].sort_values('actor_share')
      look = style.of_method(method)
      x = 100 * own.actor_share
      base.shade(axes, x, own, look.color)
      base.bars(axes, x, own, look.color)
      canvas.lines[method] = base.line(axes, x, own.return_mean, look)
    if not len(points):
      _say_empty(axes)
    axes.set_xlim(0, 100)
    axes.yaxis.set_major_formatter(style.short_number)


def _say_empty(axes: Any) -> None:
  # Not style.say_empty, which would take its ticks from those that share its
  # axes.
  axes.text(
    0.5,
    0.5,
    'no finished run',
    transform=axes.transAxes,
    horizontalalignment='center',
    color=style.GRAY,
    backgroundcolor='white',  # The dense agent's lines are below.
  )


def _mark_dense(
  axes: Any, of_task: pd.DataFrame, marks: dict[str, Any]
) -> None:
  """Draws the dense agent's return and split."""
  is_full = (of_task.budget - 1).abs() < 1e-6
  full = of_task[(of_task.method == 'Dense') & is_full & of_task.standard_split]
  if len(full):
    marks['dense at full width'] = base.level(
      axes, full.return_mean.iloc[0], zorder=1
    )
    marks['standard split'] = base.mark(
      axes, 100 * full.actor_share.iloc[0], zorder=1
    )
