"""SparseWrapper gives a layer a mask; sparsify gives a network its masks."""

from __future__ import annotations

import fnmatch
import itertools
import zlib
from typing import Any, Callable, Iterator, Literal, Mapping, Sequence

import gin
import numpy as np
import tensorflow as tf

from rigl_rl.compat import keras
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Sparsity
from rigl_rl.errors import UserError
from rigl_rl.sparsity import (
  algorithms,
  distributions,
  initializers,
  sparse_kernel,
  step_plan,
  user_code,
)
from rigl_rl.sparsity.masked_kernel import MaskedKernel

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
  """A layer whose kernel has a mask.

  The kernel is stored as a MaskedKernel, or after `store_sparsely` as a
  SparseKernel. `SparseOptimizer` keeps it zero off the mask.

  Attributes:
    layer: the wrapped Dense, Conv1D or Conv2D layer.
    sparsity: target sparsity, in [0, 1); 0 until `initialize`.
    algorithm: the layer's SparseAlgorithm; None until `initialize`.
    wanted_storage: how `sparsify` would have it stored: 'masked', 'sparse'
      or 'auto'.
    storage: the stored kernel.
    needs_dense_gradient: whether its mask is updated by the gradient of all
      weights; set by the `SparseOptimizer` that updates it.
  """

  def __init__(
    self,
    layer: tf.keras.layers.Layer,
    sparsity: Sparsity | None = None,
    algorithm: algorithms.SparseAlgorithm | None = None,
    name: str | None = None,
    seed: int = 0,
    initializer: initializers.WeightInitializer = initializers.layer_default,
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
    self.algorithm: Any = None
    self.wanted_storage = 'masked'
    self.storage: Any = MaskedKernel(layer)
    self.needs_dense_gradient = False
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
    self._mask = self.storage.mask = self.add_weight(
      name='mask',
      shape=self.layer.kernel.shape,
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
    initializer: initializers.WeightInitializer = initializers.layer_default,
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
    mask = algorithm.initial_mask(self.mask.shape, sparsity, seed)
    user_code.check_initial_mask(algorithm, mask, self)
    self.mask.assign(mask)
    kernel = initializer(self.kernel, self.mask, seed)
    self.kernel.assign(kernel * self.mask)

  def store_sparsely(self, capacity: int | None = None) -> None:
    """Stores only the active weights from now on.

    What an optimizer trains is then another variable: create its slots later,
    or let `SparseOptimizer.move_slots` move them.

    Args:
      capacity: active weights to leave room for; None for those of now.
    """
    layer = self.layer
    if capacity is None:
      capacity = int(np.count_nonzero(self.mask))
    self.storage = sparse_kernel.SparseKernel(layer, self.storage, capacity)
    # Keras and checkpoints find the variables as attributes, in the order of
    # those of a MaskedKernel: what is trained, the bias, where weights are.
    if hasattr(layer, 'kernel'):
      del layer.kernel
    self._trained, self._mask = self.storage.trained, self.storage.structure
    keras.clear_callable_losses(layer)
    for regularizer, read in (
      (layer.kernel_regularizer, self._decayed_weights),
      (layer.bias_regularizer, lambda: layer.bias),
    ):
      if regularizer is not None:
        layer.add_loss(lambda r=regularizer, read=read: r(read()))

  def _decayed_weights(self):
    """The weights for weight decay: of the shape that the loss trains."""
    return self.trained_kernel if self.computes_sparsely else self.kernel

  @property
  def kernel(self) -> tf.Variable | tf.Tensor:
    """The weights, `(*window, in, out)`; exactly 0 where the mask is."""
    return self.storage.weights

  @property
  def mask(self) -> tf.Variable | tf.Tensor:
    """float32, of the kernel's shape, 1 where a weight is active.

    None until the layer is built.
    """
    return self.storage.mask

  @property
  def kernel_shape(self) -> tf.TensorShape:
    return self.storage.shape

  @property
  def trained_kernel(self) -> tf.Variable:
    """What an optimizer trains: the kernel, or its active weights."""
    return self.storage.trained

  @property
  def bias(self) -> tf.Variable | None:
    return self.layer.bias

  @property
  def computes_densely(self) -> bool:
    """Whether what is traced now needs the gradient of all weights."""
    return step_plan.computes_densely(self)

  @property
  def computes_sparsely(self) -> bool:
    """Whether what is traced now computes only with active weights."""
    return self.storage.name == 'sparse' and not self.computes_densely

  def call(self, inputs):
    return self.storage.call(inputs, densely=self.computes_densely)

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
  is_known = type(algorithm) is getattr(algorithms, name, None)
  words = {'name': name, 'settings': dict(vars(algorithm))}
  return words if is_known else algorithm


def _algorithm_from_json(words):
  algorithm_class = getattr(algorithms, words['name'])
  algorithm = algorithm_class.__new__(algorithm_class)
  vars(algorithm).update(words['settings'])
  return algorithm


def _initializer_to_json(initializer):
  """An initializer of the package as its name, others as is."""
  name = getattr(initializer, '__name__', '')
  is_known = initializer is getattr(initializers, name, None)
  return name if is_known else initializer


def call_in_turn(layers: Sequence[SparseWrapper], x: tf.Tensor) -> tf.Tensor:
  """Calls layers one after the other.

  Neighbors that compute with their active weights alone are one operation.

  Args:
    layers: built, first layer first.
    x: `(batch, inputs)`.

  Returns:
    `(batch, outputs)`, of the last.
  """
  for sparse, group in itertools.groupby(
    layers, lambda layer: layer.computes_sparsely
  ):
    if sparse:
      x = sparse_kernel.chain([layer.storage for layer in group], x)
    else:
      for layer in group:
        x = layer(x)
  return x


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
  for child in keras.layers_of(layer):
    yield from _walk(child, path + (child.name,))


@gin.configurable(denylist=['model', 'seed'])
def sparsify(
  model: tf.keras.layers.Layer,
  distribution: Callable[
    [distributions.Shapes, float | None], Mapping[str, float]
  ] = distributions.erdos_renyi_kernel,
  sparsity: Sparsity | None = 0.9,
  algorithm: algorithms.SparseAlgorithm | None = None,
  keep_dense: Sequence[str] | str = (),
  initializer: initializers.WeightInitializer = initializers.sparsity_aware,
  storage: Literal['masked', 'sparse', 'auto'] = 'auto',
  seed: int = 0,
) -> list[SparseWrapper]:
  """Draws masks for a built network, and sets the weights to start from.

  Args:
    model: a built Keras model or TF-Agents network. Bare Dense, Conv1D and
      Conv2D layers get a wrapper of their own, and go on being called as they
      were.
    distribution: maps `{path: kernel shape}` and the sparsity to `{path:
      sparsity}`; see `rigl_rl.sparsity.distributions`. If it returns
      `Probabilities`, each weight is drawn on its own.
    sparsity: of all the kernels together, in [0, 1); None for a distribution
      that decides it, such as `erdos_renyi_lambda`.
    algorithm: a SparseAlgorithm; RigL by default.
    keep_dense: patterns of paths (as in fnmatch) of layers that stay dense and
      out of the distribution.
    initializer: see `rigl_rl.sparsity.initializers`.
    storage: how agents store the layers: 'masked', 'sparse' (by their active
      weights alone) or 'auto' (what takes less time); see
      `rigl_rl.sparsity.compression`. Here they are masked in any case.
    seed: int32 seed; each layer's own is derived from it and the position.

  Returns:
    The wrappers of all layers but those kept dense, first layer first.

  Raises:
    UserError: on an argument outside its range, a model that is not built, has
      no layer to mask or is sparse already, or a pattern that matches no layer.
  """
  check_arguments(sparsify, locals())
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
  sparse = [path for path, layer in layers.items() if _is_sparsified(layer)]
  if sparse:
    # Its weights that are zero by now would stay so under other masks.
    raise UserError(
      f'sparsify.model is {model.name!r}, whose layer {sparse[0]} is sparse '
      'already: build the model again.'
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
  sparsities: Mapping[str, float]
  if isinstance(algorithm, algorithms.Dense):
    sparsities = dict.fromkeys(shapes, 0.0)
  else:
    sparsities = distribution(shapes, sparsity)
    user_code.check_sparsities(distribution, sparsities, list(shapes))
  if isinstance(sparsities, distributions.Probabilities):
    algorithm = algorithm.with_random_count()
  if algorithm.starts_dense or not any(sparsities.values()):
    initializer = initializers.layer_default
  # By position, not by path: Keras numbers the names that it makes up through
  # the whole process, so the same network built later would be seeded anew.
  positions = {path: str(i) for i, path in enumerate(layers)}
  for path, wrapper in masked.items():
    layer_seed = derive_seed(seed, positions[path])
    wrapper.initialize(sparsities[path], algorithm, layer_seed, initializer)
    wrapper.wanted_storage = storage
  return list(masked.values())


def _is_sparsified(layer: tf.keras.layers.Layer) -> bool:
  """Whether `sparsify` has given a layer its mask before."""
  if isinstance(layer, SparseWrapper):
    # One that the constructor gave does not count.
    return layer.algorithm is not None and layer._arguments is None
  return isinstance(getattr(layer, 'mask', None), tf.Variable)


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
