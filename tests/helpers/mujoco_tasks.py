"""MuJoCo tasks, and the bits of their states."""

import gymnasium
import numpy as np

from rigl_rl.environments import mujoco

TASKS = mujoco.MUJOCO_TASKS


create = mujoco.create_mujoco_environment


def actions(env, steps, seed):
  spec = env.action_spec()
  rng = np.random.default_rng(seed)
  return rng.uniform(spec.minimum, spec.maximum, (steps, *spec.shape)).astype(
    np.float32
  )


def bits(time_step):
  return tuple(
    (np.asarray(field).dtype.str, np.asarray(field).tobytes())
    for field in time_step
  )


def steps_to_fall(env):
  env.reset()
  steps = 0
  while not env.current_time_step().is_last():
    env.step(np.zeros(3, np.float32))
    steps += 1
  return steps


class HiddenState(gymnasium.Env):
  """A task whose state an adapter cannot know."""

  action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
  observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self._hidden = self.np_random.uniform(-1, 1, 1).astype(np.float32)
    return self._hidden, {}

  def step(self, action):
    return self._hidden, 0.5, False, False, {}
