"""SparseNetworks: an agent's networks, and what keeps them sparse."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence

import gin
import tensorflow as tf

from rigl_rl import seeding
from rigl_rl.agents import description, optimizers
from rigl_rl.agents import variables as variables_lib
from rigl_rl.sparsity import optimizer as sparse_optimizer
from rigl_rl.sparsity import wrappers

Network = tf.keras.layers.Layer


class SparseNetworks(Mapping[str, Network]):
  """The networks that an actor-critic agent trains, by name.

  Attributes:
    layers: by the network's name, its sparse layers, first layer first.
    optimizers: by gin scope, the optimizers.
    total_steps: train steps of the whole training.
  """

  def __init__(self, seed: int, total_steps: int):
    """Begins without any network; `seed` is the run's SEED."""
    self._seed = seed
    self.total_steps = total_steps
    self._networks = {}
    self._scopes = {}
    self._mask_summaries = description.MaskSummaries()
    self.layers = {}
    self.optimizers = {}

  def __getitem__(self, name: str) -> Network:
    return self._networks[name]

  def __iter__(self):
    return iter(self._networks)

  def __len__(self) -> int:
    return len(self._networks)

  def build(
    self,
    constructors: Mapping[str, tuple[Callable[..., Network], Sequence[Any]]],
    make_optimizer: optimizers.MakeOptimizer,
    optimizer_scope: str,
    scopes: Mapping[str, str] | None = None,
    period: int = 1,
  ) -> sparse_optimizer.SparseOptimizer:
    """Builds networks that one optimizer trains, and draws their masks.

    Each network is made inside a gin scope, so that `actor/sparsify.sparsity`
    binds the actor's only.

    Args:
      constructors: by the network's name, which names its random streams too,
        what makes it, and the specs that it is called with beside a seed and
        the name; the first is that of its inputs.
      make_optimizer: makes the inner optimizer.
      optimizer_scope: gin scope of the optimizer and its schedule.
      scopes: by the network's name, its gin scope, if it is another one.
      period: train steps of the agent per step of the optimizer.
    """
    layers = []
    for name, (construct, specs) in constructors.items():
      scope = (scopes or {}).get(name, optimizer_scope)
      with gin.config_scope(scope):
        network = construct(
          *specs,
          seed=seeding.stream_seed(self._seed, name, 'network'),
          # PPO sums gradients in the order of their variables' names.
          name=name.capitalize(),
        )
        network.create_variables(specs[0])
        self.layers[name] = wrappers.sparsify(
          network, seed=seeding.stream_seed(self._seed, name, 'masks')
        )
      self._networks[name] = network
      self._scopes[name] = optimizer_scope
      layers += self.layers[name]
    with gin.config_scope(optimizer_scope):
      optimizer = sparse_optimizer.make_sparse_optimizer(
        make_optimizer(),
        layers,
        self.total_steps,
        seed=seeding.stream_seed(self._seed, optimizer_scope, 'growth'),
        period=period,
      )
    self.optimizers[optimizer_scope] = optimizer
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
      for name, network in self.items()
      if self._scopes[name] == scope
      for variable in network.trainable_variables
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
    """The method in words; see `method_title`."""
    return description.method_title(sum(self.layers.values(), []))

  def describe(self) -> dict[str, Any]:
    """Returns the networks' current sizes and costs."""
    described = description.describe(self._parts, self.total_steps)
    actor = described['networks']['actor']['parameters']
    return {**described, 'actor_share': actor / described['parameters']}

  def write_summaries(self) -> None:
    """Writes masks, and the actor's share of parameters, to TensorBoard."""
    self._mask_summaries.write(self._parts)
    share = self.describe()['actor_share']
    tf.summary.scalar('networks/actor_share', share)

  @property
  def _parts(self) -> dict[str, description.Parts]:
    return {
      name: (network, self.layers[name], self.optimizer_of(name))
      for name, network in self.items()
    }

  def get_state(self) -> dict[str, Any]:
    """Returns all variables of networks and optimizers, for a checkpoint."""
    return {
      'networks': {
        name: variables_lib.read(network.variables)
        for name, network in self.items()
      },
      'optimizers': {
        scope: variables_lib.read(optimizer.variables())
        for scope, optimizer in self.optimizers.items()
      },
    }

  def set_state(self, state: Mapping[str, Any]) -> None:
    """Restores what `get_state` returned; ValueError if of other networks."""
    for name, network in self.items():
      variables_lib.assign(network.variables, state['networks'][name])
    for scope, optimizer in self.optimizers.items():
      variables_lib.assign(optimizer.variables(), state['optimizers'][scope])
