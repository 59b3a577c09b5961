"""Multi-layer perceptrons as TF-Agents networks, from sparse layers.

`copy`, by which TF-Agents makes second critics and target networks, keeps the
structure and draws other weights, so that no two critics are twins.
"""

from __future__ import annotations

from typing import Any, Sequence

import tensorflow as tf
from tf_agents.networks import network

from rigl_rl.config.declarations import check_arguments
from rigl_rl.errors import UserError
from rigl_rl.networks import sparse_layers
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
  defaults are the network's own. These arguments are common:

    input_tensor_spec: of the input, an observation and, for a critic, an
      action: all vectors.
    seed: int32 seed of all initial weights.
    width: n hidden units become int(max(1, n · width)); > 0. Or a function that
      chooses it, see `sparse_layers`.
    weight_decay: λ >= 0 of the term λ · factor · Σ w² over all kernels (no
      biases), which the network's `losses` hold. TF-Agents' PPO agents do not
      read them: give those `l2_coefficient`, λ · factor, as `policy_l2_reg` and
      `value_function_l2_reg`.
    weight_decay_factor: factor of that term; 1.0 in TF-Agents.
    hidden_units: units of each hidden layer at width 1.
    activation: of the hidden layers, 'relu' or 'tanh'.
    kernel_initializer: makes the initializer of a hidden kernel from a seed.
    output_initializer: makes that of the last layer's kernel.
    bias_initializer: makes that of every bias, from a seed and the layer's
      fan-in.
    name: name of the network.
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
    self._set_up_layers(
      arguments['width'],
      arguments['weight_decay'],
      arguments['weight_decay_factor'],
      arguments['seed'],
    )
    self._hidden_units = tuple(arguments['hidden_units'])
    self.activation = arguments['activation']
    self._num_outputs = outputs_per_action * vectors[-1].shape[0] or 1
    initializers = {name: arguments[name] for name in _INITIALIZERS}
    for name, initializer in initializers.items():
      example, *numbers = _INITIALIZERS[name]
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
    self._make_perceptron(
      self.layer_shapes(),
      self.activation,
      output_bias_initializer=initializers['bias_initializer'],
      **initializers,
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
