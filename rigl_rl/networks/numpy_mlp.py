"""Forward passes of multi-layer perceptrons and of actors in NumPy.

One call of a TensorFlow function costs more than all the arithmetic of a small
network on one state, so acting in NumPy is several times as fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

import numpy as np

from rigl_rl.sparsity import wrappers

if TYPE_CHECKING:  # TF-Agents takes seconds to import, which DQN does without.
  from tf_agents.utils import tensor_normalizer

  from rigl_rl.networks import actor_critic

Weights = Sequence[tuple[np.ndarray, np.ndarray]]


class NumpyMLP:
  """Dense layers with an activation between them, and none after the last.

  Holds the weights as they were given: call `set_weights` when they change.
  """

  def __init__(self, weights: Weights, activation: str = 'relu'):
    """Initializes the network.

    Args:
      weights: (kernel, bias) of each layer, first layer first; kernels
        `(in, out)`, biases `(out,)`. float32 arrays are used without a copy.
      activation: 'relu' or 'tanh'.

    Raises:
      ValueError: if the shapes do not fit together, or there is no such
        activation.
    """
    if activation not in ('relu', 'tanh'):
      raise ValueError(f"{activation!r} is neither 'relu' nor 'tanh'.")
    self._is_relu = activation == 'relu'
    self._buffers = {}
    self.set_weights(weights)

  def set_weights(self, weights: Weights) -> None:
    """Replaces the weights; their shapes may differ from the ones before."""
    weights = [
      (np.asarray(kernel, np.float32), np.asarray(bias, np.float32))
      for kernel, bias in weights
    ]
    for i, (kernel, bias) in enumerate(weights):
      fan_in = kernel.shape[0] if i == 0 else weights[i - 1][0].shape[-1]
      if kernel.ndim != 2 or kernel.shape != (fan_in, *bias.shape):
        raise ValueError(
          f'Layer {i} has a kernel of shape {kernel.shape} and a bias of '
          f'shape {bias.shape}, after {fan_in} units.'
        )
    units = [kernel.shape[1] for kernel, _ in weights]
    if self._buffers and units != self._units:
      self._buffers = {}
    self._units = units
    self._weights = weights

  def __call__(self, states: np.ndarray) -> np.ndarray:
    """Computes the outputs.

    Args:
      states: `(batch, *state)`, of any number type; flattened.

    Returns:
      float32 array `(batch, outputs)`. The next call with a batch of this size
      overwrites it: copy what is to last.
    """
    batch = len(states)
    buffers = self._buffers.get(batch)
    if buffers is None:
      # One set for each batch size: a few sizes, acting and evaluation, recur.
      buffers = [np.empty((batch, n), np.float32) for n in self._units]
      self._buffers[batch] = buffers
    x = np.asarray(states, np.float32).reshape(batch, -1)
    last = len(buffers) - 1
    for i, ((kernel, bias), out) in enumerate(zip(self._weights, buffers)):
      np.dot(x, kernel, out=out)
      out += bias
      if i < last:
        if self._is_relu:
          np.maximum(out, 0.0, out=out)
        else:
          np.tanh(out, out=out)
      x = out
    return x


class NumpyNormalizer:
  """TF-Agents' StreamingTensorNormalizer, as PPO's policies apply it."""

  # The defaults of TensorNormalizer.normalize, which PPOPolicy leaves as they
  # are.
  _CLIP = np.float32(5.0)
  _EPSILON = np.float32(1e-3)

  def __init__(self, normalizer: tensor_normalizer.StreamingTensorNormalizer):
    """Initializes the normalizer.

    Args:
      normalizer: of observations that are one vector, such as a PPO policy's
        `observation_normalizer`.
    """
    self._variables = normalizer.variables
    self.refresh()

  def refresh(self) -> None:
    """Reads mean and variance, which training has changed."""
    count, mean, squares, _ = (v.numpy() for v in self._variables)
    self._scale = 1 / np.sqrt(squares / count + self._EPSILON)
    self._shift = -mean * self._scale

  def __call__(self, observations: np.ndarray) -> np.ndarray:
    """Normalizes observations, `(batch, observation)`; returns new ones."""
    x = np.multiply(observations, self._scale, dtype=np.float32)
    x += self._shift
    return np.clip(x, -self._CLIP, self._CLIP, out=x)


class _NumpyActor:
  """What actors in NumPy share: the weights, and the range of actions."""

  def __init__(self, actor: actor_critic.Actor):
    """Initializes the actor.

    Args:
      actor: the network, built. Its weights are read now, and when `refresh`
        is called.
    """
    self._actor = actor
    self._mlp = NumpyMLP(read_weights(actor), actor.activation)
    self._range = _ActionRange(actor.action_spec)

  def refresh(self) -> None:
    """Reads the weights, which training has changed."""
    self._mlp.set_weights(read_weights(self._actor))


class NumpyDeterministicActor(_NumpyActor):
  """A DeterministicActor in NumPy, for acting."""

  def greedy(self, observations: np.ndarray) -> np.ndarray:
    """Returns the actions for observations.

    Args:
      observations: `(batch, observation)`, of any number type.

    Returns:
      Actions, `(batch, n)`, within their range.
    """
    return self._range.squash(self._mlp(observations))


class NumpySquashedGaussianActor(_NumpyActor):
  """A SquashedGaussianActor in NumPy, for acting."""

  def __init__(self, actor: actor_critic.SquashedGaussianActor):
    super().__init__(actor)
    self._log_std_range = actor.log_std_range

  def mean_and_log_std(
    self, observations: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Computes the distribution's parameters, before squashing.

    Args:
      observations: `(batch, observation)`, of any number type.

    Returns:
      Mean and log σ, each `(batch, n)`. The next call with a batch of this size
      overwrites them: copy what is to last.
    """
    outputs = self._mlp(observations)
    n = outputs.shape[1] // 2
    mean, log_std = outputs[:, :n], outputs[:, n:]
    low, high = self._log_std_range
    if low is not None:
      np.maximum(log_std, low, out=log_std)
    if high is not None:
      np.minimum(log_std, high, out=log_std)
    return mean, log_std

  def greedy(self, observations: np.ndarray) -> np.ndarray:
    """Returns the actions of the mean, `(batch, n)`."""
    mean, _ = self.mean_and_log_std(observations)
    return self._range.squash(mean)

  def sample_from(
    self, mean: np.ndarray, log_std: np.ndarray, noise: np.ndarray
  ) -> np.ndarray:
    """Returns the actions that standard normal noise selects.

    Args:
      mean: `(batch, n)`, as `mean_and_log_std` or a train step returns it.
      log_std: `(batch, n)`.
      noise: `(batch, n)`, drawn from N(0, 1).

    Returns:
      Actions, `(batch, n)`.
    """
    raw = np.exp(log_std)
    raw *= noise
    raw += mean
    return self._range.squash(raw)


class NumpyGaussianActor(_NumpyActor):
  """A GaussianActor in NumPy, for acting."""

  def __init__(
    self,
    actor: actor_critic.GaussianActor,
    observation_normalizer: (
      tensor_normalizer.StreamingTensorNormalizer | None
    ) = None,
  ):
    """Initializes the actor.

    Args:
      actor: the network, built. Its weights are read now, and when `refresh`
        is called.
      observation_normalizer: the policy's, if it has one; read with the actor.
    """
    super().__init__(actor)
    self._raw_std = actor.raw_std
    self._normalizer = (
      NumpyNormalizer(observation_normalizer)
      if observation_normalizer is not None
      else None
    )
    self._is_squashed = actor.squash_mean
    self._read_std()

  def refresh(self) -> None:
    """Reads weights and normalizer, which training has changed."""
    super().refresh()
    self._read_std()
    if self._normalizer is not None:
      self._normalizer.refresh()

  def mean_and_std(
    self, observations: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Computes the distribution's parameters.

    Args:
      observations: `(batch, observation)`, as the environment gives them.

    Returns:
      Mean, `(batch, n)`, after squashing, and standard deviation, `(n,)`, which
      is that of every observation. The next call with a batch of this size
      overwrites the mean: copy what is to last.
    """
    if self._normalizer is not None:
      observations = self._normalizer(observations)
    mean = self._mlp(observations)
    if self._is_squashed:
      self._range.scale(np.tanh(mean, out=mean))
    return mean, self._std

  def greedy(self, observations: np.ndarray) -> np.ndarray:
    """Returns the means, clipped to the range of actions, `(batch, n)`."""
    return self._range.clip(self.mean_and_std(observations)[0].copy())

  def _read_std(self) -> None:
    # Softplus.
    self._std = np.logaddexp(np.float32(0), self._raw_std.numpy())


class _ActionRange:
  """The range of actions."""

  def __init__(self, spec):
    shape = tuple(spec.shape)
    low, high = (
      np.broadcast_to(bound, shape).astype(np.float32)
      for bound in (spec.minimum, spec.maximum)
    )
    self._low, self._high = low, high
    self._center, self._magnitude = (high + low) / 2, (high - low) / 2

  def scale(self, x: np.ndarray) -> np.ndarray:
    """Scales numbers in [-1, 1] to the range, in place."""
    x *= self._magnitude
    x += self._center
    return x

  def clip(self, x: np.ndarray) -> np.ndarray:
    """Clips in place, as TF-Agents' policies do after rounding errors."""
    np.maximum(x, self._low, out=x)
    return np.minimum(x, self._high, out=x)

  def squash(self, x: np.ndarray) -> np.ndarray:
    """Returns tanh of numbers, scaled to the range: a new array."""
    return self.clip(self.scale(np.tanh(x)))


def read_weights(model) -> list[tuple[np.ndarray, np.ndarray]]:
  """Reads a built network's weights, for `NumpyMLP`.

  Args:
    model: a network whose dense layers, all with biases, follow one another,
      with one activation between them, such as an MLPQNetwork.

  Returns:
    (kernel, bias) of each layer, first layer first.
  """
  layers = wrappers.named_layers(model).values()
  return [(layer.kernel.numpy(), layer.bias.numpy()) for layer in layers]
