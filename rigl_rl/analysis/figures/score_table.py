"""Tables of scores: one row per task, one column per method."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Sequence

import pandas as pd

from rigl_rl import wording
from rigl_rl.analysis.figures import base, curves, selection


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
  """

  title: str
  score: str
  decimals: int
  with_std: bool
  columns: tuple[curves.Line, ...]
  tasks: tuple[str, ...]

  def draw(self, request: base.Request) -> base.Drawing:
    """Makes it; see `figures.draw`."""
    cells = []
    by_column = curves.take(self.columns, request, self.tasks)
    for column, runs in zip(self.columns, by_column):
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
    labels = [column.label for column in self.columns]
    if not cells:
      raise base.NothingToDraw(f'no finished run of {", ".join(labels)}')
    data = pd.DataFrame(cells)
    most = data.runs.max()
    rows = []
    for task in selection.tasks_of(pd.concat(by_column), self.tasks):
      of_task = data[data.task == task].set_index('method')
      rows.append([task, *self._cells(of_task, labels, most)])
    notes = request.notes
    text = base.markdown(self.title, notes, ['task', *labels], rows)
    if most > 1:
      text += f'\nCells that do not say otherwise are of {most} runs.\n'
    return base.Drawing(data, notes, markdown=text)

  def _cells(
    self, of_task: pd.DataFrame, labels: Sequence[str], most: int
  ) -> list[str]:
    """A row as the paper prints it: the best in bold."""
    best = of_task['mean'].max() if len(of_task) > 1 else math.nan
    return [
      self._cell(of_task.loc[label], best, most)
      if label in of_task.index
      else '–'
      for label in labels
    ]

  def _cell(self, cell: Any, best: float, most: int) -> str:
    text = f'{cell["mean"]:.{self.decimals}f}'
    if self.with_std and cell['runs'] > 1:
      text += f' ± {cell["std"]:.{self.decimals}f}'
    if cell['mean'] == best:
      text = f'**{text}**'
    if cell['runs'] < most or most == 1:
      text += f' ({wording.count(int(cell["runs"]), "run")})'
    return text
