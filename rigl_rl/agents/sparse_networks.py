"""SparseNetworks: an agent's networks, and what keeps them sparse."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence

import gin
import numpy as np
import tensorflow as tf

from rigl_rl import seeding, wording
from rigl_rl.agents import optimizers
from rigl_rl.sparsity import counting, sparse_kernel, wrappers
from rigl_rl.sparsity import optimizer as sparse_optimizer

Network = tf.keras.layers.Layer


class SparseNetworks(dict[str, Network]):
  """The networks that an agent trains, by name.

  Attributes:
    layers: by the network's name, its sparse layers, first layer first.
    optimizers: by gin scope, the optimizers.
    total_steps: train steps of the whole training.
  """

  def __init__(self, seed: int, total_steps: int):
    """Begins without any network; `seed` is the run's SEED."""
    super().__init__()
    self._seed = seed
    self.total_steps = total_steps
    self._scopes = {}  # Of the optimizers, by the network's name.
    self._last_masks = {}  # As `write_summaries` saw them.
    self.layers = {}
    self.optimizers = {}

  def add(
    self,
    name: str,
    network: Network,
    layers: list[wrappers.SparseWrapper],
    optimizer: sparse_optimizer.SparseOptimizer,
    scope: str = '',
  ) -> None:
    """Adds a built network, its sparse layers and what trains it."""
    self[name] = network
    self.layers[name] = layers
    self.optimizers[scope] = optimizer
    self._scopes[name] = scope

  def build(
    self,
    constructors: Mapping[str, tuple[Callable[..., Network], Sequence[Any]]],
    make_optimizer: optimizers.MakeOptimizer,
    optimizer_scope: str,
    period: int = 1,
  ) -> sparse_optimizer.SparseOptimizer:
    """Builds networks that one optimizer trains, and draws their masks.

    Each network is made inside a gin scope, so that `actor/sparsify.sparsity`
    binds the actor's only: 'critic' is that of 'critic_1' and 'critic_2'.

    Args:
      constructors: by the network's name, which names its random streams too,
        what makes it, and the specs that it is called with beside a seed and
        the name; the first is that of its inputs.
      make_optimizer: makes the inner optimizer.
      optimizer_scope: gin scope of the optimizer and its schedule.
      period: train steps of the agent per step of the optimizer.
    """
    built = {}
    for name, (construct, specs) in constructors.items():
      with gin.config_scope(name.partition('_')[0]):
        network = construct(
          *specs,
          seed=seeding.stream_seed(self._seed, name, 'network'),
          # PPO sums gradients in the order of their variables' names.
          name=name.capitalize(),
        )
        network.create_variables(specs[0])
        seed = seeding.stream_seed(self._seed, name, 'masks')
        built[name] = network, wrappers.sparsify(network, seed=seed)
    with gin.config_scope(optimizer_scope):
      optimizer = sparse_optimizer.make_sparse_optimizer(
        make_optimizer(),
        sum((layers for _, layers in built.values()), []),
        self.total_steps,
        seed=seeding.stream_seed(self._seed, optimizer_scope, 'growth'),
        period=period,
      )
    for name, parts in built.items():
      self.add(name, *parts, optimizer, optimizer_scope)
    return optimizer

  def optimizer_of(self, name: str) -> sparse_optimizer.SparseOptimizer:
    """Returns the optimizer that trains a network."""
    return self.optimizers[self._scopes[name]]

  def gradient_steps(self, name: str) -> int:
    """Returns a network's gradient steps in the whole training."""
    return self.total_steps // self.optimizer_of(name).period

  def trained_by(self, scope: str) -> list[tf.Variable]:
    """Returns the variables that the optimizer of a scope trains."""
    return [
      variable
      for name, trained_in in self._scopes.items()
      if trained_in == scope
      for variable in self[name].trainable_variables
    ]

  def matching_layers(
    self, name: str, copy: Network
  ) -> list[wrappers.SparseWrapper]:
    """Returns the layers of a network's copy that match its sparse layers."""
    twins = wrappers.named_layers(copy).values()
    pairs = zip(wrappers.named_layers(self[name]).values(), twins)
    return [twin for layer, twin in pairs if layer in self.layers[name]]

  def create_slots(self) -> None:
    """Creates all slots now, since a checkpoint holds them."""
    for scope, optimizer in self.optimizers.items():
      optimizer.create_slots(self.trained_by(scope))

  @property
  def title(self) -> str:
    """The method in words: 'RigL at 90 % sparsity', or 'Dense'.

    It also counts the layers that are stored sparsely, if there are any.
    """
    layers = sum(self.layers.values(), [])
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

  def describe(self) -> dict[str, Any]:
    """Returns the networks' current sizes, and the cost of all train steps."""
    each = {name: self._describe(name) for name in self}
    total = sum(network['parameters'] for network in each.values())
    described = {
      'parameters': total,
      'gradient_steps': max(o.steps_taken for o in self.optimizers.values()),
      'networks': each,
    }
    if 'actor' in self:
      described['actor_share'] = each['actor']['parameters'] / total
    return described

  def _describe(self, name: str) -> dict[str, Any]:
    model, layers = self[name], self.layers[name]
    optimizer = self.optimizer_of(name)
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
        self.total_steps,
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

  def write_summaries(self) -> None:
    """Writes masks, and the actor's share of parameters, to TensorBoard.

    masks/NETWORK/LAYER/sparsity is the share of zeros in a layer's mask;
    LAYER/moved the share of its active weights that were inactive at the last
    summary of this process, the first one has none; masks/NETWORK/drop_fraction
    the algorithm's at present.
    """
    for name, network in self.items():
      for path, layer in wrappers.named_layers(network).items():
        if layer in self.layers[name]:
          self._write_mask(f'masks/{name}/{path}', np.array(layer.mask) > 0)
      optimizer = self.optimizer_of(name)
      for algorithm in optimizer.mask_updater.algorithms[:1]:
        fraction = algorithm.drop_fraction_at(optimizer.step)
        tf.summary.scalar(f'masks/{name}/drop_fraction', fraction)
    if 'actor' in self:
      share = self.describe()['actor_share']
      tf.summary.scalar('networks/actor_share', share)

  def _write_mask(self, name: str, mask: np.ndarray) -> None:
    tf.summary.scalar(f'{name}/sparsity', 1 - mask.mean())
    last = self._last_masks.get(name)
    if last is not None:
      moved = np.count_nonzero(mask & ~last) / max(np.count_nonzero(mask), 1)
      tf.summary.scalar(f'{name}/moved', moved)
    self._last_masks[name] = mask

  def get_state(self) -> dict[str, Any]:
    """Returns all variables of networks and optimizers, for a checkpoint."""
    return {
      group: {k: list(map(sparse_kernel.read, v)) for k, v in each.items()}
      for group, each in self._variables.items()
    }

  @property
  def _variables(self) -> dict[str, dict[str, Sequence[tf.Variable]]]:
    return {
      'networks': {name: self[name].variables for name in self},
      'optimizers': {k: o.variables() for k, o in self.optimizers.items()},
    }

  def set_state(self, state: Mapping[str, Any]) -> None:
    """Restores what `get_state` returned; ValueError if of other networks."""
    for group, each in self._variables.items():
      for name, variables in each.items():
        sparse_kernel.assign(variables, state[group][name])


def _storage_of(layer: tf.keras.layers.Layer) -> str:
  is_wrapped = isinstance(layer, wrappers.SparseWrapper)
  return layer.storage.name if is_wrapped else 'masked'
