"""Losses of temporal differences, one value per example."""

from __future__ import annotations

import gin
import tensorflow as tf

from rigl_rl.domains import Positive


@gin.configurable(denylist=['targets', 'predictions'])
def squared_loss(targets: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
  """(target − prediction)², as released for classic control.

  Args:
    targets: float32 tensor of shape (batch,).
    predictions: float32 tensor of shape (batch,).

  Returns:
    float32 tensor of shape (batch,).
  """
  return tf.math.squared_difference(targets, predictions)


@gin.configurable(denylist=['targets', 'predictions'])
def huber_loss(
  targets: tf.Tensor, predictions: tf.Tensor, delta: Positive = 1.0
) -> tf.Tensor:
  """Huber's loss, as released for Atari: e² / 2 up to δ, then δ (|e| − δ / 2).

  Args:
    targets: float32 tensor of shape (batch,).
    predictions: float32 tensor of shape (batch,).
    delta: where the square gives way to the line, > 0.

  Returns:
    float32 tensor of shape (batch,).
  """
  error = tf.abs(targets - predictions)
  quadratic = tf.minimum(error, delta)
  return 0.5 * quadratic**2 + delta * (error - quadratic)
