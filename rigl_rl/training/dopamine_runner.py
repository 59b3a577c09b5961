"""DopamineRunner: Dopamine's Runner with exact steps, scores and restarts."""

from __future__ import annotations

import operator
import time
from typing import TYPE_CHECKING, Any, Callable

import gin
import numpy as np
from dopamine.discrete_domains import iteration_statistics, run_experiment

from rigl_rl import files, seeding
from rigl_rl.agents import dqn
from rigl_rl.checks import check_number
from rigl_rl.config.domains import Count, Episodes, NonNegative
from rigl_rl.environments import classic_control, noise
from rigl_rl.errors import UserError
from rigl_rl.training import checkpointing, evaluation, event_writer, progress
from rigl_rl.training import run_directory as run_directory_lib

if TYPE_CHECKING:
  from rigl_rl.environments import atari

# One to fall back to, should the newest be torn.
_CHECKPOINTS_KEPT = 2


@gin.configurable(denylist=['run_directory', 'seed', 'train_steps'])
class DopamineRunner(run_experiment.Runner):
  """Trains a DQN agent, evaluates it at fixed steps, and can be restarted.

  Dopamine's Runner plays whole episodes: an iteration of training overshoots
  its steps by up to an episode. Here the next iteration is shorter by as much,
  so that evaluations stay at multiples of the period, give or take one episode.
  The last episode is cut at `train_steps`: a run takes exactly the gradient
  steps that its schedules count. Checkpoints lie between episodes.
  """

  def __init__(
    self,
    run_directory: run_directory_lib.RunDirectory,
    seed: int,
    train_steps: int,
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
      run_directory: where the run is written.
      seed: the run's SEED.
      train_steps: agent steps of training, exactly.
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
    whole = {
      'evaluation_period': evaluation_period,
      'max_steps_per_episode': max_steps_per_episode,
      'checkpoint_period': checkpoint_period,
    }
    if evaluation_steps is None:
      whole['evaluation_episodes'] = evaluation_episodes
    else:
      whole['evaluation_steps'] = evaluation_steps
    for name, value in whole.items():
      check_number(f'DopamineRunner.{name}', value, 1, whole=True)
    self._run_directory = run_directory
    self._seed = seed
    self._train_steps = train_steps
    self._create_environment = create_environment
    self._evaluation_period = min(evaluation_period, train_steps)
    self._evaluation_episodes = evaluation_episodes
    self._evaluation_noise = evaluation_noise
    self._watch = None
    self._checkpoint_period = checkpoint_period
    self._steps_done = 0
    self._progress = None
    super().__init__(
      run_directory.path(),
      self._create_agent,
      lambda: create_environment(seed=seeding.stream_seed(seed, 'environment')),
      num_iterations=-(-train_steps // self._evaluation_period),
      evaluation_steps=evaluation_steps,
      max_steps_per_episode=max_steps_per_episode,
      clip_rewards=clip_rewards,
      use_legacy_logger=False,
      fine_grained_print_to_console=False,
    )

  @property
  def agent(self) -> dqn.SparseDQNAgent:
    return self._agent

  def _create_agent(self, sess, environment, summary_writer):
    """Dopamine's Runner calls this; it hands a directory for summaries.

    The agent gets what writes them when training begins.
    """
    del sess, summary_writer
    return dqn.SparseDQNAgent(
      num_actions=environment.action_space.n,
      observation_space=environment.observation_space,
      seed=self._seed,
      train_steps=self._train_steps,
    )

  def _initialize_checkpointer_and_maybe_resume(self, checkpoint_file_prefix):
    del checkpoint_file_prefix
    self._checkpointer = checkpointing.Checkpointer(
      self._run_directory.checkpoints, keep=_CHECKPOINTS_KEPT
    )
    self._start_iteration = 0
    fresh = None
    if self._checkpointer.steps():
      fresh = self._get_state(self._agent.get_state(), iteration=-1)
    self._checkpointer.load_latest(
      accept=self._resume, undo=lambda: self._set_state(fresh)
    )
    # Built now, so that a mistake is told before time is spent.
    self._evaluation_environment(seed=0, episode=0).close()

  def _get_state(self, agent: dict[str, Any], iteration: int) -> dict[str, Any]:
    """Returns all that the run goes on from after an iteration."""
    return {
      'agent': agent,
      'environment': self._environment.get_state(),
      'run_directory': self._run_directory.get_state(),
      'steps_done': self._steps_done,
      'iteration': iteration,
    }

  def _set_state(self, state: dict[str, Any]) -> None:
    self._agent.set_state(state['agent'])
    self._environment.set_state(state['environment'])
    self._run_directory.set_state(state['run_directory'])
    self._steps_done = operator.index(state['steps_done'])
    self._start_iteration = operator.index(state['iteration']) + 1

  def _resume(self, state: dict[str, Any]) -> None:
    """Goes on from a checkpoint; raises an error if it cannot be used."""
    self._set_state(state)
    self._agent.unbundle(
      self._run_directory.replay, state['iteration'], state['agent']
    )

  def _checkpoint_experiment(self, iteration):
    last = iteration + 1 == self._num_iterations
    if (iteration + 1) % self._checkpoint_period and not last:
      return
    self._agent.check_loss()
    # A run that goes on from here writes later ones only.
    self._summary_writer.flush()
    replay_directory = self._run_directory.replay
    files.make_directory(replay_directory)
    try:
      agent = self._agent.bundle_and_checkpoint(replay_directory, iteration)
      self._checkpointer.save(
        self._steps_done, self._get_state(agent, iteration)
      )
    finally:
      self._run_directory.clean_replay()

  def run_experiment(self) -> None:
    """Trains to the end, or on from where the last checkpoint was."""
    self._progress = progress.Progress(self._train_steps, self._steps_done)
    # Not before: a run that is refused leaves no file behind.
    self._summary_writer = event_writer.create(
      self._run_directory.events, self._steps_done
    )
    self._agent.summary_writer = self._summary_writer
    try:
      for iteration in range(self._start_iteration, self._num_iterations):
        self._run_one_iteration(iteration)
        self._checkpoint_experiment(iteration)
    finally:
      self._progress.close()

  def _run_one_iteration(self, iteration):
    """Trains up to the next multiple of the period, then evaluates."""
    begin_step, begin_time = self._steps_done, time.monotonic()
    end_step = (iteration + 1) * self._evaluation_period
    self._training_steps = min(end_step, self._train_steps) - begin_step
    statistics = iteration_statistics.IterationStatistics()
    train_episodes, train_return, steps_per_second = self._run_train_phase(
      statistics
    )
    self._agent.check_loss()
    returns = self._evaluate(
      seeding.stream_seed(self._seed, 'evaluation', iteration)
    )

    if self._steps_done > begin_step:  # Else one long episode spans periods.
      self._run_directory.append_evaluation(
        {
          'step': self._steps_done,
          'return_mean': float(np.mean(returns)),
          'return_std': float(np.std(returns)),
          'episodes': len(returns),
        }
      )
      elapsed = self._run_directory.elapsed_seconds
      self._run_directory.append_timing(
        self._steps_done,
        elapsed + time.monotonic() - begin_time,
        steps_per_second,
      )
    self._save_tensorboard_summaries(
      self._steps_done,
      train_episodes,
      train_return,
      len(returns),
      np.mean(returns),
      steps_per_second,
    )
    self._progress.evaluated(self._steps_done, float(np.mean(returns)))
    return statistics.data_lists

  def _run_one_episode(self):
    limit = self._max_steps_per_episode
    if not self._agent.eval_mode:
      steps_left = self._train_steps - self._steps_done
      self._max_steps_per_episode = min(limit, steps_left)
    try:
      return super()._run_one_episode()
    finally:
      self._max_steps_per_episode = limit

  def _run_one_step(self, action):
    if not self._agent.eval_mode:
      self._steps_done += 1
      if self._progress is not None:
        self._progress.step()
    return super()._run_one_step(action)

  def _end_episode(self, reward, terminal=True):
    # Dopamine's own Runner tells this to its JAX agents only.
    self._agent.end_episode(reward, terminal)

  def evaluate(
    self,
    seed: int,
    watch: Callable[[Any], Any] | None = None,
    noise_std: float | None = None,
  ) -> np.ndarray:
    """Evaluates as training does, by the weights of this moment.

    Args:
      seed: decides the episodes, whatever the run's SEED.
      watch: wraps the environment of the first episode (of all episodes, where
        `evaluation_steps` has them one after the other); None for nothing.
      noise_std: of noise on pixels, in gray levels, instead of
        `evaluation_noise`.

    Returns:
      float64 array of shape (episodes,): undiscounted returns.
    """
    before = self._evaluation_noise
    self._watch = watch
    if noise_std is not None:
      self._evaluation_noise = noise_std
    try:
      return self._evaluate(seeding.stream_seed(seed, 'evaluation'))
    finally:
      self._watch, self._evaluation_noise = None, before

  def _evaluate(self, seed: int) -> np.ndarray:
    """Returns the undiscounted return of each episode of an evaluation."""
    if self._evaluation_episodes is not None:
      return evaluation.evaluate_episodes(
        self._agent.greedy_policy(),
        [
          self._evaluation_environment(seed, episode)
          for episode in range(self._evaluation_episodes)
        ],
        self._agent.online.state_shape,
        self._agent.epsilon_eval,
        seeding.generator(seed, 'exploration'),
        self._max_steps_per_episode,
      )
    statistics = iteration_statistics.IterationStatistics()
    training_environment = self._environment
    self._environment = self._evaluation_environment(seed, episode=0)
    self._agent.begin_evaluation(seed)
    try:
      self._run_eval_phase(statistics)
    finally:
      self._agent.end_evaluation()
      self._environment.close()
      self._environment = training_environment
    return np.array(statistics.data_lists['eval_episode_returns'])

  def _evaluation_environment(self, seed: int, episode: int):
    environment = self._create_environment(
      seed=seeding.stream_seed(seed, 'environment', episode)
    )
    if self._evaluation_noise:
      environment = noise.ObservationNoise(
        environment,
        seed=seeding.stream_seed(seed, 'noise', episode),
        sigma=self._evaluation_noise,
      )
    if self._watch is not None and episode == 0:
      environment = self._watch(environment)
    return environment

  @property
  def title(self) -> str:
    """The method in words: 'RigL at 90 % sparsity'."""
    return self._agent.title

  def describe(self) -> dict[str, Any]:
    """Returns what summary.json says of the network and its cost."""
    return self._agent.describe()
