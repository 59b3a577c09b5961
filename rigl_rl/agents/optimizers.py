"""Optimizers that gin files name."""

from __future__ import annotations

import gin
import tensorflow as tf

from rigl_rl.checks import check_number
from rigl_rl.errors import UserError


class _DecayingAdam(tf.keras.optimizers.legacy.Adam):
  """Adam with weight decay in its gradient."""

  def __init__(self, learning_rate: float, epsilon: float, weight_decay: float):
    super().__init__(learning_rate, epsilon=epsilon, name='Adam')
    self._weight_decay = weight_decay

  def _resource_apply_dense(self, grad, var, apply_state=None):
    grad += self._weight_decay * var
    return super()._resource_apply_dense(grad, var, apply_state)


@gin.configurable
def adam(
  learning_rate: float = 1e-3, epsilon: float = 1e-8, weight_decay: float = 0.0
) -> tf.keras.optimizers.legacy.Optimizer:
  """Returns Adam (Kingma & Ba, 2015).

  Keras' legacy class, which runs each update as one fused operation.

  Args:
    learning_rate: step size, > 0.
    epsilon: added to the root of the second moment, > 0.
    weight_decay: λ >= 0 of a term λ · w in each gradient, of kernels and
      biases: PyTorch's Adam(weight_decay=λ), as Sokar et al. (2022) have it.
      But for ε, which Keras adds before the correction of the moments' bias.
      The weight decay of networks is another one: of kernels alone, and part of
      the loss, as Graesser et al. (2022) have it.

  Raises:
    UserError: on a value outside its range.
  """
  for name, value in (('learning_rate', learning_rate), ('epsilon', epsilon)):
    if not isinstance(value, (int, float)) or not value > 0:
      raise UserError(
        f'adam.{name} is {value!r}, but must be a number above 0.'
      )
  check_number('adam.weight_decay', weight_decay, 0)
  if weight_decay:
    return _DecayingAdam(learning_rate, epsilon, weight_decay)
  return tf.keras.optimizers.legacy.Adam(learning_rate, epsilon=epsilon)
