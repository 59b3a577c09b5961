"""What every sparse training algorithm is: scores for one kernel."""

from __future__ import annotations

import copy
from typing import Sequence

import tensorflow as tf

from rigl_rl.sparsity import masks, schedules, user_code


class SparseAlgorithm:
  """Scores for one kernel, and the mask they lead to.

  `weight`, `mask` and `grad` are float32 tensors of the kernel's shape; a mask
  holds zeros and ones. An algorithm holds settings and no state, and its
  methods are traced inside tf.function: random numbers come from `seed`, a pair
  of int32 that differs from layer to layer and from update to update.

  To write one, override the scores (as `RigL` does) or `update` (as `Prune`
  does), in any module that a gin file imports.

  Attributes:
    starts_dense: whether nothing is masked in the first step; sparsity-aware
      initialization then has no effect.
    changes_masks: whether masks ever change after the first step.
    needs_dense_gradient: whether `grad` must include inactive weights on update
      steps.
    updates_at_window_end: whether the mask changes at the last step of the
      update window too, on the interval or not.
    random_count: whether the first mask draws each weight independently, so
      that the number of zeros is random. `sparsify` sets it if the distribution
      returns `Probabilities`.
    ignores: arguments of `sparsify` that it does not use: a note tells a user
      who binds one.
    sparsity: the layer's target sparsity, in [0, 1); set by `bind`.
    schedule: the run's `UpdateSchedule`; set by `bind`.
    layer: the layer's name, for messages; set by `bind`.
  """

  starts_dense = False
  changes_masks = True
  needs_dense_gradient = False
  updates_at_window_end = False
  random_count = False
  ignores: tuple[str, ...] = ()
  sparsity: float
  schedule: schedules.UpdateSchedule
  layer: str = ''

  def bind(
    self, sparsity: float, schedule: schedules.UpdateSchedule, layer: str = ''
  ) -> SparseAlgorithm:
    """Returns a copy that knows its layer's target and the run's schedule."""
    twin = copy.copy(self)
    vars(twin).update(sparsity=sparsity, schedule=schedule, layer=layer)
    return twin

  def initial_mask(
    self, shape: Sequence[int], sparsity: float, seed: int
  ) -> tf.Tensor:
    """Returns the mask of the first step; random unless it starts dense."""
    if self.starts_dense:
      return tf.ones(shape)
    draw = masks.bernoulli_mask if self.random_count else masks.random_mask
    return draw(shape, sparsity, seed)

  def drop_fraction_at(self, step: tf.Tensor) -> tf.Tensor:
    """Returns the share of active weights that move at gradient step `step`."""
    del step
    return tf.constant(0.0)

  def drop_score(self, weight, mask, grad, seed) -> tf.Tensor:
    """Scores active weights: the lowest are dropped."""
    raise NotImplementedError

  def grow_score(self, weight, mask, grad, seed) -> tf.Tensor:
    """Scores inactive weights: the highest are grown."""
    raise NotImplementedError

  def active_range(self, mask, step) -> tuple:
    """Returns the least and the most active weights that `update` may leave.

    By default their number is kept. An algorithm whose `update` changes it says
    so here; a mask with another number ends the run. For the arguments, see
    `update`.
    """
    del step
    num_active = tf.math.count_nonzero(mask, dtype=tf.int32)
    return num_active, num_active

  def update(self, weight, mask, grad, step, seed) -> tf.Tensor:
    """Returns the mask that follows `mask` at an update step.

    Args:
      weight: the kernel, after this step's gradient step.
      mask: the mask in force.
      grad: the gradient of this step's loss, including inactive weights if
        `needs_dense_gradient`.
      step: int64 scalar, the gradient step, counted from 0.
      seed: int32 tensor of shape (2,).
    """
    drop_score = self.drop_score(weight, mask, grad, seed)
    grow_score = self.grow_score(weight, mask, grad, seed)
    drop_fraction = self.drop_fraction_at(step)
    user_code.check_scores(
      self, weight, grad, drop_score, grow_score, drop_fraction
    )
    return masks.drop_and_grow(mask, drop_score, grow_score, drop_fraction)
