"""TrainingLoop: periods of training, each with evaluation and checkpoint."""

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
import operator
import time
from typing import Any, Callable, Sequence

import numpy as np
import tensorflow as tf

from rigl_rl import files
from rigl_rl.training import event_writer, progress
from rigl_rl.training import run_directory as run_directory_lib


@dataclasses.dataclass
class _Evaluation:
  """An evaluation that may still run.

  Attributes:
    step: environment steps of training before it.
    rate: environment steps per second of the period that it ends.
    returns: waits for the return of each episode.
    checkpoint: the state to save after it; None for none.
  """

  step: int
  rate: float
  returns: Callable[[], np.ndarray]
  checkpoint: dict[str, Any] | None = None


class TrainingLoop:
  """What the loops of all agents share: all but how they train and evaluate.

  A subclass builds its agent before it calls this constructor, and defines how
  to train for a period (`train`), how to evaluate (`_play`) and what its state
  is (`_get_state`, `_set_state`). An agent has `title`, `describe()`,
  `last_loss`, `write_summaries()`, `get_state()` and `set_state()`.

  Attributes:
    agent: what is trained.
    environment: what it is trained on.
    steps_done: environment steps done.
  """

  def __init__(
    self,
    run_directory: run_directory_lib.RunDirectory,
    seed: int,
    train_steps: int,
    agent: Any,
    environment: Any,
    evaluation_period: int,
    checkpoint_period: int,
    replay: Any = None,
    evaluation_processes: int = 0,
  ):
    """Resumes from a checkpoint if there is one.

    Args:
      run_directory: where the run is written.
      seed: the run's SEED.
      train_steps: environment steps of training.
      agent, environment: see the class.
      evaluation_period: environment steps between evaluations; the last one
        comes at the end of training.
      checkpoint_period: evaluations between checkpoints.
      replay: buffer whose transitions are in files beside the checkpoints; None
        if there is none.
      evaluation_processes: how many evaluations that `_begin_evaluation` began
        may run while training continues; with 0, training waits. A replay needs
        0.

    Raises:
      UserError: none of the checkpoints can be used.
    """
    self.agent = agent
    self.environment = environment
    self._run_directory = run_directory
    self._seed = seed
    self._evaluation_period = evaluation_period
    TrainingLoop.extend(self, [train_steps])
    self._checkpoint_period = checkpoint_period
    self._replay = replay
    self._evaluation_processes = evaluation_processes
    self._running: collections.deque[_Evaluation] = collections.deque()
    self._writer = None
    self.steps_done = 0
    self._periods_done = 0
    self._progress = None
    self._resume_latest()

  def extend(self, lengths: Sequence[int]) -> None:
    """Trains longer than the agent's schedules count; see `extension`.

    `lengths` are environment steps of the run at first, and of each extension.
    """
    self._lengths = lengths
    # Steps after each of which comes an evaluation, as the last of each length.
    period = self._evaluation_period
    periods = range(period, lengths[-1], period)
    self._period_ends = sorted({*periods, *lengths})

  def train(self, end_step: int) -> list[tuple[float, float]]:
    """Trains until `end_step` environment steps are done, or somewhat more.

    Calls `_count_step` after each.

    Returns:
      The undiscounted return, and the length, of each episode that ended.
    """
    raise NotImplementedError

  def _play(
    self, watch: Callable[[Any], Any] | None, seed: int, *names: int
  ) -> np.ndarray:
    """Evaluates as `evaluate` does; `names` name evaluations with one seed."""
    raise NotImplementedError

  def _begin_evaluation(self, period: int) -> Callable[[], np.ndarray]:
    """Returns what waits for the return of each episode of an evaluation."""
    return functools.partial(self._play, None, self._seed, period)

  def _get_state(self) -> dict[str, Any]:
    """Returns the state beside agent, environment, history and replay."""
    return {}

  def _set_state(self, state: dict[str, Any]) -> None:
    """Restores what `_get_state` returned; raises an error if it cannot."""

  def run_experiment(self) -> None:
    """Trains to the end, from the last checkpoint if there is one."""
    self._progress = progress.Progress(
      self._period_ends[-1], self.steps_done, lambda: self.agent.last_loss
    )
    # Not earlier: a refused run leaves no file behind.
    self._writer = event_writer.create(
      self._run_directory.events,
      self.steps_done,
      self._run_directory.settings(),
    )
    self._clock = time.monotonic() - self._run_directory.elapsed_seconds
    try:
      for period in range(self._periods_done, len(self._period_ends)):
        # The last episode of the previous period may have used up this one.
        if self.steps_done < self._period_ends[period]:
          self._run_period(period)
        self._periods_done = period + 1
        is_last = self._periods_done == len(self._period_ends)
        if is_last or self._periods_done % self._checkpoint_period == 0:
          self._save_checkpoint()
      self._finish_evaluations()
    except Exception:
      self._finish_evaluations()
      raise
    finally:
      self._progress.close()
      self._writer.flush()

  def _run_period(self, period: int) -> None:
    begin_step, begin_time = self.steps_done, time.monotonic()
    episodes = self.train(self._period_ends[period])
    step = self.steps_done
    rate = (step - begin_step) / (time.monotonic() - begin_time)
    with self._writer.as_default(step=step):
      tf.summary.scalar('train/steps_per_second', rate)
      if episodes:
        train_return, length = np.mean(episodes, axis=0)
        tf.summary.scalar('train/return', train_return)
        tf.summary.scalar('train/episode_length', length)
      self._write_agent_summaries()
    begun = self._begin_evaluation(period)
    self._running.append(_Evaluation(step, rate, begun))
    self._finish_evaluations(self._evaluation_processes)

  def _finish_evaluations(self, left: int = 0) -> None:
    """Waits for the oldest evaluations until only `left` of them run."""
    while len(self._running) > left:
      evaluation = self._running.popleft()
      returns = evaluation.returns()
      step, mean = evaluation.step, float(np.mean(returns))
      self._run_directory.append_evaluation(
        step, mean, np.std(returns), len(returns)
      )
      self._run_directory.append_timing(
        step, time.monotonic() - self._clock, evaluation.rate
      )
      with self._writer.as_default(step=step):
        tf.summary.scalar('evaluation/return', mean)
      self._progress.evaluated(step, mean)
      if evaluation.checkpoint is not None:
        self._write_checkpoint(evaluation.checkpoint)

  def _count_step(self) -> None:
    self.steps_done += 1
    if self._progress is not None:
      self._progress.step()

  def _write_agent_summaries(self) -> None:
    self.agent.write_summaries()

  def evaluate(
    self,
    seed: int,
    watch: Callable[[Any], Any] | None = None,
    **options: float,
  ) -> np.ndarray:
    """Evaluates as training does, with the current weights.

    Args:
      seed: decides the episodes, independently of the run's SEED.
      watch: wraps the environment of the first episode; None for nothing.
      **options: of the loop's own evaluations, such as DopamineRunner's
        `noise_std`: noise on pixels, in gray levels.

    Returns:
      float64 array of shape (episodes,): undiscounted returns.
    """
    return self._play(watch, seed, **options)

  def _get_whole_state(self) -> dict[str, Any]:
    """Returns all that a resumed run needs, except the replay buffer."""
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
    """Saves the state of this moment, once all evaluations before it are in."""
    state = self._get_whole_state()
    if self._running:
      # Arrays may be the memory of variables, which training changes.
      self._running[-1].checkpoint = copy.deepcopy(state)
    else:
      self._write_checkpoint(state)

  def _write_checkpoint(self, state: dict[str, Any]) -> None:
    self._writer.flush()  # A resumed run writes later events only.
    state['run_directory'] = self._run_directory.get_state()
    step = state['steps_done']
    if self._replay is None:
      self._run_directory.checkpoints.save(step, state)
      return
    directory = self._run_directory.replay
    files.make_directory(directory)
    try:
      state['loop']['replay'] = self._replay.save(directory)
      self._run_directory.checkpoints.save(step, state)
    finally:
      self._run_directory.clean_replay()

  def _resume_latest(self) -> None:
    """Resumes from the newest checkpoint that can be used, if there is one."""
    checkpoints = self._run_directory.checkpoints
    fresh = self._get_whole_state() if checkpoints.steps() else {}

    def resume(state: dict[str, Any]) -> None:
      try:
        self._resume(state)
      except Exception:
        self._set_whole_state(fresh)
        raise

    checkpoints.load_latest(resume)

  def _resume(self, state: dict[str, Any]) -> None:
    """Resumes from a checkpoint, or raises an error."""
    self._set_whole_state(state)
    # Last: it empties the buffer if it fails.
    if self._replay is not None:
      self._replay.load(self._run_directory.replay, state['loop']['replay'])

  @property
  def title(self) -> str:
    """The method in words: 'RigL at 90 % sparsity'."""
    return self.agent.title

  def describe(self) -> dict[str, Any]:
    """Returns the networks and their cost, for run.json and summary.json."""
    return self.agent.describe()
