"""PPOLoop: on-policy training, one rollout after another."""

from __future__ import annotations

import collections
import math
from typing import Annotated, Callable

import gin
import numpy as np
from tf_agents.trajectories import time_step as ts

from rigl_rl.agents import ppo
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Count, CountOrZero, Episodes, Range
from rigl_rl.environments import mujoco
from rigl_rl.errors import UserError
from rigl_rl.training import background, tf_agents_loop
from rigl_rl.training import run_directory as run_directory_lib


@gin.configurable(denylist=['run_directory', 'seed', 'train_steps'])
class PPOLoop(tf_agents_loop.TFAgentsLoop):
  """Collects a rollout, trains on it, and forgets it.

  Training is whole rollouts: the last one may end after `train_steps`.
  """

  def __init__(
    self,
    run_directory: run_directory_lib.RunDirectory,
    seed: int,
    train_steps: int,
    create_agent: Callable[..., ppo.SparsePPOAgent] = ppo.SparsePPOAgent,
    create_environment: Callable[
      ..., mujoco.MujocoEnvironment
    ] = mujoco.create_mujoco_environment,
    rollout_steps: Annotated[int, Range('[1, 1000000]')] = 2048,
    evaluation_period: Count = 1,
    evaluation_episodes: Episodes = 20,
    checkpoint_period: Count = 1,
    evaluation_processes: CountOrZero | None = None,
  ):
    """Builds everything, and resumes from a checkpoint if there is one.

    Args:
      run_directory, seed, train_steps: as `TrainingLoop` takes them.
      create_agent: makes the agent, from the environment's specs, the seed, the
        steps of a rollout and the number of rollouts.
      create_environment: makes an environment from a seed.
      rollout_steps: environment steps of a rollout.
      evaluation_period: rollouts between evaluations.
      evaluation_episodes: episodes of an evaluation, played side by side.
      checkpoint_period: evaluations between checkpoints.
      evaluation_processes: evaluations that may be played while training
        continues, each in a process; one more begins before training waits for
        the oldest. Results are the same. 0: training waits for each
        evaluation. None: as many as there are cores that TensorFlow may use
        beside training's; 0 if the task is not of gymnasium's own, since a fork
        may break others, or if the agent's `greedy_policy()` cannot be pickled.

    Raises:
      UserError: on a value outside its range, or evaluation processes for a
        policy that cannot be pickled.
    """
    check_arguments(type(self), locals())
    num_rollouts = math.ceil(train_steps / rollout_steps)
    environment, agent = tf_agents_loop.make(
      create_environment,
      create_agent,
      seed,
      rollout_steps=rollout_steps,
      num_rollouts=num_rollouts,
    )
    self._rollout = _empty_rollout(rollout_steps, environment)
    self._workers: collections.deque[background.Worker] = collections.deque()
    can_send = background.can_send(agent.greedy_policy())
    if evaluation_processes is None:
      is_known = isinstance(environment, mujoco.MujocoEnvironment)
      can_fork = is_known and environment.is_of_gymnasium and can_send
      evaluation_processes = background.cores() - 1 if can_fork else 0
    elif evaluation_processes and not can_send:
      raise UserError(
        f'PPOLoop.evaluation_processes is {evaluation_processes}, but must be '
        "0: the agent's greedy_policy() cannot be pickled."
      )
    super().__init__(
      create_environment,
      evaluation_episodes,
      run_directory=run_directory,
      seed=seed,
      train_steps=num_rollouts * rollout_steps,
      agent=agent,
      environment=environment,
      evaluation_period=evaluation_period * rollout_steps,
      checkpoint_period=checkpoint_period,
      evaluation_processes=evaluation_processes,
    )

  def extend(self, lengths):
    size = len(self._rollout.reward)
    rollouts = [math.ceil(length / size) for length in lengths]
    super().extend([number * size for number in rollouts])
    self.agent.extend(rollouts[-1])

  def run_experiment(self):
    count = self._evaluation_processes
    for _ in range(count + 1 if count else 0):
      self._workers.append(background.Worker(self._play_by))
    try:
      super().run_experiment()
    finally:
      while self._workers:
        self._workers.pop().close()

  def _begin_evaluation(self, period):
    if not self._workers:
      return super()._begin_evaluation(period)
    self._workers.rotate()  # To the one whose evaluation ended first.
    worker = self._workers[0]
    worker.begin(self.agent.greedy_policy(), None, self._seed, period)
    return worker.result

  def train(self, end_step):
    episodes = []
    while self.steps_done < end_step:
      episodes += self._collect()
      self.agent.train_on(self._rollout)
    return episodes

  def _collect(self) -> list[tuple[float, float]]:
    """Fills the rollout; returns the episodes that ended, as `train` does."""
    environment, rollout = self.environment, self._rollout
    self.agent.refresh_policy()
    observation = self._begin()
    episodes = []
    for i in range(len(rollout.reward)):
      action, mean, std = self.agent.explore(observation)
      time_step = environment.step(action)
      rollout.observation[i] = observation
      rollout.action[i] = action
      rollout.mean[i] = mean
      rollout.std[i] = std
      rollout.reward[i] = time_step.reward
      rollout.discount[i] = time_step.discount
      rollout.next_observation[i] = time_step.observation
      rollout.is_last[i] = time_step.step_type == ts.StepType.LAST
      observation = self._go_on(time_step, episodes)
      self._count_step()
    return episodes


def _empty_rollout(steps: int, environment) -> ppo.Rollout:
  """Returns a rollout to be filled, again and again."""
  shapes = dict.fromkeys(('reward', 'discount'), ())
  for name in ('observation', 'next_observation'):
    shapes[name] = environment.observation_spec().shape
  for name in ('action', 'mean', 'std'):
    shapes[name] = environment.action_spec().shape
  return ppo.Rollout(
    is_last=np.empty(steps, bool),
    **{k: np.empty((steps, *v), np.float32) for k, v in shapes.items()},
  )
