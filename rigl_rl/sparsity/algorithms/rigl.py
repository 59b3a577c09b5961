"""RigL: drop the weakest weights, grow where the gradient is large."""

import gin
import tensorflow as tf

from rigl_rl.sparsity.algorithms.set import SET


@gin.configurable
class RigL(SET):
  """RigL (Evci et al., 2020): grow by the magnitude of the dense gradient."""

  needs_dense_gradient = True

  def grow_score(self, weight, mask, grad, seed):
    del weight, mask, seed
    return tf.abs(grad)
