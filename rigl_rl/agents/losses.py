"""Losses of temporal differences: float32 (batch,) in and out."""

from __future__ import annotations

from typing import Any, Mapping

import gin
import numpy as np
import tensorflow as tf

from rigl_rl.config.domains import Positive
from rigl_rl.errors import UserError


@gin.configurable(denylist=['targets', 'predictions'])
def squared_loss(targets: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
  """(target − prediction)², as released for classic control."""
  return tf.math.squared_difference(targets, predictions)


@gin.configurable(denylist=['targets', 'predictions'])
def huber_loss(
  targets: tf.Tensor, predictions: tf.Tensor, delta: Positive = 1.0
) -> tf.Tensor:
  """Huber's loss, as released for Atari: e² / 2 up to δ, then δ (|e| − δ / 2).

  Args:
    targets: float32 (batch,).
    predictions: float32 (batch,).
    delta: δ > 0, the error from which on the loss is linear.
  """
  error = tf.abs(targets - predictions)
  quadratic = tf.minimum(error, delta)
  return 0.5 * quadratic**2 + delta * (error - quadratic)


def not_finite(when: str, data: Mapping[str, Any], remedy: str) -> UserError:
  """Builds the error for a loss that is not finite, naming the cause.

  That is the environment if its `observation`, `next_observation` or `reward`
  in `data`, from which the loss was computed, is not finite; otherwise the
  message advises the `remedy`. `when` is such as '100 gradient steps'.
  """
  for name in ('observation', 'next_observation', 'reward'):
    values = np.asarray(data.get(name, ()))
    if values.dtype.kind != 'f':  # Pixels are always finite.
      continue
    bad = values[~np.isfinite(values)]
    if bad.size:
      what = 'a reward' if name == 'reward' else 'an observation'
      return UserError(
        f'The environment gave {what} of {bad[0]:g}, but all must be finite: '
        f'a loss is not finite after {when}.'
      )
  return UserError(
    f'A loss is not finite after {when}, but must be; try {remedy}.'
  )
