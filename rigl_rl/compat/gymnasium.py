"""Private names of gymnasium's MuJoCo tasks."""

from __future__ import annotations

from typing import Any, Callable

import gymnasium
import numpy as np
from gymnasium.envs.mujoco import half_cheetah_v4, hopper_v4, walker2d_v4

Step = Callable[[np.ndarray], 'tuple[np.ndarray, Any, bool, bool, dict]']

# Between these are the velocities that Hopper and Walker2d observe. Arrays: to
# make one from a number takes as long as to compare.
_SLOWEST, _FASTEST = np.array([-10.0]), np.array([10.0])


def planar_step(task: gymnasium.Env) -> Step | None:
  """Returns the `step` of HalfCheetah-v4, Hopper-v4 or Walker2d-v4, faster.

  The numbers are the same; info is empty. gymnasium's own takes up to a third
  of a step, for copies and checks of a few numbers.

  Returns:
    None for another task, or one that continues after a fall or is shown live.
  """
  if task.render_mode == 'human':
    return None
  walks = type(task) in (hopper_v4.HopperEnv, walker2d_v4.Walker2dEnv)
  if not (walks and task._terminate_when_unhealthy) and (
    type(task) is not half_cheetah_v4.HalfCheetahEnv
  ):
    return None
  qpos, qvel = task.data.qpos, task.data.qvel  # The simulator's memory.
  first = qpos.size + qvel.size - task.observation_space.shape[0]
  speed_weight = task._forward_reward_weight
  cost_weight = task._ctrl_cost_weight
  frames, seconds = task.frame_skip, task.dt
  # Not the task itself: a cycle would keep its viewer until Python ends.
  simulate = task.do_simulation
  healthy_reward = task._healthy_reward if walks else 0.0
  has_fallen = _fall(task, qpos, qvel) if walks else None

  def step(action):
    before = qpos[0]
    simulate(action, frames)
    reward = speed_weight * ((qpos[0] - before) / seconds)
    velocity, fell = qvel, False
    if walks:
      reward += healthy_reward
      velocity = np.minimum(np.maximum(qvel, _SLOWEST), _FASTEST)
      fell = has_fallen()
    reward -= cost_weight * np.square(action).sum()
    return np.concatenate((qpos[first:], velocity)), reward, fell, False, {}

  return step


def _fall(task, qpos, qvel):
  """Returns what says whether Hopper or Walker2d has fallen."""
  low_z, high_z = task._healthy_z_range
  low_angle, high_angle = task._healthy_angle_range
  low, high = getattr(task, '_healthy_state_range', (None, None))  # Hopper's.

  def has_fallen():
    _, z, angle, *others = qpos.tolist()
    return not (
      low_z < z < high_z
      and low_angle < angle < high_angle
      and (
        low is None
        or all(low < x < high for x in (angle, *others, *qvel.tolist()))
      )
    )

  return has_fallen
