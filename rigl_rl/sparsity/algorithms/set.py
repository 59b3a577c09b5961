"""SET: drop the weakest weights, grow at random."""

from __future__ import annotations

import gin
import tensorflow as tf

from rigl_rl.sparsity import schedules
from rigl_rl.sparsity.algorithms import base


@gin.configurable
class SET(base.SparseAlgorithm):
  """Sparse Evolutionary Training (Mocanu et al., 2018).

  Drops the active weights of the smallest magnitude, grows as many inactive
  ones at random. The share that moves decays by a cosine over the window.
  """

  def __init__(self, drop_fraction: float = 0.3):
    """Initializes the algorithm.

    Args:
      drop_fraction: share of the active weights that move at the window's
        begin, in [0, 1].

    Raises:
      UserError: if drop_fraction is outside [0, 1].
    """
    self.drop_fraction = base.check_drop_fraction(
        f'{type(self).__name__}.drop_fraction', drop_fraction
    )

  def drop_fraction_at(self, step):
    return schedules.cosine_drop_fraction(
        step,
        self.drop_fraction,
        self.schedule.end_step,
        self.schedule.begin_step,
    )

  def drop_score(self, weight, mask, grad, seed):
    del mask, grad, seed
    return tf.abs(weight)

  def grow_score(self, weight, mask, grad, seed):
    del mask, grad
    return tf.random.stateless_uniform(tf.shape(weight), seed=seed)
