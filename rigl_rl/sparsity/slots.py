"""The slots of an optimizer: its values per variable, such as Adam's moments.

A weight that leaves or enters a mask has its slots set to zero, in each of
TensorFlow's kinds of optimizers.
"""

from __future__ import annotations

from typing import Any, Sequence

import tensorflow as tf

from rigl_rl.compat import keras
from rigl_rl.errors import UserError


class LegacySlots:
  """Slots of a tf.keras.optimizers.legacy or tf.compat.v1.train optimizer."""

  def __init__(self, optimizer: Any):
    self._optimizer = optimizer

  def create(self, variables: Sequence[tf.Variable]) -> None:
    """Creates the slots of all variables that will be trained."""
    # Optimizers of tf.compat.v1.train create them in their first step.
    if isinstance(self._optimizer, tf.keras.optimizers.legacy.Optimizer):
      keras.create_slots(self._optimizer, variables)

  def of(self, variable: tf.Variable) -> list[tf.Variable]:
    """Returns a variable's slots, one value per weight in each."""
    names = self._optimizer.get_slot_names()
    return [self._optimizer.get_slot(variable, name) for name in names]


class KerasSlots:
  """Slots of a tf.keras.optimizers optimizer; the same methods.

  Each class keeps its slots in its own way, but all add them with one method.
  """

  def __init__(self, optimizer: Any):
    self._optimizer = optimizer
    self._slots: dict[Any, list[tf.Variable]] = {}
    add_slot = optimizer.add_variable_from_reference

    def add_and_note(model_variable, *args, **kwargs):
      slot = add_slot(model_variable, *args, **kwargs)
      self._slots.setdefault(model_variable.ref(), []).append(slot)
      return slot

    optimizer.add_variable_from_reference = add_and_note

  def create(self, variables: Sequence[tf.Variable]) -> None:
    self._optimizer.build(variables)

  def of(self, variable: tf.Variable) -> list[tf.Variable]:
    slots = self._slots.get(variable.ref(), ())
    # Adafactor keeps one value per row and per column.
    return [slot for slot in slots if slot.shape == variable.shape]


def slots_of(optimizer: Any) -> LegacySlots | KerasSlots:
  """Returns the slots of an optimizer; UserError if they cannot be found."""
  if hasattr(optimizer, 'get_slot_names'):
    return LegacySlots(optimizer)
  kind, wanted = type(optimizer).__name__, None
  is_keras = isinstance(optimizer, tf.keras.optimizers.Optimizer)
  if not is_keras or hasattr(optimizer, 'inner_optimizer'):
    wanted = (
      'be an optimizer of tf.keras.optimizers, tf.keras.optimizers.legacy or '
      'tf.compat.v1.train'
    )
  elif optimizer.use_ema:
    kind, wanted = f'{kind} with use_ema=True', 'have use_ema=False'
  # A new optimizer has only scalars: its step count and learning rate.
  elif any(variable.shape.rank for variable in optimizer.variables):
    kind, wanted = f'{kind} that has trained before', 'be a new one'
  if wanted:
    raise UserError(f'SparseOptimizer.inner is a {kind}, but must {wanted}.')
  return KerasSlots(optimizer)
