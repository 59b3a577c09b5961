"""SparseKernel stores the active weights of a layer, and their positions.

Inactive weights take neither memory nor time. Results equal those of a
MaskedKernel, except for rounding.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import tensorflow as tf

from rigl_rl.kernels import loader
from rigl_rl.sparsity import kernel_mask
from rigl_rl.sparsity.masked_kernel import MaskedKernel

# By this attribute a variable refers to the kernel that it is part of.
_KERNEL = '_rigl_kernel'
_ACTIVATIONS = ('linear', 'relu', 'tanh')
# Of kernels that `chain` computes with all their weights: the larger of inputs
# and outputs. In smaller layers it saves nothing; wider ones do not fit into
# the second cache, for which TensorFlow's products are blocked. By AVX-512 SAC
# then takes .88 times as long as by TensorFlow's; by AVX2 1.44 times; by
# neither 1 time.
_WIDTHS = range(128, 513)
_INSTRUCTIONS = 'avx512'


class SparseKernel:
  """The kernel of a dense layer, `(in, out)`, stored as its active weights.

  Attributes:
    name, trained, weights, mask, shape: see MaskedKernel. `trained` holds the
      active weights, float32 `(capacity,)`, by output, then by input, then
      zeros; `weights` and `mask` are tensors.
    capacity: how many active weights fit.
    structure: int32 variable, the positions of the active weights.
  """

  name = 'sparse'

  def __init__(
    self,
    layer: tf.keras.layers.Layer,
    kernel: MaskedKernel | SparseKernel,
    capacity: int,
  ):
    """Takes over the weights and the mask of the layer's current kernel."""
    self._layer = layer
    self._operations: Any = loader.load()
    self.shape: tf.TensorShape = kernel.shape
    self.capacity = capacity
    name = kernel.trained.name.split(':')[0]
    structure = self._structure_of(kernel.mask)
    # Not made by Keras' add_weight: the layer is already built.
    self.trained: tf.Variable = tf.Variable(
      self._gather(kernel.weights, structure), trainable=True, name=name
    )
    self.structure = tf.Variable(
      structure, trainable=False, name=f'{name}_structure'
    )
    for variable in (self.trained, self.structure):
      setattr(variable, _KERNEL, self)

  @property
  def weights(self) -> tf.Tensor:
    return self.dense(self.trained)

  @property
  def mask(self) -> tf.Tensor:
    return self.dense(tf.ones(self.capacity))

  def call(self, inputs: tf.Tensor, densely: bool) -> tf.Tensor:
    """Computes the layer's outputs; see MaskedKernel."""
    if not densely and inputs.shape.rank == 2:
      return chain([self], inputs)
    return self._activate(tf.matmul(inputs, self.weights))

  def _activate(self, outputs):
    if self._layer.use_bias:
      outputs = tf.nn.bias_add(outputs, self._layer.bias)
    if self._layer.activation is not None:
      outputs = self._layer.activation(outputs)
    return outputs

  def change_mask(
    self, mask: tf.Tensor, slots: Sequence[tf.Variable] = ()
  ) -> None:
    """Changes the mask, to at most `capacity` weights; see MaskedKernel."""
    self._change_structure(self._structure_of(mask), [self.trained, *slots])

  def copy_mask(self, other: SparseKernel) -> None:
    """Makes active what is active in another kernel of the same capacity."""
    self._change_structure(other.structure, [self.trained])

  def step_masks(self) -> dict:
    """Returns {}: no inactive weight takes part in an optimizer's step."""
    return {}

  def dense(
    self, values: tf.Tensor, sparse_gradient: bool = False
  ) -> tf.Tensor:
    """Returns `(capacity,)` values where weights are active, 0 elsewhere.

    The values' gradient is that of all weights, or of the active ones.
    """
    return self._operations.rigl_sparse_scatter(
      values=values,
      structure=self.structure,
      shape=self.shape.as_list(),
      sparse_gradient=sparse_gradient,
    )

  def active(self, dense: tf.Tensor) -> tf.Tensor:
    """Returns what `dense`, of the kernel's shape, has at active weights."""
    return self._gather(dense, self.structure)

  def _change_structure(self, structure, variables):
    dense = [self.dense(variable) for variable in variables]
    self.structure.assign(structure)
    for variable, all_weights in zip(variables, dense):
      variable.assign(self._gather(all_weights, structure))

  def _structure_of(self, mask):
    return self._operations.rigl_sparse_structure(
      mask=mask, capacity=self.capacity
    )

  def _gather(self, dense, structure):
    return self._operations.rigl_sparse_gather(
      kernel=dense, structure=structure, capacity=self.capacity
    )


class SparseConvolution(SparseKernel):
  """The kernel of a 2D convolution, `(*window, in, out)`; see SparseKernel."""

  def call(self, inputs: tf.Tensor, densely: bool) -> tf.Tensor:
    """Computes the layer's outputs; see MaskedKernel."""
    _, *image = inputs.shape
    if not densely and inputs.shape[0] != 1 and None not in image:
      return self._convolve(inputs, image)
    # One example would take as long as the fewest that are computed at once.
    weights = self.dense(self.trained, sparse_gradient=not densely)
    strides, padding = self._layer.strides, self._layer.padding.upper()
    return self._activate(tf.nn.conv2d(inputs, weights, strides, padding))

  def _convolve(self, images, shape):
    *window, _, filters = self.shape
    layer = self._layer
    return self._operations.rigl_sparse_convolution(
      x=images,
      values=self.trained,
      structure=self.structure,
      bias=tf.zeros((0,)) if layer.bias is None else layer.bias,
      image=shape,
      window=window,
      strides=layer.strides,
      padding=layer.padding.upper(),
      filters=filters,
      activation=_activation_name(layer),
    ).y


def can_store(
  layer: tf.keras.layers.Layer, kernel: MaskedKernel | SparseKernel
) -> bool:
  """Whether a SparseKernel can store a layer's kernel.

  The layer must be dense or a plain 2D convolution, float32, on a CPU, linear
  or with ReLU or tanh, and have no constraint but its mask.
  """
  if not isinstance(layer, tf.keras.layers.Dense) and not _is_plain_2d(layer):
    return False
  constraint = layer.kernel_constraint
  if isinstance(constraint, kernel_mask.KernelMask):
    constraint = constraint.constraint
  return (
    loader.suits(kernel.trained)
    and layer.activity_regularizer is None
    and constraint is None
    and _activation_name(layer) is not None
  )


def _is_plain_2d(layer: tf.keras.layers.Layer) -> bool:
  return (
    isinstance(layer, tf.keras.layers.Conv2D)
    and layer.data_format == 'channels_last'
    and layer.groups == 1
    and layer.dilation_rate == (1, 1)
  )


def _activation_name(layer: tf.keras.layers.Layer) -> str | None:
  """Returns 'linear', 'relu' or 'tanh'; None for another activation."""
  names = {getattr(tf.keras.activations, n): n for n in _ACTIVATIONS}
  return {None: 'linear', **names}.get(layer.activation)


def can_chain(
  layer: tf.keras.layers.Layer, kernel: MaskedKernel | SparseKernel
) -> bool:
  """Whether `chain` computes a built layer with all its weights, and sooner."""
  return (
    isinstance(layer, tf.keras.layers.Dense)
    and kernel.name == 'masked'
    and max(kernel.shape) in _WIDTHS
    and can_store(layer, kernel)
    and _activation_name(layer) != 'tanh'  # TensorFlow's is vectorized.
    and loader.instructions() == _INSTRUCTIONS
  )


def chain(
  kernels: Sequence[MaskedKernel | SparseKernel], x: tf.Tensor
) -> tf.Tensor:
  """Passes `(batch, inputs)` through dense layers, as one operation.

  A SparseKernel's layer computes only with active weights.
  """
  operations: Any = loader.load()
  layers = [kernel._layer for kernel in kernels]
  empty = tf.zeros((0,))
  return operations.rigl_sparse_chain(
    x=x,
    values=[kernel.trained for kernel in kernels],
    structure=[
      getattr(kernel, 'structure', tf.zeros((0,), tf.int32))
      for kernel in kernels
    ],
    bias=[empty if layer.bias is None else layer.bias for layer in layers],
    units=[kernels[0].shape[0], *(kernel.shape[1] for kernel in kernels)],
    activations=list(map(_activation_name, layers)),
  ).y


def adopt(slot: tf.Variable, variable: tf.Variable) -> None:
  """Makes a slot part of the kernel that its variable is part of, if any."""
  kernel = _kernel_of(variable)
  if kernel is not None:
    setattr(slot, _KERNEL, kernel)


def as_variable(tensor: Any, variable: tf.Variable) -> Any:
  """Returns a gradient, or another value, in a variable's shape."""
  kernel = _kernel_of(variable)
  if kernel is None or tensor is None or tensor.shape != kernel.shape:
    return tensor
  return kernel.active(tensor)


def as_kernel(tensor: Any, variable: tf.Variable) -> Any:
  """Returns a gradient, or another value, in the shape of a whole kernel."""
  kernel = _kernel_of(variable)
  if kernel is None or tensor.shape == kernel.shape:
    return tensor
  return kernel.dense(tensor)


def read(variable: tf.Variable) -> np.ndarray:
  """Reads a variable as if its kernel were stored masked.

  Active weights become the kernel, the structure the mask; slots likewise.
  """
  kernel = _kernel_of(variable)
  if kernel is not None and variable is kernel.structure:
    return kernel.mask.numpy()
  return as_kernel(variable, variable).numpy()


def assign(
  variables: Sequence[tf.Variable], arrays: Sequence[np.ndarray]
) -> None:
  """Assigns what `read` returned, of either storage, to variables.

  Raises:
    ValueError: there are more or fewer arrays than variables.
  """
  if len(variables) != len(arrays):
    raise ValueError(
      f'The checkpoint has {len(arrays)} arrays for {len(variables)} variables.'
    )
  pairs = [(v, _kernel_of(v), array) for v, array in zip(variables, arrays)]
  # Masks first: which weights are stored depends on them.
  for variable, kernel, array in pairs:
    if kernel is not None and variable is kernel.structure:
      kernel.change_mask(tf.constant(array))
  for variable, kernel, array in pairs:
    if kernel is None or variable is not kernel.structure:
      variable.assign(as_variable(array, variable))


def _kernel_of(variable: Any) -> SparseKernel | None:
  return getattr(variable, _KERNEL, None)
