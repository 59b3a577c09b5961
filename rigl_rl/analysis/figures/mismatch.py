"""How far small dense networks are from their target sizes.

Units are whole numbers, so few dense networks are exactly as large as a sparse
one, or as a budget.
"""

from __future__ import annotations

import re

import pandas as pd

from rigl_rl.analysis.figures import style

# A figure's face names larger mismatches; its CSV has all of them.
_NOTED = 0.01


def cell(runs: pd.DataFrame) -> str:
  """Returns what a figure's CSV says of a point, as its runs have it.

  By network, shares of its target size: 'actor +0.05571, value +0.04911';
  several tasks by name; '' if all widths are bound as numbers.
  """
  own = runs[runs.size_mismatch != '']
  texts = own.drop_duplicates(['task', 'size_mismatch'])
  if texts.size_mismatch.nunique() == 1:
    return texts.size_mismatch.iloc[0]
  return '; '.join(
    f'{run.task} {run.size_mismatch}' for run in texts.itertuples()
  )


def note(runs: pd.DataFrame) -> list[str]:
  """Returns what the face of a figure says of its runs: one note, or none.

  It has, for each network at each size, the largest mismatch above 1 %, and the
  first task that has it.
  """
  order = ['size_sparsity', 'budget', 'agent', 'network', 'task']
  found = pd.DataFrame(
    [
      (_size(run), _network(run, name), float(value), run.task)
      for run in runs[runs.size_mismatch != ''].sort_values(order).itertuples()
      for name, value in map(str.split, run.size_mismatch.split(', '))
    ],
    columns=['size', 'network', 'value', 'task'],
  )
  found = found[found.value.abs() > _NOTED]
  if not len(found):
    return []
  groups = found.groupby(['size', 'network'], sort=False).value
  largest = found.loc[groups.agg(lambda values: values.abs().idxmax())]
  each = '; '.join(
    f'at {size} '
    + ', '.join(
      f'{one.network} up to {style.percent(one.value)} ({one.task})'
      for one in own.itertuples()
    )
    for size, own in largest.groupby('size', sort=False)
  )
  return [f'Dense networks more than 1 % off their target size: {each}.']


def _size(run) -> str:
  """The target size of a run's networks."""
  if pd.notna(run.size_sparsity):
    return f'{100 * run.size_sparsity:g} % sparsity'
  return f'{100 * run.budget:g} % budget'


def _network(run, name: str) -> str:
  if run.agent == 'DQN':
    return f'DQN ({run.network})'
  return f'{run.agent} {re.sub("_[0-9]+$", "", name)}'
