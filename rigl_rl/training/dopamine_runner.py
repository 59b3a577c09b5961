"""DopamineRunner: Dopamine's Runner in the loop that all agents share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import gin
import numpy as np
from dopamine.discrete_domains import run_experiment

from rigl_rl import seeding
from rigl_rl.agents import dqn
from rigl_rl.compat import dopamine
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Count, Episodes, NonNegative
from rigl_rl.environments import classic_control, noise
from rigl_rl.errors import UserError
from rigl_rl.training import evaluation, training_loop
from rigl_rl.training import run_directory as run_directory_lib

if TYPE_CHECKING:
  from rigl_rl.environments import atari


@gin.configurable(denylist=['run_directory', 'seed', 'train_steps'])
class DopamineRunner(training_loop.TrainingLoop, run_experiment.Runner):
  """Trains a DQN agent, evaluates it at fixed steps, and can be restarted.

  Dopamine's Runner plays the episodes, in training and in evaluation by steps;
  `TrainingLoop` does what lies between: evaluations at their steps, checkpoints
  (between episodes), scores. A period ends with the episode in which its steps
  are done; the next one is shorter by as much.

  Overridden of Dopamine's Runner:
    run_experiment: the loop's.
    _initialize_checkpointer_and_maybe_resume: nothing, since the loop resumes.
    _run_one_episode: cuts the last episode of each length, so that a run
      takes exactly the gradient steps that its schedules count.
    _run_one_step: counts it.
    _end_episode: tells the agent whether the episode terminated or was cut,
      which Dopamine tells its JAX agents only.
  """

  def __init__(
    self,
    run_directory: run_directory_lib.RunDirectory,
    seed: int,
    train_steps: int,
    agent: Callable[..., dqn.SparseDQNAgent] = dqn.SparseDQNAgent,
    create_environment: Callable[
      ..., atari.AtariEnvironment | classic_control.ClassicControlEnvironment
    ] = classic_control.create_classic_control_environment,
    evaluation_period: Count = 2000,
    evaluation_episodes: Episodes | None = None,
    evaluation_steps: Count | None = None,
    evaluation_noise: NonNegative = 0.0,
    max_steps_per_episode: Count = 27000,
    clip_rewards: bool = True,
    checkpoint_period: Count = 1,
  ):
    """Builds everything, and resumes from a checkpoint if there is one.

    Args:
      run_directory, seed, train_steps: as `TrainingLoop` takes them; a run
        takes exactly `train_steps` agent steps.
      agent: makes the agent: SparseDQNAgent, or a class that derives from it.
      create_environment: makes an environment of Dopamine's protocol from a
        seed.
      evaluation_period: agent steps of training between evaluations.
      evaluation_episodes: episodes of an evaluation, played side by side; or
        None for `evaluation_steps`.
      evaluation_steps: agent steps of an evaluation, whole episodes one after
        the other, as Dopamine does; or None for `evaluation_episodes`.
      evaluation_noise: standard deviation, in gray levels, of noise on the
        pixels that evaluation sees (Graesser et al., 2022, §8); 0 for none.
      max_steps_per_episode: agent steps after which an episode is cut.
      clip_rewards: whether training sees rewards clipped to [-1, 1].
      checkpoint_period: evaluations between checkpoints.

    Raises:
      UserError: on a value outside its range.
    """
    if (evaluation_episodes is None) == (evaluation_steps is None):
      raise UserError(
        'DopamineRunner.evaluation_episodes is '
        f'{evaluation_episodes!r} and evaluation_steps {evaluation_steps!r}, '
        'but exactly one of them must be a number.'
      )
    check_arguments(type(self), locals())
    self._create_environment = create_environment
    self._evaluation_episodes = evaluation_episodes
    self._evaluation_noise = evaluation_noise
    self._episode_limit = max_steps_per_episode
    # Built now, to report a mistake before time is spent.
    self._evaluation_environment(0, 0, evaluation_noise).close()
    environment = create_environment(
      seed=seeding.stream_seed(seed, 'environment')
    )
    dqn_agent = agent(
      num_actions=environment.action_space.n,
      observation_space=environment.observation_space,
      seed=seed,
      train_steps=train_steps,
    )
    run_experiment.Runner.__init__(
      self,
      run_directory.path(),
      lambda *_, **__: dqn_agent,
      lambda: environment,
      # The loop's own. Passed on, so that gin supplies no binding of it.
      num_iterations=-(-train_steps // evaluation_period),
      evaluation_steps=evaluation_steps,
      max_steps_per_episode=max_steps_per_episode,
      clip_rewards=clip_rewards,
      use_legacy_logger=False,
      fine_grained_print_to_console=False,
    )
    training_loop.TrainingLoop.__init__(
      self,
      run_directory=run_directory,
      seed=seed,
      train_steps=train_steps,
      agent=dqn_agent,
      environment=environment,
      evaluation_period=evaluation_period,
      checkpoint_period=checkpoint_period,
      replay=dqn_agent.replay,
    )

  def extend(self, lengths):
    super().extend(lengths)
    self.agent.extend(lengths[-1])

  def _initialize_checkpointer_and_maybe_resume(self, checkpoint_file_prefix):
    del checkpoint_file_prefix

  def _run_one_episode(self):
    if self.agent.eval_mode:
      return super()._run_one_episode()
    end = next(end for end in self._lengths if end > self.steps_done)
    with dopamine.episode_limit(self, end - self.steps_done):
      return super()._run_one_episode()

  def _run_one_step(self, action):
    if not self.agent.eval_mode:
      self._count_step()
    return super()._run_one_step(action)

  def _end_episode(self, reward, terminal=True):
    self.agent.end_episode(reward, terminal)

  def train(self, end_step):
    self.agent.summary_writer = self._writer
    statistics = dopamine.train(self, end_step - self.steps_done)
    self.agent.check_loss()
    names = ('train_episode_returns', 'train_episode_lengths')
    return list(zip(*(statistics[name] for name in names)))

  def _write_agent_summaries(self):
    """The agent writes them as it trains, at a period of its own."""

  def _play(self, watch, seed, *names, noise_std=None):
    if noise_std is None:
      noise_std = self._evaluation_noise
    seed = seeding.stream_seed(seed, 'evaluation', *names)
    environments = [
      self._evaluation_environment(seed, episode, noise_std)
      for episode in range(self._evaluation_episodes or 1)
    ]
    if watch is not None:
      environments[0] = watch(environments[0])
    if self._evaluation_episodes is not None:
      return evaluation.evaluate_episodes(
        self.agent.greedy_policy(),
        environments,
        self.agent.state_shape,
        self.agent.epsilon_eval,
        seeding.generator(seed, 'exploration'),
        self._episode_limit,
      )
    (environment,) = environments
    self.agent.begin_evaluation(seed)
    try:
      statistics = dopamine.evaluate(self, environment)
    finally:
      self.agent.end_evaluation()
      environment.close()
    return np.array(statistics['eval_episode_returns'])

  def _evaluation_environment(self, seed: int, episode: int, noise_std: float):
    environment = self._create_environment(
      seed=seeding.stream_seed(seed, 'environment', episode)
    )
    if noise_std:
      environment = noise.ObservationNoise(
        environment,
        seed=seeding.stream_seed(seed, 'noise', episode),
        sigma=noise_std,
      )
    return environment

  def _resume(self, state):
    if 'iteration' in state:  # An earlier version's, where the agent had it.
      state = {
        **state,
        'loop': {'replay': state['agent']['replay']},
        'periods_done': state['iteration'] + 1,
      }
    super()._resume(state)
