"""Compressor chooses the layers that are stored sparsely, and when."""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np
import tensorflow as tf

from rigl_rl.errors import UserError
from rigl_rl.kernels import loader
from rigl_rl.sparsity import optimizer as sparse_optimizer
from rigl_rl.sparsity import sparse_kernel, wrappers


class _Costs(NamedTuple):
  """Time of an active weight, in weights of a dense product or convolution.

  Attributes:
    usual: in a layer of at most _NOT_WIDE inputs and outputs.
    wide: in others, whose activations come from the second cache.
    few_inputs: beside other sparse layers, where nothing need be transposed, in
      one of at most _FEW_INPUTS.
    full: beside other sparse layers, in one whose weights are all active.
    convolution: in a convolution, beside _COST_OF_CHANNEL.
  """

  usual: float
  wide: float
  few_inputs: float
  full: float
  convolution: float


# By the kernels' instructions, to which the dense products are restricted too,
# on an AMD EPYC (Zen 4). Usual: by the density of the hidden layers from which
# on a whole step of SAC with RigL takes as long in both storages, 2×256 and
# 2×512: .53 and .48 with AVX-512, .45 and .50 with AVX2, .78 and .81 with
# neither. The others on one thread, forward and all gradients, with 256
# examples. Wide: by what 40 % of the weights take more than 10 %, of 1024². Few
# inputs: by what half or all take more than 2 %, of 17 and 64 inputs. Full: so
# that of six layers, from 256×12 to 400×300, those are stored sparsely that
# then take no more time than masked. Convolutions: by the Atari networks' with
# 32 images and 3 to 50 % of the weights; with AVX2 between what oneDNN and
# Eigen take, of which TensorFlow uses one by processor.
_COSTS = {
  'avx512': _Costs(1.9, 2.6, 0.9, 1.3, 2.0),
  'avx2': _Costs(2.0, 2.3, 1.2, 1.6, 2.2),
  'portable': _Costs(1.3, 1.6, 1.0, 1.2, 1.4),
}
_NOT_WIDE = 512
_FEW_INPUTS = 64
# Of a convolution's input channel or filter, whose images are transposed.
_COST_OF_CHANNEL = 16
# Time of an operation, in weights of a dense product: the least that sparse
# storage must save, and the most that it may cost beside sparse neighbors.
_OPERATION = 8192


class Compressor:
  """Stores a network's layers sparsely where `sparsify.storage` asks for it.

  'auto' chooses the layers that then take less time, by the measured cost of a
  weight in either storage. A layer that is pruned starts dense, and so
  masked; it becomes sparse as soon as that takes less time, and gives up room
  whenever half of it is empty. All of this follows from the masks, and from the
  processor's instructions, so that a resumed run does the same.
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
      obstacle: why else nothing can be stored sparsely, for an error.
    """
    models = (network, *copies)
    self._groups = [
      group
      for group in zip(*(wrappers.named_layers(m).values() for m in models))
      if isinstance(group[0], wrappers.SparseWrapper)
    ]
    self._optimizer = optimizer
    self._obstacle = obstacle or (optimizer and optimizer.storage_obstacle)
    self.is_due = True

  def note_new_masks(self) -> None:
    """Makes `compress` due, if new masks can change how a layer is stored."""
    self.is_due = any(
      layer.sparsity > 0
      and _is_pruned(layer)
      and layer.wanted_storage != 'masked'
      for layer, *_ in self._groups
    )

  def compress(self) -> list[wrappers.SparseWrapper]:
    """Stores layers sparsely, with the optimizer's slots, if that is due.

    Returns:
      The network's layers whose variables have been replaced.

    Raises:
      UserError: if the storage must be 'sparse', and there is an obstacle.
    """
    if not self.is_due:
      return []
    self.is_due = False
    possible = [group for group in self._groups if self._is_possible(group[0])]
    if self._obstacle:
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

  def _is_possible(self, layer: wrappers.SparseWrapper) -> bool:
    """Whether a layer can be stored sparsely, now or once it is pruned."""
    return sparse_kernel.can_store(layer.layer, layer.storage) and (
      not _is_pruned(layer)
      or self._optimizer is None
      or self._optimizer.can_move_slots
    )


# A layer, and the layers of the copies that match it.
_Group = Sequence[wrappers.SparseWrapper]


def _choose(groups: Sequence[_Group]) -> list[_Group]:
  """Returns the layers to store sparsely, of those that can be."""
  wanted = list(map(_gains_alone, groups))
  if not any(wanted):
    return []
  return [
    group
    for group, is_wanted in zip(groups, wanted)
    if is_wanted or _gains_beside(group)
  ]


def _gains_alone(group: _Group) -> bool:
  """Whether to store a layer sparsely, regardless of its neighbors."""
  layer = group[0]
  if layer.sparsity == 0 or layer.wanted_storage == 'masked':
    return False
  if layer.wanted_storage == 'sparse' and not _is_pruned(layer):
    return True
  size, active = layer.kernel_shape.num_elements(), _most_active(group)
  if _is_convolution(layer):
    cost = _COST_OF_CHANNEL * sum(layer.kernel_shape[-2:])
    return cost + _costs().convolution * active < size
  return size - _cost(layer) * active > _OPERATION


def _gains_beside(group: _Group) -> bool:
  """Whether to store a layer sparsely beside others that are."""
  layer, active = group[0], _most_active(group)
  if _is_convolution(layer):
    return False
  size = layer.kernel_shape.num_elements()
  if layer.kernel_shape[0] <= _FEW_INPUTS:
    cost = _costs().few_inputs
  else:
    cost = _costs().full if active == size else _cost(layer)
  return cost * active - size < _OPERATION


def _cost(layer: wrappers.SparseWrapper) -> float:
  is_wide = max(layer.kernel_shape) > _NOT_WIDE
  return _costs().wide if is_wide else _costs().usual


def _costs() -> _Costs:
  # Without kernels, nothing is stored sparsely.
  return _COSTS[loader.instructions() or 'portable']


def _is_convolution(layer: wrappers.SparseWrapper) -> bool:
  return len(layer.kernel_shape) > 2


def _is_pruned(layer: wrappers.SparseWrapper) -> bool:
  return layer.algorithm is not None and layer.algorithm.starts_dense


def _is_stored_so(group: _Group) -> bool:
  layer = group[0]
  return layer.storage.name == 'sparse' and (
    not _is_pruned(layer) or layer.storage.capacity == _capacity(group)
  )


def _capacity(group: _Group) -> int:
  """Returns the capacity that the active weights need."""
  active = _most_active(group)
  if not _is_pruned(group[0]):
    return active
  # In few steps, since each is traced again.
  capacity = group[0].kernel_shape.num_elements()
  while capacity // 2 >= max(active, 1):
    capacity //= 2
  return capacity


def _most_active(group: _Group) -> int:
  return max(int(np.count_nonzero(layer.mask)) for layer in group)
