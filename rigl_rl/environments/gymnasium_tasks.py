"""What every gymnasium task needs: to be found, unwrapped and restored."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import math
import re
import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium import wrappers

from rigl_rl import errors, seeding, tasks

# What gymnasium.make puts around a task and our environments do themselves.
_REPLACED_WRAPPERS = (
  wrappers.TimeLimit,
  wrappers.OrderEnforcing,
  wrappers.PassiveEnvChecker,
)

# Tasks whose whole simulator state is known to be `state` (and, for CartPole,
# `steps_beyond_terminated`).
_CLASSIC_CONTROL_MODULE = 'gymnasium.envs.classic_control.'


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

  def make(self, env_name: str, **kwargs: Any) -> gymnasium.Env:
    """Makes a task, without a word about versions.

    Args:
      env_name: gymnasium id; 'module:Name-v0' imports the module that registers
        the task first.
      **kwargs: passed on to the task.

    Returns:
      What gymnasium.make returns.

    Raises:
      UserError: if there is no such task, or it cannot be made.
    """
    module, _, task = str(env_name).rpartition(':')
    try:
      if module:
        importlib.import_module(module)
    except ImportError as e:
      reason = f'needs the module {module}, which cannot be imported ({e})'
      raise self.error(env_name, reason) from e
    try:
      with warnings.catch_warnings():
        # The papers' tasks are what is wanted: no advice to use newer ones.
        warnings.simplefilter('ignore')
        env = gymnasium.make(task, disable_env_checker=True, **kwargs)
    except (gymnasium.error.Error, ImportError) as e:
      raise self.error(env_name, _why_not_made(module, task, e)) from e
    except Exception as e:
      if 'render_mode' in kwargs and isinstance(e, TypeError):
        raise  # `make_to_show` handles it.
      raise failure(env_name, 'make', e) from e
    # Without a version, gymnasium takes the latest one.
    if env.spec.id != task:
      env.close()
      raise self.error(env_name, 'names no version')
    return env

  def make_to_show(
    self, env_name: str, render: bool, **kwargs: Any
  ) -> gymnasium.Env:
    """Makes a task, of which `render` gives pictures if it is to.

    Args:
      env_name: gymnasium id.
      render: whether it is. It costs nothing until a picture is asked for.
      **kwargs: passed on to the task.

    Raises:
      UserError: as `make` does; or the task has no pictures.
    """
    if not render:
      return self.make(env_name, **kwargs)
    try:
      return self.make(env_name, render_mode='rgb_array', **kwargs)
    except TypeError as e:  # It takes no render_mode.
      raise self.error(env_name, 'has no pictures to show') from e

  def error(self, env_name: Any, reason: str) -> errors.UserError:
    """Builds the one-line error for an ENV_NAME that cannot be used."""
    module, colon, task = str(env_name).rpartition(':')
    hint = ''
    if task not in gymnasium.registry and isinstance(env_name, str):
      matches = [
        f'"{module}{colon}{match}"' for match in self._close_matches(task)
      ]
      if matches:
        hint = f' Did you mean {" or ".join(matches)}?'
      if not module:
        hint += f' A task of your own needs its module: "my_module:{task}".'
    message = (
      f'ENV_NAME={tasks.quoted(env_name)} {reason}; allowed are '
      f'{self.allowed}.{hint}'
    )
    return errors.UserError(' '.join(message.split()))

  def _close_matches(self, env_name: str) -> list[str]:
    """Returns up to three ids that look like `env_name`, the likest first."""
    for ids in (self.preferred, sorted(gymnasium.registry)):
      likeness = {
        registered: difflib.SequenceMatcher(
          None, env_name.lower(), registered.lower()
        ).ratio()
        for registered in ids
      }
      close = [registered for registered in ids if likeness[registered] >= 0.7]
      if close:
        return sorted(close, key=likeness.get, reverse=True)[:3]
    return []


def _why_not_made(module: str, task: str, error: Exception) -> str:
  """Says why gymnasium cannot make a task, for `TaskKind.error`."""
  spec = gymnasium.registry.get(task)
  old = re.fullmatch(r'(.+)-v[23]', task)
  if old and f'{old[1]}-v4' in gymnasium.registry:
    # Releases still list them, without what they need, or as what raises.
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

  Each of them costs a Python call a step. The time limit is the only one of
  them that changes what an agent sees; the caller has to keep it.

  Args:
    env: what gymnasium.make returned.

  Returns:
    The task, in the wrappers that are its own, and the number of steps after
    which an episode has to be cut; None if there is no limit.
  """
  limits = []
  while isinstance(env, _REPLACED_WRAPPERS):
    if isinstance(env, wrappers.TimeLimit):
      limits.append(env.spec.max_episode_steps)
    env = env.env
  return env, min(limits, default=None)


def render(env: gymnasium.Env) -> np.ndarray:
  """Returns a picture, uint8 of shape (height, width, 3).

  Args:
    env: a task that was made to show.

  Raises:
    UserError: no picture can be drawn.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      picture = env.render()
  except Exception as e:  # Each graphics library raises errors of its own.
    reason = ' '.join(str(e).split()) or type(e).__name__
    raise errors.UserError(
      f'--video is given, but {env.unwrapped.spec.id} cannot be drawn here '
      f'({reason[:200]}); MuJoCo draws with MUJOCO_GL=egl, osmesa or glfw in '
      'the environment, where the library of that name is installed.'
    ) from e
  if picture is None:
    raise errors.UserError(
      f'--video is given, but {env.unwrapped.spec.id} draws no pictures '
      "(render_mode='rgb_array')."
    )
  return np.asarray(picture, np.uint8)


class TaskEnvironment:
  """What our environments of one gymnasium task share; a mixin.

  It keeps the seed, the time limit and the state of the task, and says which
  task it is whose own code raises.
  """

  def _set_up_task(
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
      seed: non-negative integer, given to the first reset. Later resets go on
        from the generator that it started.
      max_episode_steps: steps after which an episode is cut; None for the
        task's own limit.
    """
    self._env, limit = unwrap(env)
    if max_episode_steps is not None:
      limit = max_episode_steps
    self._env_name = env_name
    self._max_episode_steps = math.inf if limit is None else limit
    self._seed = seed  # None once the task's generator has been seeded with it.
    self._started = False  # Whether the task has a generator.
    self._in_episode = False
    self._elapsed_steps = 0

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
    """Takes a step; returns observation, reward, terminated and info.

    `_in_episode` is false after it if the episode has ended.
    """
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
    """Returns a picture, uint8 of shape (height, width, 3).

    The task has to be made with `render=True`.
    """
    del mode  # Dopamine's and TF-Agents' protocols have it.
    return render(self._env)

  def close(self) -> None:
    self._env.close()

  def _get_task_state(self) -> dict[str, Any]:
    """Returns the task's part of `get_state`."""
    return {
      'env_name': self._env_name,
      'seed': self._seed,
      'rng': get_rng_state(self._env) if self._started else None,
      'in_episode': self._in_episode,
      'elapsed_steps': self._elapsed_steps,
      'simulator': self._get_simulator_state() if self._in_episode else None,
    }

  def _set_task_state(self, state: dict[str, Any]) -> bool:
    """Puts the task where `_get_task_state` found it.

    Returns:
      Whether the episode can go on; False, too, if there was none.

    Raises:
      ValueError: if the state belongs to another task.
    """
    if state['env_name'] != self._env_name:
      raise ValueError(
        f'This is the state of {state["env_name"]}, not of {self._env_name}.'
      )
    self._started = state['rng'] is not None
    if self._started:
      set_rng_state(self._env, state['rng'])
    # Classic control once saved none: it was given to the first reset alone.
    self._seed = state.get('seed', None if self._started else self._seed)
    self._elapsed_steps = int(state['elapsed_steps'])
    self._in_episode = bool(state['in_episode']) and (
      state['simulator'] is not None
    )
    if self._in_episode:
      self._set_simulator_state(state['simulator'])
    return self._in_episode

  def _get_simulator_state(self) -> dict[str, Any] | None:
    return get_classic_control_state(self._env)

  def _set_simulator_state(self, state: dict[str, Any]) -> None:
    set_classic_control_state(self._env, state)


def get_rng_state(env: gymnasium.Env) -> dict[str, Any]:
  """Returns the position of a task in its random stream, as JSON values."""
  return seeding.generator_state(env.unwrapped.np_random)


def set_rng_state(env: gymnasium.Env, state: dict[str, Any]) -> None:
  """Puts a task where `get_rng_state` found one."""
  # A new one: a task that was never reset would seed its own from the system.
  generator = np.random.Generator(np.random.PCG64(0))
  seeding.restore_generator(generator, state)
  env.unwrapped.np_random = generator


def get_classic_control_state(env: gymnasium.Env) -> dict[str, Any] | None:
  """Returns the simulator's state within an episode.

  Args:
    env: a task that has been reset.

  Returns:
    dict of JSON values and numpy arrays; None if it is none of gymnasium's own
    classic control tasks, since others may hide state anywhere.
  """
  task = env.unwrapped
  if not type(task).__module__.startswith(_CLASSIC_CONTROL_MODULE):
    return None
  # MountainCar's state is an array after a reset and a tuple after a step. An
  # array keeps the dtype: Acrobot starts in float32, goes on in float64.
  return {
    'state': np.array(task.state),
    'steps_beyond_terminated': getattr(task, 'steps_beyond_terminated', None),
  }


def set_classic_control_state(
  env: gymnasium.Env, state: dict[str, Any]
) -> None:
  """Puts a task where `get_classic_control_state` found one."""
  task = env.unwrapped
  task.state = np.array(state['state'])
  if hasattr(task, 'steps_beyond_terminated'):
    task.steps_beyond_terminated = state['steps_beyond_terminated']
