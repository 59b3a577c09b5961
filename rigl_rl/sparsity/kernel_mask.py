"""KernelMask: how a mask belongs to a Keras layer, and is saved with it."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from typing import Any, Callable, Iterable, Iterator, Sequence

import tensorflow as tf

from rigl_rl.compat import tensorflow as compat
from rigl_rl.errors import UserError
from rigl_rl.sparsity import user_code


@tf.keras.utils.register_keras_serializable('rigl_rl')
class KernelMask(tf.keras.layers.Layer, tf.keras.constraints.Constraint):
  """The mask of a kernel, as the constraint of the kernel's layer.

  So the mask is saved and loaded with the model, and Keras' own optimizers
  apply it after each step. They are refused where an algorithm changes masks,
  since only a `SparseOptimizer` lets it do so.

  Attributes:
    mask: float32 variable, see `rigl_rl.sparsity.masks`.
    sparsity: of the layer, see `SparseWrapper`.
    algorithm: of the layer, see `SparseWrapper`.
    constraint: the layer's other constraint, applied before the mask; or None.
  """

  def __init__(
    self,
    shape: Sequence[int],
    sparsity: float = 0.0,
    algorithm: Any = None,
    constraint: Callable[[tf.Tensor], tf.Tensor] | None = None,
    name: str | None = None,
  ):
    super().__init__(name=name, trainable=False)
    self.sparsity = sparsity
    self.algorithm = from_json(algorithm)
    self.constraint = tf.keras.constraints.get(constraint)
    self.mask = self.add_weight(
      name='mask', shape=shape, initializer='ones', trainable=False
    )
    self.built = True

  def __call__(self, weights):
    """Returns weights as an optimizer's step must leave them.

    Raises:
      UserError: the algorithm needs a SparseOptimizer.
    """
    if self.sparsity and self.algorithm.changes_masks:
      raise UserError(
        f'{type(self.algorithm).__name__} changes the mask of {self.name}, '
        'which only a SparseOptimizer lets it do, but another optimizer takes '
        'a step: see make_sparse_optimizer, or sparsify by Static().'
      )
    if self.constraint is not None:
      weights = self.constraint(weights)
    return weights * self.mask

  def get_config(self):
    return {
      'shape': self.mask.shape.as_list(),
      'sparsity': self.sparsity,
      'algorithm': to_json(self.algorithm),
      'constraint': self.constraint
      and tf.keras.constraints.serialize(self.constraint),
      'name': self.name,
    }


# Files of HDF5 name a constraint without its package.
tf.keras.utils.get_custom_objects()['KernelMask'] = KernelMask


def mask_of(layer: tf.keras.layers.Layer) -> KernelMask:
  """Returns the mask of a built layer, of ones if it had none before."""
  mask = layer.kernel_constraint
  if not isinstance(mask, KernelMask):
    mask = KernelMask(
      layer.kernel.shape, constraint=mask, name=f'{layer.name}_mask'
    )
    layer.kernel_constraint = mask
    compat.set_constraint(layer.kernel, mask)
  return mask


@contextlib.contextmanager
def laid_aside(layers: Iterable[tf.keras.layers.Layer]) -> Iterator[None]:
  """Leaves only their other constraints on the kernels of layers."""
  masks = [
    (layer.kernel, layer.kernel_constraint)
    for layer in layers
    if isinstance(layer.kernel_constraint, KernelMask)
  ]
  for kernel, mask in masks:
    compat.set_constraint(kernel, mask.constraint)
  try:
    yield
  finally:
    for kernel, mask in masks:
      compat.set_constraint(kernel, mask)


def to_json(value: Any) -> Any:
  """Returns an algorithm or function as JSON: where to import it, and settings.

  One that no module holds, such as a lambda, is copied, but cannot be saved.
  """
  kind = value if inspect.isfunction(value) else type(value)
  name = user_code.name_of(kind)
  if _find(name) is not kind:
    return value
  return {'name': name, 'settings': {} if kind is value else vars(value)}


def from_json(value: Any) -> Any:
  """Returns what `to_json` was given, of a module that was imported."""
  if not isinstance(value, dict):
    return value
  kind = _find(value['name'])
  if kind is None:
    raise UserError(
      f'The saved layer needs {value["name"]}, which must be imported first.'
    )
  if inspect.isfunction(kind):
    return kind
  made = kind.__new__(kind)
  vars(made).update(value['settings'])
  return made


def _find(name: str) -> Any:
  """Returns a module's class or function, or None.

  A saved model is data: it can name any module, but import only this package's.
  """
  module, _, attribute = name.rpartition('.')
  if module.startswith('rigl_rl.'):
    with contextlib.suppress(ImportError):
      importlib.import_module(module)
  return getattr(sys.modules.get(module), attribute, None)
