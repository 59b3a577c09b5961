"""Gradual magnitude pruning: from a dense network to a sparse one."""

import gin
import tensorflow as tf

from rigl_rl.sparsity import masks, schedules
from rigl_rl.sparsity.algorithms.base import SparseAlgorithm


@gin.configurable
class Prune(SparseAlgorithm):
  """Gradual pruning (Zhu & Gupta, 2018).

  Starts dense, and at each update keeps the weights of the largest magnitude,
  at the sparsity s(t) = s_f (1 − (1 − p)³), p from 0 to 1 over the window. A
  pruned weight is zero and stays pruned. The window's last step is an update in
  any case, so that pruning ends exactly at s_f.
  """

  starts_dense = True
  updates_at_window_end = True
  ignores = ('initializer',)

  def sparsity_at(self, step: tf.Tensor) -> tf.Tensor:
    """Returns the layer's sparsity at gradient step `step`, as float64."""
    schedule = self.schedule
    return schedules.polynomial_sparsity(
      step, self.sparsity, schedule.begin_step, schedule.end_step
    )

  def _num_active(self, size, step):
    # The rounding of `num_zeros`, on a tensor.
    zeros = tf.floor(self.sparsity_at(step) * (size * (1 + 1e-12)))
    return size - tf.cast(zeros, tf.int32)

  def active_range(self, mask, step):
    num_active = self._num_active(mask.shape.num_elements(), step)
    return num_active, num_active

  def update(self, weight, mask, grad, step, seed):
    del grad, seed
    # The weight is zero off the mask, so only ties could revive a pruned one.
    score = tf.where(mask > 0, tf.abs(weight), -1.0)
    size = weight.shape.num_elements()
    return masks.top_k_mask(score, self._num_active(size, step))
