"""Which layers store their active weights alone; compresses these."""

from __future__ import annotations

from typing import Sequence

import tensorflow as tf

from rigl_rl.errors import UserError
from rigl_rl.kernels import loader
from rigl_rl.sparsity import wrappers

# How long an active weight takes, as multiples of a weight of a dense product,
# on a processor with AVX-512; by `launch.benchmark sparse`.
_COST_OF_WEIGHT = 3.0
# What an operation is worth, in weights of a dense product: a layer is not
# compressed to save less, and one whose neighbors are may cost as much more.
_OPERATION = 8192


def compress(
  network: tf.keras.layers.Layer,
  copies: Sequence[tf.keras.layers.Layer] = (),
  obstacle: str | None = None,
) -> list[wrappers.SparseWrapper]:
  """Compresses what `sparsify.storage` wants to be; before slots are created.

  With 'auto' layers are compressed that then take less time, by the measured
  cost of a weight in either storage. Layers that start dense, as with pruning,
  and those that are no dense layers stay masked.

  Args:
    network: built and sparsified.
    copies: networks of its structure that have the same masks, such as targets.
    obstacle: why nothing can be compressed, if that is so: 'sparsify.storage is
      … , but {obstacle}'.

  Returns:
    The network's layers that were compressed.

  Raises:
    UserError: if the storage must be 'sparse', and there is an obstacle.
  """
  layers = list(wrappers.named_layers(network).values())
  chosen = _choose(layers)
  if chosen and obstacle is not None:
    if any(layers[i].wanted_storage == 'sparse' for i in chosen):
      raise UserError(f"sparsify.storage is 'sparse', but {obstacle}.")
    return []
  if not chosen or loader.load() is None:
    return []
  for model in (network, *copies):
    twins = list(wrappers.named_layers(model).values())
    for i in chosen:
      twins[i].compress()
  return [layers[i] for i in chosen]


def _choose(layers: Sequence[tf.keras.layers.Layer]) -> list[int]:
  """Returns the positions of the layers to compress."""
  possible = {
    i: layer
    for i, layer in enumerate(layers)
    if isinstance(layer, wrappers.SparseWrapper)
    and layer.storage is None
    and wrappers.can_compress(layer)
    and not (layer.algorithm is not None and layer.algorithm.starts_dense)
  }
  wanted = {
    i
    for i, layer in possible.items()
    if layer.sparsity > 0
    and (
      layer.wanted_storage == 'sparse'
      or (layer.wanted_storage == 'auto' and _extra_cost(layer) < -_OPERATION)
    )
  }
  if not wanted:
    return []
  return sorted(
    wanted
    | {i for i, layer in possible.items() if _extra_cost(layer) < _OPERATION}
  )


def _extra_cost(layer: wrappers.SparseWrapper) -> float:
  """What a layer costs more if it is compressed, in weights of a product."""
  size = layer.kernel_shape.num_elements()
  return _COST_OF_WEIGHT * size * (1 - layer.sparsity) - size
