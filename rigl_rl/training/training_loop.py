"""TrainingLoop: periods of training, each with evaluation and checkpoint."""

from __future__ import annotations

import operator
import time
from typing import Any, Callable, Sequence

import numpy as np
import tensorflow as tf
from tf_agents.trajectories import time_step as ts

from rigl_rl import files, seeding
from rigl_rl.checks import check_number
from rigl_rl.training import checkpointing, evaluation, event_writer, progress
from rigl_rl.training import run_directory as run_directory_lib

# One to fall back to, should the newest be torn.
CHECKPOINTS_KEPT = 2


class TrainingLoop:
  """What loops over TF-Agents' agents share: all but how they train.

  A subclass builds its agent before it calls this constructor, and says how to
  train for a period (`train`) and what its state is (`_get_state`,
  `_set_state`). An agent has `greedy_policy()`, `write_summaries()`, `title`,
  `describe()`, `get_state()` and `set_state()`.

  Attributes:
    agent: what is trained.
    environment: what it is trained on.
    steps_done: environment steps done.
  """

  def __init__(
    self,
    run_directory: run_directory_lib.RunDirectory,
    seed: int,
    period_ends: list[int],
    agent: Any,
    environment: Any,
    create_environment: Callable[..., Any],
    evaluation_episodes: int,
    checkpoint_period: int,
    replay: Any = None,
  ):
    """Resumes from a checkpoint if there is one.

    Args:
      run_directory: where the run is written.
      seed: the run's SEED.
      period_ends: environment steps after each of which comes an evaluation;
        the last one is the end of training.
      agent: what is trained.
      environment: what it is trained on.
      create_environment: makes an environment from a seed.
      evaluation_episodes: episodes of an evaluation, played side by side.
      checkpoint_period: evaluations between checkpoints.
      replay: buffer whose transitions lie in files beside the checkpoints; None
        if there is none.

    Raises:
      UserError: on a value outside its range, or if none of the checkpoints
        can be used.
    """
    name = type(self).__name__
    check_number(
      f'{name}.evaluation_episodes', evaluation_episodes, 1, whole=True
    )
    check_number(f'{name}.checkpoint_period', checkpoint_period, 1, whole=True)
    self.agent = agent
    self.environment = environment
    self._run_directory = run_directory
    self._seed = seed
    self._period_ends = period_ends
    self._checkpoint_period = checkpoint_period
    self._replay = replay
    # Kept: an evaluation begins with a seed, so that they hold no state.
    self._evaluation_environments = [
      create_environment(seed=0) for _ in range(evaluation_episodes)
    ]
    self._writer = None
    self.steps_done = 0
    self._periods_done = 0
    self._progress = None
    self._checkpointer = checkpointing.Checkpointer(
      run_directory.checkpoints, keep=CHECKPOINTS_KEPT
    )
    fresh = self._get_whole_state() if self._checkpointer.steps() else None
    self._checkpointer.load_latest(
      accept=self._resume, undo=lambda: self._set_whole_state(fresh)
    )

  def train(self, end_step: int) -> list[float]:
    """Trains until `end_step` environment steps are done.

    Counts them by `_count_step`.

    Returns:
      The undiscounted returns of the episodes that ended.
    """
    raise NotImplementedError

  def _get_state(self) -> dict[str, Any]:
    """Returns the state beside agent, environment, history and replay."""
    return {}

  def _set_state(self, state: dict[str, Any]) -> None:
    """Goes on from what `_get_state` returned; an error if it cannot."""

  def _lose_episode(self) -> None:
    """Called where the environment cannot go on within its episode.

    The next step has to begin another one. gymnasium's own tasks never come
    here.
    """

  def run_experiment(self) -> None:
    """Trains to the end, or on from where the last checkpoint was."""
    self._progress = progress.Progress(self._period_ends[-1], self.steps_done)
    # Not before: a run that is refused leaves no file behind.
    self._writer = event_writer.create(
      self._run_directory.events, self.steps_done
    )
    try:
      for period in range(self._periods_done, len(self._period_ends)):
        self._run_period(period)
        is_last = period + 1 == len(self._period_ends)
        if (period + 1) % self._checkpoint_period == 0 or is_last:
          self._save_checkpoint()
    finally:
      self._progress.close()
      self._writer.flush()

  def _run_period(self, period: int) -> None:
    begin_step, begin_time = self.steps_done, time.monotonic()
    train_returns = self.train(self._period_ends[period])
    train_seconds = time.monotonic() - begin_time
    returns = self._evaluate(period)
    step = self.steps_done
    rate = (step - begin_step) / train_seconds
    self._run_directory.append_evaluation(
      {
        'step': step,
        'return_mean': float(np.mean(returns)),
        'return_std': float(np.std(returns)),
        'episodes': len(returns),
      }
    )
    seconds = (
      self._run_directory.elapsed_seconds + time.monotonic() - begin_time
    )
    self._run_directory.append_timing(step, seconds, rate)
    with self._writer.as_default(step=step):
      tf.summary.scalar('evaluation/return', np.mean(returns))
      tf.summary.scalar('train/steps_per_second', rate)
      if train_returns:
        tf.summary.scalar('train/return', np.mean(train_returns))
      self.agent.write_summaries()
    self._progress.evaluated(step, float(np.mean(returns)))
    self._periods_done = period + 1

  def _count_step(self) -> None:
    self.steps_done += 1
    if self._progress is not None:
      self._progress.step()

  def _evaluate(self, period: int) -> np.ndarray:
    """Returns the undiscounted return of each episode of an evaluation."""
    return self._play(self._evaluation_environments, self._seed, period)

  def evaluate(
    self, seed: int, watch: Callable[[Any], Any] | None = None
  ) -> np.ndarray:
    """Evaluates as training does, by the weights of this moment.

    Args:
      seed: decides the episodes, whatever the run's SEED.
      watch: wraps the environment of the first episode; None for nothing.

    Returns:
      float64 array of shape (episodes,): undiscounted returns.
    """
    environments = list(self._evaluation_environments)
    if watch is not None:
      environments[0] = watch(environments[0])
    return self._play(environments, seed)

  def _play(
    self, environments: Sequence[Any], seed: int, *names: int
  ) -> np.ndarray:
    for episode, environment in enumerate(environments):
      environment.seed(seeding.stream_seed(seed, 'evaluation', *names, episode))
    return evaluation.evaluate_policy(self.agent.greedy_policy(), environments)

  def _get_whole_state(self) -> dict[str, Any]:
    """Returns all that the run goes on from but the replay buffer."""
    return {
      'agent': self.agent.get_state(),
      'environment': self.environment.get_state(),
      'run_directory': self._run_directory.get_state(),
      'loop': self._get_state(),
      'steps_done': self.steps_done,
      'periods_done': self._periods_done,
    }

  def _set_whole_state(self, state: dict[str, Any]) -> None:
    self.agent.set_state(state['agent'])
    self.environment.set_state(state['environment'])
    self._run_directory.set_state(state['run_directory'])
    self._set_state(state['loop'])
    self.steps_done = operator.index(state['steps_done'])
    self._periods_done = operator.index(state['periods_done'])

  def _save_checkpoint(self) -> None:
    self._writer.flush()  # A run that goes on from here writes later ones only.
    state = self._get_whole_state()
    if self._replay is None:
      self._checkpointer.save(self.steps_done, state)
      return
    directory = self._run_directory.replay
    files.make_directory(directory)
    try:
      state['loop']['replay'] = self._replay.save(directory)
      self._checkpointer.save(self.steps_done, state)
    finally:
      self._run_directory.clean_replay()

  def _resume(self, state: dict[str, Any]) -> None:
    """Goes on from a checkpoint; raises an error if it cannot be used."""
    self._set_whole_state(state)
    # A checkpoint is never taken at the end of an episode.
    if self.environment.current_time_step().step_type == ts.StepType.LAST:
      self._lose_episode()
    # Last: it empties the buffer if it fails.
    if self._replay is not None:
      self._replay.load(self._run_directory.replay, state['loop']['replay'])

  @property
  def title(self) -> str:
    """The method in words: 'RigL at 90 % sparsity'."""
    return self.agent.title

  def describe(self) -> dict[str, Any]:
    """Returns what summary.json says of the networks and their cost."""
    return self.agent.describe()
