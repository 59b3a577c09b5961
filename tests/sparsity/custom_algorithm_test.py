"""A user's own algorithm: one module outside the package, one gin file."""

import sys

import gin
import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.sparsity import optimizer, wrappers

_MODULE = '''
"""Grows where the gradient is smallest, drops nothing but the last weights."""

import gin
import tensorflow as tf

from rigl_rl.sparsity import algorithms


@gin.configurable
class MyAlgorithm(algorithms.SparseAlgorithm):

  needs_dense_gradient = True

  def __init__(self, num_moved=1):
    self.num_moved = num_moved

  def initial_mask(self, shape, sparsity, seed):
    del sparsity, seed
    return tf.concat([tf.ones((2, shape[1])), tf.zeros((2, shape[1]))], 0)

  def drop_fraction_at(self, step):
    del step
    return tf.constant(self.num_moved / 4)

  def drop_score(self, weight, mask, grad, seed):
    del mask, grad, seed
    return -tf.reshape(tf.range(tf.size(weight)), tf.shape(weight))

  def grow_score(self, weight, mask, grad, seed):
    del weight, mask, seed
    return -tf.abs(grad)
'''

_GIN_FILE = """
import {module}

sparsify.algorithm = @MyAlgorithm()
sparsify.distribution = @uniform
sparsify.sparsity = 0.5
MyAlgorithm.num_moved = 2
UpdateSchedule.interval = 2
UpdateSchedule.end = 1.0
"""


@pytest.fixture(name='gin_file')
def _gin_file(tmp_path, monkeypatch, no_gin_config):
  """A gin file beside the user's module."""
  module = 'a_users_own_algorithm'
  (tmp_path / f'{module}.py').write_text(_MODULE)
  path = tmp_path / 'mine.gin'
  path.write_text(_GIN_FILE.format(module=module))
  monkeypatch.syspath_prepend(str(tmp_path))
  yield str(path)
  sys.modules.pop(module, None)


def test_algorithm_named_only_in_a_gin_file(gin_file):
  gin.parse_config_file(gin_file)
  model = tf.keras.Sequential([tf.keras.layers.Dense(2, use_bias=False)])
  model.build((None, 4))
  layers = wrappers.sparsify(model)
  assert type(layers[0].algorithm).__module__ == 'a_users_own_algorithm'
  np.testing.assert_array_equal(
    layers[0].mask, [[1, 1], [1, 1], [0, 0], [0, 0]]
  )

  sparse = optimizer.make_sparse_optimizer(
    tf.keras.optimizers.legacy.SGD(0.1), layers, total_steps=10, seed=0
  )
  gradient = tf.constant([[9.0, 9], [8, 7], [6, 5], [5, 6]])

  @tf.function
  def step():
    sparse.apply_gradients([(gradient, layers[0].kernel)])

  # Drops the last two active ones, grows at the two smallest gradients. Those
  # just dropped have larger ones.
  masks = []
  for _ in range(3):
    step()
    masks.append(layers[0].mask.numpy().tolist())
  assert masks[0] == [[1, 1], [0, 0], [0, 1], [1, 0]]
  assert masks[1] == masks[0]
  # Now the last two are dropped, and the same two places are the best again.
  assert masks[2] == masks[0]
  kernel = layers[0].kernel.numpy()
  assert (kernel[layers[0].mask.numpy() == 0] == 0).all()
