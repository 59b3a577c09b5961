"""Policies of earlier runs, to fill the replay buffer before training.

Sokar et al. (2022), section 4.6 and figure 3: instead of a purely exploratory
policy, one that was trained for 5e5 or 7e5 steps draws the first samples of an
agent that learns from scratch.
"""

from __future__ import annotations

from typing import Any

import gin
import numpy as np
import tensorflow as tf

from rigl_rl import readers, seeding, tasks
from rigl_rl.agents import variables as variables_lib
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import NonNegative
from rigl_rl.errors import UserError
from rigl_rl.training import checkpointing
from rigl_rl.training import run_directory as run_directory_lib


class SavedPolicy:
  """Acts greedily by an actor's weights, plus noise.

  The weights are part of its state: a restarted run needs nothing of the run
  that they come from.
  """

  def __init__(
    self,
    agent: Any,
    weights: list[np.ndarray],
    noise: float,
    rng: np.random.Generator,
  ):
    """Builds an actor like the agent's own, with other weights.

    Args:
      agent: what is to be trained; not changed.
      weights: what `variables.read` returned of the actor's variables.
      noise: standard deviation of Gaussian noise on actions, in halves of their
        range, >= 0.
      rng: draws the noise.
    """
    actor = _copy_actor(agent)
    variables_lib.assign(actor.variables, weights)
    # The agent's own kind.
    self._greedy = agent.policy_by(actor)
    self._weights = weights
    spec = agent.action_spec
    self._low = np.broadcast_to(spec.minimum, spec.shape).astype(np.float32)
    self._high = np.broadcast_to(spec.maximum, spec.shape).astype(np.float32)
    self._std = np.float32(noise) * (self._high - self._low) / 2
    self._is_noisy = noise > 0
    self._rng = rng

  def __call__(self, observation: np.ndarray) -> np.ndarray:
    """Returns an action, of shape (m,), for an observation of shape (n,)."""
    action = self._greedy(observation[None])[0].copy()
    if self._is_noisy:
      action += self._std * self._rng.standard_normal(action.shape, np.float32)
      np.clip(action, self._low, self._high, out=action)
    return action

  def get_state(self) -> dict[str, Any]:
    """Returns all that it goes on from, for `saved_policy`."""
    return {
      'weights': self._weights,
      'noise': seeding.generator_state(self._rng),
    }


@gin.configurable(denylist=['agent', 'environment', 'seed', 'state'])
def saved_policy(
  agent: Any,
  environment: Any,
  seed: int,
  state: dict[str, Any] | None = None,
  run: str | None = None,
  noise: NonNegative = 0.0,
) -> SavedPolicy:
  """Makes a policy from a run's newest checkpoint that is whole.

  The run may have been dense or sparse, whatever the agent here is. Its actor
  has to have the same shapes; what else decides its actions, such as its
  activation, is taken from the agent here. The run is only read, and so may
  still go on.

  Deviation: a stochastic policy, SAC's, acts by its mean, plus the noise.

  Args:
    agent: what is to be trained; its `networks['actor']` is copied.
    environment: what it is trained on.
    seed: the run's SEED.
    state: what `get_state` of the policy returned, to go on from; `run` is then
      not read. None to begin.
    run: directory of a run of the same agent on the same task.
    noise: standard deviation of Gaussian noise on actions, in halves of their
      range, >= 0. Actions are clipped to their range. The paper has none.

  Returns:
    The policy, from an observation (n,) to an action (m,).

  Raises:
    UserError: on a value outside its range, or a run that cannot be used.
  """
  check_arguments(saved_policy, locals())
  rng = seeding.generator(seed, 'initial policy')
  if state is None:
    weights = _read_weights(run, agent, environment)
  else:
    weights = state['weights']
    seeding.restore_generator(rng, state['noise'])
  return SavedPolicy(agent, weights, noise, rng)


def _read_weights(run: Any, agent: Any, environment: Any) -> list[np.ndarray]:
  """Returns the variables of a run's actor, if they fit the agent's.

  Raises:
    UserError: if they do not, or there are none.
  """

  def error(reason: str, allowed: str) -> UserError:
    return UserError(f'saved_policy.run is {run!r}, {reason}; {allowed}.')

  a_run = 'it must be the directory of a run of the same agent'
  if not isinstance(run, str) or not run:
    raise error('which names no directory', a_run)
  directory = run_directory_lib.RunDirectory(run)
  if not tf.io.gfile.isdir(directory.path()):
    raise error('but there is no such directory', a_run)
  path = directory.checkpoints
  loaded = checkpointing.Checkpointer(path).load_latest()
  if loaded is None:
    raise error('which holds no whole checkpoint', a_run)
  state = loaded[1]
  with readers.contents_of(path):
    # DQN's checkpoints have no networks by name.
    networks = state['agent'].get('networks', {}).get('networks', {})
    task = state['environment'].get('env_name')
    shapes = [array.shape for array in networks.get('actor', ())]
  if set(networks) != set(agent.networks):
    raise error(
      f'which trains {_listed(networks)}',
      f'it must be a run of an agent that trains {_listed(agent.networks)}',
    )
  own_task = environment.get_state().get('env_name')
  if tasks.family(task) != tasks.family(own_task):
    raise error(f'a run on {task}', f'it must be a run on {own_task}')
  weights = networks['actor']
  own = _copy_actor(agent).variables  # As a checkpoint has them, masked.
  if shapes != [tuple(v.shape) for v in own]:
    raise error(
      f'whose actor has kernels of {_kernels(weights)}',
      f'it must be a run of the same agent, with kernels of {_kernels(own)}',
    )
  return weights


def _copy_actor(agent: Any) -> tf.keras.layers.Layer:
  actor = agent.networks['actor'].copy(name='SavedActor')
  actor.create_variables()
  return actor


def _listed(names) -> str:
  return ', '.join(sorted(names)) or 'no networks by name'


def _kernels(variables) -> str:
  """Lists the shapes of an actor's kernels: '17 x 256, 256 x 6'."""
  shapes = [tuple(v.shape) for v in variables if len(v.shape) == 2]
  # The other half are their masks.
  return ', '.join(f'{n} x {m}' for n, m in shapes[: len(shapes) // 2])
