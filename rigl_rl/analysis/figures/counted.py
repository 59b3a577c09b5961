"""What networks cost, counted from gin files: nothing is trained."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, Sequence

import pandas as pd

from rigl_rl import quiet
from rigl_rl.analysis.figures import base, style
from rigl_rl.config import parsing

_NOTES = ('Counted, not trained.',)
_NAMES = {'erdos_renyi_kernel': 'ERK', 'uniform': 'Uniform'}


@dataclasses.dataclass(frozen=True)
class FlopsAgainstSparsity(base.Kind):
  """Figure 7 of Graesser et al.: of one example's forward pass."""

  gin_files: Mapping[str, str]  # Of a sparse network, by its panel's title.
  gin_binding: str  # Over them.
  sparsities: tuple[float, ...]  # At which FLOPs are counted.

  x_label = 'sparsity in %'
  y_label = 'forward FLOPs per example'
  intervals = ''
  grid = {'panel': (3.6, 2.6)}

  def find(self, request):
    data = pd.DataFrame(
      {'panel': title, **row, 'runs': 0}
      for title, file in self.gin_files.items()
      for row in read_costs(file, self.gin_binding, self.sparsities)
    )
    cells = [base.Cell(*panel) for panel in data.groupby('panel', sort=False)]
    return base.Found(data, cells, notes=_NOTES)

  def draw_panel(self, axes, cell):
    points = cell.points
    dense = points.forward_flops.iloc[0] / points.forward_share.iloc[0]
    distributions = points.groupby('distribution', sort=False)
    for index, (distribution, own) in enumerate(distributions, 1):
      x, look = 100 * own.sparsity, style.of_setting(index)
      label = _NAMES.get(distribution, distribution)
      base.line(axes, x, own.forward_flops, look, markersize=4, label=label)
    base.level(axes, dense, label='dense')
    base.mark(axes, 80, label='80 % sparse')
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(style.short_number)
    share = axes.secondary_yaxis(
      'right', functions=(lambda y: y / dense, lambda s: s * dense)
    )
    share.set_ylabel('share of dense')


@dataclasses.dataclass(frozen=True)
class CostTable:
  """Section 4.6 of Sokar et al. (2022), "Memory and computation costs".

  Weights without biases, those expected of a random graph; FLOPs as the paper
  counts them, see `counting.actor_critic_training_flops`. What table 3 has as λ
  is here as the sparsity that it gives.
  """

  title: str
  # Of sparse agents, by the name of the dense agent; the name of the sparse one
  # has 'DS-' before it.
  gin_files: Mapping[str, str]
  tasks: tuple[str, ...]  # With versions, in order.

  def draw(self, request: base.Request) -> base.Drawing:
    """Makes it; see `figures.draw`. Results play no part."""
    rows = []
    for agent, file in self.gin_files.items():
      for task in self.tasks:
        job = read_job(file, f'ENV_NAME={task!r}')
        counts = {agent: job.dense_counts, f'DS-{agent}': job.counts}
        weights, flops = {}, {}
        for method, own in counts.items():
          weights[method] = sum(each.active_weights for each in own.values())
          flops[method] = job.training_flops_by_weights(own)
        rows += [
          {
            'task': task,
            'method': method,
            'sparsity': 1 - weights[method] / weights[agent],
            'weights': weights[method],
            'training_flops': flops[method],
            'share': flops[method] / flops[agent],
            'runs': 0,
          }
          for method in counts
        ]
    data = pd.DataFrame(rows).drop_duplicates(['task', 'method'])
    markdown = base.markdown(
      self.title,
      _NOTES,
      ('task', 'system', 'sparsity', 'weights', 'training FLOPs', 'of dense'),
      [
        (
          *(row.task, row.method, f'{row.sparsity:.3f}', f'{row.weights:,}'),
          *(f'{row.training_flops:.5g}', f'{row.share:.3f}'),
        )
        for row in data.itertuples()
      ],
    )
    return base.Drawing(data, _NOTES, markdown=markdown)


def read_costs(
  gin_file: str, gin_binding: str, sparsities: Sequence[float]
) -> list[dict[str, Any]]:
  """Counts FLOPs at several sparsities, as `launch.cost` does."""
  job = read_job(gin_file, gin_binding)
  return _load_costs().sparsity_rows(job, sparsities)


def read_job(gin_file: str, gin_binding: str) -> Any:
  """Builds the networks of a config."""
  costs = _load_costs()
  with quiet.import_quietly(), parsing.empty_config():
    parsing.parse([gin_file], [gin_binding])
    return costs.read_job(None)


def _load_costs() -> Any:
  """Imports the module only here: other figures need no TensorFlow."""
  with quiet.import_quietly():
    from rigl_rl import costs
  return costs
