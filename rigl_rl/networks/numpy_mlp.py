"""Forward passes of multi-layer perceptrons and of actors in NumPy.

One call of a TensorFlow function costs more than all the arithmetic of a small
network on one state, so acting in NumPy is several times as fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from rigl_rl.errors import UserError
from rigl_rl.sparsity import wrappers

if TYPE_CHECKING:  # TF-Agents takes seconds to import; DQN does not need it.
  from tf_agents.utils import tensor_normalizer

  from rigl_rl.networks import actor_critic

Weights = Sequence[tuple[np.ndarray, np.ndarray]]


def _relu(x, out):
  return np.maximum(x, 0.0, out=out)


_ACTIVATIONS = {'relu': _relu, 'tanh': np.tanh}


class NumpyMLP:
  """Dense layers with an activation between them, and none after the last.

  Attributes:
    activation: 'relu' or 'tanh'.
    weights: float32 (kernel, bias) of each layer, first layer first: `(in,
      out)` and `(out,)`.
  """

  def __init__(self, weights: Weights, activation: str = 'relu'):
    """Takes the weights; float32 arrays are used without a copy."""
    self.activation = activation
    self._activate = _ACTIVATIONS[activation]
    self._buffers = {}
    self.set_weights(weights)

  def set_weights(self, weights: Weights) -> None:
    """Replaces the weights by others of the same shapes."""
    self.weights = [
      (np.asarray(kernel, np.float32), np.asarray(bias, np.float32))
      for kernel, bias in weights
    ]

  def __call__(self, states: np.ndarray) -> np.ndarray:
    """Maps `(batch, *state)`, of any number type, to float32 outputs.

    The next call with a batch of this size overwrites them: copy what is to
    last.
    """
    batch = len(states)
    # One state as a vector: NumPy's calls take two thirds of the time.
    lead = (batch,) if batch > 1 else ()
    buffers = self._buffers.get(batch)
    if buffers is None:
      # One set for each batch size: a few sizes, acting and evaluation, recur.
      buffers = [
        np.empty((*lead, len(bias)), np.float32) for _, bias in self.weights
      ]
      self._buffers[batch] = buffers
    x = np.asarray(states, np.float32).reshape(*lead, -1)
    for i, ((kernel, bias), out) in enumerate(zip(self.weights, buffers)):
      if i:
        self._activate(x, out=x)
      np.dot(x, kernel, out=out)
      out += bias
      x = out
    return x.reshape(batch, -1)


class NumpyNormalizer:
  """TF-Agents' StreamingTensorNormalizer, as PPO's policies apply it.

  Attributes:
    scale, shift: float32 `(observation,)`; x becomes scale · x + shift.
    limit: to which ± that is clipped.
  """

  # The defaults of TensorNormalizer.normalize, which PPOPolicy keeps.
  limit = np.float32(5.0)
  _EPSILON = np.float32(1e-3)

  def __init__(self, normalizer: tensor_normalizer.StreamingTensorNormalizer):
    """Takes a normalizer of vectors: a policy's `observation_normalizer`."""
    self._variables = normalizer.variables
    self.refresh()

  def __getstate__(self):
    return {**self.__dict__, '_variables': None}

  def refresh(self) -> None:
    """Reads mean and variance, which training has changed."""
    count, mean, squares, _ = (v.numpy() for v in self._variables)
    self.scale = 1 / np.sqrt(squares / count + self._EPSILON)
    self.shift = -mean * self.scale

  def __call__(self, observations: np.ndarray) -> np.ndarray:
    """Normalizes `(batch, observation)`, or one; returns new ones."""
    x = np.multiply(observations, self.scale, dtype=np.float32)
    x += self.shift
    np.maximum(x, -self.limit, out=x)  # Both in one: half the time of np.clip.
    return np.minimum(x, self.limit, out=x)


class NumpyActor:
  """An actor in NumPy, for acting; called, it acts greedily.

  It uses the weights that it read last: when it was made, or at `refresh`. It
  can be pickled; what that gives keeps these.

  Attributes:
    mlp: its layers, whose first outputs are the means of the actions.
    normalizer: of observations; None for none.
    is_squashed: whether tanh squashes the means, which are then scaled to the
      range of actions.
    low, high: float32 `(n,)`, the range of actions.
    center, magnitude: float32 `(n,)`, its middle and half of its width.
  """

  def __init__(self, actor: actor_critic.Actor, normalizer: Any = None):
    """Reads a network that is built, and the policy's normalizer if any.

    Raises:
      UserError: the actor is of a user's class with a forward pass of its own.
    """
    classes = type(actor).__mro__
    ours = next(c for c in classes if c.__module__.startswith('rigl_rl.'))
    for name in ('call', '_map'):
      if getattr(type(actor), name) is not getattr(ours, name):
        raise UserError(
          f'The actor is {type(actor).__name__}, but must have the `{name}` of '
          f'{ours.__name__}: actors act in NumPy, by their layers only.'
        )
    self._actor = actor
    self.mlp = NumpyMLP((), actor.activation)
    self.normalizer = normalizer and NumpyNormalizer(normalizer)
    self.is_squashed = actor.squash_mean
    spec = actor.action_spec
    self.low, self.high = (
      np.broadcast_to(bound, tuple(spec.shape)).astype(np.float32)
      for bound in (spec.minimum, spec.maximum)
    )
    self.center = (self.high + self.low) / 2
    self.magnitude = (self.high - self.low) / 2
    self.refresh()

  def __getstate__(self):
    return {**self.__dict__, '_actor': None}

  def refresh(self) -> None:
    """Reads weights and normalizer, which training has changed."""
    self.mlp.set_weights(read_weights(self._actor))
    if self.normalizer is not None:
      self.normalizer.refresh()

  def __call__(self, observations: np.ndarray) -> np.ndarray:
    """Maps `(batch, observation)` to greedy actions, `(batch, n)`."""
    means = self._outputs(observations)[:, : len(self.low)]
    return self._clip(self._squash(means))

  def _outputs(self, observations):
    if self.normalizer is not None:
      observations = self.normalizer(observations)
    return self.mlp(observations)

  def _squash(self, x):
    """Returns means, or samples, as actions: a new array."""
    if not self.is_squashed:
      return x.copy()
    x = np.tanh(x)
    x *= self.magnitude
    x += self.center
    return x

  def _clip(self, x):
    """Clips in place, as TF-Agents' policies do after rounding errors."""
    np.maximum(x, self.low, out=x)
    return np.minimum(x, self.high, out=x)


class NumpySquashedGaussianActor(NumpyActor):
  """A SquashedGaussianActor in NumPy, which can also explore."""

  def mean_and_log_std(
    self, observations: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """As SquashedGaussianActor's; the next call overwrites the arrays."""
    outputs = self._outputs(observations)
    n = outputs.shape[1] // 2
    mean, log_std = outputs[:, :n], outputs[:, n:]
    low, high = self._actor.log_std_range
    if low is not None:
      np.maximum(log_std, low, out=log_std)
    if high is not None:
      np.minimum(log_std, high, out=log_std)
    return mean, log_std

  def sample_from(
    self, mean: np.ndarray, log_std: np.ndarray, noise: np.ndarray
  ) -> np.ndarray:
    """Returns the actions that `noise`, drawn from N(0, 1), selects.

    All arrays are `(batch, n)`; mean and log σ may be a train step's.
    """
    raw = np.exp(log_std)
    raw *= noise
    raw += mean
    return self._clip(self._squash(raw))


class NumpyGaussianActor(NumpyActor):
  """A GaussianActor in NumPy, which can also explore."""

  def refresh(self) -> None:
    super().refresh()
    # Softplus.
    self._std = np.logaddexp(np.float32(0), self._actor.raw_std.numpy())

  def mean_and_std(
    self, observation: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Maps one observation, `(n,)`, to what GaussianActor's maps it to.

    But normalizes it; σ is the same for all.
    """
    if self.normalizer is not None:
      observation = self.normalizer(observation)
    return self._squash(self.mlp(observation[None])[0]), self._std


def read_weights(model) -> list[tuple[np.ndarray, np.ndarray]]:
  """Reads (kernel, bias) of each layer of a built perceptron, in order."""
  layers = wrappers.named_layers(model).values()
  return [(layer.kernel.numpy(), layer.bias.numpy()) for layer in layers]
