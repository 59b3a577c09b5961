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
    algorithms: of each, bound to its sparsity and the schedule.
  """

  def __init__(
    self,
    layers: Sequence[wrappers.SparseWrapper],
    schedule: schedules.UpdateSchedule,
    seed: int = 0,
    copies: Sequence[Sequence[wrappers.SparseWrapper]] = (),
  ):
    """Initializes the callback.

    Args:
      layers: wrappers that `sparsify` has initialized; dense ones, and those
        whose algorithm never changes a mask, are ignored.
      schedule: when masks change.
      seed: int32 seed of all random growth.
      copies: of all `layers`, such as those of a target network; each gets the
        masks of its layer.
    """
    super().__init__(name='mask_updater')
    self.schedule = schedule
    changing = [
      group
      for group in zip(layers, *copies, strict=True)
      if group[0].sparsity > 0 and group[0].algorithm.changes_masks
    ]
    self.layers = [layer for layer, *_ in changing]
    self._copies = [copies for _, *copies in changing]
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
    """Whether any mask changes at gradient step `step`, counted from 0."""
    return self.schedule.is_update_step(step, self._at_window_end)

  def update_steps(self) -> np.ndarray:
    """Returns the steps at which a mask changes, in order."""
    if not self.layers:
      return np.array([], np.int64)
    return self.schedule.update_steps(self._at_window_end)

  def update(self, step, gradients, slots) -> None:
    """Changes the masks that are due at `step`, an update step.

    Weights that leave or enter the mask become zero, and so do their optimizer
    slots, as in the released code. Gradients and slots are those of each
    layer's kernel.
    """
    on_interval = self.schedule.is_update_step(step)
    for layer, algorithm, seed, gradient, layer_slots, copies in zip(
      self.layers, self.algorithms, self._seeds, gradients, slots, self._copies
    ):
      old_mask = tf.identity(layer.mask)
      new_mask = algorithm.update(
        tf.identity(layer.kernel),
        old_mask,
        gradient,
        step,
        tf.stack([seed, tf.cast(step, tf.int32)]),
      )
      new_mask = user_code.check_mask(
        algorithm, new_mask, layer, *algorithm.active_range(old_mask, step)
      )
      if self._at_window_end and not algorithm.updates_at_window_end:
        # The window's last step, if only other layers update then.
        new_mask = tf.where(on_interval, new_mask, old_mask)
      layer.storage.change_mask(new_mask, layer_slots)
      for copy in copies:
        copy.storage.copy_mask(layer.storage)
