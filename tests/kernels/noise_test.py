"""Tests of noise by the kernels."""

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.kernels import noise

LOWEST, HIGHEST = -(2**31), 2**31 - 1


# Whole blocks of 128 numbers, and parts of one.
@pytest.mark.parametrize('shape', [(256, 6), (0, 3), (5,), (), (43, 3)])
@pytest.mark.parametrize(
  'seed', [(0, 0), (3, -4), (-1, 7), (LOWEST, HIGHEST), (HIGHEST, LOWEST)]
)
def test_noise_is_tensorflows(operations, shape, seed):
  found = noise.normal(tf.TensorShape(shape), tf.constant(seed))
  expected = tf.random.stateless_normal(shape, seed)
  np.testing.assert_array_equal(found, expected)


def test_a_million_numbers_are_tensorflows(operations):
  shape, seed = tf.TensorShape((1000, 1000)), tf.constant((1, 2))
  found = noise.normal(shape, seed)
  np.testing.assert_array_equal(found, tf.random.stateless_normal(shape, seed))


@pytest.mark.parametrize('is_known', [True, False])
def test_the_kernel_draws_where_the_shape_is_known(operations, is_known):
  def draw(like):
    return noise.normal(noise.shape_of(like), tf.constant((5, 6)))

  spec = tf.TensorSpec((4, 3) if is_known else (None, 3))
  function = tf.function(draw, autograph=False).get_concrete_function(spec)
  kinds = {operation.type for operation in function.graph.get_operations()}
  assert ('RiglNormal' in kinds) == is_known
  np.testing.assert_array_equal(
    function(tf.zeros((4, 3))), tf.random.stateless_normal((4, 3), (5, 6))
  )


@pytest.mark.parametrize('shape', [(), (1,), (3,), (2, 1)])
def test_a_seed_is_a_pair(operations, shape):
  with pytest.raises(tf.errors.InvalidArgumentError, match='must be a pair'):
    operations.rigl_normal(seed=tf.zeros(shape, tf.int32), shape=(2,))
