"""How the weights of a sparse layer start.

Each takes a kernel `(*window, in, out)` from the layer's own initializer, its
first mask, and an int32 seed. It returns the kernel to start from, in which
inactive weights are zero.
"""

from __future__ import annotations

from typing import Callable

import gin
import tensorflow as tf

# Of a kernel, its mask and an int32 seed; returns the kernel.
WeightInitializer = Callable[[tf.Tensor, tf.Tensor, int], tf.Tensor]


@gin.configurable(denylist=['kernel', 'mask', 'seed'])
def layer_default(kernel: tf.Tensor, mask: tf.Tensor, seed: int) -> tf.Tensor:
  """Keeps the layer's own initial values ("sparsity-aware init: False")."""
  del seed
  return kernel * mask


@gin.configurable(denylist=['kernel', 'mask', 'seed'])
def sparsity_aware(kernel: tf.Tensor, mask: tf.Tensor, seed: int) -> tf.Tensor:
  """Scales each output unit by √(fan_in / active fan_in) (Graesser, §6).

  An initializer scales by 1/√fan_in; here only a unit's active connections
  count. Where nothing is masked, as in pruning's first step, nothing changes.
  """
  del seed
  active_fan_in, fan_in = _fan_in(mask)
  return kernel * mask * tf.sqrt(fan_in / tf.maximum(active_fan_in, 1.0))


@gin.configurable(denylist=['kernel', 'mask', 'seed'])
def per_connection_glorot(
  kernel: tf.Tensor, mask: tf.Tensor, seed: int
) -> tf.Tensor:
  """The released code's sparsity-aware initialization.

  Replaces every layer's own initial values. A weight from input i to unit j is
  drawn from U(-l, l) with l = √(3 / ((fan_in_j + fan_out_i) / 2)): Glorot's
  uniform, but counting active connections.
  """
  active_fan_in, _ = _fan_in(mask)
  window = list(range(mask.shape.rank - 2))
  active_fan_out = tf.reduce_sum(mask, axis=window + [-1], keepdims=True)
  fan_average = tf.maximum((active_fan_in + active_fan_out) / 2, 1.0)
  draws = tf.random.stateless_uniform(
    tf.shape(kernel), seed=(seed, 1), minval=-1.0, dtype=kernel.dtype
  )
  return draws * mask * tf.sqrt(3.0 / fan_average)


def _fan_in(mask: tf.Tensor) -> tuple[tf.Tensor, float]:
  """Active and dense fan-in per output unit; the former broadcasts to mask."""
  inputs = list(range(mask.shape.rank - 1))
  active = tf.reduce_sum(mask, axis=inputs, keepdims=True)
  return active, mask.shape.num_elements() / mask.shape[-1]
