"""What all networks share: width, weight decay, and seeded sparse layers.

`WIDTH` is one factor on the units of every layer but the last: a number, or a
function that chooses it, such as `rigl_rl.networks.widths.matched_width`.

A network seeds each initializer from its own seed and the path of the kernel or
bias: nothing depends on TensorFlow's global seed, or on the order of
construction.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Literal, Mapping, Optional, Union

import gin
import tensorflow as tf

from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import NonNegative, Positive, Width
from rigl_rl.networks import widths
from rigl_rl.sparsity import wrappers

# A width, or a function that chooses one: it is given the network's kernel
# shapes, as a function of the width.
WidthOrRule = Union[
  Width, Callable[[Callable[[float], widths.Shapes]], widths.Match]
]
# Makes the initializer of a kernel from an int32 seed.
KernelInitializer = Callable[[int], tf.keras.initializers.Initializer]
# Makes that of a bias from an int32 seed and the layer's fan-in: the shape of a
# bias does not tell it.
BiasInitializer = Callable[[int, int], tf.keras.initializers.Initializer]
# Activation, and initializers of kernel and bias.
_DenseArguments = tuple[Optional[str], KernelInitializer, BiasInitializer]


class SumOfSquares(tf.keras.regularizers.Regularizer):
  """Weight decay, coefficient · Σ w², with a coefficient >= 0.

  Equal to tf.keras.regularizers.L2, but in fewer operations: on small networks,
  weight decay took a tenth of a train step.
  """

  def __init__(self, coefficient: float):
    self.coefficient = coefficient

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    return 2.0 * self.coefficient * tf.nn.l2_loss(x)

  def get_config(self):
    return {'coefficient': self.coefficient}


class SparseLayers:
  """A mixin for Keras models and TF-Agents networks.

  Args:
    seed: int32 seed of all initial weights.
    width: n units or filters become ⌈n · width⌉, in perceptrons int(max(1, n ·
      width)); > 0. Or a function that chooses it, see `sparse_layers`.
    weight_decay: λ >= 0 of the term λ · factor · Σ w² over the kernels (no
      biases), which the network's `losses` hold.
    weight_decay_factor: factor of that term; 1.0 in TF-Agents, and in the
      released code 0.5 for Atari.
    name: name of the network.

  Attributes:
    width: the number, also where a function has chosen it.
    size_mismatch: `widths.Match.mismatch` of a width that a function chose;
      None of a width that is bound as a number.
    l2_coefficient: c = λ · factor.
  """

  def _set_up_layers(self, arguments: Mapping[str, Any]) -> None:
    """Keeps what all networks have of a constructor's `locals()`."""
    self.width, self.size_mismatch = arguments['width'], None
    self.seed = int(arguments['seed'])
    factor = arguments['weight_decay_factor']
    self.l2_coefficient = arguments['weight_decay'] * factor
    self._decay_output = arguments.get('decay_output', True)

  @classmethod
  def gin_name(cls) -> str:
    """The name by which gin files must bind it."""
    return cls.__name__

  def _choose_width(self, shapes_at: Callable[[float], widths.Shapes]) -> None:
    """Replaces a function that chooses the width by its choice."""
    if callable(self.width):
      self.width, self.size_mismatch = self.width(shapes_at)

  # As the released code rounds.
  _round: Callable[[float], int] = staticmethod(math.ceil)

  def _scale(self, units: int, width: float | None = None) -> int:
    """Returns a layer's units at a width, by default the network's own."""
    return self._round(units * (self.width if width is None else width))

  def _make(
    self,
    kind: type[tf.keras.layers.Layer],
    path: str,
    *shape: int,
    kernel_initializer: KernelInitializer = tf.keras.initializers.GlorotUniform,
    **options: Any,
  ) -> wrappers.SparseWrapper:
    """Makes a sparse layer of a Keras class, named by its path."""
    # A term of weight 0 would still cost its arithmetic.
    if self.l2_coefficient and (path != 'output' or self._decay_output):
      options['kernel_regularizer'] = SumOfSquares(self.l2_coefficient)
    seed = wrappers.derive_seed(self.seed, f'{path}/kernel')
    initializer = kernel_initializer(seed=seed)
    return wrappers.SparseWrapper(
      kind(*shape, kernel_initializer=initializer, name=path, **options)
    )


class PerceptronLayers(SparseLayers):
  """A mixin for multi-layer perceptrons: layers dense1, dense2, …, output."""

  @staticmethod
  def _round(units):
    return int(max(1, units))

  def _perceptron_shapes(
    self, fan_in: int, num_outputs: int, width: float | None = None
  ) -> dict[str, tuple[int, int]]:
    """Returns the shape of each kernel, first layer first."""
    shapes = {}
    for number, hidden_units in enumerate(self._hidden_units, start=1):
      units = self._scale(hidden_units, width)
      shapes[f'dense{number}'] = (fan_in, units)
      fan_in = units
    shapes['output'] = (fan_in, num_outputs)
    return shapes

  def _make_perceptron(
    self,
    shapes: Mapping[str, tuple[int, int]],
    hidden: _DenseArguments,
    output: _DenseArguments,
  ) -> None:
    """Sets the layers, those of `_perceptron_shapes`, as attributes."""
    layers = []
    for path, (fan_in, units) in shapes.items():
      of_layer = output if path == 'output' else hidden
      activation, kernel_initializer, bias_initializer = of_layer
      seed = wrappers.derive_seed(self.seed, f'{path}/bias')
      layers.append(
        self._make(
          tf.keras.layers.Dense,
          path,
          units,
          activation=activation,
          kernel_initializer=kernel_initializer,
          bias_initializer=bias_initializer(seed=seed, fan_in=fan_in),
        )
      )
    *self._hidden_layers, self._output_layer = layers

  def _call_perceptron(self, x: tf.Tensor) -> tf.Tensor:
    """Maps `(batch, inputs)` to `(batch, num_outputs)`."""
    return wrappers.call_in_turn([*self._hidden_layers, self._output_layer], x)


@gin.configurable(denylist=['seed'])
def glorot_uniform(seed: int) -> tf.keras.initializers.Initializer:
  """Draws from U(-l, l), l = √(6 / (fan_in + fan_out)) (Glorot & Bengio)."""
  return tf.keras.initializers.GlorotUniform(seed=seed)


@gin.configurable(denylist=['seed'])
def orthogonal(
  seed: int, gain: float = 1.0
) -> tf.keras.initializers.Initializer:
  """Draws an orthogonal matrix (Saxe et al., 2014), times `gain`."""
  return tf.keras.initializers.Orthogonal(gain=gain, seed=seed)


@gin.configurable(denylist=['seed'])
def variance_scaling(
  seed: int,
  scale: Positive = 0.1,
  mode: Literal['fan_in', 'fan_out', 'fan_avg'] = 'fan_in',
  distribution: Literal[
    'truncated_normal', 'untruncated_normal', 'uniform'
  ] = 'truncated_normal',
) -> tf.keras.initializers.Initializer:
  """Draws with a variance of `scale` / fan; PPO's means use 0.1.

  Raises:
    UserError: on an argument outside its range.
  """
  check_arguments(variance_scaling, locals())
  return tf.keras.initializers.VarianceScaling(scale, mode, distribution, seed)


@gin.configurable(denylist=['seed'])
def small_uniform(
  seed: int, limit: NonNegative = 0.03
) -> tf.keras.initializers.Initializer:
  """Draws from U(-limit, limit)."""
  return tf.keras.initializers.RandomUniform(-limit, limit, seed=seed)


@gin.configurable(denylist=['seed'])
def fan_in_uniform(seed: int) -> tf.keras.initializers.Initializer:
  """Draws from U(-l, l), l = 1 / √fan_in, as PyTorch's nn.Linear does."""
  return tf.keras.initializers.VarianceScaling(
    1 / 3, mode='fan_in', distribution='uniform', seed=seed
  )


@gin.configurable(denylist=['seed', 'fan_in'])
def zero_biases(seed: int, fan_in: int) -> tf.keras.initializers.Initializer:
  """Sets biases to 0."""
  del seed, fan_in
  return tf.keras.initializers.Zeros()


@gin.configurable(denylist=['seed', 'fan_in'])
def fan_in_uniform_biases(
  seed: int, fan_in: int
) -> tf.keras.initializers.Initializer:
  """Draws biases as `fan_in_uniform` draws kernels; masks change nothing."""
  limit = 1 / math.sqrt(fan_in)
  return tf.keras.initializers.RandomUniform(-limit, limit, seed=seed)
