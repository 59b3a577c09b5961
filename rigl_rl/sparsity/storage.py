"""SparseStorage: the active weights of a layer, and where they lie.

A layer that is stored masked holds, and computes with, all of its weights. In
this storage those that are zero neither take memory nor time. The numbers are
the same but for rounding.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import tensorflow as tf

from rigl_rl.kernels import loader, sparse_chain

# By which attribute a variable refers to the storage that it is part of.
_STORAGE = '_rigl_storage'


class SparseStorage:
  """The kernel of a dense layer, `(inputs, outputs)`, by its active weights.

  Attributes:
    shape: the kernel's.
    capacity: active weights that there is room for.
    values: float32 variable `(capacity,)`, the active weights, by output, then
      by input, then zeros; what an optimizer trains.
    structure: int32 variable, where they lie; of a length that is proportional
      to the capacity.
  """

  def __init__(
    self, kernel: tf.Tensor, mask: tf.Tensor, capacity: int, name: str
  ):
    """Stores a kernel.

    Args:
      kernel: float32 `(inputs, outputs)`; 0 where the mask is.
      mask: the same shape.
      capacity: see the class.
      name: the kernel's name.
    """
    self._operations = loader.load()
    self.shape = tf.TensorShape(kernel.shape)
    self.capacity = capacity
    structure = self._structure_of(mask)
    # Not Keras' own variables: a layer is given them when it is built already.
    self.values = tf.Variable(
      self._gather(kernel, structure), trainable=True, name=name
    )
    self.structure = tf.Variable(
      structure, trainable=False, name=f'{name}_structure'
    )
    self.adopt(self.values)
    setattr(self.structure, _STORAGE, self)

  def adopt(self, variable: tf.Variable) -> None:
    """Makes a vector of as many values, such as a slot, part of the storage."""
    setattr(variable, _STORAGE, self)

  def kernel(self) -> tf.Tensor:
    """Returns the kernel; its gradient is that of all weights."""
    return self.dense(self.values)

  def mask(self) -> tf.Tensor:
    """Returns the mask, float32 zeros and ones."""
    return self.dense(tf.ones(self.capacity))

  def dense(self, values: tf.Tensor) -> tf.Tensor:
    """Returns what has these values where weights are active, and 0 elsewhere.

    Args:
      values: float32 `(capacity,)`.
    """
    inputs, outputs = self.shape
    return self._operations.rigl_sparse_scatter(
      values=values, structure=self.structure, inputs=inputs, outputs=outputs
    )

  def active(self, dense: tf.Tensor) -> tf.Tensor:
    """Returns what `dense`, of the kernel's shape, has at active weights."""
    return self._gather(dense, self.structure)

  def change_mask(
    self, mask: tf.Tensor, more: Sequence[tf.Variable] = ()
  ) -> None:
    """Changes which weights are active; those that become so are 0.

    Args:
      mask: of the kernel's shape; no more weights than there is room for.
      more: other vectors of values, such as slots, that change with them.
    """
    variables = [self.values, *more]
    dense = [self.dense(variable) for variable in variables]
    structure = self._structure_of(mask)
    self.structure.assign(structure)
    for variable, all_weights in zip(variables, dense):
      variable.assign(self._gather(all_weights, structure))

  def copy_mask(self, other: SparseStorage) -> None:
    """Makes active what is active in another storage of as much room."""
    dense = self.dense(self.values)
    self.structure.assign(other.structure)
    self.values.assign(self._gather(dense, other.structure))

  def _structure_of(self, mask):
    return self._operations.rigl_sparse_structure(
      mask=mask, capacity=self.capacity
    )

  def _gather(self, dense, structure):
    return self._operations.rigl_sparse_gather(
      kernel=dense, structure=structure, capacity=self.capacity
    )


def storage_of(variable: Any) -> SparseStorage | None:
  """Returns the storage that a variable is part of, if there is one."""
  return getattr(variable, _STORAGE, None)


def read(variable: tf.Variable) -> np.ndarray:
  """Reads a variable as it would be if it were stored masked.

  The values of a storage give its kernel, slots what they would be, and the
  structure the mask.
  """
  storage = storage_of(variable)
  if storage is None:
    return variable.numpy()
  if variable is storage.structure:
    return storage.mask().numpy()
  return storage.dense(variable).numpy()


def assign(
  variables: Sequence[tf.Variable], arrays: Sequence[np.ndarray]
) -> None:
  """Assigns what `read` returned, of either storage, to variables."""
  pairs = list(zip(variables, arrays))
  # Masks first: by them the others are stored.
  pairs.sort(key=lambda pair: not _is_structure(pair[0]))
  for variable, array in pairs:
    storage = storage_of(variable)
    if storage is None:
      variable.assign(array)
    elif _is_structure(variable):
      storage.change_mask(tf.constant(array))
    else:
      variable.assign(storage.active(tf.constant(array)))


def _is_structure(variable: tf.Variable) -> bool:
  storage = storage_of(variable)
  return storage is not None and variable is storage.structure


def chain(layers: Sequence[Any], x: tf.Tensor) -> tf.Tensor:
  """Sends examples through layers that are stored sparsely.

  Args:
    layers: SparseWrappers of dense layers, each with a storage.
    x: `(batch, inputs)`.

  Returns:
    float32 `(batch, outputs)`, of the last.
  """
  storages = [layer.storage for layer in layers]
  empty = tf.zeros((0,))
  return sparse_chain.chain(
    loader.load(),
    x,
    [storage.values for storage in storages],
    [storage.structure for storage in storages],
    [empty if layer.bias is None else layer.bias for layer in layers],
    [storages[0].shape[0], *(storage.shape[1] for storage in storages)],
    [activation_name(layer) for layer in layers],
  )


def activation_name(layer: Any) -> str | None:
  """Returns 'linear', 'relu' or 'tanh'; None for another activation."""
  activation = layer.layer.activation
  if activation is None:
    return 'linear'
  name = getattr(activation, '__name__', None)
  known = name in ('linear', 'relu', 'tanh')
  return (
    name
    if known and activation is getattr(tf.keras.activations, name)
    else None
  )
