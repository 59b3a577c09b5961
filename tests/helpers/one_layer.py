"""A layer of eight weights, and a sparse optimizer of layers."""

import numpy as np
import tensorflow as tf

from rigl_rl.sparsity import (
  algorithms,
  mask_updater,
  optimizer,
  schedules,
  wrappers,
)


def make_layer(weight, mask, algorithm=None):
  layer = wrappers.SparseWrapper(
    tf.keras.layers.Dense(np.shape(weight)[1], use_bias=False)
  )
  layer.build((None, np.shape(weight)[0]))
  layer.initialize(0.5, algorithm or algorithms.RigL(0.5), seed=0)
  layer.mask.assign(mask)
  layer.kernel.assign(weight)
  return layer


def make_optimizer(
  layers,
  inner=None,
  replace_gradient_step=False,
  period=1,
  total_steps=100,
  **kwargs,
):
  schedule = schedules.UpdateSchedule(total_steps, **kwargs)
  return optimizer.SparseOptimizer(
    inner or tf.keras.optimizers.legacy.SGD(0.1),
    layers,
    mask_updater.MaskUpdater(layers, schedule),
    replace_gradient_step=replace_gradient_step,
    period=period,
  )


MASK = [[1.0, 1, 1, 1, 0, 0, 0, 0]]
WEIGHT = [[5.0, -1, -4, 2, 0, 0, 0, 0]]
