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
  the evaluations. Deviation: with fewer than ten evaluations, the released code
  averages all of them; here a share is rounded up. `last = 10` is R of Sokar et
  al. (2022), section 4.3 and table 1: the last 10 evaluations.

  Args:
    returns: mean return of each evaluation, in order of steps; shape [n],
      n >= 1.
    last: a float in (0, 1] is a share: the last ⌈last · n⌉ evaluations. An
      integer >= 1 is a number: the last min(last, n). So 1 is the last
      evaluation, and 1.0 is all of them.

  Raises:
    UserError: `last` is neither.
    ValueError: `returns` is empty or not one-dimensional.
  """
  check_arguments(final_score, locals())
  values = _checked(returns)
  count = last
  if isinstance(last, float):
    # By the decimal that was written: in binary, 30 * 0.1 rounds up to 4.
    count = math.ceil(values.size * fractions.Fraction(repr(float(last))))
  return float(np.mean(values[-count:]))


def describe_final_score() -> str:
  """Says what `final_score` is the mean of: 'last 10 %', by its binding.

  Raises:
    UserError: on a bad `final_score.last`; a run calls this before it trains.
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

  The paper sums over evaluations only, one every 5,000 steps, but divides by
  *all* training steps: its table 2 states the mean return divided by 5,000
  (HalfCheetah, TD3: 1.7686 is a mean return of 8,843). With `train_steps` that
  number is returned. Without, Δ counts evaluations, as in the integral of the
  same equation: the mean return over training, comparable between runs that
  are evaluated at different intervals.

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
