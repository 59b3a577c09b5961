"""The numbers that sum up a run's evaluations."""

from __future__ import annotations

import fractions
import math
from collections.abc import Sequence
from typing import Annotated

import gin
import numpy as np

from rigl_rl.config import bindings
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Count, Range


def _checked(returns: Sequence[float]) -> np.ndarray:
  values = np.asarray(returns, dtype=np.float64)
  if values.ndim != 1 or not values.size:
    raise ValueError(
      'returns must be a non-empty list of numbers, got an array of shape '
      f'{values.shape}'
    )
  return values


@gin.configurable(denylist=['returns'])
def final_score(
  returns: Sequence[float],
  last: Annotated[float, Range('(0, 1]')] | Count = 0.1,
) -> float:
  """Mean return of the last evaluations.

  By default the score of Graesser et al. (2022), section 3: the last 10 % of
  the evaluations. The released code averages everything where there are fewer
  than ten evaluations; here a share is rounded up, so that it is one evaluation
  at least. `last = 10` is R of Sokar et al. (2022), section 4.3 and table 1:
  the last 10 evaluations.

  Args:
    returns: mean return of each evaluation, in order of steps; shape [n],
      n >= 1.
    last: a float in (0, 1] is a share of the evaluations, rounded up to whole
      ones; an int >= 1 is how many they are, all where there are fewer. So 1 is
      the last one, and 1.0 all of them.

  Returns:
    Mean of the last ⌈last · n⌉, or min(last, n), values.

  Raises:
    UserError: `last` is neither.
    ValueError: `returns` is empty or not one-dimensional.
  """
  check_arguments(final_score, locals())
  values = _checked(returns)
  count = last
  if isinstance(last, float):
    # By the decimal that was written: in floating point 30 * 0.1, rounded up,
    # would be 4.
    count = math.ceil(values.size * fractions.Fraction(repr(float(last))))
  return float(np.mean(values[-count:]))


def describe_final_score() -> str:
  """Says what `final_score` is the mean of: 'last 10 %', by its binding.

  Raises:
    UserError: on a bad `final_score.last`; so a run asks before it trains.
  """
  last = bindings.read(final_score)['last']
  check_arguments(final_score, {'last': last})
  if isinstance(last, float):
    return f'last {100 * last:g} %'
  return 'last evaluation' if last == 1 else f'last {last} evaluations'


def learning_curve_area(
  returns: Sequence[float], train_steps: int | None = None
) -> float:
  """Learning curve area: how fast a method learns; higher is faster.

  LCA of Sokar et al. (2022), equation 9: 1/Δ · Σ R(t), where R(t) is the mean
  return of the evaluation at step t and Δ the number of training steps.

  The paper sums over the evaluations alone, one every 5,000 steps, yet
  divides by *all* training steps: so its table 2 states the mean return
  divided by 5,000 (HalfCheetah, TD3: 1.7686 is a mean return of 8,843).
  With `train_steps` that printed number is returned. Without, Δ counts
  evaluations, as the integral in the same equation has it: the mean return
  over training, in units of return, comparable between runs evaluated at
  different intervals.

  Args:
    returns: mean return of each evaluation, in order of steps, evenly spaced;
      shape [n], n >= 1.
    train_steps: number of training steps (environment steps), > 0.

  Returns:
    The area, in returns, or in returns per training step if `train_steps` is
    given.

  Raises:
    ValueError: `returns` is empty or not one-dimensional, or `train_steps` is
      not above 0.
  """
  values = _checked(returns)
  if train_steps is None:
    return float(np.mean(values))
  if train_steps <= 0:
    raise ValueError(f'train_steps must be > 0, got {train_steps!r}')
  return float(np.sum(values) / train_steps)
