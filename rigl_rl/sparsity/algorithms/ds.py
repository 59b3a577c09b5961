"""DS: the dynamic sparse training of DS-TD3 and DS-SAC."""

from __future__ import annotations

import gin
import tensorflow as tf

from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Probability
from rigl_rl.sparsity import masks
from rigl_rl.sparsity.algorithms import base


@gin.configurable
class DS(base.SparseAlgorithm):
  """Dynamic Sparse training (Sokar et al., 2022, algorithm 2).

  Drops the c = ⌊η · nonzero⌋ weights closest to zero, half of them from the
  positive and half from the negative ones (all there are, where one sign has
  fewer), and grows as many at random among the weights that were zero before.
  The first mask is Erdős–Rényi: each weight exists with the layer's density,
  independently. η does not decay.

  In the paper a connection with a weight of zero does not exist. So an active
  weight of exactly zero, which has had no gradient since it grew (its input is
  always zero, as 84 of Ant's and of Humanoid's are, or its unit is dead), moves
  as well, as in the authors' code. Otherwise growth would in time carry every
  connection to such a place.

  The authors' code differs in three points, each a binding: it stops after
  925,000 of 975,000 gradient steps with a drop that nothing regrows
  (`UpdateSchedule.end`, `last_update_only_drops = True`), adapts at steps ≡ 2
  modulo the interval (`UpdateSchedule.offset = 2`), and drops η of each sign
  (`drop_each_sign = True`). A fourth has no binding: there a grown weight keeps
  the Adam step that it took as an inactive one; here it starts from zero, as in
  the paper.
  """

  random_count = True

  def __init__(
    self,
    drop_fraction: Probability = 0.05,
    drop_each_sign: bool = False,
    last_update_only_drops: bool = False,
  ):
    """Initializes the algorithm.

    Args:
      drop_fraction: η, share of the nonzero weights that move, in [0, 1].
      drop_each_sign: drop η of the positive and η of the negative weights,
        rather than ⌊c / 2⌋ of either; exactly as the authors' code,
        ⌊η · count⌋ + 1 positive and ⌈η · count⌉ negative ones.
      last_update_only_drops: at the window's last step, on the interval or
        not, drop and do not grow.
    """
    check_arguments(type(self), locals())
    self.drop_fraction = drop_fraction
    self.drop_each_sign = drop_each_sign
    self.last_update_only_drops = last_update_only_drops
    self.updates_at_window_end = last_update_only_drops

  def drop_fraction_at(self, step):
    del step
    return tf.constant(self.drop_fraction)

  def active_range(self, mask, step):
    least, most = super().active_range(mask, step)
    if self.last_update_only_drops:
      least = tf.where(self.schedule.is_last_step(step), 0, least)
    return least, most

  def update(self, weight, mask, grad, step, seed):
    del grad
    if not self.drop_fraction:
      return mask
    active = mask > 0
    zero = tf.equal(weight * mask, 0)
    idle = active & zero
    num_absent = tf.math.count_nonzero(~active, dtype=tf.int32)
    only_drops = tf.constant(False)
    if self.last_update_only_drops:
      only_drops = self.schedule.is_last_step(step)
    # No more than can grow again, or a nearly dense layer would lose weights.
    budget = tf.where(only_drops, tf.size(weight), num_absent)

    dropped = tf.cast(idle, tf.float32)
    for is_positive in (True, False):
      sign = active & (weight > 0 if is_positive else weight < 0)
      num_sign = tf.math.count_nonzero(sign, dtype=tf.int32)
      share = self._share(num_sign, active & ~idle, is_positive)
      num_dropped = tf.minimum(tf.minimum(share, num_sign), budget)
      budget -= num_dropped
      dropped += masks.top_k_mask(-tf.abs(weight), num_dropped, candidates=sign)

    num_grown = tf.math.count_nonzero(dropped, dtype=tf.int32)
    grown = masks.top_k_mask(
      masks.random_scores(tf.shape(weight), seed),
      tf.where(only_drops, 0, num_grown),
      candidates=zero,
    )
    return mask - dropped + grown

  def _share(self, num_sign, nonzero, is_positive):
    """Returns how many of the `num_sign` weights of one sign to drop."""
    if not self.drop_each_sign:  # Half of c.
      count = tf.math.count_nonzero(nonzero, dtype=tf.int32)
      moved = tf.cast(count, tf.float32) * self.drop_fraction
      return tf.cast(moved, tf.int32) // 2
    # Where the authors' code cuts the sorted weights, in its double precision.
    count = tf.cast(num_sign, tf.float64)
    if is_positive:
      return tf.cast(count * self.drop_fraction, tf.int32) + 1
    return num_sign - tf.cast(count * (1 - self.drop_fraction), tf.int32)
