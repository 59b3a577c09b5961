"""Return by the actor's share of the parameters, at several budgets."""

from __future__ import annotations

import dataclasses

import pandas as pd

from rigl_rl.analysis.figures import base, mismatch, selection, style

_VARIED = (
  *('Budget.total', 'Budget.actor_share'),
  *('ACTOR_SPARSITY', 'CRITIC_SPARSITY'),
)


@dataclasses.dataclass(frozen=True)
class ReturnByActorShare(base.Kind):
  """Figure 3 of Graesser et al.: one column per task, one row per budget.

  "The vertical line corresponds to the standard parameter split and the
  horizontal line to the full dense training reward." Runs at the standard split
  are those of figure 2 that have no `Budget`: dense ones of full width, and at
  a sparsity of 80 and 90 % small dense ones and RigL.
  """

  tasks: tuple[str, ...]  # Without versions, in order.
  budgets: tuple[float, ...]  # Shares of the dense agent's parameters.

  x_label = "actor's share of parameters in %"
  y_label = 'final return'
  grid = {'sharex': True, 'sharey': 'col'}

  def find(self, request):
    runs = request.select(
      *('SAC', 'MLP', self.tasks),
      varied=_VARIED,
      distribution=selection.ERK,
      methods=(*selection.DENSE, 'RigL'),
    )
    runs = runs.assign(
      curve=runs.method.replace({'Small dense': 'Dense'}),
      # What is not bound follows from how large the networks are.
      budget=runs.budget.fillna((1 - runs.size_sparsity).round(6)),
      split=runs.actor_share.round(2),
    )
    runs = runs[selection.near(runs.budget, self.budgets)]
    runs = request.take(runs, ['task', 'curve', 'budget', 'split'])
    points = []
    groups = runs.groupby(['task', 'budget', 'curve', 'split'])
    for (task, budget, curve, split), group in groups:
      points.append(
        {
          'task': task,
          'budget': budget,
          'method': curve,
          'actor_share': float(group.actor_share.mean()),
          'standard_split': bool((~group.swept.str.contains('Budget.')).any()),
          'parameters': float(group.parameters.mean()),
          'size_mismatch': mismatch.cell(group),
          **request.estimate(group, task, f'{budget:g}', curve, f'{split:.2f}'),
        }
      )
    if not points:
      raise base.NothingToDraw(
        f'no finished run of SAC on {", ".join(self.tasks)} with a Budget'
      )
    data = pd.DataFrame(points)
    cells = []
    for budget in self.budgets:
      for task in selection.tasks_of(runs, self.tasks):
        of_task = data[data.task == task]
        own = of_task[selection.near(of_task.budget, [budget])]
        title = f'{task}, {100 * budget:g} % of parameters'
        cells.append(base.Cell(title, own, of_task, budget))
    return base.Found(data, cells)

  def draw_panel(self, axes, cell):
    full = cell.panel[selection.near(cell.panel.budget, [1])]
    full = full[full.standard_split & (full.method == 'Dense')]
    for dense in full[:1].itertuples():
      level, split = dense.return_mean, 100 * dense.actor_share
      base.level(axes, level, zorder=1, label='dense at full width')
      base.mark(axes, split, zorder=1, label='standard split')
    for method in style.ordered(cell.points.method):
      own = cell.points[cell.points.method == method]
      own = own.sort_values('actor_share')
      look = style.of_method(method)
      x = 100 * own.actor_share
      base.shade(axes, x, own, look.color)
      base.bars(axes, x, own, look.color)
      base.line(axes, x, own.return_mean, look, label=method)
    axes.set_xlim(0, 100)
    axes.yaxis.set_major_formatter(style.short_number)
