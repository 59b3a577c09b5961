"""Statistics over runs, with 95 % confidence intervals.

Means, interquartile means, and the probability that one method beats another.
Intervals are bootstrap percentiles. Their random numbers are a stream of their
own for each name, so that a number does not depend on what else is drawn.
"""

from __future__ import annotations

import math
from typing import Callable, NamedTuple, Sequence

import numpy as np

from rigl_rl import seeding

# Resamples of a bootstrap, unless more are asked for.
RESAMPLES = 2000
_SEED = 0
_CONFIDENCE = 0.95


class Estimate(NamedTuple):
  """A statistic, and its 95 % confidence interval; nan of a single run."""

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
  value = float(values.mean()) if len(values) else math.nan
  if len(values) < 2:
    return Estimate(value, math.nan, math.nan, len(values))
  rng = seeding.generator(_SEED, 'bootstrap', *stream)
  chosen = rng.integers(len(values), size=(resamples, len(values)))
  low, high = _interval(values[chosen].mean(axis=1))
  return Estimate(value, low, high, len(values))


def interquartile_mean(
  scores: np.ndarray, *stream: str | int, resamples: int = RESAMPLES
) -> Estimate:
  """Returns the IQM over runs of several tasks (Agarwal et al., 2021).

  rliable's `metrics.aggregate_iqm`, the mean of the middle half of all scores,
  with an interval as its `library.StratifiedBootstrap` finds it: runs are
  resampled within each task. Where a sweep is incomplete, a task is resampled
  from the runs it has.

  Deviation: rliable 1.2 ignores the random state it is given and draws from
  NumPy's global generator; here each interval has a generator of its own.

  Args:
    scores: normalized scores, shape [runs, tasks], or [runs] of one task; nan
      where a task has fewer runs, below those it has.
    *stream: names of the stream of random numbers.
    resamples: of the bootstrap.

  Returns:
    The estimate; nan throughout if there is no run, and without an interval if
    no task has more than one.
  """
  from rliable import metrics  # Imports SciPy, which takes a second.
  from scipy import stats

  scores = np.atleast_2d(np.asarray(scores, dtype=float).T).T
  counts = np.isfinite(scores).sum(axis=0)
  scores = np.sort(scores[:, counts > 0], axis=0)  # nan goes last.
  counts = counts[counts > 0]
  if not len(counts):
    return Estimate(math.nan, math.nan, math.nan, 0)
  is_run = np.isfinite(scores)
  value = float(metrics.aggregate_iqm(scores[is_run]))
  runs = int(counts.sum())
  if counts.max() == 1:
    return Estimate(value, math.nan, math.nan, runs)
  rng = seeding.generator(_SEED, 'bootstrap', *stream)
  drawn = rng.integers(counts, size=(resamples, *scores.shape))
  resampled = np.take_along_axis(scores[None], drawn, axis=1)[:, is_run]
  # aggregate_iqm of each row, which it would sum in the same order.
  rows = np.ascontiguousarray(resampled)
  low, high = _interval(stats.trim_mean(rows, 0.25, axis=1))
  return Estimate(value, low, high, runs)


def probability_of_improvement(
  pairs: Sequence[tuple[Sequence[float], Sequence[float]]],
  *stream: str | int,
  resamples: int = RESAMPLES,
) -> Estimate:
  """Returns P(X > Y): how often a run of one method beats one of another.

  The mean over tasks of the share of pairs of runs in which the first method
  scores higher, ties counting half (Agarwal et al., 2021, as rliable's
  `metrics.probability_of_improvement`). It needs no normalized scores. Runs are
  resampled within each task and method. Of few runs the interval is too short:
  with three per method and task, and six tasks, two equal methods are outside
  of it about 8 times in 100.

  Args:
    pairs: the finite scores of both methods, for each task.
    *stream: names of the stream of random numbers.
    resamples: of the bootstrap.

  Returns:
    The estimate, in [0, 1]; nan throughout if there is no pair.
  """
  tasks = [tuple(np.sort(np.asarray(s, dtype=float)) for s in p) for p in pairs]
  if not tasks:
    return Estimate(math.nan, math.nan, math.nan, 0)
  rng = seeding.generator(_SEED, 'bootstrap', *stream)

  def drawn(scores: np.ndarray) -> np.ndarray:
    return scores[rng.integers(len(scores), size=(resamples, len(scores)))]

  value = np.mean([_share_won(x, y) for x, y in tasks])
  shares = [_share_won(drawn(x), drawn(y)) for x, y in tasks]
  low, high = _interval(np.mean(shares, axis=0))
  runs = sum(len(x) + len(y) for x, y in tasks)
  if runs == 2 * len(tasks):
    low = high = math.nan
  return Estimate(float(value), low, high, runs)


def _share_won(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  wins = np.sign(x[..., :, None] - y[..., None, :])
  return 0.5 + 0.5 * wins.mean(axis=(-2, -1))


STATISTICS: dict[str, Callable[..., Estimate]] = {
  'mean': mean,
  'iqm': interquartile_mean,
}


def _interval(means: Sequence[float]) -> tuple[float, float]:
  """Returns the interval in which a share _CONFIDENCE of the means lies."""
  tail = (1 - _CONFIDENCE) / 2
  low, high = np.percentile(means, [100 * tail, 100 * (1 - tail)])
  return float(low), float(high)
