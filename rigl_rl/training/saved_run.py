"""Runs that were trained before, to be evaluated again; they are only read."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from typing import Any, Callable, Sequence

import gin
import numpy as np
import tensorflow as tf

from rigl_rl import files, readers
from rigl_rl.agents import variables as variables_lib
from rigl_rl.config import bindings, effects, parsing
from rigl_rl.errors import UserError
from rigl_rl.training import checkpointing, quiet, record, run
from rigl_rl.training import run_directory as run_directory_lib


@dataclasses.dataclass(frozen=True)
class SavedRun:
  """A run as it was at a checkpoint.

  Attributes:
    directory: the run directory.
    step: of the checkpoint, in environment steps (agent steps on Atari).
    task: what it is trained on.
    runner: a DopamineRunner, ActorCriticLoop or PPOLoop, with the weights of
      the checkpoint. It can evaluate, and nothing else.
  """

  directory: str
  step: int
  task: str
  runner: Any

  @property
  def title(self) -> str:
    """The method in words: 'RigL at 90 % sparsity'."""
    return self.runner.title

  @property
  def sees_pixels(self) -> bool:
    """Whether its observations are pixels, to which noise can be added."""
    return getattr(self.runner.agent, 'observation_dtype', None) == tf.uint8

  def evaluate(
    self,
    seed: int,
    noise_std: float | None = None,
    watch: Callable[[Any], Any] | None = None,
  ) -> np.ndarray:
    """Evaluates as training does, by the same code.

    Args:
      seed: decides the episodes, independently of the run's SEED.
      noise_std: standard deviation of noise on pixels, in gray levels; None for
        what the run's own evaluations have, which most often is none.
      watch: wraps the environment of the first episode; None for nothing.

    Returns:
      float64 array of shape (episodes,): undiscounted returns.

    Raises:
      UserError: noise is asked for, and there are no pixels.
    """
    if noise_std is None:
      return self.runner.evaluate(seed, watch)
    self.check_noise(noise_std)
    return self.runner.evaluate(seed, watch, noise_std=noise_std)

  def check_noise(self, noise_std: float) -> None:
    """Raises UserError if there are no pixels to which to add noise."""
    if not self.sees_pixels:
      raise UserError(
        f'--observation_noise is {noise_std:g}, but must be left out for '
        f'{self.directory!r}, whose task, {self.task}, shows no pixels.'
      )


def steps(directory: str) -> list[int]:
  """Returns the steps of a run's checkpoints, ascending."""
  run_directory = run_directory_lib.RunDirectory(directory)
  return checkpointing.Checkpointer(run_directory.checkpoints).steps()


def load(
  directory: str,
  checkpoint: int | None = None,
  episodes: int | None = None,
  gin_bindings: Sequence[str] = (),
  render: bool = False,
) -> SavedRun:
  """Builds a run by its config.gin, with the weights of a checkpoint.

  The gin config is cleared before, and stays the run's afterwards.

  Args:
    directory: of the run.
    checkpoint: its step; None for the newest that is whole.
    episodes: of an evaluation; None for as many, or as many agent steps, as
      training has.
    gin_bindings: single bindings, which win over the run's.
    render: whether the environments are to give pictures.

  Returns:
    The run.

  Raises:
    UserError: there is no such run or checkpoint, or it does not fit its
      config.
  """
  run_directory = run_directory_lib.RunDirectory(directory)
  path = run_directory.path(record.CONFIG)
  if not files.exists(path):
    raise UserError(
      f'--run is {directory!r}, but must be the directory of a run, or hold '
      f'some: there is no {record.CONFIG}.'
    )
  step, state = _load_state(directory, run_directory.checkpoints, checkpoint)
  gin.clear_config()
  readers.read_text(path)
  modules_from = record.read(directory)['modules_from']
  overrides = _overrides(episodes, render)
  with (
    readers.contents_of(path),
    tempfile.TemporaryDirectory() as scratch,
    parsing.search_path(modules_from),
  ):
    with quiet.import_quietly():
      config = parsing.parse_saved(path, gin_bindings)
      with gin.unlock_config():
        # Only what the run imports is known.
        gin.parse_config([*overrides, *gin_bindings], skip_unknown=True)
    bound = bindings.read(run.train, ('runner', 'seed', 'train_steps', 'task'))
    runner = bound['runner'](
      # What it writes, if only events, must not reach the run.
      run_directory_lib.RunDirectory(os.path.join(scratch, 'run')),
      seed=bound['seed'],
      train_steps=bound['train_steps'],
    )
  effects.Given(config, gin_bindings, is_saved=True).check()
  if not hasattr(runner, 'evaluate'):
    raise UserError(
      f'--run is {directory!r}, whose train.runner, {type(runner).__name__}, '
      'has no method evaluate(seed, watch): it cannot be evaluated.'
    )
  try:
    _restore(runner, state)
  except Exception as error:  # Whatever the content leads to.
    raise UserError(
      f'--run is {directory!r}, whose checkpoint of step {step} does not fit '
      f'its {record.CONFIG}: {readers.reason(error)}'
    ) from error
  return SavedRun(directory, step, str(bound.get('task', '')), runner)


def _load_state(
  directory: str, path: str, checkpoint: int | None
) -> tuple[int, dict[str, Any]]:
  """Returns step and state of a checkpoint, the newest whole one if None."""
  reader = checkpointing.Checkpointer(path)
  if checkpoint is None:
    loaded = reader.load_latest()
    if loaded is None:
      raise UserError(
        f'--run is {directory!r}, but must hold a whole checkpoint: there is '
        'none.'
      )
    return loaded
  if checkpoint not in reader.steps():
    known = ', '.join(map(str, reader.steps())) or 'none'
    raise UserError(
      f'--checkpoint is {checkpoint}, but must be the step of one in '
      f'{directory!r}: {known}.'
    )
  try:
    return checkpoint, reader.load(checkpoint)
  except readers.FileError as error:
    raise UserError(
      f'--checkpoint is {checkpoint}, which must be a whole one: {error}'
    ) from error


def _overrides(episodes: int | None, render: bool) -> list[str]:
  """Returns bindings of what differs from training."""
  # What fills the replay buffer at first may lie in a run that is gone.
  overrides = ['ActorCriticLoop.initial_policy = None']
  if episodes is not None:
    overrides.append('DopamineRunner.evaluation_steps = None')
    overrides += [
      f'{runner}.evaluation_episodes = {episodes}'
      for runner in ('DopamineRunner', 'ActorCriticLoop', 'PPOLoop')
    ]
  if render:
    overrides += [
      f'create_{kind}_environment.render = True'
      for kind in ('classic_control', 'mujoco')
    ]
  return overrides


def _restore(runner: Any, state: dict[str, Any]) -> None:
  """Puts the weights of a checkpoint in place."""
  if 'online' in state['agent']:
    # Of DQN, which plays by its online network only.
    variables_lib.assign(
      runner.agent.online.variables, state['agent']['online']
    )
  else:
    runner.agent.set_state(state['agent'])
