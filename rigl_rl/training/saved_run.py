"""Runs that were trained before, to act or to be evaluated again."""

from __future__ import annotations

import os
import tempfile
from typing import Any, NamedTuple, Sequence

import gin
import numpy as np

from rigl_rl import quiet, readers
from rigl_rl.config import bindings, parsing
from rigl_rl.errors import UserError
from rigl_rl.training import record, run
from rigl_rl.training import run_directory as run_directory_lib


class Policy:
  """The greedy policy of an agent: equal observations give equal actions.

  Attributes:
    observation_shape: of one observation. SAC, TD3, PPO: `(n,)`, as the
      environment gives it. DQN: `(n,)` too, or the stacked frames of Atari,
      `(84, 84, 4)`, the newest last.
    agent: whose policy it is.
    greedy: maps states `(batch, *agent.state_shape)` to actions.
  """

  def __init__(self, agent: Any):
    """Takes the agent's weights of this moment."""
    self.agent = agent
    self.greedy = agent.greedy_policy()
    self._dtype = agent.observation_dtype.as_numpy_dtype
    self._state_shape = first, *others = agent.state_shape
    # DQN's state is a stack of observations, and gray pictures have a channel.
    self.observation_shape = (first, *(n for n in others if n > 1))

  def __call__(self, observation: np.ndarray) -> np.ndarray:
    """Returns the action for an observation, of `observation_shape`.

    It is `(m,)`, or an integer where actions are discrete. A batch of
    observations gets `(batch, m)`, or `(batch,)`.

    Raises:
      UserError: the observation has another shape.
    """
    observation = np.asarray(observation)
    is_batch = observation.ndim == len(self.observation_shape) + 1
    if observation.shape[is_batch:] != self.observation_shape:
      one = ', '.join(map(str, self.observation_shape))
      raise UserError(
        f'The observation is of shape {observation.shape}, but must be of '
        f'shape {self.observation_shape}, or (batch, {one}).'
      )
    states = observation.astype(self._dtype).reshape(-1, *self._state_shape)
    actions = np.array(self.greedy(states))
    return actions if is_batch else actions[0]


class SavedRun(NamedTuple):
  """A run as it was at a checkpoint.

  Attributes:
    step: of the checkpoint, in environment steps (agent steps on Atari).
    runner: a DopamineRunner, ActorCriticLoop or PPOLoop, with the weights of
      the checkpoint. It can only `evaluate`; its agent acts by `Policy`.
  """

  step: int
  runner: Any


def load(
  directory: str,
  checkpoint: int | None = None,
  episodes: int | None = None,
  gin_bindings: Sequence[str] = (),
  render: bool = False,
  as_masked: bool = False,
) -> SavedRun:
  """Builds a run by its config.gin, with the weights of a checkpoint.

  The gin config is cleared before, and stays the run's afterwards.

  Args:
    directory: of the run.
    checkpoint: its step; None for the newest that is whole.
    episodes: of an evaluation; None for as many, or as many agent steps, as
      training has.
    gin_bindings: single bindings, which win over the run's.
    render: whether the environments give pictures.
    as_masked: whether all layers are stored masked, even if the run stores some
      sparsely.

  Raises:
    UserError: there is no such run or checkpoint, or it does not fit its
      config.
  """
  record.check_run(directory, '--run')
  path = os.path.join(directory, record.CONFIG)
  reader = run_directory_lib.checkpoints(directory, checkpoint)
  if checkpoint is None:
    step, state = reader.load_latest()
  else:
    step, state = checkpoint, reader.load(checkpoint)
  gin.clear_config()
  readers.read_text(path)
  modules_from = record.describe(directory)['modules_from']
  overrides = _overrides(episodes, render, as_masked)
  with (
    readers.contents_of(path),
    tempfile.TemporaryDirectory() as scratch,
    parsing.search_path(modules_from),
  ):
    with quiet.import_quietly():
      given = parsing.parse([path], gin_bindings, is_saved=True)
      with gin.unlock_config():
        # Only what the run imports is known.
        gin.parse_config([*overrides, *gin_bindings], skip_unknown=True)
    bound = bindings.read(run.train, ('runner', 'seed', 'train_steps'))
    # What it writes, if only events, must not reach the run.
    elsewhere = run_directory_lib.RunDirectory(os.path.join(scratch, 'run'))
    runner = bound.pop('runner')(elsewhere, **bound)
  given.check()
  if not hasattr(runner, 'evaluate'):
    raise UserError(
      f'--run is {directory!r}, whose train.runner, {type(runner).__name__}, '
      'has no method evaluate(seed, watch): it cannot be evaluated.'
    )
  try:
    runner.agent.set_state(state['agent'])
  except Exception as error:  # Whatever the content leads to.
    raise UserError(
      f'--run is {directory!r}, whose checkpoint of step {step} does not fit '
      f'its {record.CONFIG}: {readers.reason(error)}'
    ) from error
  return SavedRun(step, runner)


def _overrides(episodes: int | None, render: bool, as_masked: bool) -> list:
  """Returns the bindings that differ from those of training."""
  # What fills the replay buffer at first may be in a run that is gone.
  overrides = {'ActorCriticLoop.initial_policy': None}
  if episodes is not None:
    overrides['DopamineRunner.evaluation_steps'] = None
    for runner in ('DopamineRunner', 'ActorCriticLoop', 'PPOLoop'):
      overrides[f'{runner}.evaluation_episodes'] = episodes
  if render:
    for kind in ('classic_control', 'mujoco'):
      overrides[f'create_{kind}_environment.render'] = True
  if as_masked:
    for scope in ('', 'actor/', 'critic/', 'value/'):
      overrides[f'{scope}sparsify.storage'] = 'masked'
  return [f'{name} = {value!r}' for name, value in overrides.items()]
