"""Means and interquartile means over runs, with 95 % confidence intervals.

Intervals are bootstrap percentiles. Their random numbers are a stream of their
own for each name, so that a number does not depend on what else is drawn.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Sequence

import numpy as np

from rigl_rl import seeding
from rigl_rl.errors import UserError

# Resamples of a bootstrap, unless more are asked for.
RESAMPLES = 2000
_SEED = 0
_CONFIDENCE = 0.95


class Estimate(NamedTuple):
  """A mean, and its 95 % confidence interval; nan of a single run."""

  value: float
  low: float
  high: float
  runs: int


def mean(
  scores: Sequence[float], *stream: str | int, resamples: int = RESAMPLES
) -> Estimate:
  """Returns the mean over runs of one task.

  Args:
    scores: one for each run, shape [n]; nan does not count.
    *stream: names of the stream of random numbers.
    resamples: of the bootstrap.

  Returns:
    The estimate; nan throughout if there is no run.
  """
  values = np.asarray(scores, dtype=float)
  values = np.sort(values[np.isfinite(values)])
  if not len(values):
    return Estimate(math.nan, math.nan, math.nan, 0)
  value = float(values.mean())
  if len(values) == 1:
    return Estimate(value, math.nan, math.nan, 1)
  rng = seeding.generator(_SEED, 'bootstrap', *stream)
  chosen = rng.integers(len(values), size=(resamples, len(values)))
  tail = 100 * (1 - _CONFIDENCE) / 2
  low, high = np.percentile(values[chosen].mean(axis=1), [tail, 100 - tail])
  return Estimate(value, float(low), float(high), len(values))


def interquartile_mean(
  scores: np.ndarray, *stream: str | int, resamples: int = RESAMPLES
) -> Estimate:
  """Returns the IQM over runs of several tasks (Agarwal et al., 2021).

  By rliable: `metrics.aggregate_iqm`, the mean of the middle half of all
  scores, and `library.StratifiedBootstrap`, which resamples runs within each
  task. Both are rliable's own where every task has as many runs. Where a sweep
  is incomplete, a task is resampled from the runs it has.

  Deviation: rliable 1.2 draws from NumPy's global generator, whatever random
  state it is given. Here it is a generator of its own.

  Args:
    scores: normalized scores, shape [runs, tasks]; nan where a task has fewer
      runs, below those it has.
    *stream: names of the stream of random numbers.
    resamples: of the bootstrap.

  Returns:
    The estimate; nan throughout if there is no run, and without an interval if
    no task has more than one.

  Raises:
    UserError: rliable cannot be imported.
  """
  library, metrics = _import_rliable()
  scores = np.asarray(scores, dtype=float)
  counts = np.isfinite(scores).sum(axis=0)
  scores = np.sort(scores[:, counts > 0], axis=0)  # nan goes last.
  counts = counts[counts > 0]
  if not len(counts):
    return Estimate(math.nan, math.nan, math.nan, 0)

  def aggregate(values: np.ndarray) -> np.ndarray:
    return np.array([metrics.aggregate_iqm(values[np.isfinite(values)])])

  value = float(aggregate(scores)[0])
  runs = int(counts.sum())
  if counts.max() == 1:
    return Estimate(value, math.nan, math.nan, runs)
  rng = seeding.generator(_SEED, 'bootstrap', *stream)
  rows = np.arange(len(scores))[:, None]

  class Bootstrap(library.StratifiedBootstrap):
    """Draws by our generator, from the runs that a task has."""

    def update_indices(self):
      drawn = rng.integers(counts, size=self._args_shape)
      # A row that holds no run stays where it is.
      return (np.where(rows < counts, drawn, rows), *self._strata_indices)

  interval = Bootstrap(scores).conf_int(
    aggregate, reps=resamples, size=_CONFIDENCE, method='percentile'
  )
  return Estimate(value, float(interval[0, 0]), float(interval[1, 0]), runs)


def _import_rliable():
  try:
    from rliable import library, metrics
  except (ImportError, TypeError) as error:
    # arch, which it imports, knows no pandas 3.
    raise UserError(
      f'rliable cannot be imported ({error}): it needs arch<8, and that needs '
      'pandas<3; install the versions of requirements.txt.'
    ) from error
  return library, metrics
