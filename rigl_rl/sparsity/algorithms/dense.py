"""Dense training: the baseline of every figure."""

import gin
import tensorflow as tf

from rigl_rl.sparsity.algorithms.base import SparseAlgorithm


@gin.configurable
class Dense(SparseAlgorithm):
  """Masks nothing, at any sparsity."""

  starts_dense = True
  changes_masks = False
  ignores = ('sparsity', 'distribution', 'initializer')

  def initial_mask(self, shape, sparsity, seed):
    del sparsity, seed
    return tf.ones(shape)
