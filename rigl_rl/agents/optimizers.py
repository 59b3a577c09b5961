"""Optimizers that gin files name."""

from __future__ import annotations

import gin
import tensorflow as tf

from rigl_rl.errors import UserError


@gin.configurable
def adam(
  learning_rate: float = 1e-3, epsilon: float = 1e-8
) -> tf.keras.optimizers.legacy.Optimizer:
  """Returns Adam (Kingma & Ba, 2015).

  Keras' legacy class, which runs each update as one fused operation.

  Args:
    learning_rate: step size, > 0.
    epsilon: added to the root of the second moment, > 0.

  Raises:
    UserError: if an argument is not above 0.
  """
  for name, value in (('learning_rate', learning_rate), ('epsilon', epsilon)):
    if not isinstance(value, (int, float)) or not value > 0:
      raise UserError(
        f'adam.{name} is {value!r}, but must be a number above 0.'
      )
  return tf.keras.optimizers.legacy.Adam(learning_rate, epsilon=epsilon)
