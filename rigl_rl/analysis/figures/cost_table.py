"""Weights and training FLOPs, from gin files alone: nothing is trained."""

from __future__ import annotations

import dataclasses

import pandas as pd

from rigl_rl.analysis.figures import base


@dataclasses.dataclass(frozen=True)
class System:
  """A sparse agent, and the dense one that it is made of.

  Attributes:
    dense: its name.
    sparse: its name.
    gin_files: of the sparse one.
  """

  dense: str
  sparse: str
  gin_files: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class CostTable:
  """Section 4.6 of Sokar et al. (2022), "Memory and computation costs".

  Weights without biases, those expected of a random graph; FLOPs as the paper
  counts them, see `counting.actor_critic_training_flops`. What table 3 has as λ
  is here as the sparsity that it gives.

  Attributes:
    systems: in order.
    tasks: with versions, in order.
  """

  systems: tuple[System, ...]
  tasks: tuple[str, ...]

  def draw(self, request: base.Request) -> base.Drawing:
    """Makes it; see `figures.draw`. Results play no part."""
    if request.options.read_training_cost is None:
      raise base.NothingToDraw(base.NO_COSTS)
    rows = []
    for system in self.systems:
      for task in self.tasks:
        cost = request.options.read_training_cost(
          system.gin_files, (f'ENV_NAME={task!r}',)
        )
        for kind in ('dense', 'sparse'):
          rows.append(
            {
              'task': task,
              'method': getattr(system, kind),
              'sparsity': 1 - cost[f'{kind}_weights'] / cost['dense_weights'],
              'weights': cost[f'{kind}_weights'],
              'training_flops': cost[f'{kind}_flops'],
              'share': cost[f'{kind}_flops'] / cost['dense_flops'],
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
