"""ActorCriticLoop: off-policy training, a gradient step per step (SAC, TD3)."""

from __future__ import annotations

import functools
from typing import Callable

import gin
from tf_agents.trajectories import time_step as ts

from rigl_rl import seeding
from rigl_rl.agents import off_policy, sac
from rigl_rl.config import bindings
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Count, Episodes
from rigl_rl.environments import mujoco
from rigl_rl.errors import UserError
from rigl_rl.replay import transition_buffer
from rigl_rl.training import run_directory as run_directory_lib
from rigl_rl.training import saved_policy, tf_agents_loop


@gin.configurable(denylist=['run_directory', 'seed', 'train_steps'])
class ActorCriticLoop(tf_agents_loop.TFAgentsLoop):
  """Acts, stores the transition, and takes a gradient step, at each step.

  The first steps act at random, or by a policy of an earlier run, and train
  nothing; they count as steps of training.
  """

  def __init__(
    self,
    run_directory: run_directory_lib.RunDirectory,
    seed: int,
    train_steps: int,
    create_agent: Callable[..., off_policy.OffPolicyAgent] = sac.SparseSacAgent,
    create_environment: Callable[
      ..., mujoco.MujocoEnvironment
    ] = mujoco.create_mujoco_environment,
    create_replay: Callable[
      ..., transition_buffer.TransitionBuffer
    ] = transition_buffer.TransitionBuffer,
    initial_collect_steps: Count = 10000,
    initial_policy: Callable[..., saved_policy.SavedPolicy] | None = None,
    evaluation_period: Count = 10000,
    evaluation_episodes: Episodes = 30,
    checkpoint_period: Count = 1,
  ):
    """Builds everything, and resumes from a checkpoint if there is one.

    Args:
      run_directory, seed, train_steps: as `TrainingLoop` takes them.
      create_agent: makes the agent, from the environment's specs, the seed and
        the number of gradient steps.
      create_environment: makes an environment from a seed.
      create_replay: makes the replay buffer, from the shapes of observations
        and actions and a seed.
      initial_collect_steps: environment steps before training, fewer than
        `train_steps`.
      initial_policy: makes what acts in these steps, such as `saved_policy`,
        from the agent, the environment, the seed and its state at a checkpoint.
        None for actions at random.
      evaluation_period: environment steps between evaluations.
      evaluation_episodes: episodes of an evaluation, played side by side.
      checkpoint_period: evaluations between checkpoints.

    Raises:
      UserError: on a value outside its range.
    """
    check_arguments(type(self), locals())
    if train_steps <= initial_collect_steps:
      raise UserError(
        f'TRAIN_STEPS is {train_steps:,}, but must exceed the '
        f'{initial_collect_steps:,} steps before training '
        '(ActorCriticLoop.initial_collect_steps).'
      )
    self._initial_collect_steps = initial_collect_steps
    environment, agent = tf_agents_loop.make(
      create_environment,
      create_agent,
      seed,
      gradient_steps=train_steps - initial_collect_steps,
    )
    replay = create_replay(
      environment.observation_spec().shape,
      environment.action_spec().shape,
      seed=seeding.stream_seed(seed, 'replay'),
    )
    if replay.capacity < replay.batch_size:
      name = type(replay).__name__
      raise UserError(
        f'{name}.capacity is {replay.capacity}, but must be at least '
        f'{name}.batch_size, {replay.batch_size}.'
      )
    self._initial_policy = None
    if initial_policy is not None:
      self._make_initial_policy = functools.partial(
        initial_policy, agent, environment, seed=seed
      )
      # A mistake is reported before anything is written.
      if not run_directory.checkpoints.steps():
        self._initial_policy = self._make_initial_policy()
    super().__init__(
      create_environment,
      evaluation_episodes,
      run_directory=run_directory,
      seed=seed,
      train_steps=train_steps,
      agent=agent,
      environment=environment,
      evaluation_period=evaluation_period,
      checkpoint_period=checkpoint_period,
      replay=replay,
    )

  def extend(self, lengths):
    super().extend(lengths)
    self.agent.networks.total_steps = lengths[-1] - self._initial_collect_steps

  def train(self, end_step):
    agent, environment, replay = self.agent, self.environment, self._replay
    observation = self._begin()
    episodes = []
    while self.steps_done < end_step:
      is_trained = self.steps_done >= self._initial_collect_steps
      if is_trained:
        action = agent.explore(observation)
      elif self._initial_policy is not None:
        action = self._initial_policy(observation)
      else:
        action = agent.random_action()
      time_step = environment.step(action)
      replay.add(
        observation,
        action,
        time_step.reward,
        time_step.discount,
        time_step.observation,
        time_step.step_type == ts.StepType.LAST,
      )
      observation = self._go_on(time_step, episodes)
      if is_trained:
        agent.train_step(replay.sample(), observation)
      self._count_step()
    return episodes

  def _get_state(self):
    state = {**super()._get_state(), 'initial_policy': None}
    is_collecting = self.steps_done < self._initial_collect_steps
    if self._initial_policy is not None and is_collecting:
      state['initial_policy'] = self._initial_policy.get_state()
    return state

  def _set_state(self, state):
    super()._set_state(state)
    # Runs that began before there was such a policy have none.
    initial_policy = state.get('initial_policy')
    self._initial_policy = None
    if initial_policy is not None:
      self._initial_policy = self._make_initial_policy(state=initial_policy)


@gin.configurable
def steps_before_training() -> int:
  """The initial collection's steps, for `UpdateSchedule.steps_before`."""
  name = 'initial_collect_steps'
  return bindings.read(ActorCriticLoop, (name,))[name]
