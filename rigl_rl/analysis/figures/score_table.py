"""Tables of scores: a row a task, a column a method."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Sequence

import pandas as pd

from rigl_rl import wording
from rigl_rl.analysis.figures import base, selection


@dataclasses.dataclass(frozen=True)
class Column:
  """A column.

  Attributes:
    label: above it.
    agent: 'SAC' or 'TD3'.
    method: as the table of runs has it.
    hard_targets: whether target networks are copied whole.
  """

  label: str
  agent: str
  method: str
  hard_targets: bool = False


def _matching(runs: pd.DataFrame, column: Column) -> pd.DataFrame:
  return runs[
    (runs.method == column.method)
    & (runs.hard_targets.astype(bool) == column.hard_targets)
  ]


@dataclasses.dataclass(frozen=True)
class ScoreTable:
  """Tables 1, 2, 4 and 5 of Sokar et al. (2022).

  Attributes:
    score: column of the table of runs.
    decimals: of the numbers.
    with_std: whether the standard deviation over seeds (divided by their
      number) stands behind the mean, as in tables 1 and 5; of a single run
      there is none.
    columns: methods, in order.
    tasks: without versions, in order.
    train_steps: of the paper's runs.
  """

  score: str
  decimals: int
  with_std: bool
  columns: tuple[Column, ...]
  tasks: tuple[str, ...]
  train_steps: int

  def draw(self, request: base.Request) -> base.Drawing:
    """Makes it; see `figures.draw`."""
    cells, parts = [], []
    # Runs of other tables may be longer, and would push these out.
    candidates = pd.concat(
      [_matching(request.results.runs, column) for column in self.columns]
    )
    for column in self.columns:
      chosen = selection.select(
        candidates, column.agent, tasks=self.tasks, paper='sokar22'
      )
      runs = request.progress.take(
        chosen, _matching(chosen.runs, column), ['task'], self.train_steps
      )
      parts.append(runs)
      for task in selection.tasks_of(runs, self.tasks):
        scores = runs[runs.task == task][self.score].dropna()
        if len(scores):
          cells.append(
            {
              'task': task,
              'method': column.label,
              'mean': float(scores.mean()),
              'std': float(scores.std(ddof=0)),
              'runs': len(scores),
            }
          )
    if not cells:
      labels = ', '.join(column.label for column in self.columns)
      raise base.NothingToDraw(f'no finished run of {labels}')
    data = pd.DataFrame(cells)
    tasks = selection.tasks_of(pd.concat(parts), self.tasks)
    markdown = self._markdown(data, tasks, request)
    return base.Drawing(data, request.progress.notes, markdown=markdown)

  def _markdown(
    self, data: pd.DataFrame, tasks: Sequence[str], request: base.Request
  ) -> str:
    """The table as the paper prints it: the best of each task in bold."""
    labels = [column.label for column in self.columns]
    most = data.runs.max()
    rows = []
    for task in tasks:
      of_task = data[data.task == task].set_index('method')
      best = of_task['mean'].max() if len(of_task) else math.nan
      rows.append(
        [task, *(self._cell(of_task, label, best, most) for label in labels)]
      )
    text = base.markdown(
      request.title, request.progress.notes, ['task', *labels], rows
    )
    if most > 1:
      text += f'\nCells that do not say otherwise are of {most} runs.\n'
    return text

  def _cell(self, of_task: Any, label: str, best: float, most: int) -> str:
    if label not in of_task.index:
      return '–'
    cell = of_task.loc[label]
    text = f'{cell["mean"]:.{self.decimals}f}'
    if self.with_std and cell['runs'] > 1:
      text += f' ± {cell["std"]:.{self.decimals}f}'
    # Of a single method there is no best.
    if cell['mean'] == best and len(of_task) > 1:
      text = f'**{text}**'
    if cell['runs'] < most or most == 1:
      text += f' ({wording.count(int(cell["runs"]), "run")})'
    return text
