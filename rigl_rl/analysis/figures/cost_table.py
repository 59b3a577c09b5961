"""Weights and training FLOPs, counted from gin files: nothing is trained."""

from __future__ import annotations

import dataclasses
from typing import Mapping

import pandas as pd

from rigl_rl.analysis.figures import base


@dataclasses.dataclass(frozen=True)
class CostTable:
  """Section 4.6 of Sokar et al. (2022), "Memory and computation costs".

  Weights without biases, those expected of a random graph; FLOPs as the paper
  counts them, see `counting.actor_critic_training_flops`. What table 3 has as λ
  is here as the sparsity that it gives.

  Attributes:
    gin_files: of sparse agents, by the name of the dense agent; the name of the
      sparse one has 'DS-' before it.
    tasks: with versions, in order.
  """

  gin_files: Mapping[str, str]
  tasks: tuple[str, ...]

  def draw(self, request: base.Request) -> base.Drawing:
    """Makes it; see `figures.draw`. Results play no part."""
    if request.options.read_training_cost is None:
      raise base.NothingToDraw(base.NO_COSTS)
    rows = []
    for agent, file in self.gin_files.items():
      for task in self.tasks:
        cost = request.options.read_training_cost(
          (file,), (f'ENV_NAME={task!r}',)
        )
        for method, kind in ((agent, 'dense'), (f'DS-{agent}', 'sparse')):
          weights, flops = cost[f'{kind}_weights'], cost[f'{kind}_flops']
          rows.append(
            {
              'task': task,
              'method': method,
              'sparsity': 1 - weights / cost['dense_weights'],
              'weights': weights,
              'training_flops': flops,
              'share': flops / cost['dense_flops'],
              'runs': 0,
            }
          )
    data = pd.DataFrame(rows).drop_duplicates(['task', 'method'])
    markdown = base.markdown(
      request.title,
      base.COUNTED,
      ('task', 'system', 'sparsity', 'weights', 'training FLOPs', 'of dense'),
      [
        (
          row.task,
          row.method,
          f'{row.sparsity:.3f}',
          f'{row.weights:,}',
          f'{row.training_flops:.5g}',
          f'{row.share:.3f}',
        )
        for row in data.itertuples()
      ],
    )
    return base.Drawing(data, base.COUNTED, markdown=markdown)
