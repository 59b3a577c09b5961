"""Policies of comparable performance, as figure 6 of Graesser et al. has them.

"We made an effort to select policies with comparable performance for all the
methods, chosen from the set of all policies trained during this work." The
paper has no rule. Here, for each game and a number N of policies, the level is
what every line can reach: the lowest of the lines' means of their N best. Each
line shows its N policies that are nearest to the level.
"""

from __future__ import annotations

import pandas as pd

from rigl_rl.analysis.figures import style

# What makes a line of the figure; a panel is a task.
LINE = ['task', 'curve', 'density']


def candidates(runs: pd.DataFrame, count: int) -> pd.DataFrame:
  """Returns the runs that can be chosen: all if `count` is 0.

  Otherwise those whose final score has no noise, one per line and seed.
  """
  if not count:
    return runs
  return runs[runs.observation_noise == 0].drop_duplicates([*LINE, 'seed'])


def choose(runs: pd.DataFrame, count: int) -> tuple[pd.DataFrame, str]:
  """Chooses policies among `candidates`, `count` per line, 0 for all.

  Returns:
    The chosen runs, with a column `policies` that says how they were chosen,
    and the rule in words, with what came out for each task.
  """
  if not count:
    return runs.assign(policies='all'), (
      'All policies; the paper selects some of comparable performance.'
    )
  by_line = runs.sort_values('final_score', ascending=False).groupby(LINE)
  best = by_line.head(count).groupby(LINE).final_score.mean()
  level = runs.task.map(best.groupby('task').min())
  offered = runs.groupby(LINE).seed.transform('size')
  chosen = runs.assign(
    distance=(runs.final_score - level).abs(),
    policies=[
      f'{min(count, n)} of {n}, nearest to {_score(score)}'
      for n, score in zip(offered, level)
    ],
  )
  chosen = chosen.sort_values('distance', kind='stable')
  chosen = chosen.groupby(LINE).head(count).sort_index()
  means = chosen.groupby(LINE).final_score.mean().groupby('task')
  found = ', '.join(
    f'{task} {_score(best[task].min())} (lines: {_score(of_task.min())} to '
    f'{_score(of_task.max())})'
    for task, of_task in means
  )
  return chosen, (
    'Policies of comparable performance: of each line those '
    f'{count} whose final scores are nearest to the lowest of the '
    f"lines' means of their {count} best: {found}."
  )


def _score(value: float) -> str:
  return style.setting(round(value, 1))
