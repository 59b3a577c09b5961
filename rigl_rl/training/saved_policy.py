"""Policies of earlier runs, to fill the replay buffer before training.

Sokar et al. (2022), section 4.6 and figure 3: instead of a purely exploratory
policy, one that was trained for 5e5 or 7e5 steps draws the first samples of an
agent that learns from scratch.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Sequence

import gin
import numpy as np
import tensorflow as tf

from rigl_rl import files, readers, seeding, tasks
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import NonNegative
from rigl_rl.errors import UserError
from rigl_rl.sparsity import sparse_kernel
from rigl_rl.training import run_directory as run_directory_lib


@dataclasses.dataclass
class SavedPolicy:
  """Acts greedily by an actor's weights, plus noise.

  The weights are part of its state: a restarted run needs nothing of the run
  that they come from.

  Attributes:
    greedy: the actor with these weights, as a `NumpyActor`.
    weights: of the actor's variables.
    noise: standard deviation, float32, in halves of the range of actions.
    rng: draws the noise.
  """

  greedy: Callable[[np.ndarray], np.ndarray]
  weights: list[np.ndarray]
  noise: np.float32
  rng: np.random.Generator

  def __call__(self, observation: np.ndarray) -> np.ndarray:
    """Returns an action, of shape (m,), for an observation of shape (n,)."""
    action = self.greedy(observation[None])[0]
    if self.noise:
      noise = self.rng.standard_normal(action.shape, np.float32)
      action += self.noise * self.greedy.magnitude * noise
      np.clip(action, self.greedy.low, self.greedy.high, out=action)
    return action

  def get_state(self) -> dict[str, Any]:
    """Returns what a resumed policy needs; see `saved_policy`."""
    return {'weights': self.weights, 'noise': self.rng.bit_generator.state}


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

  The run may be dense or sparse, regardless of the agent here. Its actor must
  have the same shapes; everything else that decides its actions, such as its
  activation, comes from the agent here. The run is only read, and may still be
  training.

  Deviation: a stochastic policy, SAC's, acts by its mean, plus the noise.

  Args:
    agent: the agent to train; its `networks['actor']` is copied.
    environment: what it is trained on.
    seed: the run's SEED.
    state: what `get_state` of the policy returned, to continue from it; `run`
      is then not read. None to begin.
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
  actor = agent.networks['actor'].copy(name='SavedActor')
  actor.create_variables()
  if state is None:
    weights = _read_weights(run, agent, actor, environment)
  else:
    weights = state['weights']
    rng.bit_generator.state = state['noise']
  sparse_kernel.assign(actor.variables, weights)
  return SavedPolicy(agent.policy_by(actor), weights, np.float32(noise), rng)


def _read_weights(
  run: str | None, agent: Any, actor: tf.keras.layers.Layer, environment: Any
) -> list[np.ndarray]:
  """Returns the variables of a run's actor; UserError if they do not fit."""

  def error(reason: str, needed: str = 'of the same agent') -> UserError:
    return UserError(
      f'saved_policy.run is {run!r}, {reason}; it must be the directory of a '
      f'run {needed}.'
    )

  directory = run_directory_lib.RunDirectory(run or '.')
  if not run or not files.is_directory(directory.path()):
    raise error('but there is no such directory')
  loaded = directory.checkpoints.load_latest()
  if loaded is None:
    raise error('which holds no whole checkpoint')
  state = loaded[1]
  with readers.contents_of(directory.checkpoints.directory):
    # DQN's checkpoints have no networks by name.
    networks = state['agent'].get('networks', {}).get('networks', {})
    task = state['environment'].get('env_name')
    shapes = [array.shape for array in networks.get('actor', ())]
  if set(networks) != set(agent.networks):
    trained, wanted = (
      ', '.join(sorted(names)) or 'no networks by name'
      for names in (networks, agent.networks)
    )
    raise error(f'which trains {trained}', f'of an agent that trains {wanted}')
  own_task = environment.get_state().get('env_name')
  if tasks.family(task) != tasks.family(own_task):
    raise error(f'a run on {task}', f'on {own_task}')
  own_shapes = [tuple(variable.shape) for variable in actor.variables]
  if shapes != own_shapes:
    raise error(
      f'whose actor has kernels of {_kernels(shapes)}',
      f'of the same agent, with kernels of {_kernels(own_shapes)}',
    )
  return networks['actor']


def _kernels(shapes: Sequence[tuple[int, ...]]) -> str:
  """Lists an actor's kernels by the shapes of its variables: '17 x 6'."""
  kernels = [shape for shape in shapes if len(shape) == 2]
  # The other half are their masks.
  return ', '.join(f'{n} x {m}' for n, m in kernels[: len(kernels) // 2])
