"""Tables of scores: one row per task, one column per method."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping

import pandas as pd

from rigl_rl import wording
from rigl_rl.analysis.figures import base, curves, selection


@dataclasses.dataclass(frozen=True)
class ScoreTable:
  """Tables 1, 2, 4 and 5 of Sokar et al. (2022)."""

  title: str
  score: str  # Column of the table of runs.
  columns: tuple[curves.Line, ...]  # Methods, in order.
  tasks: tuple[str, ...]  # Without versions, in order.

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
    means = data.groupby('task')['mean']
    best = (data['mean'] == means.transform('max')) & (
      means.transform('size') > 1
    )
    texts = {
      (cell['task'], cell['method']): self._written(cell, is_best, most)
      for cell, is_best in zip(cells, best)
    }
    rows = [
      [task, *(texts.get((task, label), '–') for label in labels)]
      for task in selection.tasks_of(pd.concat(by_column), self.tasks)
    ]
    notes = request.notes
    text = base.markdown(self.title, notes, ['task', *labels], rows)
    if most > 1:
      text += f'\nCells that do not say otherwise are of {most} runs.\n'
    return base.Drawing(data, notes, markdown=text)

  def _written(
    self, cell: Mapping[str, Any], is_best: bool, most_runs: int
  ) -> str:
    """A cell as the paper prints it: the best of several in bold."""
    is_return = self.score == 'final_score'
    decimals = 2 if is_return else 4
    text = f'{cell["mean"]:.{decimals}f}'
    # As in tables 1 and 5: over seeds, divided by their number.
    if is_return and cell['runs'] > 1:
      text += f' ± {cell["std"]:.{decimals}f}'
    if is_best:
      text = f'**{text}**'
    if cell['runs'] < most_runs or most_runs == 1:
      text += f' ({wording.count(cell["runs"], "run")})'
    return text
