"""The Q-networks of Graesser et al. (2022), built from sparse layers.

Each is a Keras model that maps a state, `(batch, *observation, stack)`, to
Q-values, `(batch, num_actions)`. `QNetwork` describes the arguments.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Mapping, Sequence

import gin
import tensorflow as tf

from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import HiddenUnits, NonNegative, Units
from rigl_rl.networks import sparse_layers
from rigl_rl.networks.sparse_layers import WidthOrRule


class QNetwork(sparse_layers.SparseLayers, tf.keras.Model):
  """What the Q-networks share: width, weight decay, and seeded layers.

  Each constructor names all arguments: gin checks bindings by them, and the
  defaults are the network's own.

  A width may follow from the state's shape, so the layers are made when the
  network is first called.

  Attributes:
    num_actions: number of outputs; the width never scales it.
    state_shape: `(*observation, stack)`, without the batch; set once built.
  """

  def __init__(
    self,
    num_actions: int,
    seed: int,
    width: WidthOrRule = 1.0,
    weight_decay: float = 0.0,
    weight_decay_factor: float = 1.0,
    decay_output: bool = True,
    name: str | None = None,
  ):
    """Initializes the network.

    For other arguments, see `SparseLayers`.

    Args:
      num_actions: number of outputs.
      decay_output: whether weight decay includes the last kernel; in the
        released code only for Atari.
    """
    self._initialize(locals())

  def _initialize(self, arguments: Mapping[str, Any]) -> None:
    super().__init__(name=arguments['name'])
    self._set_up_layers(arguments)
    self.num_actions = int(arguments['num_actions'])

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
    """Returns the shape of each kernel by its path, without making any layer.

    The width is by default the network's own.
    """
    raise NotImplementedError


@gin.configurable(denylist=['num_actions', 'seed', 'name'])
class MLPQNetwork(sparse_layers.PerceptronLayers, QNetwork):
  """The network of classic control: two hidden layers of 512 (table 6).

  Initialized as in the released code, which is TF-Agents': hidden kernels from
  a truncated normal of variance 2 / fan_in, the last one from U(-0.03, 0.03)
  with bias -0.2. Inputs are not normalized.
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
    """
    check_arguments(type(self), locals())
    self._initialize(locals())
    self._hidden_units = tuple(hidden_units)

  def layer_shapes(self, state_shape, width=None):
    fan_in = math.prod(state_shape)
    return self._perceptron_shapes(fan_in, self.num_actions, width)

  def _make_layers(self):
    truncated = functools.partial(
      tf.keras.initializers.VarianceScaling,
      2.0,
      mode='fan_in',
      distribution='truncated_normal',
    )
    small = functools.partial(tf.keras.initializers.RandomUniform, -0.03, 0.03)
    self._make_perceptron(
      self.layer_shapes(self.state_shape),
      ('relu', truncated, sparse_layers.zero_biases),
      (None, small, lambda **_: tf.keras.initializers.Constant(-0.2)),
    )

  def call(self, state):
    """Maps states `(batch, *observation, stack)` to Q-values."""
    return self._call_perceptron(_flatten(tf.cast(state, tf.float32)))


class _ConvolutionalQNetwork(QNetwork):
  """Convolutions, a hidden dense layer, and the outputs.

  Pixels are scaled from 0…255 to 0…1. ReLU; Glorot's uniform initialization.
  """

  # Path, filters and window of each, and the factor by which the image shrinks:
  # the stride, or that of the pooling which follows.
  _CONVOLUTIONS: Sequence[tuple[str, int, int, int]]
  _POOLS = False

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
    """
    check_arguments(type(self), locals())
    self._initialize(locals())
    self._dense_units = dense_units

  def layer_shapes(self, state_shape, width=None):
    shapes = {}
    *image, channels = _image_shape(state_shape)
    for path, filters, window, shrinkage in self._CONVOLUTIONS:
      filters = self._scale(filters, width)
      shapes[path] = (window, window, channels, filters)
      image = [math.ceil(side / shrinkage) for side in image]
      channels = filters
    units = self._scale(self._dense_units, width)
    shapes['dense1'] = (math.prod(image) * channels, units)
    shapes['output'] = (units, self.num_actions)
    return shapes

  def _make_layers(self):
    self._convolutions = [
      self._make(
        tf.keras.layers.Conv2D,
        path,
        self._scale(filters),
        window,
        1 if self._POOLS else shrinkage,
        padding='same',
        activation=None if self._POOLS else 'relu',
      )
      for path, filters, window, shrinkage in self._CONVOLUTIONS
    ]
    make_dense = functools.partial(self._make, tf.keras.layers.Dense)
    units = self._scale(self._dense_units)
    self._dense_layer = make_dense('dense1', units, activation='relu')
    self._output_layer = make_dense('output', self.num_actions)

  def call(self, state):
    """Maps images `(batch, height, width, ..., stack)` to Q-values."""
    # ALE's have a channel and a stack, of which Keras would take the fifth
    # dimension for a second batch.
    images = tf.reshape(state, (-1, *_image_shape(state.shape[1:])))
    features = self._features(tf.cast(images, tf.float32) / 255.0)
    return self._output_layer(self._dense_layer(_flatten(features)))

  def _features(self, images: tf.Tensor) -> tf.Tensor:
    raise NotImplementedError


@gin.configurable(denylist=['num_actions', 'seed', 'name'])
class NatureQNetwork(_ConvolutionalQNetwork):
  """The convolutional network of Mnih et al. (2015), for Atari (table 7).

  Three convolutions with SAME padding, then 512 dense units.
  """

  _CONVOLUTIONS = (
    ('conv1', 32, 8, 4),
    ('conv2', 64, 4, 2),
    ('conv3', 64, 3, 1),
  )

  def _features(self, images):
    for convolution in self._convolutions:
      images = convolution(images)
    return images


@gin.configurable(denylist=['num_actions', 'seed', 'name'])
class ImpalaQNetwork(_ConvolutionalQNetwork):
  """The residual network of IMPALA (Espeholt et al., 2018; table 7).

  Three stacks of 32, 64 and 64 filters, each a convolution (3×3, stride 1), a
  max-pool (3×3, stride 2) and two residual blocks of two convolutions,
  x + conv(relu(conv(relu(x)))); then a dense layer. No batch normalization.
  """

  _CONVOLUTIONS = tuple(
    (f'stack{stack}/{path}', filters, 3, shrinkage)
    for stack, filters in ((1, 32), (2, 64), (3, 64))
    for path, shrinkage in (
      ('conv', 2),
      ('block1/conv1', 1),
      ('block1/conv2', 1),
      ('block2/conv1', 1),
      ('block2/conv2', 1),
    )
  )
  _POOLS = True

  def _features(self, images):
    convolutions = iter(self._convolutions)
    for convolution in convolutions:
      images = tf.nn.max_pool2d(convolution(images), 3, 2, 'SAME')
      for _ in range(2):
        x = next(convolutions)(tf.nn.relu(images))
        images += next(convolutions)(tf.nn.relu(x))
    return tf.nn.relu(images)


def _image_shape(state_shape: Sequence[int]) -> tuple[int, int, int]:
  """Height, width and channels; what follows the width are all channels."""
  height, width, *channels = state_shape
  return height, width, math.prod(channels)


def _flatten(x: tf.Tensor) -> tf.Tensor:
  """Keeps the batch; the rest, of known size, becomes one dimension."""
  return tf.reshape(x, (-1, math.prod(x.shape[1:])))
