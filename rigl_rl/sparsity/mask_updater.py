"""MaskUpdater: the callback that changes masks while a network trains."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import tensorflow as tf

from rigl_rl.sparsity import schedules, user_code, wrappers


class MaskUpdater(tf.Module):
  """Changes the masks of some layers on the steps of a schedule.

  Attributes:
    layers: the layers whose masks may change.
    algorithms: the algorithm of each, bound to its sparsity and the schedule.
  """

  def __init__(
    self,
    layers: Sequence[wrappers.SparseWrapper],
    schedule: schedules.UpdateSchedule,
    seed: int = 0,
  ):
    """Initializes the callback.

    Args:
      layers: wrappers that `sparsify` has initialized. Those that stay dense,
        and those whose algorithm never changes a mask, are passed over.
      schedule: when masks change.
      seed: int32 seed of all random growth.
    """
    super().__init__(name='mask_updater')
    self.schedule = schedule
    self.layers = [
      layer
      for layer in layers
      if layer.sparsity > 0 and layer.algorithm.changes_masks
    ]
    self.algorithms = [
      layer.algorithm.bind(layer.sparsity, schedule, layer.name)
      for layer in self.layers
    ]
    self._at_window_end = any(
      algorithm.updates_at_window_end for algorithm in self.algorithms
    )
    self._seeds = [
      wrappers.derive_seed(seed, str(i)) for i in range(len(self.layers))
    ]

  def is_update_step(self, step) -> tf.Tensor:
    """Whether any mask changes at gradient step `step`, counted from 0.

    Those are the schedule's steps, and the window's last one if there is an
    algorithm with `updates_at_window_end`.
    """
    is_update = self.schedule.is_update_step(step)
    if self._at_window_end:
      is_update |= self.schedule.is_last_step(step)
    return is_update

  def update_steps(self) -> np.ndarray:
    """Returns the steps of which `is_update_step` is true, in order."""
    if not self.layers:
      return np.array([], np.int64)
    steps = self.schedule.update_steps()
    if self._at_window_end:
      steps = np.union1d(steps, [self.schedule.end_step])
    return steps

  def update(self, step, gradients, slots) -> None:
    """Changes the masks that are due at `step`, an update step.

    Weights that leave the mask become zero; weights that enter it start from
    zero. Their optimizer slots are zeroed as well, as in the released code.

    Args:
      step: int64 scalar, a gradient step of which `is_update_step` is true.
      gradients: function of a layer to its kernel's gradient of this step.
      slots: function of a layer to the optimizer slots of its kernel.
    """
    on_interval = self.schedule.is_update_step(step)
    for layer, algorithm, seed in zip(
      self.layers, self.algorithms, self._seeds
    ):
      old_mask = tf.identity(layer.mask)
      new_mask = algorithm.update(
        tf.identity(layer.kernel),
        old_mask,
        gradients(layer),
        step,
        tf.stack([seed, tf.cast(step, tf.int32)]),
      )
      new_mask = user_code.check_mask(
        algorithm, new_mask, layer, *algorithm.active_range(old_mask, step)
      )
      if self._at_window_end and not algorithm.updates_at_window_end:
        # The step may be the window's last, which only other layers asked for.
        new_mask = tf.where(on_interval, new_mask, old_mask)
      layer.storage.change_mask(new_mask, slots(layer))
