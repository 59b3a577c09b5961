"""Return by the actor's share of the parameters, at several budgets."""

from __future__ import annotations

import dataclasses
from typing import Any, Sequence

import pandas as pd

from rigl_rl.analysis import statistics, tables
from rigl_rl.analysis.figures import base, mismatch, selection, style

_LABELS = {'Small dense': 'Dense'}


@dataclasses.dataclass(frozen=True)
class ReturnByActorShare:
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

  def draw(
    self, name: str, title: str, results: tables.Results, options: base.Options
  ) -> base.Drawing:
    """Draws it; see `figures.draw`."""
    progress = selection.Progress(options.planned.get(name))
    chosen = selection.select(
      results.runs,
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
    runs = chosen.runs
    dense_or_erk = (runs.algorithm == 'Dense') | (
      runs.distribution == 'erdos_renyi_kernel'
    )
    runs = runs[
      dense_or_erk & runs.method.isin(['Dense', 'Small dense', 'RigL'])
    ]
    runs = runs.assign(
      curve=runs.method.replace(_LABELS),
      # What is not bound follows from how large the networks are.
      budget=runs.budget.fillna((1 - runs.size_sparsity).round(6)),
    )
    runs = runs[selection.near(runs.budget, self.budgets)]
    finished = runs[runs.finished.astype(bool) & runs.final_score.notna()]
    finished = finished.assign(split=finished.actor_share.round(2))
    finished, notes = selection.once_a_seed(
      finished, ['task', 'curve', 'budget', 'split']
    )
    progress.add(finished, runs, [*chosen.notes, *notes])
    progress.add_length(runs, self.train_steps)
    points = []
    for keys, group in finished.groupby(['task', 'budget', 'curve', 'split']):
      task, budget, curve, split = keys
      estimate = statistics.mean(
        group.final_score,
        *(name, task, f'{budget:g}', curve, f'{split:.2f}'),
        resamples=options.resamples,
      )
      points.append(
        {
          'task': task,
          'budget': budget,
          'method': curve,
          'actor_share': float(group.actor_share.mean()),
          'standard_split': bool((group.swept.map(_is_standard)).any()),
          'parameters': float(group.parameters.mean()),
          'size_mismatch': mismatch.cell(group),
          'return_mean': estimate.value,
          'return_low': estimate.low,
          'return_high': estimate.high,
          'runs': estimate.runs,
          'seeds': ' '.join(str(seed) for seed in sorted(group.seed)),
        }
      )
    if not points:
      raise base.NothingToDraw(
        f'no finished run of {self.agent} on {", ".join(self.tasks)} with a '
        'Budget'
      )
    data = pd.DataFrame(points)
    spec = dataclasses.replace(
      self, tasks=selection.tasks_of(finished, self.tasks)
    )
    figure = _figure(spec, title, data, progress.notes)
    return base.Drawing(data, progress.notes, figure)


def _is_standard(swept: str) -> bool:
  return 'Budget.' not in swept


def _figure(
  spec: ReturnByActorShare,
  title: str,
  data: pd.DataFrame,
  notes: Sequence[str],
) -> Any:
  handles: dict[str, Any] = {}
  marks: dict[str, Any] = {}
  with style.settings():
    figure, axes = style.grid(
      len(spec.budgets), len(spec.tasks), sharex=True, sharey='col'
    )
    for row, budget in enumerate(spec.budgets):
      for column, task in enumerate(spec.tasks):
        cell = axes[row, column]
        cell.set_title(f'{task}, {100 * budget:g} % of parameters')
        of_task = data[data.task == task]
        points = of_task[(of_task.budget - budget).abs() < 1e-6]
        _draw_lines(cell, of_task, marks)
        for method in style.ordered(points.method):
          own = points[points.method == method].sort_values('actor_share')
          look = style.of_method(method)
          x = 100 * own.actor_share
          cell.fill_between(
            x,
            own.return_low,
            own.return_high,
            color=look.color,
            alpha=0.13,
            linewidth=0,
          )
          cell.vlines(
            x, own.return_low, own.return_high, color=look.color, linewidth=0.8
          )
          (handles[method],) = cell.plot(
            x,
            own.return_mean,
            color=look.color,
            linestyle=look.line,
            marker=look.marker,
          )
        if not len(points):
          # Not say_empty, which would take its ticks from those that share its
          # axes.
          cell.text(
            0.5,
            0.5,
            'no finished run',
            transform=cell.transAxes,
            horizontalalignment='center',
            color=style.GRAY,
            backgroundcolor='white',  # The dense agent's lines are below.
          )
        if not len(of_task):
          cell.tick_params(left=False, labelleft=False)
        cell.set_xlim(0, 100)
        cell.yaxis.set_major_formatter(style.short_number)
    style.label_y(axes, 'final return')
    style.label_x(axes, "actor's share of parameters in %")
    intervals = style.intervals(style.SHADED, data.runs)
    style.add_header(figure, title, [*notes, intervals])
    methods = {label: handles[label] for label in style.ordered(handles)}
    style.add_legend(figure, {**methods, **marks})
  return figure


def _draw_lines(
  axes: Any, of_task: pd.DataFrame, marks: dict[str, Any]
) -> None:
  """The dense agent's return and split."""
  full = of_task[
    (of_task.method == 'Dense')
    & ((of_task.budget - 1).abs() < 1e-6)
    & of_task.standard_split
  ]
  if not len(full):
    return
  marks['dense at full width'] = axes.axhline(
    full.return_mean.iloc[0],
    color=style.of_method('Dense').color,
    linewidth=0.9,
    linestyle=(0, (7, 3)),
    zorder=1,
  )
  marks['standard split'] = axes.axvline(
    100 * full.actor_share.iloc[0],
    color=style.GRAY,
    linewidth=1.1,
    linestyle=':',
    zorder=1,
  )
