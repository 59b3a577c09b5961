"""The actors' distributions over actions.

They have the values of TF-Agents' and TFP's own distributions, but take far
fewer operations, which on such small networks are a good part of a train step.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tf_agents.distributions import utils as distribution_utils
from tf_agents.specs import tensor_spec

from rigl_rl.kernels import noise as noise_lib

_LOG_SQRT_2_PI = 0.5 * math.log(2 * math.pi)


class SquashedNormal(distribution_utils.SquashToSpecNormal):
  """tanh of a diagonal normal distribution, scaled to the range of actions.

  The action is center + magnitude · tanh(x), x ~ N(loc, exp(log_std)²): equal
  to TF-Agents' SquashToSpecNormal of a MultivariateNormalDiag. `loc` and
  `log_std` are `(batch, n)`; `spec`, of shape `(n,)`, has the range of actions.
  """

  def __init__(
    self,
    loc: tf.Tensor,
    log_std: tf.Tensor,
    spec: tensor_spec.BoundedTensorSpec,
    name: str = 'SquashedNormal',
  ):
    parameters = dict(locals())
    std = tf.exp(log_std)
    super().__init__(
      tfp.distributions.MultivariateNormalDiag(loc, std), spec, name=name
    )
    self._parameters = parameters
    self._loc = loc
    self._log_std = log_std
    self._std = std
    # The last sample: its noise, before squashing, and the action. With these,
    # its log-probability needs no inverse, which would lose precision.
    self._last_sample = (None, None, None)

  @classmethod
  def _parameter_properties(cls, dtype, num_classes=None):
    return {
      name: tfp.util.ParameterProperties(event_ndims=1)
      for name in ('loc', 'log_std')
    }

  def _event_shape(self):
    return self._loc.shape[-1:]

  def sample(self, sample_shape=(), seed=None, name='sample'):
    """Draws actions, `(*sample_shape, batch, n)`.

    The draw is stateless by a pair of int32 as seed, else stateful.
    """
    with tf.name_scope(name):
      shape = noise_lib.shape_of(self._loc)
      if not (isinstance(sample_shape, tuple) and not sample_shape):
        outer = tf.reshape(tf.convert_to_tensor(sample_shape, tf.int32), (-1,))
        shape = tf.concat([outer, tf.cast(shape, tf.int32)], axis=0)
      if seed is None or isinstance(seed, int):
        noise = tf.random.normal(shape, seed=seed)
      else:
        noise = noise_lib.normal(shape, seed)
      raw = self._loc + self._std * noise
      actions = self._squash(raw)
      self._last_sample = (noise, raw, actions)
      return actions

  def log_prob(self, value, name='log_prob'):
    """Maps actions `(..., batch, n)` to log-probability densities.

    They are exact of what `sample` has just returned.
    """
    with tf.name_scope(name):
      noise, raw, actions = self._last_sample
      if value is not actions:
        raw = self._unsquash(tf.convert_to_tensor(value, self.dtype))
        noise = (raw - self._loc) / self._std
      # log N(x) - log |d action / dx|, in which
      # log(1 - tanh²(x)) = 2 (log 2 - x - softplus(-2x)).
      terms = (
        2.0 * (raw + tf.nn.softplus(-2.0 * raw))
        - 0.5 * tf.square(noise)
        - self._log_std
      )
      constants = np.broadcast_to(
        np.log(self.action_magnitudes), self._loc.shape[-1:]
      )
      constants = constants + _LOG_SQRT_2_PI + 2 * math.log(2)
      return tf.reduce_sum(terms, axis=-1) - np.float32(constants.sum())

  def mode(self, name='mode'):
    """The action of the mean, which greedy policies take; `(batch, n)`."""
    with tf.name_scope(name):
      return self._squash(self._loc)

  def _squash(self, raw: tf.Tensor) -> tf.Tensor:
    unit = tf.tanh(raw)
    if np.all(self.action_means == 0) and np.all(self.action_magnitudes == 1):
      return unit  # As most tasks have it; it spares operations.
    return self.action_means + self.action_magnitudes * unit

  def _unsquash(self, actions: tf.Tensor) -> tf.Tensor:
    unit = (actions - self.action_means) / self.action_magnitudes
    # As TF-Agents does: an action at the end of its range has a finite inverse.
    limit = 0.99999997
    inside = tf.clip_by_value(unit, -limit, limit)
    return tf.atanh(tf.where(tf.abs(unit) <= 1.0, inside, unit))


class DiagonalNormal(tfp.distributions.MultivariateNormalDiag):
  """A MultivariateNormalDiag whose log-probability takes few operations.

  Its arguments, mean and standard deviation, have the shape `(..., n)`.
  """

  def __init__(
    self, loc: tf.Tensor, scale_diag: tf.Tensor, name: str = 'DiagonalNormal'
  ):
    parameters = dict(locals())
    super().__init__(loc=loc, scale_diag=scale_diag, name=name)
    self._parameters = parameters
    self._std = tf.convert_to_tensor(scale_diag, self.dtype)

  @classmethod
  def _parameter_properties(cls, dtype, num_classes=None):
    # The parent's; TFP warns of a constructor without properties of its own.
    return super()._parameter_properties(dtype, num_classes)

  def _log_prob(self, x):
    terms = 0.5 * tf.square((x - self.loc) / self._std) + tf.math.log(self._std)
    return -tf.reduce_sum(terms, axis=-1) - self._dimensions * _LOG_SQRT_2_PI

  def _entropy(self):
    log_std = tf.reduce_sum(tf.math.log(self._std), axis=-1)
    return log_std + self._dimensions * (0.5 + _LOG_SQRT_2_PI)

  @property
  def _dimensions(self) -> int:
    return self._std.shape[-1]
