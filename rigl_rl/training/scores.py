"""The two numbers that sum up a run's evaluations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def _checked(returns: Sequence[float]) -> np.ndarray:
  values = np.asarray(returns, dtype=np.float64)
  if values.ndim != 1 or not values.size:
    raise ValueError(
      'returns must be a non-empty list of numbers, got an array of shape '
      f'{values.shape}'
    )
  return values


def final_score(returns: Sequence[float]) -> float:
  """Mean return of the last 10 % of the evaluations.

  The score of Graesser et al. (2022), section 3. The released code averages
  everything where there are fewer than ten evaluations; here the share is
  rounded up, so that it is one evaluation at least.

  Args:
    returns: mean return of each evaluation, in order of steps; shape [n],
      n >= 1.

  Returns:
    Mean of the last ceil(n / 10) values.

  Raises:
    ValueError: `returns` is empty or not one-dimensional.
  """
  values = _checked(returns)
  # In integers: n * 0.1 rounded up would be 4 for n = 30.
  count = -(-values.size // 10)
  return float(np.mean(values[-count:]))


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
