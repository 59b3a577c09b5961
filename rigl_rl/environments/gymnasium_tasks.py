"""What every gymnasium task needs: to be found, unwrapped and restored."""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium import wrappers

from rigl_rl import errors, tasks, wording

# What gymnasium.make puts around a task and our environments do themselves.
_REPLACED_WRAPPERS = (
  wrappers.TimeLimit,
  wrappers.OrderEnforcing,
  wrappers.PassiveEnvChecker,
)

# Tasks whose whole simulator state is known to be `state` (and, for CartPole,
# `steps_beyond_terminated`).
_CLASSIC_CONTROL_MODULE = 'gymnasium.envs.classic_control.'
# These keep nothing outside MuJoCo within an episode.
MUJOCO_MODULE = 'gymnasium.envs.mujoco.'


@dataclasses.dataclass(frozen=True)
class TaskKind:
  """The gymnasium tasks that one of our environments can be made from.

  Attributes:
    preferred: ids of the papers' tasks, the first to suggest for a misspelt
      name.
    allowed: all that is allowed, in words.
  """

  preferred: tuple[str, ...]
  allowed: str

  def make(
    self, env_name: str, render: bool = False, **kwargs: Any
  ) -> gymnasium.Env:
    """Makes a task as gymnasium.make does, but does not advise newer versions.

    Args:
      env_name: gymnasium id; 'module:Name-v0' first imports the module, which
        registers the task.
      render: whether the task must draw pictures on demand.
      **kwargs: passed on to the task.

    Raises:
      UserError: if there is no such task, it cannot be made, or it has no
        pictures, or no vector of observations.
    """
    module, _, task = str(env_name).rpartition(':')
    if render:
      kwargs['render_mode'] = 'rgb_array'
    try:
      if module:
        importlib.import_module(module)
    except ImportError as e:
      reason = f'needs the module {module}, which cannot be imported ({e})'
      raise self.error(env_name, reason) from e
    try:
      with warnings.catch_warnings():
        # The papers' tasks are wanted: no advice to use newer ones.
        warnings.simplefilter('ignore')
        env = gymnasium.make(task, disable_env_checker=True, **kwargs)
    except (gymnasium.error.Error, ImportError) as e:
      raise self.error(env_name, _why_not_made(module, task, e)) from e
    except Exception as e:
      if render and isinstance(e, TypeError):  # It takes no render_mode.
        raise self.error(env_name, 'has no pictures to show') from e
      raise failure(env_name, 'make', e) from e
    # Without a version, gymnasium takes the latest one.
    if env.spec.id != task:
      env.close()
      raise self.error(env_name, 'names no version')
    if not is_vector(env.observation_space):
      raise self.error(env_name, f'has observations {env.observation_space}')
    return env

  def error(self, env_name: Any, reason: str) -> errors.UserError:
    """Builds the one-line error for an ENV_NAME that cannot be used."""
    module, colon, task = str(env_name).rpartition(':')
    hint = ''
    if task not in gymnasium.registry and isinstance(env_name, str):
      for ids in (self.preferred, gymnasium.registry):
        hint = hint or wording.did_you_mean(
          task, ids, form=f'"{module}{colon}{{}}"'
        )
      if not module:
        hint += f' A task of your own needs its module: "my_module:{task}".'
    message = (
      f'ENV_NAME={tasks.quoted(env_name)} {reason}; allowed are '
      f'{self.allowed}.{hint}'
    )
    return errors.UserError(' '.join(message.split()))


def is_vector(space: gymnasium.Space) -> bool:
  """Whether a space holds vectors of numbers."""
  return isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1


def _why_not_made(module: str, task: str, error: Exception) -> str:
  """Says why gymnasium cannot make a task, for `TaskKind.error`."""
  spec = gymnasium.registry.get(task)
  old = re.fullmatch(r'(.+)-v[23]', task)
  if old and f'{old[1]}-v4' in gymnasium.registry:
    # Releases still list old tasks, but cannot make them.
    entry = getattr(spec, 'entry_point', 'gymnasium.envs.')
    home = entry if isinstance(entry, str) else f'{entry.__module__}.'
    if home.startswith('gymnasium.envs.'):
      return f'is a task that gymnasium no longer has: use "{old[1]}-v4"'
  if isinstance(error, gymnasium.error.DependencyNotInstalled):
    return f'needs a package that is missing ({error})'
  if spec is not None:
    return f'cannot be made ({error})'
  if module:
    return f'is not registered by the module {module}'
  return 'is not a gymnasium task'


def failure(
  env_name: Any, method: str, error: Exception
) -> errors.UserCodeError:
  """Builds the error for an environment whose own code raises."""
  message = f'The environment ENV_NAME={tasks.quoted(env_name)}, in {method}(),'
  return errors.UserCodeError(message, error)


def unwrap(env: gymnasium.Env) -> tuple[gymnasium.Env, int | None]:
  """Takes off the wrappers that gymnasium.make puts around every task.

  Each costs a Python call per step. Only the time limit changes what an agent
  sees: returned is the task, in its own wrappers, and that limit, maybe None.
  """
  limits = []
  while isinstance(env, _REPLACED_WRAPPERS):
    if isinstance(env, wrappers.TimeLimit):
      limits.append(env.spec.max_episode_steps)
    env = env.env
  return env, min(limits, default=None)


class TaskEnvironment:
  """What our environments of one gymnasium task share.

  It keeps the seed, the time limit and the state of the task, and names the
  task in errors of the task's own code.
  """

  def __init__(
    self,
    env: gymnasium.Env,
    env_name: str,
    seed: int,
    max_episode_steps: int | None = None,
  ) -> None:
    """Takes a task.

    Args:
      env: what gymnasium.make returned.
      env_name: its gymnasium id.
      seed: non-negative integer, given to the first reset. Later resets
        continue the random stream that it started.
      max_episode_steps: steps after which an episode is cut; None for the
        task's own limit.
    """
    super().__init__()
    self._env, limit = unwrap(env)
    if max_episode_steps is not None:
      limit = max_episode_steps
    self._env_name = env_name
    self._max_episode_steps = math.inf if limit is None else limit
    self._seed = seed  # None once the task's generator has been seeded with it.
    self._started = False  # Whether the task has a generator.
    self._in_episode = False
    self._elapsed_steps = 0

  @property
  def is_of_gymnasium(self) -> bool:
    """Whether this is a task of gymnasium's own, without any wrapper."""
    module = type(self._env).__module__
    return module.startswith((_CLASSIC_CONTROL_MODULE, MUJOCO_MODULE))

  def _reset_task(self) -> np.ndarray:
    """Starts an episode; returns the task's observation."""
    try:
      observation, _ = self._env.reset(seed=self._seed)
    except Exception as error:
      raise failure(self._env_name, 'reset', error) from error
    self._seed = None
    self._started = self._in_episode = True
    self._elapsed_steps = 0
    return observation

  def _step_task(self, action: Any) -> tuple[np.ndarray, Any, bool, dict]:
    """Returns observation, reward, terminated, info; updates `_in_episode`."""
    try:
      observation, reward, terminated, truncated, info = self._env.step(action)
    except Exception as error:
      raise failure(self._env_name, 'step', error) from error
    self._elapsed_steps += 1
    if (
      terminated or truncated or self._elapsed_steps >= self._max_episode_steps
    ):
      self._in_episode = False
    return observation, reward, terminated, info

  @property
  def render_fps(self) -> float:
    """Pictures per second of the task's own time."""
    return float(self._env.metadata.get('render_fps', 30))

  def render(self, mode: str = 'rgb_array') -> np.ndarray:
    """Returns a picture, uint8 (height, width, 3), if made with `render=True`.

    Raises:
      UserError: no picture can be drawn.
    """
    del mode  # Dopamine's and TF-Agents' protocols have it.
    task = self._env.unwrapped.spec.id
    try:
      with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        picture = self._env.render()
    except Exception as e:  # Each graphics library raises errors of its own.
      reason = ' '.join(str(e).split()) or type(e).__name__
      raise errors.UserError(
        f'--video is given, but {task} cannot be drawn here ({reason[:200]}); '
        'MuJoCo draws with MUJOCO_GL=egl, osmesa or glfw in the environment, '
        'where the library of that name is installed.'
      ) from e
    if picture is None:
      raise errors.UserError(
        f'--video is given, but {task} draws no pictures '
        "(render_mode='rgb_array')."
      )
    return np.asarray(picture, np.uint8)

  def close(self) -> None:
    self._env.close()

  def get_state(self) -> dict[str, Any]:
    """Returns all that decides what comes next, as JSON values and arrays.

    Within an episode, that includes the simulator's state, to the bit, only for
    gymnasium's own classic control and MuJoCo tasks: others may hide state
    anywhere.
    """
    task = self._env.unwrapped
    return {
      'env_name': self._env_name,
      'seed': self._seed,
      'rng': task.np_random.bit_generator.state if self._started else None,
      'in_episode': self._in_episode,
      'elapsed_steps': self._elapsed_steps,
      'simulator': self._get_simulator_state() if self._in_episode else None,
    }

  def set_state(self, state: dict[str, Any]) -> None:
    """Continues where `get_state` was called, on the same task and bindings.

    If that was within an episode of a task whose simulator state is unknown,
    the episode ends here, cut off.

    Raises:
      ValueError: if the state belongs to another task.
    """
    if state['env_name'] != self._env_name:
      raise ValueError(
        f'This is the state of {state["env_name"]}, not of {self._env_name}.'
      )
    self._started = state['rng'] is not None
    if self._started:
      # A new generator: a task that was never reset would seed its own from the
      # system.
      generator = np.random.Generator(np.random.PCG64(0))
      generator.bit_generator.state = state['rng']
      self._env.unwrapped.np_random = generator
    # An earlier version saved no seed for classic control.
    self._seed = state.get('seed', None if self._started else self._seed)
    self._elapsed_steps = int(state['elapsed_steps'])
    self._in_episode = bool(state['in_episode']) and (
      state['simulator'] is not None
    )
    if self._in_episode:
      self._set_simulator_state(state['simulator'])

  def _get_simulator_state(self) -> dict[str, Any] | None:
    """Returns JSON and NumPy values; None if the task may hide state."""
    task = self._env.unwrapped
    if not type(task).__module__.startswith(_CLASSIC_CONTROL_MODULE):
      return None
    # MountainCar's state is an array after a reset and a tuple after a step. An
    # array keeps the dtype: Acrobot starts in float32 and continues in float64.
    return {
      'state': np.array(task.state),
      'steps_beyond_terminated': getattr(task, 'steps_beyond_terminated', None),
    }

  def _set_simulator_state(self, state: dict[str, Any]) -> None:
    task = self._env.unwrapped
    task.state = np.array(state['state'])
    if hasattr(task, 'steps_beyond_terminated'):
      task.steps_beyond_terminated = state['steps_beyond_terminated']
