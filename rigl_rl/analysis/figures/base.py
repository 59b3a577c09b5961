"""What all kinds of figures share: what they take and what they return."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Mapping, Sequence

import pandas as pd

from rigl_rl.analysis import statistics


class NothingToDraw(Exception):
  """There are no results for a figure; the message says which are missing."""


@dataclasses.dataclass(frozen=True)
class Drawing:
  """A figure, or a table.

  Attributes:
    data: exactly what is drawn, a row a point, with the number of runs behind
      it.
    notes: what a reader has to know: how complete it is, and what was left out.
    figure: of matplotlib; None if it is a table.
    markdown: the table, if it is one.
  """

  data: pd.DataFrame
  notes: Sequence[str]
  figure: Any = None
  markdown: str = ''


@dataclasses.dataclass(frozen=True)
class Options:
  """What a user may choose.

  Attributes:
    x: what figures of return against size have on their axis: 'parameters',
      'forward_flops' or 'training_flops'.
    references: scores by which MuJoCo's are normalized, by task, see
      `normalize`; None for those of dense SAC among the results.
    resamples: of each bootstrap.
    comparable_policies: per line of figure 6, >= 0; see `comparable`. 0 for
      all, of whatever performance.
    read_costs: maps gin files, bindings and sparsities to what
      `launch.costs.jobs.sparsity_rows` returns; None if costs cannot be read.
    read_training_cost: maps gin files and bindings of an off-policy
      actor-critic agent to dense_weights, sparse_weights, dense_flops and
      sparse_flops, as Sokar et al. count them; or None.
    planned: number of runs in a figure's sweep file, by the figure's name.
  """

  x: str = 'parameters'
  references: Mapping[str, float] | None = None
  resamples: int = statistics.RESAMPLES
  comparable_policies: int = 3
  read_costs: Callable[..., list[dict[str, Any]]] | None = None
  read_training_cost: Callable[..., dict[str, float]] | None = None
  planned: Mapping[str, int] = dataclasses.field(default_factory=dict)
