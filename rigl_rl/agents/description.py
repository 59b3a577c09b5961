"""What a run says of its sparse networks: in its title, files and events."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np
import tensorflow as tf

from rigl_rl import wording
from rigl_rl.sparsity import counting, wrappers
from rigl_rl.sparsity import optimizer as sparse_optimizer

# A network, its sparse layers, and what trains it.
Parts = tuple[
  tf.keras.layers.Layer,
  Sequence[wrappers.SparseWrapper],
  sparse_optimizer.SparseOptimizer,
]


def method_title(layers: Sequence[wrappers.SparseWrapper]) -> str:
  """The method in words: 'RigL at 90 % sparsity', or 'Dense'.

  It also counts the layers that are stored sparsely, if there are any.
  """
  sizes = [layer.kernel_shape.num_elements() for layer in layers]
  zeros = sum(size * layer.sparsity for size, layer in zip(sizes, layers))
  title = type(layers[0].algorithm).__name__
  if zeros:
    title += f' at {100 * zeros / sum(sizes):.3g} % sparsity'
  stored = sum(layer.storage.name == 'sparse' for layer in layers)
  if stored:
    count = wording.count(len(layers), 'layer')
    title += f' ({stored} of {count} stored sparsely)'
  return title


def describe(networks: Mapping[str, Parts], total_steps: int) -> dict[str, Any]:
  """Returns the current sizes of networks, and the cost of all train steps."""
  each = {
    name: describe_network(*parts, total_steps)
    for name, parts in networks.items()
  }
  return {
    'parameters': sum(network['parameters'] for network in each.values()),
    'gradient_steps': max(o.steps_taken for _, _, o in networks.values()),
    'networks': each,
  }


def describe_network(model, layers, optimizer, total_steps) -> dict[str, Any]:
  network = counting.count_network(model, layers, current=True)
  by_name = wrappers.named_layers(model)
  return {
    'algorithm': type(layers[0].algorithm).__name__,
    'sparsity': network.sparsity,
    'parameters': network.parameters,
    # Of a small dense network, from the size that it replaces.
    'size_mismatch': getattr(model, 'size_mismatch', None),
    'width': getattr(model, 'width', 1.0),
    # Train steps of the agent per step of this network.
    'period': optimizer.period,
    'forward_flops': network.forward_flops,
    'training_flops': counting.training_flops(
      network,
      layers[0].algorithm,
      optimizer.mask_updater.schedule,
      total_steps,
      period=optimizer.period,
    ),
    'layers': {
      layer.name: {
        'kernel': list(layer.kernel_shape),
        'sparsity': layer.sparsity,
        'active_weights': layer.active_weights,
        'storage': _storage_of(by_name[layer.name]),
      }
      for layer in network.layers
    },
  }


def _storage_of(layer: tf.keras.layers.Layer) -> str:
  is_wrapped = isinstance(layer, wrappers.SparseWrapper)
  return layer.storage.name if is_wrapped else 'masked'


class MaskSummaries:
  """Writes masks/NETWORK/… to TensorBoard: what masks are, and how they move.

  LAYER/sparsity is the share of zeros in a layer's mask. LAYER/moved is the
  share of its active weights that were inactive at the last summary of this
  process; the first one has none. drop_fraction is the algorithm's at present.
  """

  def __init__(self):
    self._last = {}

  def write(self, networks: Mapping[str, Parts]) -> None:
    """Writes the summaries of networks, by name."""
    for network, (model, layers, optimizer) in networks.items():
      for path, layer in wrappers.named_layers(model).items():
        if layer in layers:
          self._write_layer(f'masks/{network}/{path}', np.array(layer.mask) > 0)
      for algorithm in optimizer.mask_updater.algorithms[:1]:
        fraction = algorithm.drop_fraction_at(optimizer.step)
        tf.summary.scalar(f'masks/{network}/drop_fraction', fraction)

  def _write_layer(self, name: str, mask: np.ndarray) -> None:
    tf.summary.scalar(f'{name}/sparsity', 1 - mask.mean())
    last = self._last.get(name)
    if last is not None:
      moved = np.count_nonzero(mask & ~last) / max(np.count_nonzero(mask), 1)
      tf.summary.scalar(f'{name}/moved', moved)
    self._last[name] = mask
