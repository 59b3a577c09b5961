"""Which layers store their active weights alone; compresses these."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import tensorflow as tf

from rigl_rl.errors import UserError
from rigl_rl.kernels import loader
from rigl_rl.sparsity import optimizer as sparse_optimizer
from rigl_rl.sparsity import wrappers

# How long an active weight takes, as multiples of a weight of a dense product,
# on a processor with AVX-512; by `launch.benchmark sparse`.
_COST_OF_WEIGHT = 2.4
# The same in layers of so many inputs or outputs that a block of examples of
# them fills much of the second cache.
_COST_IN_WIDE_LAYER = 3.0
_NOT_WIDE = 512
# The same beside other compressed layers, so that nothing need be transposed,
# where all weights are active, or a block of examples of all inputs lies in the
# first cache.
_COST_BESIDE_OTHERS = 1.2
_FEW_INPUTS = 64
# What an operation is worth, in weights of a dense product: a layer is not
# compressed to save less, and one whose neighbors are may cost as much more.
_OPERATION = 8192


def compress(
  network: tf.keras.layers.Layer,
  copies: Sequence[tf.keras.layers.Layer] = (),
  optimizer: sparse_optimizer.SparseOptimizer | None = None,
  obstacle: str | None = None,
) -> list[wrappers.SparseWrapper]:
  """Compresses what `sparsify.storage` wants to be, with its optimizer's slots.

  With 'auto' layers are compressed that then take less time, by the measured
  cost of a weight in either storage. Those that are no dense layers stay
  masked.

  A layer that is pruned starts dense, and so masked, whatever the storage. Call
  this again when its mask has changed, as a `Compressor` does: as soon as it
  takes less time it is compressed, and again whenever half of its room is
  empty. What is done depends on nothing but the masks: a run that goes on from
  a checkpoint does the same.

  Args:
    network: built and sparsified.
    copies: networks of its structure that have the same masks, such as targets,
      or had them before they last changed.
    optimizer: trains the network; None if nothing does.
    obstacle: why nothing can be compressed, if that is so and no reason of the
      optimizer's: 'sparsify.storage is … , but {obstacle}'.

  Returns:
    The network's layers that were compressed: their variables are others now.

  Raises:
    UserError: if the storage must be 'sparse', and there is an obstacle.
  """
  models = (network, *copies)
  groups = list(zip(*(wrappers.named_layers(m).values() for m in models)))
  possible = [group for group in groups if _is_possible(group[0], optimizer)]
  if obstacle is None and optimizer is not None:
    obstacle = optimizer.storage_obstacle
  if obstacle is not None:
    if any(
      layer.sparsity > 0 and layer.wanted_storage == 'sparse'
      for layer, *_ in possible
    ):
      raise UserError(f"sparsify.storage is 'sparse', but {obstacle}.")
    return []
  due = [group for group in _choose(possible) if not _is_stored_so(group)]
  if not due or loader.load() is None:
    return []
  for group in due:
    kernel, capacity = group[0].trained_kernel, _capacity(group)
    for layer in group:
      layer.compress(capacity)
    if optimizer is not None:
      optimizer.move_slots(kernel, group[0].storage)
  return [group[0] for group in due]


class Compressor:
  """Compresses a network that trains: again, whenever its masks are new."""

  def __init__(
    self,
    network: tf.keras.layers.Layer,
    copies: Sequence[tf.keras.layers.Layer] = (),
    optimizer: sparse_optimizer.SparseOptimizer | None = None,
    obstacle: str | None = None,
  ):
    """Initializes it; for the arguments see `compress`."""
    self._arguments = (network, copies, optimizer, obstacle)
    self._layers = [
      layer
      for layer in wrappers.named_layers(network).values()
      if isinstance(layer, wrappers.SparseWrapper)
    ]
    self.is_due = True

  def note_new_masks(self) -> None:
    """Has masks looked at, if that may lead to anything."""
    self.is_due = any(
      layer.sparsity > 0
      and _is_pruned(layer)
      and layer.wanted_storage != 'masked'
      for layer in self._layers
    )

  def compress(self) -> bool:
    """Compresses what it can, if masks are new.

    Returns:
      Whether variables are others now.

    Raises:
      UserError: see the function `compress`.
    """
    if not self.is_due:
      return False
    self.is_due = False
    return bool(compress(*self._arguments))


# A layer, and the layers of the copies that match it.
_Group = Sequence[wrappers.SparseWrapper]


def _is_possible(
  layer: tf.keras.layers.Layer,
  optimizer: sparse_optimizer.SparseOptimizer | None,
) -> bool:
  """Whether a layer can be compressed, if need be when it has slots."""
  return (
    isinstance(layer, wrappers.SparseWrapper)
    and wrappers.can_compress(layer)
    and (not _is_pruned(layer) or optimizer is None or optimizer.can_move_slots)
  )


def _choose(groups: Sequence[_Group]) -> list[_Group]:
  """Returns those to be compressed, of those that can be."""
  active = list(map(_most_active, groups))
  wanted = [
    group[0].sparsity > 0 and _wants_compression(group[0], count)
    for group, count in zip(groups, active)
  ]
  if not any(wanted):
    return []
  return [
    group
    for group, count, is_wanted in zip(groups, active, wanted)
    if is_wanted or _fits_beside(group[0], count)
  ]


def _wants_compression(layer: wrappers.SparseWrapper, active: int) -> bool:
  """Whether a layer is to be compressed whatever the others are."""
  if layer.wanted_storage == 'sparse' and not _is_pruned(layer):
    return True
  saved = layer.kernel_shape.num_elements() - _cost(layer) * active
  return layer.wanted_storage != 'masked' and saved > _OPERATION


def _fits_beside(layer: wrappers.SparseWrapper, active: int) -> bool:
  """Whether it costs no more than an operation to compress a layer as well."""
  size = layer.kernel_shape.num_elements()
  is_cheap = layer.kernel_shape[0] <= _FEW_INPUTS or active == size
  cost = _COST_BESIDE_OTHERS if is_cheap else _cost(layer)
  return cost * active - size < _OPERATION


def _cost(layer: wrappers.SparseWrapper) -> float:
  is_wide = max(layer.kernel_shape) > _NOT_WIDE
  return _COST_IN_WIDE_LAYER if is_wide else _COST_OF_WEIGHT


def _is_pruned(layer: wrappers.SparseWrapper) -> bool:
  return layer.algorithm is not None and layer.algorithm.starts_dense


def _is_stored_so(group: _Group) -> bool:
  storage = group[0].storage
  if storage is None:
    return False
  return not _is_pruned(group[0]) or storage.capacity == _capacity(group)


def _capacity(group: _Group) -> int:
  """Returns how many active weights there must be room for."""
  active = _most_active(group)
  if not _is_pruned(group[0]):
    return active
  # It shrinks in few steps, each of which is traced anew.
  capacity = group[0].kernel_shape.num_elements()
  while capacity // 2 >= max(active, 1):
    capacity //= 2
  return capacity


def _most_active(group: _Group) -> int:
  return max(int(np.count_nonzero(layer.mask)) for layer in group)
