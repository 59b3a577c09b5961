"""Noise that a seed decides."""

from __future__ import annotations

import tensorflow as tf

from rigl_rl.kernels import loader


def shape_of(tensor: tf.Tensor) -> tf.TensorShape | tf.Tensor:
  """Returns a tensor's shape, as a tensor where a trace does not know it."""
  return tensor.shape if tensor.shape.is_fully_defined() else tf.shape(tensor)


def normal(shape: tf.TensorShape | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
  """Draws float32 noise of a standard normal distribution.

  Equal to tf.random.stateless_normal, but several times as fast where the shape
  is known, on a CPU.

  Args:
    shape: of the noise, as `shape_of` returns it.
    seed: int32 (2,), which decides all.
  """
  is_known = isinstance(shape, tf.TensorShape)
  has_gpu = tf.config.list_logical_devices('GPU')
  operations = loader.load() if is_known and not has_gpu else None
  if operations is None:
    return tf.random.stateless_normal(shape, seed)
  return operations.rigl_normal(seed=seed, shape=shape)
