"""Dense training: the baseline of every figure."""

import gin

from rigl_rl.sparsity.algorithms.base import SparseAlgorithm


@gin.configurable
class Dense(SparseAlgorithm):
  """Masks nothing, at any sparsity."""

  starts_dense = True
  changes_masks = False
  ignores = ('sparsity', 'distribution', 'initializer')
