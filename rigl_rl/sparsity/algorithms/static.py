"""Static sparse training: a random mask that never changes."""

import gin

from rigl_rl.sparsity.algorithms.base import SparseAlgorithm


@gin.configurable
class Static(SparseAlgorithm):
  """Keeps the random mask of the first step (Graesser et al., 2022, §2.1)."""

  changes_masks = False
