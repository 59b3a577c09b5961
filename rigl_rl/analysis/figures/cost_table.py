"""Weights and training FLOPs, from gin files alone: nothing is trained."""

from __future__ import annotations

import dataclasses

import pandas as pd

from rigl_rl.analysis import tables
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

  def draw(
    self, name: str, title: str, results: tables.Results, options: base.Options
  ) -> base.Drawing:
    """Makes it; see `figures.draw`. Results play no part."""
    del name, results
    if options.read_training_cost is None:
      raise base.NothingToDraw(
        'costs are read by python -m launch.figures alone'
      )
    rows = []
    for system in self.systems:
      for task in self.tasks:
        cost = options.read_training_cost(
          system.gin_files, (f'ENV_NAME={task!r}',)
        )
        for method, kind in (
          (system.dense, 'dense'),
          (system.sparse, 'sparse'),
        ):
          rows.append(
            {
              'task': task,
              'method': method,
              'sparsity': 1 - cost[f'{kind}_weights'] / cost['dense_weights'],
              'weights': cost[f'{kind}_weights'],
              'training_flops': cost[f'{kind}_flops'],
              'share': cost[f'{kind}_flops'] / cost['dense_flops'],
              'runs': 0,
            }
          )
    data = pd.DataFrame(rows).drop_duplicates(['task', 'method'])
    notes = ['Counted, not trained.']
    lines = [
      f'**{title}**',
      '',
      *notes,
      '',
      '| task | system | sparsity | weights | training FLOPs | of dense |',
      '|---|---|---|---|---|---|',
    ]
    for row in data.itertuples():
      lines.append(
        f'| {row.task} | {row.method} | {row.sparsity:.3f} | {row.weights:,} '
        f'| {row.training_flops:.5g} | {row.share:.3f} |'
      )
    return base.Drawing(data, notes, markdown='\n'.join(lines) + '\n')
