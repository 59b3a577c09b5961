"""Finds a job in the gin config that has been parsed."""

from __future__ import annotations

import math
import re
from typing import Any, Mapping

import gin

from rigl_rl.config import bindings
from rigl_rl.costs import jobs
from rigl_rl.errors import UserError
from rigl_rl.sparsity import counting, schedules, wrappers
from rigl_rl.training import run


def read_job(num_actions: int | None) -> jobs.Job:
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
  return jobs.Job(subject, {'online': online}, agent['batch_size'])


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
  return jobs.Job(
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
) -> jobs.NetworkJob:
  """The job of one network; `steps` are the numbers of them in NetworkJob."""
  sparse = {id(layer.layer) for layer in layers}
  with gin.config_scope(scope):
    distribution = bindings.read(wrappers.sparsify, ('distribution',))
  return jobs.NetworkJob(
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
