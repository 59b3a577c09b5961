"""The Q-networks of Graesser et al. (2022), built from sparse layers.

Each is a Keras model that maps a state, `(batch, *observation, stack)`, to
Q-values, `(batch, num_actions)`. See `rigl_rl.networks.sparse_layers` for
`WIDTH`, and for how the weights are seeded.
"""

from __future__ import annotations

import math
from typing import Callable, Sequence

import gin
import tensorflow as tf

from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import HiddenUnits, NonNegative, Units
from rigl_rl.networks import sparse_layers
from rigl_rl.networks.sparse_layers import WidthOrRule


class QNetwork(sparse_layers.SparseLayers, tf.keras.Model):
  """What the Q-networks share: width, weight decay, and seeded layers.

  The layers are made when the network is first called, as only then the width
  may be known.

  Attributes:
    num_actions: number of outputs; the width never scales it.
    width: factor on the units of all other layers; a number once built.
    seed: decides all initial weights.
    state_shape: `(*observation, stack)`, without the batch; set once built.
  """

  def __init__(
    self,
    num_actions: int,
    width: WidthOrRule,
    weight_decay: float,
    weight_decay_factor: float,
    seed: int,
    name: str | None = None,
    decay_output: bool = True,
  ):
    """Initializes the network.

    Args:
      num_actions: number of outputs.
      width: n units or filters become ⌈n · width⌉, hidden units of an
        MLPQNetwork int(max(1, n · width)); > 0. Or a function that chooses it,
        see `sparse_layers`.
      weight_decay: λ >= 0 of the term λ · factor · Σ w² over the kernels (no
        biases), which the model's `losses` hold.
      weight_decay_factor: factor of that term; as released 1.0 for classic
        control, as TF-Agents has it, and 0.5 for Atari.
      seed: int32 seed of all initial weights.
      name: name of the model.
      decay_output: whether that term has the last kernel too; as released not
        for classic control, but for Atari.

    Raises:
      UserError: on a width that is not positive, a negative weight decay, or
        units below 1.
    """
    super().__init__(name=name)
    self._set_up_layers(
      width, weight_decay, weight_decay_factor, seed, decay_output
    )
    self.num_actions = int(num_actions)

  def build(self, input_shape):
    """Makes the layers for states of shape `input_shape[1:]`."""
    state_shape = self.state_shape = tuple(input_shape)[1:]
    self._choose_width(lambda width: self.layer_shapes(state_shape, width))
    self._make_layers()
    super().build(input_shape)

  def _make_layers(self) -> None:
    """Sets the layers as attributes, first layer first."""
    raise NotImplementedError

  def layer_shapes(
    self, state_shape: Sequence[int], width: float | None = None
  ) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each kernel without making any layer.

    Args:
      state_shape: `(*observation, stack)`, without the batch.
      width: by default the network's own.

    Returns:
      `{path: kernel shape}`, first layer first; paths are those of
      `rigl_rl.sparsity.wrappers.named_layers`.
    """
    raise NotImplementedError


@gin.configurable(denylist=['num_actions', 'seed', 'name'])
class MLPQNetwork(sparse_layers.PerceptronLayers, QNetwork):
  """The network of classic control: two hidden layers of 512 (table 6).

  Initialized as the released code's, which is TF-Agents': hidden kernels from a
  truncated normal of variance 2 / fan_in, the last one from U(-0.03, 0.03) with
  bias -0.2. Inputs are not normalized.
  """

  def __init__(
    self,
    num_actions: int,
    seed: int,
    width: WidthOrRule = 1.0,
    weight_decay: NonNegative = 0.0,
    weight_decay_factor: NonNegative = 1.0,
    decay_output: bool = False,
    hidden_units: HiddenUnits = (512, 512),
    name: str | None = None,
  ):
    """Initializes the network.

    Args:
      hidden_units: units of each hidden layer at width 1.

    For all the others, and for errors, see `QNetwork`.
    """
    check_arguments(type(self), locals())
    super().__init__(
      num_actions,
      width,
      weight_decay,
      weight_decay_factor,
      seed,
      name,
      decay_output,
    )
    self._hidden_units = tuple(hidden_units)
    self._hidden_layers = []

  def layer_shapes(self, state_shape, width=None):
    fan_in = math.prod(state_shape)
    return self._perceptron_shapes(fan_in, self.num_actions, width)

  def _make_layers(self):
    self._make_perceptron(
      self.layer_shapes(self.state_shape),
      'relu',
      kernel_initializer=_he_truncated_normal,
      output_initializer=_small_uniform,
      bias_initializer=sparse_layers.zero_biases,
      output_bias_initializer=_negative_biases,
    )

  def call(self, state):
    """Maps states `(batch, *observation, stack)` to Q-values."""
    return self._call_perceptron(_flatten(tf.cast(state, tf.float32)))


class _ConvolutionalQNetwork(QNetwork):
  """Stages of convolutions, a hidden dense layer, and the outputs.

  Pixels are scaled from 0…255 to 0…1. ReLU; Glorot's uniform initialization.
  """

  # Filters of each stage, and the stride by which it shrinks the image.
  _FILTERS_AND_STRIDES: tuple[tuple[int, int], ...]

  def __init__(
    self,
    num_actions: int,
    seed: int,
    width: WidthOrRule = 1.0,
    weight_decay: NonNegative = 0.0,
    weight_decay_factor: NonNegative = 0.5,
    decay_output: bool = True,
    dense_units: Units = 512,
    name: str | None = None,
  ):
    """Initializes the network.

    Args:
      dense_units: units of the dense layer at width 1. The paper has 512; the
        released code has 256 in the ResNet.

    For all the others, and for errors, see `QNetwork`.
    """
    check_arguments(type(self), locals())
    super().__init__(
      num_actions,
      width,
      weight_decay,
      weight_decay_factor,
      seed,
      name,
      decay_output,
    )
    self._dense_units = dense_units
    self._stages = []

  def _stage_shapes(
    self, number: int, channels: int, filters: int
  ) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each kernel of a stage; the first has number 1."""
    raise NotImplementedError

  def _make_stage(self, number: int, filters: int) -> tf.keras.layers.Layer:
    raise NotImplementedError

  def _scaled_units(self, width: float | None = None) -> list[int]:
    filters = [filters for filters, _ in self._FILTERS_AND_STRIDES]
    return self._scaled((*filters, self._dense_units), width)

  def layer_shapes(self, state_shape, width=None):
    shapes = {}
    *image, channels = _image_shape(state_shape)
    *all_filters, units = self._scaled_units(width)
    for number, filters in enumerate(all_filters, start=1):
      shapes.update(self._stage_shapes(number, channels, filters))
      _, stride = self._FILTERS_AND_STRIDES[number - 1]
      image = [math.ceil(side / stride) for side in image]
      channels = filters
    shapes['dense1'] = (math.prod(image) * channels, units)
    shapes['output'] = (units, self.num_actions)
    return shapes

  def _make_layers(self):
    *all_filters, units = self._scaled_units()
    self._stages = [
      self._make_stage(number, filters)
      for number, filters in enumerate(all_filters, start=1)
    ]
    self._dense_layer = self._dense('dense1', units, activation='relu')
    self._output_layer = self._dense('output', self.num_actions)

  def call(self, state):
    """Maps images `(batch, height, width, ..., stack)` to Q-values."""
    features = _flatten(self._features(_to_images(state)))
    return self._output_layer(self._dense_layer(features))

  def _features(self, images: tf.Tensor) -> tf.Tensor:
    for stage in self._stages:
      images = stage(images)
    return images


@gin.configurable(denylist=['num_actions', 'seed', 'name'])
class NatureQNetwork(_ConvolutionalQNetwork):
  """The convolutional network of Mnih et al. (2015), for Atari (table 7).

  Convolutions (filters, window, stride) (32, 8, 4), (64, 4, 2), (64, 3, 1) with
  SAME padding, then 512 dense units.
  """

  _FILTERS_AND_STRIDES = ((32, 4), (64, 2), (64, 1))
  _WINDOWS = (8, 4, 3)

  def _stage_shapes(self, number, channels, filters):
    window = self._WINDOWS[number - 1]
    return {f'conv{number}': (window, window, channels, filters)}

  def _make_stage(self, number, filters):
    window = self._WINDOWS[number - 1]
    _, stride = self._FILTERS_AND_STRIDES[number - 1]
    return self._conv(f'conv{number}', filters, window, stride, 'relu')


@gin.configurable(denylist=['num_actions', 'seed', 'name'])
class ImpalaQNetwork(_ConvolutionalQNetwork):
  """The residual network of IMPALA (Espeholt et al., 2018; table 7).

  Three stacks of 32, 64 and 64 filters, each a convolution (3×3, stride 1), a
  max-pool (3×3, stride 2) and two residual blocks of two convolutions; then a
  dense layer. No batch normalization.
  """

  _FILTERS_AND_STRIDES = ((32, 2), (64, 2), (64, 2))
  _BLOCKS = 2

  def _stage_shapes(self, number, channels, filters):
    stack = f'stack{number}'
    return {
      f'{stack}/conv': (3, 3, channels, filters),
      **{
        f'{stack}/block{block}/conv{conv}': (3, 3, filters, filters)
        for block in range(1, self._BLOCKS + 1)
        for conv in (1, 2)
      },
    }

  def _make_stage(self, number, filters):
    return _Stack(f'stack{number}', filters, self._BLOCKS, self._conv)

  def _features(self, images):
    return tf.nn.relu(super()._features(images))


class _Stack(tf.keras.layers.Layer):
  """One stack of the IMPALA network; halves the image."""

  def __init__(self, name: str, filters: int, num_blocks: int, conv: Callable):
    super().__init__(name=name)
    self._first = conv(f'{name}/conv', filters, window=3, stride=1)
    self._pool = tf.keras.layers.MaxPool2D(3, strides=2, padding='same')
    self._blocks = [
      _ResidualBlock(f'{name}/block{number}', filters, conv)
      for number in range(1, num_blocks + 1)
    ]

  def call(self, inputs):
    x = self._pool(self._first(inputs))
    for block in self._blocks:
      x = block(x)
    return x


class _ResidualBlock(tf.keras.layers.Layer):
  """x + conv(relu(conv(relu(x))))."""

  def __init__(self, path: str, filters: int, conv: Callable):
    super().__init__(name=path.rsplit('/')[-1])
    self._first = conv(f'{path}/conv1', filters, window=3, stride=1)
    self._second = conv(f'{path}/conv2', filters, window=3, stride=1)

  def call(self, inputs):
    x = self._first(tf.nn.relu(inputs))
    return inputs + self._second(tf.nn.relu(x))


def build_q_network(
  network: Callable[..., QNetwork],
  num_actions: int,
  observation_shape: Sequence[int],
  stack_size: int,
  seed: int,
  name: str | None = None,
) -> QNetwork:
  """Makes a Q-network and builds it, so that `sparsify` can take it.

  Args:
    network: a class of this module, or any callable of the same arguments.
    num_actions: number of outputs.
    observation_shape: shape of one observation, without the stack.
    stack_size: observations in a state, which has the shape
      `(*observation_shape, stack_size)`.
    seed: int32 seed of all initial weights.
    name: name of the model.

  Returns:
    The network, called once on zeros.
  """
  model = network(num_actions=num_actions, seed=seed, name=name)
  model(tf.zeros((1, *observation_shape, stack_size)))
  return model


def _he_truncated_normal(seed: int) -> tf.keras.initializers.Initializer:
  return tf.keras.initializers.VarianceScaling(
    2.0, mode='fan_in', distribution='truncated_normal', seed=seed
  )


def _small_uniform(seed: int) -> tf.keras.initializers.Initializer:
  return tf.keras.initializers.RandomUniform(-0.03, 0.03, seed=seed)


def _negative_biases(
  seed: int, fan_in: int
) -> tf.keras.initializers.Initializer:
  del seed, fan_in
  return tf.keras.initializers.Constant(-0.2)


def _image_shape(state_shape: Sequence[int]) -> tuple[int, int, int]:
  """Height, width and channels; what follows the width are all channels."""
  height, width, *channels = state_shape
  return height, width, math.prod(channels)


def _to_images(state: tf.Tensor) -> tf.Tensor:
  """Images of 0…1, from pixels of 0…255: ALE's have a channel and a stack."""
  # Left as it is, Keras would take a fifth dimension for a second batch.
  images = tf.reshape(state, (-1, *_image_shape(state.shape[1:])))
  return tf.cast(images, tf.float32) / 255.0


def _flatten(x: tf.Tensor) -> tf.Tensor:
  """Keeps the batch; the rest, of known size, becomes one dimension."""
  return tf.reshape(x, (-1, math.prod(x.shape[1:])))
