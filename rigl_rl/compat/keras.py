"""Private names of Keras 2 (tf-keras)."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Sequence

import tensorflow as tf


def layers_of(layer: tf.keras.layers.Layer) -> Iterable[tf.keras.layers.Layer]:
  """Returns the layers that a layer holds directly, as it tracks them.

  Only models have the public `layers`.
  """
  return layer._flatten_layers(recursive=False, include_self=False)


def clear_callable_losses(layer: tf.keras.layers.Layer) -> None:
  """Makes a built layer forget its regularizers' losses."""
  layer._callable_losses.clear()


def create_slots(
  optimizer: tf.keras.optimizers.legacy.Optimizer,
  variables: Sequence[tf.Variable],
) -> None:
  """Creates what a legacy optimizer keeps, before its first step."""
  optimizer._create_all_weights(variables)


def move_slots(
  optimizer: tf.keras.optimizers.legacy.Optimizer,
  old: tf.Variable,
  new: tf.Variable,
  convert: Callable[[tf.Variable], Any],
) -> list[tf.Variable]:
  """Gives a variable the slots of another one, which loses them.

  Args:
    optimizer: a legacy one, whose variables keep their order: a checkpoint has
      them in this order.
    old: has been trained until now; it may have no slots yet.
    new: is trained from now on.
    convert: maps a slot to the initial value of the one that replaces it.

  Returns:
    The new slots.
  """
  moved = []
  weights = optimizer._weights
  for name, slot in optimizer._slots.pop(old._unique_id, {}).items():
    moved.append(optimizer.add_slot(new, name, convert(slot)))
    weights.pop()
    weights[next(i for i, w in enumerate(weights) if w is slot)] = moved[-1]
  return moved
