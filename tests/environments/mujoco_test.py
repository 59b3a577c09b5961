"""Tests of rigl_rl.environments.mujoco."""

import os
import warnings

import gin
import gymnasium
import mujoco as mujoco_lib
import numpy as np
import pytest
from tf_agents.environments import utils
from tf_agents.trajectories import time_step as ts

from helpers import mujoco_tasks
from rigl_rl import errors


def _gymnasium(name, **kwargs):
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    return gymnasium.make(name, **kwargs)


@pytest.mark.parametrize(
  'name',
  [*mujoco_tasks.TASKS, 'Humanoid-v5', 'Pendulum-v1', 'InvertedPendulum-v4'],
)
def test_tf_agents_finds_it_valid(name):
  env = mujoco_tasks.create(name, seed=0, max_episode_steps=7)
  # Steps on after the end of an episode, without a reset.
  utils.validate_py_environment(env, episodes=3)
  reference = _gymnasium(name)
  spec = env.action_spec()
  np.testing.assert_array_equal(spec.minimum, reference.action_space.low)
  np.testing.assert_array_equal(spec.maximum, reference.action_space.high)
  assert spec.dtype == env.observation_spec().dtype == np.float32
  env.close()


@pytest.mark.parametrize(
  'name', [*mujoco_tasks.TASKS, 'Ant-v5', 'Pusher-v5', 'Pendulum-v1']
)
def test_same_as_gymnasium(name):
  reference = _gymnasium(name)
  env = mujoco_tasks.create(name, seed=5)
  # All but Humanoid's contact forces.
  size = 292 if name == 'Humanoid-v4' else reference.observation_space.shape[0]
  time_step = env.reset()
  expected, _ = reference.reset(seed=5)
  assert time_step.is_first() and time_step.reward == 0
  ends = 0
  for action in mujoco_tasks.actions(env, 250, seed=0):
    np.testing.assert_array_equal(
      time_step.observation[:size], expected[:size].astype(np.float32)
    )
    assert not time_step.observation[size:].any()
    time_step = env.step(action)
    expected, reward, terminated, truncated, _ = reference.step(action)
    assert time_step.reward == np.float32(reward)
    assert time_step.is_last() == (terminated or truncated)
    assert time_step.discount == (0 if terminated else 1)
    assert env.current_time_step() is time_step
    if time_step.is_last():
      ends += 1
      time_step = env.reset()
      expected, _ = reference.reset()
  assert ends or name in ('HalfCheetah-v4', 'Ant-v4', 'Ant-v5')


def test_ant_observes_the_zeros_of_the_papers():
  padded, plain = (
    mujoco_tasks.create('Ant-v4', 3),
    mujoco_tasks.create('Ant-v4', 3, ant_padding=False),
  )
  assert padded.observation_spec().shape == (111,)
  assert plain.observation_spec().shape == (27,)
  first, second = padded.reset(), plain.reset()
  for action in mujoco_tasks.actions(padded, 50, seed=1):
    np.testing.assert_array_equal(first.observation[:27], second.observation)
    np.testing.assert_array_equal(first.observation[27:], np.zeros(84))
    assert first.reward == second.reward
    first, second = padded.step(action), plain.step(action)


@pytest.mark.parametrize(
  'name, before, largest',
  [('Ant-v4', 27, (1, 1)), ('Humanoid-v4', 292, (100, np.inf))],
)
def test_true_contact_forces(name, before, largest):
  """Ant's are clipped; Humanoid's are not, and run into hundreds at least."""
  env = mujoco_tasks.create(name, 3, use_contact_forces=True)
  # gymnasium's Humanoid-v4 has no such option: it always observes them.
  kwargs = {'use_contact_forces': True} if name == 'Ant-v4' else {}
  reference = _gymnasium(name, **kwargs)
  time_step = env.reset()
  expected, _ = reference.reset(seed=3)
  forces = np.zeros(84)
  for action in mujoco_tasks.actions(env, 100, seed=1):
    np.testing.assert_array_equal(
      time_step.observation, expected.astype(np.float32)
    )
    forces = np.maximum(forces, np.abs(time_step.observation[before:]))
    time_step = env.step(action)
    expected, reward, *_ = reference.step(action)
    assert time_step.reward == np.float32(reward)
    if time_step.is_last():
      time_step = env.reset()
      expected, _ = reference.reset()
  assert env.observation_spec().shape == (before + 84,)
  assert largest[0] <= forces.max() <= largest[1]


def test_humanoid_observes_the_zeros_of_the_papers():
  env, real = (
    mujoco_tasks.create('Humanoid-v4', 3),
    mujoco_tasks.create('Humanoid-v4', 3, True),
  )
  assert env.observation_spec().shape == (376,)
  first, second = env.reset(), real.reset()
  for action in mujoco_tasks.actions(env, 100, seed=1):
    np.testing.assert_array_equal(
      first.observation[:292], second.observation[:292]
    )
    np.testing.assert_array_equal(first.observation[292:], np.zeros(84))
    # The forces are no part of the reward.
    assert first.reward == second.reward
    assert first.step_type == second.step_type
    first, second = env.step(action), real.step(action)


@pytest.mark.parametrize('name, size', [('Ant-v4', 111), ('Humanoid-v4', 376)])
def test_module_before_a_task_of_the_papers(name, size):
  env = mujoco_tasks.create(f'gymnasium:{name}', 3)
  observation = env.reset().observation
  assert observation.shape == (size,)
  assert not observation[-84:].any()


def test_versions_5_are_gymnasiums():
  assert mujoco_tasks.create('Ant-v5', 0).observation_spec().shape == (105,)
  assert mujoco_tasks.create('Humanoid-v5', 0).observation_spec().shape == (
    348,
  )


def test_fall_ends_with_discount_0():
  env = mujoco_tasks.create('Hopper-v4', seed=0)
  assert mujoco_tasks.steps_to_fall(env) < 500
  assert env.current_time_step().discount == 0


def test_time_limit_ends_with_discount_1():
  env = mujoco_tasks.create('HalfCheetah-v4', seed=0)
  for _ in range(2):  # Each episode counts from 0.
    env.reset()
    for step in range(1, 1001):
      time_step = env.step(np.zeros(6, np.float32))
      assert time_step.discount == 1
      assert (time_step.step_type == ts.StepType.LAST) == (step == 1000)


def test_fall_at_the_time_limit_ends_with_discount_0():
  steps = mujoco_tasks.steps_to_fall(mujoco_tasks.create('Hopper-v4', seed=0))
  env = mujoco_tasks.create('Hopper-v4', seed=0, max_episode_steps=steps)
  assert mujoco_tasks.steps_to_fall(env) == steps
  assert env.current_time_step().discount == 0
  env = mujoco_tasks.create('Hopper-v4', seed=0, max_episode_steps=steps - 1)
  assert mujoco_tasks.steps_to_fall(env) == steps - 1
  assert env.current_time_step().discount == 1


def test_max_episode_steps_may_exceed_the_tasks_own():
  env = mujoco_tasks.create(
    'Pendulum-v1', seed=0, max_episode_steps=300
  )  # Its own: 200.
  env.reset()
  lengths = [env.step(np.zeros(1, np.float32)).is_last() for _ in range(300)]
  assert lengths.index(True) == 299


def test_step_without_reset_starts_an_episode():
  env, reference = (
    mujoco_tasks.create('Hopper-v4', seed=0),
    mujoco_tasks.create('Hopper-v4', seed=0),
  )
  first = env.step(np.zeros(3, np.float32))
  assert first.is_first()
  assert mujoco_tasks.bits(first) == mujoco_tasks.bits(reference.reset())
  while not env.current_time_step().is_last():
    env.step(np.ones(3, np.float32))
    reference.step(np.ones(3, np.float32))
  again = env.step(np.ones(3, np.float32))
  assert again.is_first()
  assert mujoco_tasks.bits(again) == mujoco_tasks.bits(reference.reset())


@pytest.mark.parametrize('name', ['Ant-v4', 'Hopper-v4', 'Pendulum-v1'])
def test_observations_are_not_overwritten(name):
  env = mujoco_tasks.create(name, seed=0)
  time_steps = [env.reset()]
  time_steps += [
    env.step(action) for action in mujoco_tasks.actions(env, 10, seed=0)
  ]
  copies = [time_step.observation.copy() for time_step in time_steps[:5]]
  env.reset()
  for time_step, copy in zip(time_steps, copies):
    np.testing.assert_array_equal(time_step.observation, copy)
  assert len({time_step.observation.tobytes() for time_step in time_steps}) > 9


def test_clip_actions():
  env = mujoco_tasks.create('HalfCheetah-v4', seed=0)
  clipping = mujoco_tasks.create('HalfCheetah-v4', seed=0, clip_actions=True)
  clipped = mujoco_tasks.create('HalfCheetah-v4', seed=0)
  for environment in (env, clipping, clipped):
    environment.reset()
  for action in 3 * mujoco_tasks.actions(env, 20, seed=0):
    before = action.copy()
    as_it_is = env.step(action)
    by_env = clipping.step(action)
    by_hand = clipped.step(np.clip(action, -1, 1))
    np.testing.assert_array_equal(action, before)
    assert mujoco_tasks.bits(by_env) == mujoco_tasks.bits(by_hand)
    # MuJoCo clips forces anyway; what differs is the control cost.
    np.testing.assert_array_equal(as_it_is.observation, by_env.observation)
    assert as_it_is.reward < by_env.reward


class _Unbounded(mujoco_tasks.HiddenState):
  action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)


class _Whole(mujoco_tasks.HiddenState):
  action_space = gymnasium.spaces.Box(0, 3, (2,), np.int64)


class _Image(mujoco_tasks.HiddenState):
  observation_space = gymnasium.spaces.Box(0, 255, (4, 4), np.uint8)


@pytest.mark.parametrize(
  'custom_task, named',
  [
    (_Unbounded, 'has an infinite range of actions, Box(-inf'),
    (_Whole, 'has actions Box(0, 3'),
    (_Image, 'has observations Box(0, 255'),
  ],
  indirect=['custom_task'],
)
def test_task_of_another_kind_is_a_user_error(custom_task, named):
  with pytest.raises(errors.UserError) as info:
    mujoco_tasks.create.__wrapped__(custom_task, seed=0)
  message = str(info.value)
  assert '\n' not in message
  assert f'ENV_NAME="{custom_task}" {named}' in message


@pytest.mark.parametrize(
  'name, named',
  [
    ('Hoper-v5', 'Did you mean "Hopper-v5" or "Hopper-v4"?'),
    ('halfcheetah-v4', 'Did you mean "HalfCheetah-v4" or "HalfCheetah-v5"?'),
    ('Ant', 'names no version'),  # Not gymnasium's latest.
    ('HalfCheetah-v9', 'is not a gymnasium task'),
    ('Nonsense', 'is not a gymnasium task'),
    ('no_such_module:Task-v0', 'the module no_such_module, which cannot be'),
    ('no:such_module:Task-v0', 'the module no:such_module, which cannot be'),
    ('json:Task-v0', 'is not registered by the module json'),
    ('HalfCheetah-v2', 'gymnasium no longer has: use "HalfCheetah-v4"'),
    ('Hopper-v3', 'gymnasium no longer has: use "Hopper-v4"'),
    ('Reacher-v2', 'gymnasium no longer has: use "Reacher-v4"'),
    ('gymnasium:Ant-v3', 'gymnasium no longer has: use "Ant-v4"'),
    ('CartPole-v1', 'has actions Discrete(2)'),
  ],
)
def test_unusable_task_is_a_user_error_of_one_line(name, named):
  with pytest.raises(errors.UserError) as info:
    mujoco_tasks.create.__wrapped__(name, seed=0)
  message = str(info.value)
  assert '\n' not in message
  assert message.startswith(f'ENV_NAME="{name}" ')
  assert 'HalfCheetah-v4, Hopper-v4, Walker2d-v4, Ant-v4, Humanoid' in message
  assert named in message


@pytest.mark.parametrize('name', [3, ['Ant-v4'], None])
def test_value_that_is_not_a_name_of_a_task_is_a_user_error(name, user_error):
  with user_error(f'env_name is {name!r}', 'a text in quotes'):
    mujoco_tasks.create.__wrapped__(name, seed=0)


@pytest.mark.parametrize(
  'name, binding, value, named',
  [
    ('Hopper-v4', 'use_contact_forces', True, 'ENV_NAME="Hopper-v4"'),
    ('Ant-v5', 'use_contact_forces', True, 'of Ant-v4 and Humanoid-v4 only'),
    ('Ant-v4', 'use_contact_forces', 1, 'True or False'),
    ('Ant-v4', 'ant_padding', 'yes', 'True or False'),
    ('Ant-v4', 'clip_actions', None, 'True or False'),
    ('Hopper-v4', 'max_episode_steps', 0, 'at least 1'),
    ('Hopper-v4', 'max_episode_steps', 2.5, 'whole number'),
  ],
)
def test_bad_binding_is_a_user_error_of_one_line(name, binding, value, named):
  with pytest.raises(errors.UserError) as info:
    mujoco_tasks.create.__wrapped__(name, seed=0, **{binding: value})
  message = str(info.value)
  assert '\n' not in message
  assert message.startswith(f'create_mujoco_environment.{binding} is {value!r}')
  assert named in message


@pytest.mark.parametrize('name', mujoco_tasks.TASKS)
def test_nothing_is_said(name, capfd):
  def handler(message):
    raise AssertionError(message)

  mujoco_lib.set_mju_user_warning(handler)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      env = mujoco_tasks.create(name, seed=0)
      env.reset()
      env.step(mujoco_tasks.actions(env, 1, seed=0)[0])
    # Only for the time that a task is made are warnings kept back.
    assert mujoco_lib.get_mju_user_warning() is handler
  finally:
    mujoco_lib.set_mju_user_warning(None)
  mujoco_tasks.create(name, seed=0)
  assert capfd.readouterr() == ('', '')
  assert os.listdir() == []


def test_bindings():
  with gin.unlock_config():
    gin.parse_config(
      [
        "create_mujoco_environment.env_name = 'Ant-v4'",
        'create_mujoco_environment.ant_padding = False',
      ]
    )
    try:
      assert mujoco_tasks.create(seed=0).observation_spec().shape == (27,)
      with pytest.raises(ValueError, match='seed'):
        gin.parse_config('create_mujoco_environment.seed = 1')
    finally:
      gin.clear_config()


def test_mujoco_reads_no_clock():
  env = mujoco_tasks.create('Hopper-v4', seed=0)
  env.reset()
  env.step(np.zeros(3, np.float32))
  timer = env._env.unwrapped.data.timer[mujoco_lib.mjtTimer.mjTIMER_STEP]
  assert (timer.number, timer.duration) == (4, 0)  # As many as frames.


@pytest.mark.parametrize('name, islands', [('Hopper-v4', 0), ('Pusher-v5', 2)])
def test_islands_are_looked_for_where_there_may_be_several(name, islands):
  env = mujoco_tasks.create(name, seed=0)
  env.reset()
  data = env._env.unwrapped.data
  found = set()
  for action in mujoco_tasks.actions(env, 50, seed=0):
    env.step(action)
    found.add(data.nisland)
  assert max(found) == islands


def test_action_of_another_shape_is_an_error():
  env = mujoco_tasks.create('Hopper-v4', seed=0)
  env.reset()
  with pytest.raises(errors.UserCodeError, match=r'of shape \(1,\)'):
    env.step(np.zeros(1, np.float32))
