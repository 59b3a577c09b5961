"""Tests of the actors' distributions; those of the actors compare values."""

import numpy as np
import tensorflow as tf
from tf_agents.specs import tensor_spec

from rigl_rl.networks import action_distributions

ACTION = tensor_spec.BoundedTensorSpec(
  (3,), tf.float32, [-0.4, -1.0, 0.0], [0.4, 3.0, 1.0], 'action'
)


def test_log_probability_at_the_end_of_the_range_is_finite():
  loc, log_std = tf.constant([[0.0, 8.0, -30.0]]), tf.zeros((1, 3))
  distribution = action_distributions.SquashedNormal(loc, log_std, ACTION)
  actions = distribution.sample(seed=[3, 4])
  assert actions[0, 2] == ACTION.minimum[2]
  exact = distribution.log_prob(actions)
  x = np.float64(loc + tf.random.stateless_normal((1, 3), [3, 4]))
  expected = np.sum(
    -0.5 * (x - loc) ** 2
    - 0.5 * np.log(2 * np.pi)
    + 2 * np.log(np.cosh(x))
    - np.log((ACTION.maximum - ACTION.minimum) / 2)
  )
  np.testing.assert_allclose(exact, [expected], rtol=1e-5)
  assert np.isfinite(distribution.log_prob(tf.identity(actions)))


def test_samples_are_decided_by_a_stateless_seed():
  distribution = action_distributions.SquashedNormal(
    tf.zeros((2, 3)), tf.zeros((2, 3)), ACTION
  )
  first, same, other = (
    distribution.sample(seed=seed) for seed in ([1, 2], [1, 2], [1, 3])
  )
  np.testing.assert_array_equal(first, same)
  assert not np.array_equal(first, other)
  assert not np.array_equal(distribution.sample(), distribution.sample())
  many = distribution.sample((20000,), seed=[1, 2])
  assert many.shape == (20000, 2, 3)
  assert distribution.log_prob(many).shape == (20000, 2)
  middle = (ACTION.maximum + ACTION.minimum) / 2
  np.testing.assert_allclose(np.mean(many, (0, 1)), middle, atol=0.02)
  # A density: it integrates to 1.
  reach = ACTION.maximum - ACTION.minimum
  points = np.random.default_rng(0).uniform(size=(50000, 1, 3)) * reach
  points = tf.constant(points + ACTION.minimum, tf.float32)
  density = tf.exp(distribution.log_prob(points))
  np.testing.assert_allclose(np.mean(density) * reach.prod(), 1, rtol=0.03)
