"""Optimizers that gin files name."""

from __future__ import annotations

import gin
import tensorflow as tf


@gin.configurable
def adam(
    learning_rate: float = 1e-3, epsilon: float = 1e-8
) -> tf.keras.optimizers.legacy.Optimizer:
  """Returns Adam (Kingma & Ba, 2015).

  Keras' legacy class, which runs each update as one fused operation.

  Args:
    learning_rate: step size, > 0.
    epsilon: added to the root of the second moment, > 0.
  """
  return tf.keras.optimizers.legacy.Adam(learning_rate, epsilon=epsilon)
