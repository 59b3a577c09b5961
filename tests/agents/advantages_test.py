"""Tests of advantages, on rewards that a reader can follow."""

import numpy as np
import pytest
from tf_agents.utils import value_ops

from rigl_rl.agents import advantages as advantages_lib


def _naive_advantages(
  rewards, discounts, values, next_values, is_last, lambda_
):
  """Equation 16 as written: a sum of later errors."""
  steps = len(rewards)
  advantages = np.zeros(steps)
  for t in range(steps):
    factor = 1.0
    for later in range(t, steps):
      error = rewards[later] - values[later]
      error += discounts[later] * next_values[later]
      advantages[t] += factor * error
      if is_last[later]:
        break
      factor *= discounts[later] * lambda_
  return advantages


def test_advantages_by_hand():
  advantages = advantages_lib.generalized_advantages(
    rewards=np.float32([1, 1, 1, 1]),
    discounts=np.float32([0.5, 0.5, 0, 0.5]),
    values=np.float32([0, 0, 0, 0]),
    next_values=np.float32([0, 8, 8, 8]),
    is_last=np.array([False, True, True, False]),
    lambda_=1.0,
  )
  # Cut with a value of 8 after it; terminated; and the rollout ends.
  assert advantages.tolist() == [1 + 0.5 * 5, 1 + 0.5 * 8, 1, 1 + 0.5 * 8]
  assert advantages.dtype == np.float32


@pytest.mark.parametrize('lambda_', [0.0, 0.9, 1.0])
@pytest.mark.parametrize('seed', [0, 1])
def test_advantages_as_a_double_loop(seed, lambda_):
  rng = np.random.default_rng(seed)
  rewards, values, next_values = rng.standard_normal((3, 30), np.float32)
  is_last = rng.random(30) < 0.2
  discounts = np.float32(0.97 * ~(is_last & (rng.random(30) < 0.5)))
  arguments = rewards, discounts, values, next_values, is_last, lambda_
  np.testing.assert_allclose(
    advantages_lib.generalized_advantages(*arguments),
    _naive_advantages(*arguments),
    rtol=1e-4,
    atol=1e-5,
  )


def test_advantages_as_tf_agents_on_one_episode():
  rng = np.random.default_rng(2)
  rewards, values = rng.standard_normal((2, 20), np.float32)
  final_value = np.float32(0.7)
  discounts = np.full(20, 0.98, np.float32)
  expected = value_ops.generalized_advantage_estimation(
    values[:, None],
    final_value[None],
    discounts[:, None],
    rewards[:, None],
    td_lambda=0.95,
  )
  advantages = advantages_lib.generalized_advantages(
    rewards,
    discounts,
    values,
    np.append(values[1:], final_value),
    np.arange(20) == 19,
    0.95,
  )
  np.testing.assert_allclose(
    advantages, expected.numpy()[:, 0], rtol=1e-4, atol=1e-5
  )
