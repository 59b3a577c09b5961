"""Compressor: which layers of a network are stored sparsely, and when."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import tensorflow as tf

from rigl_rl.errors import UserError
from rigl_rl.kernels import loader
from rigl_rl.sparsity import optimizer as sparse_optimizer
from rigl_rl.sparsity import sparse_kernel, wrappers

# How long an active weight takes, as multiples of a weight of a dense product,
# on a processor with AVX-512; by `launch.benchmark sparse`.
_COST_OF_WEIGHT = 2.4
# The same in layers of so many inputs or outputs that a block of examples of
# them fills much of the second cache.
_COST_IN_WIDE_LAYER = 3.0
_NOT_WIDE = 512
# The same beside other sparse layers, so that nothing need be transposed, where
# all weights are active, or a block of examples of all inputs lies in the first
# cache.
_COST_BESIDE_OTHERS = 1.2
_FEW_INPUTS = 64
# What an operation is worth, in weights of a dense product: a layer is not
# stored sparsely to save less, and one whose neighbors are may cost as much
# more.
_OPERATION = 8192


class Compressor:
  """Stores a network's layers sparsely where `sparsify.storage` asks for it.

  With 'auto' those layers that then take less time, by the measured cost of a
  weight in either storage. Only dense layers can be stored sparsely.

  A layer that is pruned starts dense, and so masked, whatever the storage. It
  is stored sparsely as soon as that takes less time, and with less room
  whenever half of its room is empty. All depends on nothing but the masks: a
  run that goes on from a checkpoint does the same.
  """

  def __init__(
    self,
    network: tf.keras.layers.Layer,
    copies: Sequence[tf.keras.layers.Layer] = (),
    optimizer: sparse_optimizer.SparseOptimizer | None = None,
    obstacle: str | None = None,
  ):
    """Initializes the compressor; `compress` is due.

    Args:
      network: built and sparsified.
      copies: networks of its structure that have the same masks, such as
        targets, or had them before they last changed.
      optimizer: trains the network; None if nothing does.
      obstacle: why nothing can be stored sparsely, if that is so and no reason
        of the optimizer's: 'sparsify.storage is … , but {obstacle}'.
    """
    models = (network, *copies)
    self._groups = list(
      zip(*(wrappers.named_layers(m).values() for m in models))
    )
    self._optimizer = optimizer
    self._obstacle = obstacle
    if obstacle is None and optimizer is not None:
      self._obstacle = optimizer.storage_obstacle
    self.is_due = True

  def note_new_masks(self) -> None:
    """Makes `compress` due, if new masks can change how a layer is stored."""
    self.is_due = any(
      layer.sparsity > 0
      and _is_pruned(layer)
      and layer.wanted_storage != 'masked'
      for layer, *_ in self._groups
      if isinstance(layer, wrappers.SparseWrapper)
    )

  def compress(self) -> list[wrappers.SparseWrapper]:
    """Stores layers sparsely, with the optimizer's slots, if that is due.

    Returns:
      The network's layers whose variables are others now.

    Raises:
      UserError: if the storage must be 'sparse', and there is an obstacle.
    """
    if not self.is_due:
      return []
    self.is_due = False
    possible = [group for group in self._groups if self._is_possible(group[0])]
    if self._obstacle is not None:
      if any(
        layer.sparsity > 0 and layer.wanted_storage == 'sparse'
        for layer, *_ in possible
      ):
        raise UserError(f"sparsify.storage is 'sparse', but {self._obstacle}.")
      return []
    due = [group for group in _choose(possible) if not _is_stored_so(group)]
    if not due or loader.load() is None:
      return []
    for group in due:
      trained, capacity = group[0].trained_kernel, _capacity(group)
      for layer in group:
        layer.store_sparsely(capacity)
      if self._optimizer is not None:
        self._optimizer.move_slots(trained, group[0].storage)
    return [group[0] for group in due]

  def _is_possible(self, layer: tf.keras.layers.Layer) -> bool:
    """Whether a layer can be stored sparsely, now or once it is pruned."""
    return (
      isinstance(layer, wrappers.SparseWrapper)
      and sparse_kernel.can_store(layer.layer, layer.storage)
      and (
        not _is_pruned(layer)
        or self._optimizer is None
        or self._optimizer.can_move_slots
      )
    )


# A layer, and the layers of the copies that match it.
_Group = Sequence[wrappers.SparseWrapper]


def _choose(groups: Sequence[_Group]) -> list[_Group]:
  """Returns those to store sparsely, of those that can be."""
  active = list(map(_most_active, groups))
  wanted = [
    group[0].sparsity > 0 and _gains_alone(group[0], count)
    for group, count in zip(groups, active)
  ]
  if not any(wanted):
    return []
  return [
    group
    for group, count, is_wanted in zip(groups, active, wanted)
    if is_wanted or _gains_beside(group[0], count)
  ]


def _gains_alone(layer: wrappers.SparseWrapper, active: int) -> bool:
  """Whether to store a layer sparsely, whatever its neighbors do."""
  if layer.wanted_storage == 'sparse' and not _is_pruned(layer):
    return True
  saved = layer.kernel_shape.num_elements() - _cost(layer) * active
  return layer.wanted_storage != 'masked' and saved > _OPERATION


def _gains_beside(layer: wrappers.SparseWrapper, active: int) -> bool:
  """Whether to store a layer sparsely beside others that are."""
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
  layer = group[0]
  return layer.storage.name == 'sparse' and (
    not _is_pruned(layer) or layer.storage.capacity == _capacity(group)
  )


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
