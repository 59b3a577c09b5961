"""Tests of how target networks stay sparse, on kernels checked by eye."""

import numpy as np
import tensorflow as tf

from rigl_rl.agents import targets
from rigl_rl.sparsity import wrappers


def _layer(kernel, mask):
  """A layer of one output that has this kernel and this mask."""
  layer = wrappers.SparseWrapper(tf.keras.layers.Dense(1))
  layer.build((None, len(kernel)))
  layer.kernel.assign(np.float32(kernel)[:, None])
  layer.mask.assign(np.float32(mask)[:, None])
  return layer


def _contents(layer):
  return layer.kernel.numpy()[:, 0].tolist(), layer.mask.numpy()[:, 0].tolist()


def test_copied_masks():
  online = _layer([0, 2, 0, 4], [0, 1, 1, 1])
  # A soft update has left a residue of the first weight.
  target = _layer([0.5, 1, 0.25, 3], [1, 1, 0, 1])
  targets.copy_masks([online], [target], tf.constant(True))
  assert _contents(target) == ([0, 1, 0.25, 3], [0, 1, 1, 1])
  assert _contents(online) == ([0, 2, 0, 4], [0, 1, 1, 1])


def test_masks_that_have_not_moved_are_not_copied():
  """Then there is no residue, so that the work can be spared."""
  online = _layer([0, 2], [0, 1])
  target = _layer([0.5, 1], [1, 1])
  targets.copy_masks([online], [target], tf.constant(False))
  assert _contents(target) == ([0.5, 1], [1, 1])


def test_largest_weights_are_kept():
  # Two weights of the online layer are not zero; its mask says three.
  online = _layer([0, 2, 0, -4], [0, 1, 1, 1])
  target = _layer([-0.5, 1, 0.25, -3], [1, 1, 1, 1])
  targets.keep_largest([online], [target], tf.constant(False))
  assert _contents(target) == ([0, 1, 0, -3], [0, 1, 0, 1])
  assert _contents(online) == ([0, 2, 0, -4], [0, 1, 1, 1])


def test_layers_are_taken_one_by_one():
  online = [_layer([1, 0, 0], [1, 0, 0]), _layer([1, 1, 0], [1, 1, 0])]
  target = [_layer([9, 8, 7], [1, 1, 1]), _layer([1, 3, 2], [1, 1, 1])]
  targets.keep_largest(online, target, tf.constant(True))
  assert _contents(target[0]) == ([9, 0, 0], [1, 0, 0])
  assert _contents(target[1]) == ([0, 3, 2], [0, 1, 1])
