"""What all networks share: width, weight decay, and seeded sparse layers.

`WIDTH` is one factor on the units of every layer but the last: a number, or a
function that chooses it, such as `rigl_rl.networks.widths.matched_width`.

A network seeds each initializer from its own seed and the path of the kernel or
bias: nothing depends on TensorFlow's global seed, or on the order of
construction.
"""

from __future__ import annotations

import math
from typing import Callable, Literal, Mapping, Sequence, Union

import gin
import tensorflow as tf

from rigl_rl.config.domains import NonNegative, Positive, Width
from rigl_rl.errors import UserError
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


class SumOfSquares(tf.keras.regularizers.Regularizer):
  """Weight decay, coefficient · Σ w².

  What tf.keras.regularizers.L2 computes, in fewer operations: on small networks
  those of weight decay took a tenth of a train step.
  """

  def __init__(self, coefficient: float):
    """Initializes the regularizer.

    Args:
      coefficient: >= 0.
    """
    self.coefficient = coefficient

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    return 2.0 * self.coefficient * tf.nn.l2_loss(x)

  def get_config(self):
    return {'coefficient': self.coefficient}


class SparseLayers:
  """A mixin for Keras models and TF-Agents networks.

  Attributes:
    width: factor on the units of all layers but the last; may be a function
      until the layers are made.
    size_mismatch: `widths.Match.mismatch` of a width that a function chose;
      None of a width that is bound as a number.
    seed: decides all initial weights.
    l2_coefficient: c of the term c · Σ w² over the kernels that `losses` hold.
  """

  def _set_up_layers(
    self,
    width: WidthOrRule,
    weight_decay: float,
    weight_decay_factor: float,
    seed: int,
    decay_output: bool = True,
  ) -> None:
    """Keeps what the layers are made by.

    Args:
      width: see the module.
      weight_decay: λ >= 0 of the term λ · factor · Σ w².
      weight_decay_factor: factor of that term, >= 0.
      seed: int32 seed of all initial weights.
      decay_output: whether the term has the kernel of the layer 'output' too.
    """
    self.width = width
    self.size_mismatch = None
    self.seed = int(seed)
    self.l2_coefficient = weight_decay * weight_decay_factor
    self._decay_output = decay_output

  @classmethod
  def gin_name(cls) -> str:
    """The name that a binding has to give."""
    return cls.__name__

  def _choose_width(self, shapes_at: Callable[[float], widths.Shapes]) -> None:
    """Replaces a function that chooses the width by its choice."""
    if callable(self.width):
      self.width, self.size_mismatch = self.width(shapes_at)

  def _scaled(
    self, hidden_units: Sequence[int], width: float | None = None
  ) -> list[int]:
    """Returns the units of the hidden layers, scaled by the width."""
    factor = self.width if width is None else width
    return [self._scale(units, factor) for units in hidden_units]

  def _scale(self, units: int, width: float) -> int:
    """Scales one layer's units as the released code does."""
    return math.ceil(units * width)

  def _dense(
    self,
    path: str,
    units: int,
    activation: str | None = None,
    kernel_initializer: KernelInitializer = tf.keras.initializers.GlorotUniform,
    bias_initializer='zeros',
  ) -> wrappers.SparseWrapper:
    return wrappers.SparseWrapper(
      tf.keras.layers.Dense(
        units,
        activation=activation,
        kernel_initializer=kernel_initializer(
          seed=self._seed_of(f'{path}/kernel')
        ),
        kernel_regularizer=self._regularizer(path),
        bias_initializer=bias_initializer,
        name=path.rsplit('/')[-1],
      )
    )

  def _conv(
    self,
    path: str,
    filters: int,
    window: int,
    stride: int,
    activation: str | None = None,
  ) -> wrappers.SparseWrapper:
    return wrappers.SparseWrapper(
      tf.keras.layers.Conv2D(
        filters,
        window,
        stride,
        padding='same',
        activation=activation,
        kernel_initializer=tf.keras.initializers.GlorotUniform(
          seed=self._seed_of(f'{path}/kernel')
        ),
        kernel_regularizer=self._regularizer(path),
        name=path.rsplit('/')[-1],
      )
    )

  def _seed_of(self, path: str) -> int:
    """Returns the seed of a kernel or bias."""
    return wrappers.derive_seed(self.seed, path)

  def _regularizer(self, path: str) -> tf.keras.regularizers.Regularizer | None:
    # None at 0: an L2 term of weight 0 would still cost its arithmetic.
    if not self.l2_coefficient or (path == 'output' and not self._decay_output):
      return None
    return SumOfSquares(self.l2_coefficient)


class PerceptronLayers(SparseLayers):
  """A mixin for multi-layer perceptrons, as the released code scales them.

  The layers are called dense1, dense2, …, output.
  """

  def _scale(self, units, width):
    return int(max(1, units * width))

  def _perceptron_shapes(
    self, fan_in: int, num_outputs: int, width: float | None = None
  ) -> dict[str, tuple[int, int]]:
    """Returns the shape of each kernel, first layer first."""
    shapes = {}
    hidden_units = self._scaled(self._hidden_units, width)
    for number, units in enumerate(hidden_units, start=1):
      shapes[f'dense{number}'] = (fan_in, units)
      fan_in = units
    shapes['output'] = (fan_in, num_outputs)
    return shapes

  def _make_perceptron(
    self,
    shapes: Mapping[str, tuple[int, int]],
    activation: str,
    kernel_initializer: KernelInitializer,
    output_initializer: KernelInitializer,
    bias_initializer: BiasInitializer,
    output_bias_initializer: BiasInitializer,
  ) -> None:
    """Sets the layers as attributes, first layer first.

    Args:
      shapes: of each kernel, as `_perceptron_shapes` has them.
      activation: of the hidden layers.
      kernel_initializer: of the hidden kernels.
      output_initializer: of the last one.
      bias_initializer: of the hidden biases.
      output_bias_initializer: of the last one.
    """

    def make(path, activation, kernel_initializer, bias_initializer):
      fan_in, units = shapes[path]
      bias = bias_initializer(seed=self._seed_of(f'{path}/bias'), fan_in=fan_in)
      return self._dense(path, units, activation, kernel_initializer, bias)

    *hidden, output = shapes
    self._hidden_layers = [
      make(path, activation, kernel_initializer, bias_initializer)
      for path in hidden
    ]
    self._output_layer = make(
      output, None, output_initializer, output_bias_initializer
    )

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
  """Draws with a variance of `scale` / fan; 0.1 as PPO's means have it.

  Args:
    seed: int32 seed.
    scale: > 0.
    mode: which fan: 'fan_in', 'fan_out' or 'fan_avg'.
    distribution: 'truncated_normal', 'untruncated_normal' or 'uniform'.

  Returns:
    A Keras initializer.

  Raises:
    UserError: on an argument that is none of the above.
  """
  try:
    return tf.keras.initializers.VarianceScaling(
      scale, mode=mode, distribution=distribution, seed=seed
    )
  except ValueError as error:
    raise UserError(
      f'variance_scaling has scale {scale!r}, mode {mode!r}, distribution '
      f'{distribution!r}, but: {" ".join(str(error).split())}'
    ) from error


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
  """Draws biases as `fan_in_uniform` draws kernels.

  Args:
    seed: int32 seed.
    fan_in: inputs of each unit in the dense layer; masks change nothing.

  Returns:
    A Keras initializer.
  """
  limit = 1 / math.sqrt(fan_in)
  return tf.keras.initializers.RandomUniform(-limit, limit, seed=seed)


def check_initializer(
  binding: str, initializer: Callable, *arguments: str
) -> None:
  """Raises UserError unless `initializer` takes these arguments, whole numbers.

  Args:
    binding: name of the binding, for the message.
    initializer: a KernelInitializer or BiasInitializer; it is called once.
    *arguments: the names of the arguments.
  """
  try:
    initializer(**dict.fromkeys(arguments, 1))
  except TypeError as error:
    name = getattr(initializer, '__name__', None)
    raise UserError(
      f'{binding} is {f"@{name}" if name else repr(initializer)}, but must be '
      f'a function of {" and ".join(arguments)}, such as '
      f'@{"zero_biases" if "fan_in" in arguments else "fan_in_uniform"}.'
    ) from error
