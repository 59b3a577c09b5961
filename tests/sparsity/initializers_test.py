"""How sparse layers start: scales by hand, and what must not change."""

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.sparsity import initializers

_ALL = [
  initializers.layer_default,
  initializers.sparsity_aware,
  initializers.per_connection_glorot,
]


def _kernel(shape, seed=0):
  rng = np.random.default_rng(seed)
  return tf.constant(rng.uniform(0.5, 1.5, shape), tf.float32)


@pytest.mark.parametrize('initializer', _ALL)
@pytest.mark.parametrize('shape', [(6, 5), (3, 4, 5), (2, 2, 3, 4)])
def test_zero_off_the_mask_and_only_there(initializer, shape):
  mask = tf.constant(np.random.default_rng(1).random(shape) < 0.4, tf.float32)
  kernel = initializer(_kernel(shape), mask, 3)
  assert kernel.shape == shape
  assert kernel.dtype == tf.float32
  np.testing.assert_array_equal(kernel.numpy() != 0, mask.numpy() == 1)


def test_layer_default_keeps_the_values():
  kernel = _kernel((3, 2))
  mask = tf.constant([[1.0, 0], [0, 0], [1, 1]])
  np.testing.assert_array_equal(
    initializers.layer_default(kernel, mask, 0), kernel * mask
  )


def test_sparsity_aware_scales_each_unit_by_hand():
  kernel = tf.ones((4, 4))
  # Units with 4, 1, 2 and 0 of 4 inputs: √(4/4), √(4/1), √(4/2).
  mask = [[1.0, 0, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]]
  expected = np.array(mask) * [1, 2, np.sqrt(2), 0]
  actual = initializers.sparsity_aware(kernel, tf.constant(mask), 0)
  np.testing.assert_allclose(actual, expected, rtol=1e-6)
  assert np.isfinite(actual).all()  # The last unit has no active input.


def test_sparsity_aware_counts_the_window():
  # 2 × 1 window, 2 inputs, 2 units: a fan-in of 4, of which 1 and 2 are active.
  mask = np.zeros((2, 1, 2, 2), np.float32)
  mask[0, 0, 1, 0] = 1
  mask[0, 0, 0, 1] = mask[1, 0, 1, 1] = 1
  actual = initializers.sparsity_aware(
    tf.fill(mask.shape, 0.5), tf.constant(mask), 0
  )
  expected = 0.5 * mask * [2, np.sqrt(2)]
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_sparsity_aware_keeps_the_variance_of_a_unit():
  rng = np.random.default_rng(0)
  kernel = tf.constant(rng.standard_normal((1000, 50)) / 1000**0.5, tf.float32)
  mask = tf.constant(rng.random((1000, 50)) < 0.1, tf.float32)
  sparse = initializers.sparsity_aware(kernel, mask, 0).numpy()
  # The sum over a unit's squared weights is 1 in the dense layer.
  assert (sparse**2).sum(axis=0).mean() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
  'initializer', [initializers.layer_default, initializers.sparsity_aware]
)
@pytest.mark.parametrize('shape', [(17, 5), (3, 7, 5), (3, 3, 7, 5)])
def test_nothing_masked_changes_nothing(initializer, shape):
  kernel = _kernel(shape)
  np.testing.assert_array_equal(initializer(kernel, tf.ones(shape), 3), kernel)


def test_glorot_limits_by_hand():
  # Fan-ins 3, 1; fan-outs 2, 1, 1.
  mask = tf.constant([[1.0, 1], [1, 0], [1, 0]])
  fan_average = np.array([[2.5, 1.5], [2, 1.5], [2, 1.5]])
  full_average = 2.5
  seed = 7
  dense = initializers.per_connection_glorot(
    _kernel((3, 2)), tf.ones((3, 2)), seed
  )
  sparse = initializers.per_connection_glorot(_kernel((3, 2)), mask, seed)
  # The same draws under either mask, so that their ratio is the limits'.
  np.testing.assert_allclose(
    sparse, dense * mask * np.sqrt(full_average / fan_average), rtol=1e-6
  )


def test_glorot_fans_of_a_convolution():
  shape = (2, 2, 3, 4)
  mask = (np.random.default_rng(2).random(shape) < 0.5).astype(np.float32)
  fan_in = mask.sum(axis=(0, 1, 2))
  fan_out = mask.sum(axis=(0, 1, 3))
  fan_average = (fan_out[:, None] + fan_in) / 2
  dense = initializers.per_connection_glorot(_kernel(shape), tf.ones(shape), 5)
  sparse = initializers.per_connection_glorot(
    _kernel(shape), tf.constant(mask), 5
  )
  full_average = (2 * 2 * 3 + 2 * 2 * 4) / 2
  np.testing.assert_allclose(
    sparse, dense * mask * np.sqrt(full_average / fan_average), rtol=1e-5
  )


def test_glorot_variance_and_range():
  kernel = initializers.per_connection_glorot(
    tf.zeros((200, 100)), tf.ones((200, 100)), 1
  ).numpy()
  # Var = 1 / fan average; 20,000 draws of U(-l, l) give it within .63 %.
  assert kernel.var() == pytest.approx(1 / 150, rel=5 * 0.0063)
  limit = np.sqrt(3 / 150)
  assert np.abs(kernel).max() <= limit
  assert kernel.max() > 0.99 * limit
  assert kernel.min() < -0.99 * limit


def test_glorot_replaces_the_kernel_by_its_seed():
  ones = tf.ones((6, 5))

  def draw(kernel, seed):
    return initializers.per_connection_glorot(kernel, ones, seed).numpy()

  first = draw(_kernel((6, 5)), 1)
  np.testing.assert_array_equal(first, draw(_kernel((6, 5), seed=9), 1))
  assert (first != draw(_kernel((6, 5)), 2)).all()
