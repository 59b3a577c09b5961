"""SET: drop the weakest weights, grow at random."""

from __future__ import annotations

import gin
import tensorflow as tf

from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import NonNegative, Probability
from rigl_rl.sparsity import masks, schedules
from rigl_rl.sparsity.algorithms import base


@gin.configurable
class SET(base.SparseAlgorithm):
  """Sparse Evolutionary Training (Mocanu et al., 2018).

  Drops the active weights of the smallest magnitude, grows as many inactive
  ones at random. The share that moves decays by a cosine over the window.
  """

  def __init__(
    self, drop_fraction: Probability = 0.3, drop_noise: NonNegative = 0.0
  ):
    """Initializes the algorithm.

    Args:
      drop_fraction: share of the active weights that move at the window's
        begin, in [0, 1].
      drop_noise: standard deviation of normal noise on the drop scores, >= 0;
        the released code has 1e-5 on Atari.
    """
    check_arguments(type(self), locals())
    self.drop_fraction = drop_fraction
    self.drop_noise = drop_noise

  def drop_fraction_at(self, step):
    schedule = self.schedule
    return schedules.cosine_drop_fraction(
      step, self.drop_fraction, schedule.end_step, schedule.begin_step
    )

  def drop_score(self, weight, mask, grad, seed):
    del mask, grad
    score = tf.abs(weight)
    if self.drop_noise:
      # Other numbers than growth draws from the same seed.
      noise = tf.random.stateless_normal(tf.shape(weight), seed=seed[::-1])
      score += self.drop_noise * noise
    return score

  def grow_score(self, weight, mask, grad, seed):
    del mask, grad
    return masks.random_scores(tf.shape(weight), seed)
