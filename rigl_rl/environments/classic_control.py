"""Classic control tasks of gymnasium, under Dopamine's protocol.

Graesser et al. (2022) train DQN on CartPole-v0 (episodes of at most 200
steps), Acrobot-v1 and MountainCar-v0. Any other gymnasium task with discrete
actions and a vector of numbers as observation works too.
"""

from __future__ import annotations

from typing import Any

import gin
import gymnasium
import numpy as np

from rigl_rl.environments import gymnasium_tasks

CLASSIC_CONTROL_TASKS = ('CartPole-v0', 'Acrobot-v1', 'MountainCar-v0')

_KIND = gymnasium_tasks.TaskKind(
  CLASSIC_CONTROL_TASKS,
  f'{", ".join(CLASSIC_CONTROL_TASKS)} and every other gymnasium id with'
  ' Discrete actions (from 0) and a 1-D Box of observations',
)


class ClassicControlEnvironment(gymnasium_tasks.TaskEnvironment):
  """A gymnasium task under Dopamine's protocol, with a state to save.

  Attributes:
    game_over: bool, whether the episode has ended: by a terminal state or by
      the time limit.
    action_space: gymnasium.spaces.Discrete.
    observation_space: gymnasium.spaces.Box of shape (n,).
  """

  def __init__(self, env: gymnasium.Env, env_name: str, seed: int):
    """Wraps a task; see `TaskEnvironment`."""
    super().__init__(env, env_name, seed)
    self.action_space = self._env.action_space
    self.observation_space = self._env.observation_space
    self.game_over = False

  def reset(self) -> np.ndarray:
    """Starts an episode; returns its first observation, float32 (n,)."""
    observation = self._reset_task()
    self.game_over = False
    return np.asarray(observation, dtype=np.float32)

  def step(self, action: int) -> tuple[np.ndarray, float, bool, dict[str, Any]]:
    """Takes one step.

    Args:
      action: int in [0, action_space.n).

    Returns:
      observation: float32 of shape (n,).
      reward: float.
      is_terminal: bool, whether this is a terminal state. False where the time
        limit ended the episode; `game_over` is true then, too.
      info: dict, what gymnasium says about the step.

    Raises:
      RuntimeError: between episodes.
    """
    if not self._in_episode:
      raise RuntimeError('step() was called between episodes: call reset().')
    observation, reward, terminated, info = self._step_task(action)
    self.game_over = not self._in_episode
    observation = np.asarray(observation, dtype=np.float32)
    return observation, float(reward), bool(terminated), info

  def get_state(self):
    return {**super().get_state(), 'game_over': self.game_over}

  def set_state(self, state):
    super().set_state(state)
    self.game_over = bool(state['game_over'])


@gin.configurable(denylist=['seed'])
def create_classic_control_environment(
  env_name: str = gin.REQUIRED, seed: int = 0, render: bool = False
) -> ClassicControlEnvironment:
  """Builds a classic control task, under Dopamine's protocol.

  Args:
    env_name: gymnasium id: 'CartPole-v0', 'Acrobot-v1', 'MountainCar-v0', or
      any other task with discrete actions and a vector as observation.
    seed: non-negative integer that decides all initial states.
    render: whether the environment can draw pictures.

  Raises:
    UserError: if there is no such task, or it is of another kind.
  """
  env = _KIND.make(env_name, render)
  actions = env.action_space
  if not isinstance(actions, gymnasium.spaces.Discrete) or actions.start != 0:
    raise _KIND.error(env_name, f'has actions {actions}')
  return ClassicControlEnvironment(env, env_name, seed)
