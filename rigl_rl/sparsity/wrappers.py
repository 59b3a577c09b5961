"""SparseWrapper gives a layer a mask; sparsify gives a network its masks."""

from __future__ import annotations

import fnmatch
import zlib
from typing import Callable, Iterator, Sequence

import gin
import numpy as np
import tensorflow as tf

from rigl_rl.errors import UserError
from rigl_rl.sparsity import algorithms, distributions, initializers

MASKABLE_LAYERS = (
  tf.keras.layers.Dense,
  tf.keras.layers.Conv1D,
  tf.keras.layers.Conv2D,
)
# Keras derives them from the above, but their kernels are `(..., out, in)`.
_TRANSPOSED_LAYERS = (
  tf.keras.layers.Conv1DTranspose,
  tf.keras.layers.Conv2DTranspose,
)


class SparseWrapper(tf.keras.layers.Layer):
  """A layer whose kernel is stored masked.

  The forward pass uses the kernel as it is: it never multiplies by the mask, so
  the gradient is dense, and acting and evaluation see exact zeros. Keeping the
  kernel zero off the mask is `SparseOptimizer`'s part.

  Attributes:
    layer: the wrapped Dense, Conv1D or Conv2D layer.
    sparsity: target sparsity, in [0, 1); 0 until `initialize`.
    algorithm: the layer's SparseAlgorithm; None until `initialize`.
    mask: float32 variable of the kernel's shape, 1 where a weight is active.
  """

  def __init__(
    self,
    layer: tf.keras.layers.Layer,
    sparsity: float | None = None,
    algorithm: algorithms.SparseAlgorithm | None = None,
    name: str | None = None,
    seed: int = 0,
    initializer: Callable = initializers.layer_default,
  ):
    """Wraps `layer`, which may be built already.

    Args:
      layer: a Dense, Conv1D or Conv2D layer.
      sparsity: target sparsity, in [0, 1). None leaves the layer dense until
        `initialize` is called, as `sparsify` does.
      algorithm: what draws and updates the mask; Static by default.
      name: name of the wrapper; by default the layer's own.
      seed: int32 seed of the first mask.
      initializer: see `initialize`.

    Raises:
      UserError: if the layer cannot be masked, or sparsity is out of range.
    """
    if not _is_maskable(layer):
      raise UserError(
        f'SparseWrapper.layer is a {type(layer).__name__}, but must be a '
        'Dense, Conv1D or Conv2D layer.'
      )
    super().__init__(name=name or layer.name)
    self.layer = layer
    self.sparsity = 0.0
    self.algorithm = None
    self.mask = None
    self._arguments = None
    if sparsity is not None:
      distributions.check_sparsity('SparseWrapper.sparsity', sparsity)
      algorithm = algorithm or algorithms.Static()
      self._arguments = (sparsity, algorithm, seed, initializer)
    if layer.built:
      self._add_mask()

  def build(self, input_shape):
    if not self.layer.built:
      with tf.name_scope(self.layer.name):
        self.layer.build(input_shape)
      self.layer.built = True
    if self.mask is None:
      self._add_mask()
    super().build(input_shape)

  def _add_mask(self):
    self.mask = self.add_weight(
      name='mask',
      shape=self.kernel.shape,
      initializer='ones',
      trainable=False,
    )
    if self._arguments is not None:
      self.initialize(*self._arguments)

  def initialize(
    self,
    sparsity: float,
    algorithm: algorithms.SparseAlgorithm,
    seed: int,
    initializer: Callable = initializers.layer_default,
  ) -> None:
    """Draws the first mask, and sets the kernel to start from.

    Args:
      sparsity: target sparsity, in [0, 1).
      algorithm: draws the mask.
      seed: int32 seed.
      initializer: maps (kernel, mask, seed) to the kernel to start from; see
        `rigl_rl.sparsity.initializers`.
    """
    self.sparsity = float(sparsity)
    self.algorithm = algorithm
    self.mask.assign(algorithm.initial_mask(self.mask.shape, sparsity, seed))
    kernel = initializer(self.kernel, self.mask, seed)
    self.kernel.assign(kernel * self.mask)

  @property
  def kernel(self) -> tf.Variable:
    """The weights, `(*window, in, out)`; exactly 0 where the mask is."""
    return self.layer.kernel

  @property
  def bias(self) -> tf.Variable | None:
    return self.layer.bias

  def call(self, inputs):
    return self.layer(inputs)

  def compute_output_shape(self, input_shape):
    return self.layer.compute_output_shape(input_shape)

  def get_config(self):
    """What makes a fresh, unbuilt copy: Keras and TF-Agents copy by it.

    A copy has the settings that the constructor was given. With a sparsity of
    its own it draws the same mask, as it has the same seed. What `sparsify` set
    is no part of them: sparsify a copy in turn, by a seed of its own.

    All of it is JSON, so that Keras can save a model, unless an algorithm or
    initializer is not the package's: then a layer can be copied only.
    """
    config = {'name': self.name, 'layer': tf.keras.layers.serialize(self.layer)}
    if self._arguments is not None:
      sparsity, algorithm, seed, initializer = self._arguments
      config.update(
        sparsity=sparsity,
        algorithm=_algorithm_to_json(algorithm),
        seed=seed,
        initializer=_initializer_to_json(initializer),
      )
    return config

  @classmethod
  def from_config(cls, config):
    config = dict(config)
    layer = tf.keras.layers.deserialize(config.pop('layer'))
    if isinstance(config.get('algorithm'), dict):
      config['algorithm'] = _algorithm_from_json(config['algorithm'])
    if isinstance(config.get('initializer'), str):
      config['initializer'] = getattr(initializers, config['initializer'])
    return cls(layer, **config)


def _algorithm_to_json(algorithm):
  """An algorithm of the package as its name and settings, others as is."""
  name = type(algorithm).__name__
  if type(algorithm) is not getattr(algorithms, name, None):
    return algorithm
  return {'name': name, 'settings': dict(vars(algorithm))}


def _algorithm_from_json(words):
  algorithm_class = getattr(algorithms, words['name'])
  algorithm = algorithm_class.__new__(algorithm_class)
  vars(algorithm).update(words['settings'])
  return algorithm


def _initializer_to_json(initializer):
  """An initializer of the package as its name, others as is."""
  name = getattr(initializer, '__name__', '')
  if initializer is not getattr(initializers, name, None):
    return initializer
  return name


def _is_maskable(layer: tf.keras.layers.Layer) -> bool:
  return isinstance(layer, MASKABLE_LAYERS) and not isinstance(
    layer, _TRANSPOSED_LAYERS
  )


def named_layers(
  model: tf.keras.layers.Layer,
) -> dict[str, tf.keras.layers.Layer]:
  """Finds every layer of a built model that can be masked.

  Args:
    model: a Keras model or TF-Agents network.

  Returns:
    `{path: layer}` in the order in which the model tracks its layers; a layer
    is a SparseWrapper or a bare Dense, Conv1D or Conv2D. A path joins the names
    of the layers that lead to it by '/'; names that collide are numbered.
  """
  found = {}
  seen = set()
  for path, layer in _walk(model, ()):
    if id(layer) in seen:
      continue
    seen.add(id(layer))
    name, number = '/'.join(path) or layer.name, 1
    while name in found:
      name, number = f'{"/".join(path)}_{number}', number + 1
    found[name] = layer
  return found


def _walk(
  layer: tf.keras.layers.Layer, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tf.keras.layers.Layer]]:
  if isinstance(layer, SparseWrapper) or _is_maskable(layer):
    yield path, layer
    return
  for child in layer._flatten_layers(recursive=False, include_self=False):
    yield from _walk(child, path + (child.name,))


@gin.configurable(denylist=['model', 'seed'])
def sparsify(
  model: tf.keras.layers.Layer,
  distribution: Callable = distributions.erdos_renyi_kernel,
  sparsity: float | None = 0.9,
  algorithm: algorithms.SparseAlgorithm | None = None,
  keep_dense: Sequence[str] = (),
  initializer: Callable = initializers.sparsity_aware,
  seed: int = 0,
) -> list[SparseWrapper]:
  """Draws masks for a built network, and sets the weights to start from.

  Args:
    model: a built Keras model or TF-Agents network. Bare Dense, Conv1D and
      Conv2D layers get a wrapper of their own, and go on being called as they
      were.
    distribution: maps `{path: kernel shape}` and the sparsity to `{path:
      sparsity}`; see `rigl_rl.sparsity.distributions`.
    sparsity: of all the kernels together, in [0, 1); None for a distribution
      that decides it, such as `erdos_renyi_lambda`.
    algorithm: a SparseAlgorithm; RigL by default.
    keep_dense: patterns of paths (as in fnmatch) of layers that stay dense and
      out of the distribution.
    initializer: see `rigl_rl.sparsity.initializers`.
    seed: int32 seed; each layer's own is derived from it and the position.

  Returns:
    The wrappers of all layers but those kept dense, first layer first.

  Raises:
    UserError: on a sparsity outside [0, 1), a model that is not built or has no
      layer to mask, or a pattern that matches no layer.
  """
  if sparsity is not None:
    distributions.check_sparsity('SPARSITY (sparsify.sparsity)', sparsity)
  algorithm = algorithms.RigL() if algorithm is None else algorithm
  layers = named_layers(model)
  if not layers:
    raise UserError(
      f'sparsify.model is {model.name!r}, which has no Dense, Conv1D or '
      'Conv2D layer to mask.'
    )
  unbuilt = [path for path, layer in layers.items() if not layer.built]
  if unbuilt:
    raise UserError(
      f'sparsify.model is {model.name!r}, whose layer {unbuilt[0]} is not '
      'built yet: call the model once before.'
    )
  if isinstance(keep_dense, str):
    keep_dense = (keep_dense,)  # Else each of its letters were a pattern.
  for pattern in keep_dense:
    if not fnmatch.filter(layers, pattern):
      raise UserError(
        f'sparsify.keep_dense holds {pattern!r}, but the layers are '
        f'{", ".join(layers)}.'
      )
  masked = {
    path: _as_wrapper(layer)
    for path, layer in layers.items()
    if not any(fnmatch.fnmatch(path, pattern) for pattern in keep_dense)
  }
  shapes = {path: tuple(w.kernel.shape) for path, w in masked.items()}
  if isinstance(algorithm, algorithms.Dense):
    sparsities = dict.fromkeys(shapes, 0.0)
  else:
    sparsities = distribution(shapes, sparsity)
  if algorithm.starts_dense or not any(sparsities.values()):
    initializer = initializers.layer_default
  # By position, not by path: Keras numbers the names that it makes up through
  # the whole process, so the same network built later would be seeded anew.
  positions = {path: str(i) for i, path in enumerate(layers)}
  for path, wrapper in masked.items():
    layer_seed = derive_seed(seed, positions[path])
    wrapper.initialize(sparsities[path], algorithm, layer_seed, initializer)
  return list(masked.values())


def _as_wrapper(layer: tf.keras.layers.Layer) -> SparseWrapper:
  if isinstance(layer, SparseWrapper):
    return layer
  wrapper = SparseWrapper(layer)
  layer.mask = wrapper.mask  # Tracked: the mask is saved with the model.
  return wrapper


def derive_seed(seed: int, name: str) -> int:
  """Derives a seed, in [0, 2³¹), that is independent of other names' seeds."""
  sequence = np.random.SeedSequence([seed, zlib.crc32(name.encode())])
  return int(sequence.generate_state(1)[0] >> 1)
