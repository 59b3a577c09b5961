"""The slots of an optimizer: what it keeps for each variable that it trains.

Adam's are its two moments. A weight that leaves or enters a mask has its slots
set to zero, whichever of TensorFlow's kinds of optimizer trains it.
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
  """Slots of a tf.keras.optimizers optimizer.

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
    """Creates the slots of all variables that will be trained."""
    self._optimizer.build(variables)

  def of(self, variable: tf.Variable) -> list[tf.Variable]:
    """Returns a variable's slots, one value per weight in each."""
    slots = self._slots.get(variable.ref(), ())
    # Adafactor keeps one value per row and per column.
    return [slot for slot in slots if slot.shape == variable.shape]


def slots_of(optimizer: Any) -> LegacySlots | KerasSlots:
  """Returns the slots of an optimizer.

  Args:
    optimizer: of tf.keras.optimizers, .legacy or tf.compat.v1.train.

  Raises:
    UserError: it is not one of these, or its slots cannot be found.
  """
  if hasattr(optimizer, 'get_slot_names'):
    return LegacySlots(optimizer)
  kind = type(optimizer).__name__
  if not isinstance(optimizer, tf.keras.optimizers.Optimizer) or hasattr(
    optimizer, 'inner_optimizer'
  ):
    raise UserError(
      f'SparseOptimizer.inner is a {kind}, but must be an optimizer of '
      'tf.keras.optimizers, tf.keras.optimizers.legacy or tf.compat.v1.train.'
    )
  if optimizer.use_ema:
    raise UserError(
      f'SparseOptimizer.inner is a {kind} with use_ema=True, but must have '
      'use_ema=False.'
    )
  # A new optimizer has only scalars: its step count and learning rate.
  if any(variable.shape.rank for variable in optimizer.variables):
    raise UserError(
      f'SparseOptimizer.inner is a {kind} that has trained before, but must be '
      'a new one.'
    )
  return KerasSlots(optimizer)
