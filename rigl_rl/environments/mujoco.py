"""MuJoCo tasks of gymnasium, as TF-Agents environments.

Graesser et al. (2022) and Sokar et al. (2022) train on HalfCheetah, Hopper,
Walker2d, Ant and Humanoid: gymnasium's -v4 here, and the -v5 by name. Any other
gymnasium task works too whose observations are a vector and whose actions are
a vector within finite bounds, such as Pendulum-v1.

Under the papers' MuJoCo all contact forces were zero
(https://github.com/openai/gym/issues/1541): the last 84 of the 111 values that
Ant observed, and of Humanoid's 376. They are zero here by default. gymnasium's
Ant-v4 leaves them out unless asked, and its Humanoid-v4 has real ones, in the
thousands.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Callable

import gin
import gymnasium
import mujoco
import numpy as np
from tf_agents.environments import py_environment
from tf_agents.specs import array_spec, tensor_spec
from tf_agents.trajectories import time_step as ts

from rigl_rl import errors, tasks
from rigl_rl.compat import gymnasium as compat
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Count
from rigl_rl.environments import gymnasium_tasks

# The five tasks of both papers.
MUJOCO_TASKS = (
  'HalfCheetah-v4',
  'Hopper-v4',
  'Walker2d-v4',
  'Ant-v4',
  'Humanoid-v4',
)

_KIND = gymnasium_tasks.TaskKind(
  MUJOCO_TASKS + tuple(task.replace('-v4', '-v5') for task in MUJOCO_TASKS),
  f'{", ".join(MUJOCO_TASKS)}, their -v5 and every other gymnasium id with a'
  ' bounded 1-D Box of actions and a 1-D Box of observations',
)

_ANT = 'Ant-v4'
# Contact forces are the last values that a task observes, six per body. Both
# tasks have 14 bodies; the ground is one of them.
_CONTACT_FORCES = 84
# How many values these tasks observe before them.
_BEFORE_CONTACT_FORCES = {_ANT: 27, 'Humanoid-v4': 292}

# All that the next mj_step reads, and the warm start of its solver.
_INTEGRATION_STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)
# What rewards and observations read beside it. mj_step leaves these as they
# were before its last substep, so that mj_forward would not give them back.
_DERIVED = ('xpos', 'xipos', 'cinert', 'cvel', 'qfrc_actuator', 'cfrc_ext')

# Made once: a step should not have to.
_FIRST = ts.StepType.FIRST
_MID = ts.StepType.MID
_LAST = ts.StepType.LAST
_STEP_TYPES = (_FIRST, _MID, _LAST)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


class MujocoEnvironment(
  gymnasium_tasks.TaskEnvironment, py_environment.PyEnvironment
):
  """A gymnasium task as a TF-Agents environment, with a state to save.

  Observations are new float32 arrays of shape (n,). An episode that ends in a
  terminal state ends with discount 0; one that a time limit cuts, with discount
  1, since its last state still has a value.

  As in TF-Agents, a `step` before the first `reset`, or after the last step of
  an episode, ignores its action and starts an episode.
  """

  def __init__(
    self,
    env: gymnasium.Env,
    env_name: str,
    seed: int,
    num_observed: int | None = None,
    padding: int = 0,
    clip_actions: bool = False,
    max_episode_steps: Count | None = None,
  ):
    """Wraps a task.

    Args:
      env, env_name, seed, max_episode_steps: as `TaskEnvironment` takes them;
        observations are a 1-D Box, actions a bounded one.
      num_observed: how many of the task's own values are observed, the first
        ones; None for all.
      padding: number of zeros that follow them.
      clip_actions: whether actions are clipped to their bounds.
    """
    super().__init__(env, env_name, seed, max_episode_steps)
    self._clip_actions = clip_actions
    self._low = np.asarray(self._env.action_space.low, np.float32)
    self._high = np.asarray(self._env.action_space.high, np.float32)
    (task_size,) = self._env.observation_space.shape
    self._num_observed = task_size if num_observed is None else num_observed
    self._size = self._num_observed + padding
    if self._is_mujoco():
      task = self._env.unwrapped
      task.do_simulation = _simulation(task.model, task.data)
      # A wrapper around the task may read its info.
      if self._env is task and (step := compat.planar_step(task)):
        task.step = step
      if task.model.ntree == 1:
        # Joints of one tree are one island: to look for it and to copy what
        # belongs to it is a tenth of a step. The numbers are the same.
        task.model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND
      # Each MjData that is made brings a clock, for MuJoCo's own profile, whose
      # calls are a tenth of a step.
      mujoco.set_mjcb_time(None)

  def observation_spec(self) -> array_spec.ArraySpec:
    return array_spec.ArraySpec((self._size,), np.float32, 'observation')

  def action_spec(self) -> array_spec.BoundedArraySpec:
    return array_spec.BoundedArraySpec(
      self._low.shape, np.float32, self._low, self._high, 'action'
    )

  def seed(self, seed: int) -> None:
    """Makes the next reset start the random stream of a non-negative seed.

    What follows that reset depends only on the seed and the actions.
    """
    self._seed = seed

  def _reset(self) -> ts.TimeStep:
    observation = self._convert(self._reset_task())
    return ts.TimeStep(_FIRST, _ZERO, _ONE, observation)

  def _step(self, action: np.ndarray) -> ts.TimeStep:
    if not self._in_episode:
      return self._reset()
    # MuJoCo itself clips the forces only: control costs count the whole action.
    if self._clip_actions:
      # Both in one: half the time of np.clip.
      action = np.minimum(np.maximum(action, self._low), self._high)
    observation, reward, terminated, _ = self._step_task(action)
    step_type = _MID if self._in_episode else _LAST
    discount = _ZERO if terminated else _ONE
    return ts.TimeStep(
      step_type, np.float32(reward), discount, self._convert(observation)
    )

  def _convert(self, observation: np.ndarray) -> np.ndarray:
    """Returns a task's observation as a new float32 array, padded."""
    num_observed = self._num_observed
    if self._size == num_observed:
      return observation.astype(np.float32)
    padded = np.zeros(self._size, np.float32)
    padded[:num_observed] = observation[:num_observed]
    return padded

  def get_state(self):
    time_step = self._current_time_step
    if time_step is not None:
      time_step = {
        'step_type': int(time_step.step_type),
        'reward': float(time_step.reward),
        'discount': float(time_step.discount),
        'observation': time_step.observation.copy(),
      }
    return {**super().get_state(), 'time_step': time_step}

  def set_state(self, state):
    super().set_state(state)
    time_step = state['time_step']
    if time_step is not None:
      time_step = ts.TimeStep(
        _STEP_TYPES[time_step['step_type']],
        np.float32(time_step['reward']),
        np.float32(time_step['discount']),
        np.array(time_step['observation'], np.float32),
      )
    if state['in_episode'] and not self._in_episode:  # Cut off, by discount 1.
      time_step = time_step._replace(step_type=_LAST)
    self._current_time_step = time_step

  def _is_mujoco(self) -> bool:
    module = type(self._env.unwrapped).__module__
    return module.startswith(gymnasium_tasks.MUJOCO_MODULE)

  def _get_simulator_state(self) -> dict[str, Any] | None:
    if not self._is_mujoco():
      return super()._get_simulator_state()
    model, data = self._env.unwrapped.model, self._env.unwrapped.data
    integration = np.empty(mujoco.mj_stateSize(model, _INTEGRATION_STATE))
    mujoco.mj_getState(model, data, integration, _INTEGRATION_STATE)
    derived = {name: getattr(data, name).copy() for name in _DERIVED}
    return {'integration': integration, **derived}

  def _set_simulator_state(self, state: dict[str, Any]) -> None:
    if not self._is_mujoco():
      super()._set_simulator_state(state)
      return
    model, data = self._env.unwrapped.model, self._env.unwrapped.data
    integration = np.asarray(state['integration'])
    mujoco.mj_setState(model, data, integration, _INTEGRATION_STATE)
    mujoco.mj_forward(model, data)
    # mj_forward fills in the rest. It is free to leave another warm start.
    mujoco.mj_setState(model, data, integration, _INTEGRATION_STATE)
    for name in _DERIVED:
      getattr(data, name)[...] = state[name]


def _simulation(
  model: mujoco.MjModel, data: mujoco.MjData
) -> Callable[[np.ndarray, int], None]:
  """Returns gymnasium's `do_simulation`, with half the time around MuJoCo."""
  control = data.ctrl  # Each access to it takes as long as all else here.

  def simulate(action, frames):
    if action.shape != control.shape:
      raise ValueError(f'The action is of shape {action.shape}.')
    control[:] = action
    mujoco.mj_step(model, data, frames)
    mujoco.mj_rnePostConstraint(model, data)  # Contact forces.

  return simulate


@gin.configurable(denylist=['seed'])
def create_mujoco_environment(
  env_name: str = gin.REQUIRED,
  seed: int = 0,
  use_contact_forces: bool = False,
  ant_padding: bool = True,
  clip_actions: bool = False,
  max_episode_steps: Count | None = None,
  render: bool = False,
) -> MujocoEnvironment:
  """Builds a MuJoCo task, or another one with continuous actions.

  Args:
    env_name: gymnasium id: 'HalfCheetah-v4', 'Hopper-v4', 'Walker2d-v4',
      'Ant-v4', 'Humanoid-v4', their -v5, or any other task with a vector as
      observation and a bounded vector as action.
    seed: non-negative integer that decides all initial states.
    use_contact_forces: for Ant-v4 and Humanoid-v4 only: whether the last 84
      values of an observation are the contact forces, or zeros as under the
      papers' MuJoCo. Ant's forces are clipped to [-1, 1], and its reward then
      includes their cost; Humanoid's are not clipped, and its reward never
      includes a cost. The -v5 tasks always have forces and costs.
    ant_padding: whether Ant-v4 without contact forces has zeros in their place
      (111 values), or leaves them out (27). Has no effect on other tasks.
    clip_actions: whether actions are clipped to their bounds before the task
      sees them, as Stable-Baselines3 does; if not, as in the released code,
      control costs count what lies beyond.
    max_episode_steps: steps after which an episode is cut, at least 1; None for
      the task's own limit (1000 for the papers' tasks).
    render: whether the environment can draw pictures.

  Raises:
    UserError: if there is no such task, it is of another kind, or a binding is
      out of its range or makes no sense for the task.
  """
  check_arguments(create_mujoco_environment, locals())
  task = tasks.registered_id(env_name)
  is_ant = task == _ANT
  kwargs = {'use_contact_forces': True} if is_ant and use_contact_forces else {}
  with _no_mujoco_warnings():
    env = _KIND.make(env_name, render, **kwargs)
  if use_contact_forces and task not in _BEFORE_CONTACT_FORCES:
    raise errors.UserError(
      'create_mujoco_environment.use_contact_forces is True, but must be False'
      f' with ENV_NAME={tasks.quoted(env_name)}: it is an option of'
      f' {" and ".join(_BEFORE_CONTACT_FORCES)} only.'
    )
  actions = env.action_space
  is_real = np.issubdtype(actions.dtype, np.floating)
  if not gymnasium_tasks.is_vector(actions) or not is_real:
    raise _KIND.error(env_name, f'has actions {actions}')
  if not actions.is_bounded():
    raise _KIND.error(
      env_name,
      f'has an infinite range of actions, {actions}; it must be finite',
    )
  num_observed, padding = None, 0
  if not use_contact_forces:
    num_observed = _BEFORE_CONTACT_FORCES.get(task)
    if num_observed is not None and (ant_padding or not is_ant):
      padding = _CONTACT_FORCES
  return MujocoEnvironment(
    env,
    env_name,
    seed,
    num_observed=num_observed,
    padding=padding,
    clip_actions=clip_actions,
    max_episode_steps=max_episode_steps,
  )


def find_specs(
  create_environment: Callable[..., py_environment.PyEnvironment],
) -> tuple[tensor_spec.TensorSpec, tensor_spec.BoundedTensorSpec]:
  """Returns the specs of a task's observations and actions, as tensors.

  `create_environment` makes an environment from a seed.
  """
  with create_environment(seed=0) as environment:
    return tensor_spec.from_spec(
      (environment.observation_spec(), environment.action_spec())
    )


@contextlib.contextmanager
def _no_mujoco_warnings() -> Iterator[None]:
  """Silences MuJoCo 4's warnings about gymnasium's own models.

  They would go to stderr and into a file in the current directory.
  """
  before = mujoco.get_mju_user_warning()
  mujoco.set_mju_user_warning(lambda message: None)
  try:
    yield
  finally:
    mujoco.set_mju_user_warning(before)
