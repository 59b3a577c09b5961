"""What a gin config trains, its cost, and the tables of both."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, Callable, Mapping, Sequence

import gin

from rigl_rl.config import bindings
from rigl_rl.errors import UserError
from rigl_rl.sparsity import (
  algorithms,
  counting,
  distributions,
  schedules,
  wrappers,
)
from rigl_rl.training import run

Counts = Mapping[str, counting.NetworkCount]


@dataclasses.dataclass(frozen=True)
class NetworkJob:
  """A network that is trained; for its width, see `SparseLayers`."""

  count: counting.NetworkCount  # At the target sparsity.
  width: float
  size_mismatch: float | None
  dense_layers: frozenset[str]  # To which no distribution applies.
  scope: str  # In which gin calls the distribution.
  distribution: Callable[..., Mapping[str, float]]
  algorithm: algorithms.SparseAlgorithm
  schedule: schedules.UpdateSchedule  # In train steps.
  train_steps: int  # Of the agent, in the whole training.
  gradient_steps: int  # Of this network.
  period: int = 1  # Train steps per gradient step.

  def dense(self) -> counting.NetworkCount:
    """Returns the size of the same network without a mask."""
    return self.count.with_sparsities(dict.fromkeys(self.count.shapes, 0.0))

  def with_sparsity(
    self, sparsity: float, distribution: Callable[..., Mapping[str, float]]
  ) -> counting.NetworkCount:
    """Returns the size at another sparsity; dense training stays dense."""
    dense = self.dense()
    if isinstance(self.algorithm, algorithms.Dense):
      return dense
    shapes = {
      name: shape
      for name, shape in dense.shapes.items()
      if name not in self.dense_layers
    }
    with gin.config_scope(self.scope):
      return dense.with_sparsities(distribution(shapes, sparsity))

  def training_flops(self, size: Any) -> float:
    """FLOPs per example of one gradient step of a layer or of the network."""
    return counting.training_flops(
      size, self.algorithm, self.schedule, self.train_steps, self.period
    )


@dataclasses.dataclass(frozen=True)
class Job:
  """What a gin config trains."""

  subject: str  # The agent or network, on which task.
  networks: Mapping[str, NetworkJob]
  batch_size: int  # Examples in a minibatch.
  # Of the whole training, including those before the first gradient step, where
  # each has one critic step; else None.
  environment_steps: int | None = None

  @property
  def counts(self) -> Counts:
    """Sizes at the target sparsity."""
    return {name: network.count for name, network in self.networks.items()}

  @property
  def dense_counts(self) -> Counts:
    """Sizes without masks."""
    return {name: network.dense() for name, network in self.networks.items()}

  @property
  def gradient_steps(self) -> int:
    """Gradient steps of the whole training, of the network that has most."""
    return max(network.gradient_steps for network in self.networks.values())

  def training_flops(self, counts: Counts) -> float:
    """FLOPs per example of one gradient step of all networks.

    A network that takes fewer steps than others counts for as much less.
    """
    return sum(
      network.training_flops(layer)
      * (network.gradient_steps / self.gradient_steps)
      for name, network in self.networks.items()
      for layer in counts[name].layers
    )

  def training_flops_by_weights(self, counts: Counts) -> float:
    """FLOPs of the whole training as Sokar et al. (2022) count them.

    Only where `environment_steps` is known. All networks except the actor are
    critics.
    """
    actor = counts['actor'].active_weights
    return counting.actor_critic_training_flops(
      actor,
      together(counts).active_weights - actor,
      self.batch_size,
      self.environment_steps,
      self.networks['actor'].period,
    )

  def title(self) -> str:
    """The networks' task, widths, method and sparsity in one line."""
    each = self.networks.items()
    width = by_network({n: f'{x.width:g}' for n, x in each})
    method = by_network({n: type(x.algorithm).__name__ for n, x in each})
    sparsity = together(self.counts).sparsity
    return f'{self.subject}, width {width}: {method}, sparsity {sparsity:.4g}'


def read_job(num_actions: int | None) -> Job:
  """Builds the networks of the config that has been parsed.

  Args:
    num_actions: number of actions, or of their dimensions; None for the task's
      own.
  """
  bound = bindings.read(run.train)
  for base in getattr(bound['runner'], '__mro__', ()):
    if base.__name__ in _READERS:
      return _READERS[base.__name__](bound, num_actions)
  raise UserError(
    f'train.runner is {bound["runner"]!r}, but must be '
    f'{" or ".join(_READERS)}, or derived from one of them.'
  )


def _read_dopamine(bound: Mapping[str, Any], num_actions: int | None):
  """The job of a DopamineRunner."""
  from rigl_rl.agents import dqn, gradient_steps

  create_environment = bindings.read(bound['runner'])['create_environment']
  environment = create_environment(seed=0)
  environment.close()
  if num_actions is None:
    num_actions = int(environment.action_space.n)
  model, layers = dqn.build_network(
    num_actions, environment.observation_space.shape, seed=bound['seed']
  )
  agent = bindings.read(dqn.SparseDQNAgent)
  steps = gradient_steps.GradientSteps(
    agent['min_replay_history'], agent['update_period'], agent['update_horizon']
  ).count(bound['train_steps'])
  online = _read_network(
    model,
    layers,
    scope='',
    schedule=schedules.UpdateSchedule(steps),
    train_steps=steps,
    gradient_steps=steps,
  )
  subject = _subject(model, bound, num_actions)
  return Job(subject, {'online': online}, agent['batch_size'])


def _read_actor_critic(bound: Mapping[str, Any], num_actions: int | None):
  """The job of an ActorCriticLoop or a PPOLoop, from its agent's networks."""
  loop, steps = bindings.read(bound['runner']), bound['train_steps']
  rollout_steps = loop.get('rollout_steps')
  if rollout_steps is None:
    batch_size = bindings.read(loop['create_replay'])['batch_size']
    length = {'gradient_steps': steps - loop['initial_collect_steps']}
  else:
    batch_size = bindings.read(loop['create_agent'])['minibatch_size']
    rollouts = math.ceil(steps / rollout_steps)
    length = {'rollout_steps': rollout_steps, 'num_rollouts': rollouts}
  from tf_agents.specs import tensor_spec
  from tf_agents.trajectories import time_step as ts

  from rigl_rl.environments import mujoco

  observation_spec, action_spec = mujoco.find_specs(loop['create_environment'])
  if num_actions is not None:
    action_spec = tensor_spec.BoundedTensorSpec(
      (num_actions,), action_spec.dtype, -1.0, 1.0, action_spec.name
    )
  # The agent itself, so that every scoped binding counts as it will in a run.
  agent = loop['create_agent'](
    ts.time_step_spec(observation_spec),
    action_spec,
    seed=bound['seed'],
    **length,
  )
  networks = agent.networks
  return Job(
    _subject(agent, bound, action_spec.shape[0]),
    networks={
      name: _read_network(
        network,
        networks.layers[name],
        # The scope of critic_1 and critic_2 is critic.
        scope=re.sub(r'_\d+$', '', name),
        schedule=networks.optimizer_of(name).mask_updater.schedule,
        train_steps=networks.total_steps,
        gradient_steps=networks.gradient_steps(name),
        period=networks.optimizer_of(name).period,
      )
      for name, network in networks.items()
    },
    batch_size=batch_size,
    environment_steps=steps if rollout_steps is None else None,
  )


def _subject(trained: Any, bound: Mapping[str, Any], num_actions: int) -> str:
  task = bound['task'] or 'an unnamed task'
  return f'{type(trained).__name__} on {task}, {num_actions} actions'


def _read_network(
  model,
  layers: list[wrappers.SparseWrapper],
  scope: str,
  schedule: schedules.UpdateSchedule,
  **steps: int,
) -> NetworkJob:
  """The job of one network; `steps` are the numbers of them in NetworkJob."""
  sparse = {id(layer.layer) for layer in layers}
  with gin.config_scope(scope):
    distribution = bindings.read(wrappers.sparsify, ('distribution',))
  return NetworkJob(
    count=counting.count_network(model, layers),
    width=getattr(model, 'width', 1.0),
    size_mismatch=getattr(model, 'size_mismatch', None),
    dense_layers=frozenset(
      name
      for name, layer in wrappers.named_layers(model).items()
      if id(getattr(layer, 'layer', layer)) not in sparse
    ),
    scope=scope,
    algorithm=layers[0].algorithm,
    schedule=schedule,
    **steps,
    **distribution,
  )


# By the name of the runner's class: the others need not be imported.
_READERS = {
  'DopamineRunner': _read_dopamine,
  'ActorCriticLoop': _read_actor_critic,
  'PPOLoop': _read_actor_critic,
}


def by_network(values: Mapping[str, str]) -> str:
  """Writes one value, or several with the names of their networks."""
  names = {}
  for name, value in values.items():
    names.setdefault(value, []).append(name)
  if len(names) == 1:
    return next(iter(names))
  return ', '.join(f'{v} ({", ".join(names[v])})' for v in names)


def together(counts: Counts) -> counting.NetworkCount:
  """Returns the size of all networks, as of one that has all their layers."""
  layers = (layer for count in counts.values() for layer in count.layers)
  return counting.NetworkCount(tuple(layers))


def layer_rows(job: Job) -> list[dict[str, Any]]:
  """Returns the table by layer: each network, and all together last."""
  sizes: list[tuple[str, Any, float]] = []
  for name, network in job.networks.items():
    for size in (*network.count.layers, network.count):
      sizes.append((name, size, network.training_flops(size)))
  if len(job.networks) > 1:
    flops = job.training_flops(job.counts)
    sizes.append(('all', together(job.counts), flops))
  return [
    {
      **({'network': name} if len(job.networks) > 1 else {}),
      'layer': getattr(size, 'name', 'total'),
      'kernel': '×'.join(map(str, getattr(size, 'kernel_shape', ()))),
      'sparsity': size.sparsity,
      'active': size.active_weights,
      'of': size.weights,
      'biases': size.biases,
      'forward_flops': size.forward_flops,
      'training_flops': flops,
    }
    for name, size, flops in sizes
  ]


def sparsity_rows(
  job: Job, sparsities: Sequence[float]
) -> list[dict[str, Any]]:
  """Returns the table by sparsity and distribution; costs also over dense.

  Every network has the same sparsity.
  """
  own = {name: network.distribution for name, network in job.networks.items()}
  choices = {by_network({name: _name(d) for name, d in own.items()}): own}
  for distribution in (distributions.erdos_renyi_kernel, distributions.uniform):
    everywhere = dict.fromkeys(job.networks, distribution)
    choices.setdefault(_name(distribution), everywhere)
  dense_forward = together(job.dense_counts).forward_flops
  dense_training = job.training_flops(job.dense_counts)
  rows = []
  for label, choice in choices.items():
    for sparsity in sparsities:
      counts = {
        name: network.with_sparsity(sparsity, choice[name])
        for name, network in job.networks.items()
      }
      size, training = together(counts), job.training_flops(counts)
      rows.append(
        {
          'distribution': label,
          'sparsity': sparsity,
          'parameters': size.parameters,
          'forward_flops': size.forward_flops,
          'forward_share': size.forward_flops / dense_forward,
          'training_flops': training,
          'training_share': training / dense_training,
        }
      )
  return rows


def _name(distribution) -> str:
  name = getattr(distribution, '__name__', None)
  return name or type(distribution).__name__
