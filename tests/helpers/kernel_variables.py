"""Variables for tests of operations, and their bits."""

import numpy as np
import tensorflow as tf


def bits(array) -> np.ndarray:
  return np.asarray(array, np.float32).view(np.uint32)


def assert_same(one, other) -> None:
  np.testing.assert_array_equal(bits(one), bits(other))


def draw(rng, shape, density):
  values = rng.standard_normal(shape).astype(np.float32)
  return np.where(rng.random(shape) < density, values, 0).astype(np.float32)


def variables(seed, shapes, densities):
  rng = np.random.default_rng(seed)
  return [
    [tf.Variable(draw(rng, shape, density)) for shape in shapes]
    for density in densities
  ]


def handles(variables):
  return [variable.handle for variable in variables]
