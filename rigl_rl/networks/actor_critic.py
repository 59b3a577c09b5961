"""Actors, critics and value networks of SAC, TD3 and PPO, from sparse layers.

They are TF-Agents networks, for stock agents; `PerceptronNetwork` describes the
arguments. The layers of each are called dense1, dense2, output. `copy`, by
which TF-Agents makes second critics and target networks, keeps the structure
and draws other weights, so that no two critics are twins.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Sequence

import gin
import tensorflow as tf
from tf_agents.networks import network, utils
from tf_agents.specs import tensor_spec
from tf_agents.utils import common

from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import HiddenUnits, NonNegative, Positive
from rigl_rl.errors import UserError
from rigl_rl.networks import action_distributions, sparse_layers
from rigl_rl.networks.sparse_layers import (
  BiasInitializer,
  KernelInitializer,
  WidthOrRule,
)
from rigl_rl.sparsity import wrappers

# Examples, and the whole numbers that each is called with.
_INITIALIZERS = {
  'kernel_initializer': ('@fan_in_uniform', 'seed'),
  'output_initializer': ('@fan_in_uniform', 'seed'),
  'bias_initializer': ('@zero_biases', 'seed', 'fan_in'),
}


class PerceptronNetwork(sparse_layers.PerceptronLayers, network.Network):
  """A TF-Agents network that is a multi-layer perceptron.

  Subclasses have a constructor each, since gin checks bindings by it, and the
  defaults are the network's own. TF-Agents' PPO agents do not read `losses`:
  give those `l2_coefficient` as `policy_l2_reg` and `value_function_l2_reg`.

  Args:
    input_tensor_spec: of the input, an observation and, for a critic, an
      action: all vectors.
    hidden_units: units of each hidden layer at width 1.
    activation: of the hidden layers, 'relu' or 'tanh'.
    kernel_initializer: makes the initializer of a hidden kernel from a seed.
    output_initializer: makes that of the last layer's kernel.
    bias_initializer: makes that of every bias, from a seed and the layer's
      fan-in.
  """

  def _initialize(
    self,
    arguments: dict[str, Any],
    vectors: Sequence[Any],
    outputs_per_action: int = 0,
  ) -> None:
    """Initializes the network.

    Args:
      arguments: the `locals()` of a subclass' constructor.
      vectors: specs that must be vectors; an actor's end with the action's.
      outputs_per_action: 0 of a network that has one output.

    Raises:
      UserError: an argument is outside its range, or an initializer takes other
        arguments.
    """
    for spec in vectors:
      if tf.nest.is_nested(spec) or len(spec.shape) != 1:
        raise ValueError(f'The networks take and give vectors, but got {spec}.')
    check_arguments(type(self), arguments, self.gin_name())
    super().__init__(arguments['input_tensor_spec'], name=arguments['name'])
    self._set_up_layers(arguments)
    self._hidden_units = tuple(arguments['hidden_units'])
    self.activation = arguments['activation']
    self._num_outputs = outputs_per_action * vectors[-1].shape[0] or 1
    for name, (example, *numbers) in _INITIALIZERS.items():
      initializer = arguments[name]
      try:
        initializer(**dict.fromkeys(numbers, 1))
      except TypeError as error:
        known = getattr(initializer, '__name__', None)
        raise UserError(
          f'{self.gin_name()}.{name} is '
          f'{f"@{known}" if known else repr(initializer)}, but must be a '
          f'function of {" and ".join(numbers)}, such as {example}.'
        ) from error
    self._choose_width(self.layer_shapes)
    biases = arguments['bias_initializer']
    self._make_perceptron(
      self.layer_shapes(),
      (self.activation, arguments['kernel_initializer'], biases),
      (None, arguments['output_initializer'], biases),
    )

  def layer_shapes(
    self, width: float | None = None
  ) -> dict[str, tuple[int, int]]:
    """Returns the shape of each kernel by its path; needs no built network."""
    specs = tf.nest.flatten(self.input_tensor_spec)
    fan_in = sum(spec.shape[0] for spec in specs)
    return self._perceptron_shapes(fan_in, self._num_outputs, width)

  def call(self, inputs, step_type=None, network_state=(), training=False):
    """Returns what `_map` returns, as TF-Agents wants it."""
    del step_type, training
    return self._map(inputs), network_state

  def _map(self, inputs):
    raise NotImplementedError

  def copy(self, **kwargs: Any) -> PerceptronNetwork:
    """Makes an unbuilt, dense network of the same structure.

    Args:
      **kwargs: arguments of the constructor that differ. Without `seed`, the
        copy draws other weights, which depend on its name.
    """
    name = kwargs.get('name', self.name)
    seed = wrappers.derive_seed(self.seed, f'copy/{name}')
    twin = super().copy(**{'width': self.width, 'seed': seed, **kwargs})
    twin.size_mismatch = self.size_mismatch
    return twin

  def _outputs(self, *inputs: tf.Tensor) -> tf.Tensor:
    """Maps inputs, with any outer dimensions, to the last layer's outputs."""
    squash = utils.BatchSquash(inputs[0].shape.rank - 1)
    flat = [squash.flatten(tf.cast(x, tf.float32)) for x in inputs]
    x = flat[0] if len(flat) == 1 else tf.concat(flat, axis=1)
    return squash.unflatten(self._call_perceptron(x))


class Actor(PerceptronNetwork):
  """What actors share.

  `output_tensor_spec` is that of an action, a bounded vector; `action_spec` is
  the same as a tensor spec. `squash_mean` says whether tanh squashes the mean
  to the range of actions.
  """

  squash_mean = True

  def _initialize_actor(
    self, arguments: dict[str, Any], outputs_per_action: int = 1
  ) -> None:
    spec = arguments['output_tensor_spec']
    vectors = (arguments['input_tensor_spec'], spec)
    self._initialize(arguments, vectors, outputs_per_action)
    self.action_spec = tensor_spec.from_spec(spec)
    self._center, self._magnitude = common.spec_means_and_magnitudes(
      self.action_spec
    )

  def _squash(self, x: tf.Tensor) -> tf.Tensor:
    """Squashes numbers to the range of actions, by tanh."""
    return self._center + self._magnitude * tf.tanh(x)


@gin.configurable(
  denylist=['input_tensor_spec', 'output_tensor_spec', 'seed', 'name']
)
class SquashedGaussianActor(Actor):
  """SAC's actor: a normal distribution, squashed by tanh (table 8).

  Two hidden layers of 256, ReLU; 2n outputs, for n actions the means and the
  logarithms of the standard deviations, which depend on the observation and are
  not bounded, as in the released code. Bounds, such as the [-20, 2] of Haarnoja
  et al. (2018), are for tasks whose observations run into thousands, as
  Humanoid's real contact forces do: there σ overflows. All kernels from
  Glorot's uniform distribution.
  """

  def __init__(
    self,
    input_tensor_spec,
    output_tensor_spec,
    seed: int,
    width: WidthOrRule = 1.0,
    weight_decay: NonNegative = 0.0,
    weight_decay_factor: NonNegative = 1.0,
    hidden_units: HiddenUnits = (256, 256),
    activation: Literal['relu', 'tanh'] = 'relu',
    kernel_initializer: KernelInitializer = sparse_layers.glorot_uniform,
    output_initializer: KernelInitializer = sparse_layers.glorot_uniform,
    bias_initializer: BiasInitializer = sparse_layers.zero_biases,
    log_std_min: float | None = None,
    log_std_max: float | None = None,
    name: str = 'SquashedGaussianActor',
  ):
    """Initializes the network.

    Args:
      log_std_min: log σ is clipped to at least this; None for no bound.
      log_std_max: log σ is clipped to at most this; None for no bound.
    """
    self._initialize_actor(locals(), outputs_per_action=2)
    if None not in (log_std_min, log_std_max) and log_std_min >= log_std_max:
      raise UserError(
        f'{self.gin_name()}.log_std_min is {log_std_min!r}, but must be below '
        f'log_std_max, {log_std_max!r}.'
      )
    self.log_std_range = (log_std_min, log_std_max)

  def mean_and_log_std(
    self, observation: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Maps `(batch, observation)` to mean and log σ, each `(batch, n)`.

    These are before squashing. A train step that returns those of the current
    observation spares the next action a forward pass.
    """
    mean, log_std = tf.split(self._outputs(observation), 2, axis=-1)
    low, high = self.log_std_range
    if low is not None:
      log_std = tf.maximum(log_std, low)
    if high is not None:
      log_std = tf.minimum(log_std, high)
    return mean, log_std

  def _map(self, observation):
    """Maps observations to a SquashedNormal over actions."""
    mean, log_std = self.mean_and_log_std(observation)
    return action_distributions.SquashedNormal(mean, log_std, self.action_spec)


@gin.configurable(
  denylist=['input_tensor_spec', 'output_tensor_spec', 'seed', 'name']
)
class GaussianActor(Actor):
  """PPO's actor: a normal distribution (table 9).

  Two hidden layers of 64, tanh. As in the released code: orthogonal
  initialization; the layer of the means starts small, and tanh squashes its
  outputs to the range of actions; the standard deviation is one number per
  action, softplus of the variable `raw_std`, for any observation.
  """

  def __init__(
    self,
    input_tensor_spec,
    output_tensor_spec,
    seed: int,
    width: WidthOrRule = 1.0,
    weight_decay: NonNegative = 0.0,
    weight_decay_factor: NonNegative = 1.0,
    hidden_units: HiddenUnits = (64, 64),
    activation: Literal['relu', 'tanh'] = 'tanh',
    kernel_initializer: KernelInitializer = sparse_layers.orthogonal,
    output_initializer: KernelInitializer = sparse_layers.variance_scaling,
    bias_initializer: BiasInitializer = sparse_layers.zero_biases,
    squash_mean: bool = True,
    initial_std: Positive = 0.35,
    name: str = 'GaussianActor',
  ):
    """Initializes the network.

    Args:
      squash_mean: whether tanh squashes the mean to the range of actions.
      initial_std: standard deviation to start from, > 0.
    """
    self._initialize_actor(locals())
    self.squash_mean = bool(squash_mean)
    self.raw_std = self.add_weight(
      name='raw_std',
      shape=output_tensor_spec.shape,
      # The inverse of softplus.
      initializer=tf.keras.initializers.Constant(
        initial_std + math.log(-math.expm1(-initial_std))
      ),
    )

  def mean_and_std(self, observation: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Maps `(..., observation)` to mean and standard deviation, `(..., n)`.

    The mean is after squashing; observations are normalized if the agent
    normalizes them.
    """
    mean = self._outputs(observation)
    if self.squash_mean:
      mean = self._squash(mean)
    return mean, tf.zeros_like(mean) + tf.nn.softplus(self.raw_std)

  def _map(self, observation):
    """Maps observations to a DiagonalNormal over actions."""
    mean, std = self.mean_and_std(observation)
    return action_distributions.DiagonalNormal(mean, std)


@gin.configurable(
  denylist=['input_tensor_spec', 'output_tensor_spec', 'seed', 'name']
)
class DeterministicActor(Actor):
  """TD3's actor (Fujimoto et al., 2018; Sokar et al., 2022, section 4.4).

  Two hidden layers of 256, ReLU; n outputs, squashed to the range of actions by
  tanh. Kernels and biases as in TD3's released code, whose layers are PyTorch's
  own: from U(-l, l), l = 1 / √fan_in.
  """

  def __init__(
    self,
    input_tensor_spec,
    output_tensor_spec,
    seed: int,
    width: WidthOrRule = 1.0,
    weight_decay: NonNegative = 0.0,
    weight_decay_factor: NonNegative = 1.0,
    hidden_units: HiddenUnits = (256, 256),
    activation: Literal['relu', 'tanh'] = 'relu',
    kernel_initializer: KernelInitializer = sparse_layers.fan_in_uniform,
    output_initializer: KernelInitializer = sparse_layers.fan_in_uniform,
    bias_initializer: BiasInitializer = sparse_layers.fan_in_uniform_biases,
    name: str = 'DeterministicActor',
  ):
    self._initialize_actor(locals())

  def actions(self, observation: tf.Tensor) -> tf.Tensor:
    """Maps `(..., observation)` to actions, `(..., n)`."""
    # Rounding may carry them beyond their range; TF-Agents' policies clip them.
    return self._squash(self._outputs(observation))

  _map = actions


@gin.configurable(denylist=['input_tensor_spec', 'seed', 'name'])
class Critic(PerceptronNetwork):
  """The critic of SAC and TD3: the value of an observation and an action.

  Both, side by side, go through two hidden layers of 256, ReLU. All kernels
  from Glorot's uniform distribution, as in SAC (table 8).
  """

  def __init__(
    self,
    input_tensor_spec,
    seed: int,
    width: WidthOrRule = 1.0,
    weight_decay: NonNegative = 0.0,
    weight_decay_factor: NonNegative = 1.0,
    hidden_units: HiddenUnits = (256, 256),
    activation: Literal['relu', 'tanh'] = 'relu',
    kernel_initializer: KernelInitializer = sparse_layers.glorot_uniform,
    output_initializer: KernelInitializer = sparse_layers.glorot_uniform,
    bias_initializer: BiasInitializer = sparse_layers.zero_biases,
    name: str = 'Critic',
  ):
    self._initialize(locals(), input_tensor_spec)

  def _map(self, inputs):
    """Maps (observations, actions), `(batch, ...)` each, to values (batch,)."""
    return tf.squeeze(self._outputs(*inputs), -1)


@gin.configurable(denylist=['input_tensor_spec', 'seed', 'name'])
class ValueNetwork(PerceptronNetwork):
  """PPO's value network: the value of an observation (table 9).

  Two hidden layers of 64, ReLU as in the released code; orthogonal
  initialization, the last kernel from U(-0.03, 0.03). Gin files must call it
  actor_critic.ValueNetwork: TF-Agents has another.
  """

  def __init__(
    self,
    input_tensor_spec,
    seed: int,
    width: WidthOrRule = 1.0,
    weight_decay: NonNegative = 0.0,
    weight_decay_factor: NonNegative = 1.0,
    hidden_units: HiddenUnits = (64, 64),
    activation: Literal['relu', 'tanh'] = 'relu',
    kernel_initializer: KernelInitializer = sparse_layers.orthogonal,
    output_initializer: KernelInitializer = sparse_layers.small_uniform,
    bias_initializer: BiasInitializer = sparse_layers.zero_biases,
    name: str = 'ValueNetwork',
  ):
    self._initialize(locals(), [input_tensor_spec])

  @classmethod
  def gin_name(cls):
    return f'actor_critic.{cls.__name__}'

  def _map(self, observation):
    """Maps observations `(..., observation)` to values `(...)`."""
    return tf.squeeze(self._outputs(observation), -1)
