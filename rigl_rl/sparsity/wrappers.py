"""SparseWrapper adds a mask to a layer; sparsify adds them to a network."""

from __future__ import annotations

import copy
import fnmatch
import itertools
import zlib
from typing import Any, Callable, Iterator, Literal, Mapping, Sequence

import gin
import numpy as np
import tensorflow as tf

from rigl_rl.compat import keras
from rigl_rl.config import domains
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Sparsity
from rigl_rl.errors import UserError
from rigl_rl.sparsity import (
  algorithms,
  distributions,
  initializers,
  kernel_mask,
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


@tf.keras.utils.register_keras_serializable('rigl_rl')
class SparseWrapper(tf.keras.layers.Layer):
  """A layer whose kernel has a mask.

  `SparseOptimizer` keeps the kernel zero off the mask. The constructor's
  `layer`, `sparsity` (0 until `initialize`) and `algorithm` are attributes.

  Attributes:
    wanted_storage: the argument of `sparsify`: 'masked', 'sparse' or 'auto'.
    storage: a MaskedKernel, or after `store_sparsely` a SparseKernel.
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
    """Wraps a layer, built or not.

    Args:
      layer: a Dense, Conv1D or Conv2D layer.
      sparsity: target sparsity, in [0, 1). None leaves the layer dense until
        `sparsify` calls `initialize`.
      algorithm: what draws and updates the mask; Static by default.
      name: name of the wrapper; by default the layer's own.
      seed: int32 seed of the first mask.
      initializer: see `rigl_rl.sparsity.initializers`.

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
      domains.check('SparseWrapper.sparsity', sparsity, domains.SPARSITY)
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
    mask = kernel_mask.mask_of(self.layer)
    self.storage.mask = mask.mask
    self.sparsity, self.algorithm = mask.sparsity, mask.algorithm
    if self._arguments is not None:
      self.initialize(*self._arguments)

  def initialize(
    self,
    sparsity: float,
    algorithm: algorithms.SparseAlgorithm,
    seed: int,
    initializer: initializers.WeightInitializer = initializers.layer_default,
  ) -> None:
    """Draws the first mask, and sets the kernel to start from."""
    saved = kernel_mask.mask_of(self.layer)
    self.sparsity = saved.sparsity = float(sparsity)
    self.algorithm = saved.algorithm = algorithm
    mask = algorithm.initial_mask(self.mask.shape, sparsity, seed)
    user_code.check_initial_mask(algorithm, mask, self)
    self.mask.assign(mask)
    kernel = initializer(self.kernel, self.mask, seed)
    self.kernel.assign(kernel * self.mask)

  def store_sparsely(self, capacity: int | None = None) -> None:
    """Stores only the active weights from now on.

    An optimizer then trains another variable: create its slots later, or let
    `SparseOptimizer.move_slots` move them. Without a `capacity` there is room
    for the current active weights.
    """
    layer = self.layer
    if capacity is None:
      capacity = int(np.count_nonzero(self.mask))
    kinds = {2: sparse_kernel.SparseKernel, 4: sparse_kernel.SparseConvolution}
    kind = kinds[len(self.kernel_shape)]
    self.storage = kind(layer, self.storage, capacity)
    # Keras and checkpoints find variables by attributes, in the order of a
    # MaskedKernel's: the trained one, the bias, the mask.
    if hasattr(layer, 'kernel'):
      del layer.kernel
    layer.kernel_constraint = None
    self._trained, self._mask = self.storage.trained, self.storage.structure
    keras.clear_callable_losses(layer)
    for regularizer, read in (
      # In the shape that the loss trains.
      (
        layer.kernel_regularizer,
        lambda: self.trained_kernel if self.computes_sparsely else self.kernel,
      ),
      (layer.bias_regularizer, lambda: layer.bias),
    ):
      if regularizer is not None:
        layer.add_loss(lambda r=regularizer, read=read: r(read()))

  @property
  def kernel(self) -> tf.Variable | tf.Tensor:
    """The weights, `(*window, in, out)`; exactly 0 where the mask is 0."""
    return self.storage.weights

  @property
  def mask(self) -> tf.Variable | tf.Tensor:
    """See `rigl_rl.sparsity.masks`; None until the layer is built."""
    return self.storage.mask

  @property
  def kernel_shape(self) -> tf.TensorShape:
    return self.storage.shape

  @property
  def trained_kernel(self) -> tf.Variable:
    """The variable that an optimizer trains: the kernel or active weights."""
    return self.storage.trained

  @property
  def bias(self) -> tf.Variable | None:
    return self.layer.bias

  @property
  def computes_sparsely(self) -> bool:
    """Whether the current trace computes only with active weights."""
    is_sparse = self.storage.name == 'sparse'
    return is_sparse and not step_plan.computes_densely(self)

  def call(self, inputs):
    return self.storage.call(inputs, step_plan.computes_densely(self))

  def compute_output_shape(self, input_shape):
    return self.layer.compute_output_shape(input_shape)

  def get_config(self):
    """Returns the config of an unbuilt copy; Keras and TF-Agents copy by it.

    With a sparsity of its own a copy draws the same mask. One that `sparsify`
    has set comes with saved weights; without them a copy is dense, and
    `sparsify` may set it again.
    """
    config = {'name': self.name, 'layer': tf.keras.layers.serialize(self.layer)}
    if self._arguments is not None:
      sparsity, algorithm, seed, initializer = self._arguments
      config.update(
        sparsity=sparsity,
        algorithm=kernel_mask.to_json(algorithm),
        seed=seed,
        initializer=kernel_mask.to_json(initializer),
      )
    return config

  @classmethod
  def from_config(cls, config):
    config = dict(config)
    layer = tf.keras.layers.deserialize(config.pop('layer'))
    for name in {'algorithm', 'initializer'} & config.keys():
      config[name] = kernel_mask.from_json(config[name])
    return cls(layer, **config)


def call_in_turn(layers: Sequence[SparseWrapper], x: tf.Tensor) -> tf.Tensor:
  """Maps `(batch, inputs)` to the outputs of the last of several built layers.

  Neighbors that the kernels can compute are one operation.
  """
  for can_chain, group in itertools.groupby(layers, _can_chain):
    if can_chain:
      x = sparse_kernel.chain([layer.storage for layer in group], x)
    else:
      for layer in group:
        x = layer(x)
  return x


def _can_chain(layer):
  if not layer.built or step_plan.computes_densely(layer):
    return False
  return layer.computes_sparsely or sparse_kernel.can_chain(
    layer.layer, layer.storage
  )


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
  found: dict[str, tf.keras.layers.Layer] = {}
  for path, layer in _walk(model, ()):
    if any(layer is other for other in found.values()):
      continue
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

  A `SparseOptimizer` keeps and changes the masks, in `model.fit` too. Other
  optimizers of Keras keep masks that never change, and raise a UserError at
  their first step if an algorithm changes masks. Masks are saved with the
  model, in each of Keras' formats, or with its weights; see `load_model`.

  Args:
    model: a built Keras model or TF-Agents network. Bare Dense, Conv1D and
      Conv2D layers get a wrapper each, but are still called directly.
    distribution: maps `{path: kernel shape}` and the sparsity to `{path:
      sparsity}`; see `rigl_rl.sparsity.distributions`.
    sparsity: of all kernels together, in [0, 1); None for a distribution that
      decides it, such as `erdos_renyi_lambda`.
    algorithm: a SparseAlgorithm; RigL by default.
    keep_dense: patterns of paths (as in fnmatch) of layers that stay dense and
      out of the distribution.
    initializer: see `rigl_rl.sparsity.initializers`.
    storage: how agents store the layers: 'masked', 'sparse' (only active
      weights) or 'auto' (what takes less time); see
      `rigl_rl.sparsity.compression`. This function stores them masked.
    seed: int32 seed; those of the layers derive from it and their position.

  Returns:
    The wrappers of all layers but those kept dense, first layer first.

  Raises:
    UserError: on an argument outside its range, a model that is not built, has
      no layer to mask or is sparse already, or a pattern that matches no layer.
  """
  check_arguments(sparsify, locals())
  algorithm = algorithms.RigL() if algorithm is None else algorithm
  layers = named_layers(model)
  unbuilt = [path for path, layer in layers.items() if not layer.built]
  sparse = [path for path, layer in layers.items() if _has_zeros(layer)]
  problem = None
  if not layers:
    problem = 'which has no Dense, Conv1D or Conv2D layer to mask'
  elif unbuilt:
    problem = f'whose layer {unbuilt[0]} is not built yet: call the model once'
  elif sparse:  # Weights that are zero would stay zero under other masks.
    problem = (
      f'whose layer {sparse[0]} is sparse already: build the model again'
    )
  if problem:
    raise UserError(f'sparsify.model is {model.name!r}, {problem}.')
  if isinstance(keep_dense, str):
    keep_dense = (keep_dense,)  # A bare string is iterated by character.
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
    algorithm = copy.copy(algorithm)
    algorithm.random_count = True
  if algorithm.starts_dense or not any(sparsities.values()):
    initializer = initializers.layer_default
  # By position, not by path: Keras numbers the names that it makes up through
  # the whole process, so the same network built later has other names.
  for position, path in enumerate(layers):
    if path in masked:
      layer_seed = derive_seed(seed, str(position))
      wrapper = masked[path]
      wrapper.initialize(sparsities[path], algorithm, layer_seed, initializer)
      wrapper.wanted_storage = storage
  return list(masked.values())


def sparse_layers(model: tf.keras.layers.Layer) -> list[SparseWrapper]:
  """Returns the layers of a model that have a mask, first layer first.

  These are what `sparsify` returned, also of a model that was saved and loaded.
  """
  return [
    _as_wrapper(layer)
    for layer in named_layers(model).values()
    if _is_sparse(layer)
  ]


def _is_sparse(layer: tf.keras.layers.Layer) -> bool:
  """Whether `sparsify` has set a layer, or its own arguments have."""
  if isinstance(layer, SparseWrapper):
    return layer.algorithm is not None
  mask = layer.kernel_constraint
  return isinstance(mask, kernel_mask.KernelMask) and mask.algorithm is not None


def _has_zeros(layer: tf.keras.layers.Layer) -> bool:
  """Whether `sparsify`, not a wrapper's own arguments, gave a layer zeros."""
  return (
    _is_sparse(layer)
    and getattr(layer, '_arguments', None) is None
    and not np.all(_as_wrapper(layer).mask)
  )


def _as_wrapper(layer: tf.keras.layers.Layer) -> SparseWrapper:
  return layer if isinstance(layer, SparseWrapper) else SparseWrapper(layer)


def derive_seed(seed: int, name: str) -> int:
  """Derives a seed, in [0, 2³¹), that is independent of other names' seeds."""
  sequence = np.random.SeedSequence([seed, zlib.crc32(name.encode())])
  return int(sequence.generate_state(1)[0] >> 1)
