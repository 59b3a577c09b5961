"""Actors, critics and value networks of SAC, TD3 and PPO, from sparse layers.

They are TF-Agents networks, for stock agents. See `sparse_layers` for `WIDTH`,
and for how the weights are seeded. The layers of each are called dense1,
dense2, output.

`copy`, by which TF-Agents makes second critics and target networks, keeps the
structure and draws other weights, so that no two critics are twins.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Sequence

import gin
import tensorflow as tf
from tf_agents.networks import network
from tf_agents.specs import tensor_spec
from tf_agents.utils import common

from rigl_rl.config.domains import HiddenUnits, NonNegative, Positive
from rigl_rl.errors import UserError
from rigl_rl.networks import action_distributions, sparse_layers
from rigl_rl.networks.sparse_layers import (
  BiasInitializer,
  KernelInitializer,
  WidthOrRule,
)
from rigl_rl.sparsity import wrappers

ACTIVATIONS = ('relu', 'tanh')
# The arguments of `_PerceptronNetwork` that every class has, as they are. Each
# names them again: gin checks bindings by a constructor's arguments, and the
# defaults are the class's own.
_SHARED = (
  'input_tensor_spec',
  'seed',
  'width',
  'weight_decay',
  'weight_decay_factor',
  'hidden_units',
  'activation',
  'kernel_initializer',
  'output_initializer',
  'bias_initializer',
  'name',
)


class _PerceptronNetwork(sparse_layers.PerceptronLayers, network.Network):
  """A TF-Agents network that is a multi-layer perceptron.

  Attributes:
    activation: of the hidden layers, 'relu' or 'tanh'.
  """

  def __init__(
    self,
    input_tensor_spec,
    num_outputs: int,
    seed: int,
    width: WidthOrRule,
    weight_decay: float,
    weight_decay_factor: float,
    hidden_units: Sequence[int],
    activation: str,
    kernel_initializer: KernelInitializer,
    output_initializer: KernelInitializer,
    bias_initializer: BiasInitializer,
    name: str,
  ):
    """Initializes the network.

    Args:
      input_tensor_spec: of the input, an observation and, for a critic, an
        action: all vectors.
      num_outputs: units of the last layer.
      seed: int32 seed of all initial weights.
      width: n hidden units become int(max(1, n · width)); > 0. Or a function
        that chooses it, see `sparse_layers`.
      weight_decay: λ >= 0 of the term λ · factor · Σ w² over all kernels (no
        biases), which the network's `losses` hold. TF-Agents' PPO agents do not
        read them: give those `l2_coefficient`, λ · factor, as `policy_l2_reg`
        and `value_function_l2_reg`.
      weight_decay_factor: factor of that term; 1.0 as TF-Agents has it.
      hidden_units: units of each hidden layer at width 1.
      activation: of the hidden layers, 'relu' or 'tanh'.
      kernel_initializer: makes the initializer of a hidden kernel from a seed.
      output_initializer: that of the last layer's kernel.
      bias_initializer: makes the initializer of a bias, any layer's, from a
        seed and the layer's fan-in.
      name: name of the network.

    Raises:
      UserError: on a value outside its range.
    """
    super().__init__(input_tensor_spec=input_tensor_spec, name=name)
    self._set_up_layers(width, weight_decay, weight_decay_factor, seed)
    self._set_hidden_units(hidden_units)
    if activation not in ACTIVATIONS:
      raise UserError(
        f'{self._gin_name()}.activation is {activation!r}, but must be '
        f'{" or ".join(map(repr, ACTIVATIONS))}.'
      )
    for binding, initializer, arguments in (
      ('kernel_initializer', kernel_initializer, ('seed',)),
      ('output_initializer', output_initializer, ('seed',)),
      ('bias_initializer', bias_initializer, ('seed', 'fan_in')),
    ):
      sparse_layers.check_initializer(
        f'{self._gin_name()}.{binding}', initializer, *arguments
      )
    self.activation = activation
    self._num_outputs = num_outputs
    self._choose_width(self.layer_shapes)
    self._make_perceptron(
      self.layer_shapes(),
      activation,
      kernel_initializer,
      output_initializer,
      bias_initializer,
      output_bias_initializer=bias_initializer,
    )

  def layer_shapes(
    self, width: float | None = None
  ) -> dict[str, tuple[int, int]]:
    """Returns the shape of each kernel; nothing has to be built.

    Args:
      width: by default the network's own.

    Returns:
      `{path: kernel shape}`, first layer first; paths are those of
      `rigl_rl.sparsity.wrappers.named_layers`.
    """
    fan_in = sum(
      _size(spec) for spec in tf.nest.flatten(self.input_tensor_spec)
    )
    return self._perceptron_shapes(fan_in, self._num_outputs, width)

  def copy(self, **kwargs: Any) -> _PerceptronNetwork:
    """Makes a network of the same structure.

    Args:
      **kwargs: arguments of the constructor that shall differ. Without `seed`
        the copy draws other weights, which its name decides.

    Returns:
      A network that is not built, and whose layers are dense.
    """
    name = kwargs.get('name', self.name)
    seed = wrappers.derive_seed(self.seed, f'copy/{name}')
    twin = super().copy(**{'width': self.width, 'seed': seed, **kwargs})
    twin.size_mismatch = self.size_mismatch
    return twin

  def _outputs(self, *inputs: tf.Tensor) -> tf.Tensor:
    """Maps inputs, with any outer dimensions, to the last layer's outputs."""
    specs = tf.nest.flatten(self.input_tensor_spec)
    flat = [
      tf.reshape(tf.cast(x, tf.float32), (-1, _size(spec)))
      if x.shape.rank != 2
      else tf.cast(x, tf.float32)
      for x, spec in zip(inputs, specs)
    ]
    x = flat[0] if len(flat) == 1 else tf.concat(flat, axis=1)
    outputs = self._call_perceptron(x)
    first = inputs[0]
    if first.shape.rank == 2:
      return outputs
    outer = [
      tf.shape(first)[i] if size is None else size
      for i, size in enumerate(first.shape[:-1])
    ]
    return tf.reshape(outputs, (*outer, self._num_outputs))


class Actor(_PerceptronNetwork):
  """What actors share.

  Attributes:
    action_spec: range, shape and type of actions.
  """

  def _set_action_spec(self, spec) -> None:
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
  not bounded, as released. Bounds, such as the [-20, 2] of Haarnoja et al.
  (2018), are for tasks whose observations run into thousands, as Humanoid's
  real contact forces do: there σ overflows. All kernels from Glorot's uniform
  distribution.

  Attributes:
    log_std_range: the bounds of log σ, each None where there is none.
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
      output_tensor_spec: of an action, a bounded vector.
      log_std_min: log σ is clipped to at least this; None for no bound.
      log_std_max: log σ is clipped to at most this; None for no bound.

    For all the others, and for errors, see `_PerceptronNetwork`.
    """
    _check_vectors(input_tensor_spec, output_tensor_spec)
    _check_range(self._gin_name(), log_std_min, log_std_max)
    num_outputs = 2 * _size(output_tensor_spec)
    super().__init__(num_outputs=num_outputs, **_shared(locals()))
    self._set_action_spec(output_tensor_spec)
    self.log_std_range = (log_std_min, log_std_max)

  def mean_and_log_std(
    self, observation: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the distribution's parameters, before squashing.

    Args:
      observation: `(batch, observation)`.

    Returns:
      Mean and log σ, each `(batch, n)`. A train step that returns those of the
      current observation spares the next action a forward pass.
    """
    mean, log_std = tf.split(self._outputs(observation), 2, axis=-1)
    low, high = self.log_std_range
    if low is not None:
      log_std = tf.maximum(log_std, low)
    if high is not None:
      log_std = tf.minimum(log_std, high)
    return mean, log_std

  def call(self, observation, step_type=None, network_state=(), training=False):
    """Maps observations to a SquashedNormal over actions."""
    del step_type, training
    mean, log_std = self.mean_and_log_std(observation)
    distribution = action_distributions.SquashedNormal(
      mean, log_std, self.action_spec
    )
    return distribution, network_state


@gin.configurable(
  denylist=['input_tensor_spec', 'output_tensor_spec', 'seed', 'name']
)
class GaussianActor(Actor):
  """PPO's actor: a normal distribution (table 9).

  Two hidden layers of 64, tanh. As released: orthogonal initialization; the
  layer of the means starts small, and its outputs are squashed to the range of
  actions by tanh; the standard deviation does not depend on the observation:
  one number for each action, through softplus.

  Attributes:
    squash_mean: whether the mean stays within the range of actions.
    raw_std: variable `(n,)`; softplus of it is the standard deviation.
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
      output_tensor_spec: of an action, a bounded vector.
      squash_mean: whether tanh squashes the mean to the range of actions.
      initial_std: standard deviation to start from, > 0.

    For all the others, and for errors, see `_PerceptronNetwork`.
    """
    _check_vectors(input_tensor_spec, output_tensor_spec)
    if not sparse_layers.is_number(initial_std, above=0):
      raise UserError(
        f'{self._gin_name()}.initial_std is {initial_std!r}, but must be a '
        'number above 0.'
      )
    num_actions = _size(output_tensor_spec)
    super().__init__(num_outputs=num_actions, **_shared(locals()))
    self._set_action_spec(output_tensor_spec)
    self.squash_mean = bool(squash_mean)
    self.raw_std = self.add_weight(
      name='raw_std',
      shape=(num_actions,),
      # The inverse of softplus.
      initializer=tf.keras.initializers.Constant(
        initial_std + math.log(-math.expm1(-initial_std))
      ),
    )

  def mean_and_std(self, observation: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the distribution's parameters.

    Args:
      observation: `(..., observation)`, normalized if the agent does that.

    Returns:
      Mean, after squashing, and standard deviation, each `(..., n)`.
    """
    mean = self._outputs(observation)
    if self.squash_mean:
      mean = self._squash(mean)
    return mean, tf.zeros_like(mean) + tf.nn.softplus(self.raw_std)

  def call(self, observation, step_type=None, network_state=(), training=False):
    """Maps observations to a DiagonalNormal over actions."""
    del step_type, training
    mean, std = self.mean_and_std(observation)
    return action_distributions.DiagonalNormal(mean, std), network_state


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
    """Initializes the network.

    Args:
      output_tensor_spec: of an action, a bounded vector.

    For all the others, and for errors, see `_PerceptronNetwork`.
    """
    _check_vectors(input_tensor_spec, output_tensor_spec)
    num_outputs = _size(output_tensor_spec)
    super().__init__(num_outputs=num_outputs, **_shared(locals()))
    self._set_action_spec(output_tensor_spec)

  def actions(self, observation: tf.Tensor) -> tf.Tensor:
    """Computes the actions.

    Args:
      observation: `(..., observation)`.

    Returns:
      Actions, `(..., n)`; rounding may carry them just beyond their range, to
      which TF-Agents' policies clip them.
    """
    return self._squash(self._outputs(observation))

  def call(self, observation, step_type=None, network_state=(), training=False):
    """Maps observations to actions."""
    del step_type, training
    return self.actions(observation), network_state


@gin.configurable(denylist=['input_tensor_spec', 'seed', 'name'])
class Critic(_PerceptronNetwork):
  """The critic of SAC and TD3: the value of an observation and an action.

  Both, side by side, go through two hidden layers of 256, ReLU. By default all
  kernels are from Glorot's uniform distribution, as SAC has them (table 8).
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
    """Initializes the network; see `_PerceptronNetwork`."""
    _check_vectors(*input_tensor_spec)
    super().__init__(num_outputs=1, **_shared(locals()))

  def call(self, inputs, step_type=None, network_state=(), training=False):
    """Maps (observations, actions), `(batch, ...)` each, to values (batch,)."""
    del step_type, training
    observation, action = inputs
    return tf.squeeze(self._outputs(observation, action), -1), network_state


@gin.configurable(denylist=['input_tensor_spec', 'seed', 'name'])
class ValueNetwork(_PerceptronNetwork):
  """PPO's value network: the value of an observation (table 9).

  Two hidden layers of 64, ReLU as released; orthogonal initialization, the last
  kernel from U(-0.03, 0.03).

  Gin files have to call it actor_critic.ValueNetwork: TF-Agents has another.
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
    """Initializes the network; see `_PerceptronNetwork`."""
    _check_vectors(input_tensor_spec)
    super().__init__(num_outputs=1, **_shared(locals()))

  @classmethod
  def _gin_name(cls):
    return f'actor_critic.{cls.__name__}'

  def call(self, observation, step_type=None, network_state=(), training=False):
    """Maps observations `(..., observation)` to values `(...)`."""
    del step_type, training
    return tf.squeeze(self._outputs(observation), -1), network_state


def _shared(arguments: dict[str, Any]) -> dict[str, Any]:
  """Picks those that `_PerceptronNetwork` takes from a constructor's locals."""
  return {name: arguments[name] for name in _SHARED}


def _size(spec) -> int:
  """Returns the length of a vector with this spec."""
  return math.prod(spec.shape)


def _check_vectors(*specs) -> None:
  """Raises ValueError unless each spec is that of one vector."""
  for spec in specs:
    if tf.nest.is_nested(spec) or len(spec.shape) != 1:
      raise ValueError(f'The networks take and give vectors, but got {spec}.')


def _check_range(name: str, low: float | None, high: float | None) -> None:
  for binding, value in (('log_std_min', low), ('log_std_max', high)):
    if value is not None and not sparse_layers.is_number(value):
      raise UserError(
        f'{name}.{binding} is {value!r}, but must be a number or None.'
      )
  if low is not None and high is not None and low >= high:
    raise UserError(
      f'{name}.log_std_min is {low!r}, but must be below log_std_max, {high!r}.'
    )
