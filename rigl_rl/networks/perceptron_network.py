"""Multi-layer perceptrons as TF-Agents networks, from sparse layers.

`copy`, by which TF-Agents makes second critics and target networks, keeps the
structure and draws other weights, so that no two critics are twins.
"""

from __future__ import annotations

from typing import Any, Sequence

import tensorflow as tf
from tf_agents.networks import network

from rigl_rl.networks import sparse_layers
from rigl_rl.networks.sparse_layers import (
  BiasInitializer,
  KernelInitializer,
  WidthOrRule,
)
from rigl_rl.sparsity import wrappers


class PerceptronNetwork(sparse_layers.PerceptronLayers, network.Network):
  """A TF-Agents network that is a multi-layer perceptron."""

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
      weight_decay_factor: factor of that term; 1.0 in TF-Agents.
      hidden_units: units of each hidden layer at width 1.
      activation: of the hidden layers, 'relu' or 'tanh'.
      kernel_initializer: makes the initializer of a hidden kernel from a seed.
      output_initializer: makes that of the last layer's kernel.
      bias_initializer: makes that of every bias, from a seed and the layer's
        fan-in.
      name: name of the network.

    Raises:
      UserError: if an initializer takes other arguments.
    """
    super().__init__(input_tensor_spec=input_tensor_spec, name=name)
    self._set_up_layers(width, weight_decay, weight_decay_factor, seed)
    self._hidden_units = tuple(hidden_units)
    for binding, initializer, arguments in (
      ('kernel_initializer', kernel_initializer, ('seed',)),
      ('output_initializer', output_initializer, ('seed',)),
      ('bias_initializer', bias_initializer, ('seed', 'fan_in')),
    ):
      sparse_layers.check_initializer(
        f'{self.gin_name()}.{binding}', initializer, *arguments
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

  def _initialize(
    self,
    arguments: dict[str, Any],
    vectors: Sequence[Any],
    outputs_per_action: int = 0,
  ) -> None:
    """Calls the constructor with the locals of a subclass' own.

    Args:
      arguments: the locals.
      vectors: specs that must be vectors; an actor's end with the action's.
      outputs_per_action: 0 of a network that has one output.
    """
    for spec in vectors:
      if tf.nest.is_nested(spec) or len(spec.shape) != 1:
        raise ValueError(f'The networks take and give vectors, but got {spec}.')
    PerceptronNetwork.__init__(
      self,
      num_outputs=outputs_per_action * vectors[-1].shape[0] or 1,
      **sparse_layers.arguments_for(PerceptronNetwork, arguments),
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
    specs = tf.nest.flatten(self.input_tensor_spec)
    flat = [
      tf.reshape(tf.cast(x, tf.float32), (-1, spec.shape[0]))
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
      tf.shape(first)[i] if length is None else length
      for i, length in enumerate(first.shape[:-1])
    ]
    return tf.reshape(outputs, (*outer, self._num_outputs))
