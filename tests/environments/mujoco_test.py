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

from rigl_rl import errors
from rigl_rl.environments import mujoco

TASKS = mujoco.MUJOCO_TASKS
create = mujoco.create_mujoco_environment


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
  """MuJoCo logs its warnings in the current directory."""
  monkeypatch.chdir(tmp_path)


def _gymnasium(name, **kwargs):
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    return gymnasium.make(name, **kwargs)


def _actions(env, steps, seed):
  spec = env.action_spec()
  rng = np.random.default_rng(seed)
  return rng.uniform(spec.minimum, spec.maximum, (steps, *spec.shape)).astype(
    np.float32
  )


def _bits(time_step):
  return tuple(
    (np.asarray(field).dtype.str, np.asarray(field).tobytes())
    for field in time_step
  )


def _roll(env, steps, seed):
  """Acts at random for some steps, across episodes; returns all that it saw."""
  seen = []
  for action in _actions(env, steps, seed):
    if env.current_time_step().is_last():
      seen.append(_bits(env.reset()))
    seen.append(_bits(env.step(action)))
  return seen


@pytest.mark.parametrize(
  'name', [*TASKS, 'Humanoid-v5', 'Pendulum-v1', 'InvertedPendulum-v4']
)
def test_tf_agents_finds_it_valid(name):
  env = create(name, seed=0, max_episode_steps=7)
  # Steps on after the end of an episode, without a reset.
  utils.validate_py_environment(env, episodes=3)
  reference = _gymnasium(name)
  spec = env.action_spec()
  np.testing.assert_array_equal(spec.minimum, reference.action_space.low)
  np.testing.assert_array_equal(spec.maximum, reference.action_space.high)
  assert spec.dtype == env.observation_spec().dtype == np.float32
  env.close()


@pytest.mark.parametrize('name', [*TASKS, 'Ant-v5', 'Pendulum-v1'])
def test_same_as_gymnasium(name):
  reference = _gymnasium(name)
  env = create(name, seed=5)
  # All but Humanoid's contact forces.
  size = 292 if name == 'Humanoid-v4' else reference.observation_space.shape[0]
  time_step = env.reset()
  expected, _ = reference.reset(seed=5)
  assert time_step.is_first() and time_step.reward == 0
  ends = 0
  for action in _actions(env, 250, seed=0):
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
  padded, plain = create('Ant-v4', 3), create('Ant-v4', 3, ant_padding=False)
  assert padded.observation_spec().shape == (111,)
  assert plain.observation_spec().shape == (27,)
  first, second = padded.reset(), plain.reset()
  for action in _actions(padded, 50, seed=1):
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
  env = create(name, 3, use_contact_forces=True)
  # gymnasium's Humanoid-v4 has no such option: it always observes them.
  kwargs = {'use_contact_forces': True} if name == 'Ant-v4' else {}
  reference = _gymnasium(name, **kwargs)
  time_step = env.reset()
  expected, _ = reference.reset(seed=3)
  forces = np.zeros(84)
  for action in _actions(env, 100, seed=1):
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
  env, real = create('Humanoid-v4', 3), create('Humanoid-v4', 3, True)
  assert env.observation_spec().shape == (376,)
  first, second = env.reset(), real.reset()
  for action in _actions(env, 100, seed=1):
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
  env = create(f'gymnasium:{name}', 3)
  observation = env.reset().observation
  assert observation.shape == (size,)
  assert not observation[-84:].any()


def test_versions_5_are_gymnasiums():
  assert create('Ant-v5', 0).observation_spec().shape == (105,)
  assert create('Humanoid-v5', 0).observation_spec().shape == (348,)


def _steps_to_fall(env):
  env.reset()
  steps = 0
  while not env.current_time_step().is_last():
    env.step(np.zeros(3, np.float32))
    steps += 1
  return steps


def test_fall_ends_with_discount_0():
  env = create('Hopper-v4', seed=0)
  assert _steps_to_fall(env) < 500
  assert env.current_time_step().discount == 0


def test_time_limit_ends_with_discount_1():
  env = create('HalfCheetah-v4', seed=0)
  for _ in range(2):  # The count starts anew with each episode.
    env.reset()
    for step in range(1, 1001):
      time_step = env.step(np.zeros(6, np.float32))
      assert time_step.discount == 1
      assert (time_step.step_type == ts.StepType.LAST) == (step == 1000)


def test_fall_at_the_time_limit_ends_with_discount_0():
  steps = _steps_to_fall(create('Hopper-v4', seed=0))
  env = create('Hopper-v4', seed=0, max_episode_steps=steps)
  assert _steps_to_fall(env) == steps
  assert env.current_time_step().discount == 0
  env = create('Hopper-v4', seed=0, max_episode_steps=steps - 1)
  assert _steps_to_fall(env) == steps - 1
  assert env.current_time_step().discount == 1


def test_max_episode_steps_may_exceed_the_tasks_own():
  env = create('Pendulum-v1', seed=0, max_episode_steps=300)  # Its own: 200.
  env.reset()
  lengths = [env.step(np.zeros(1, np.float32)).is_last() for _ in range(300)]
  assert lengths.index(True) == 299


def test_step_without_reset_starts_an_episode():
  env, reference = create('Hopper-v4', seed=0), create('Hopper-v4', seed=0)
  first = env.step(np.zeros(3, np.float32))
  assert first.is_first()
  assert _bits(first) == _bits(reference.reset())
  while not env.current_time_step().is_last():
    env.step(np.ones(3, np.float32))
    reference.step(np.ones(3, np.float32))
  again = env.step(np.ones(3, np.float32))
  assert again.is_first()
  assert _bits(again) == _bits(reference.reset())


@pytest.mark.parametrize('name', ['Ant-v4', 'Hopper-v4', 'Pendulum-v1'])
def test_observations_are_not_overwritten(name):
  env = create(name, seed=0)
  time_steps = [env.reset()]
  time_steps += [env.step(action) for action in _actions(env, 10, seed=0)]
  copies = [time_step.observation.copy() for time_step in time_steps[:5]]
  env.reset()
  for time_step, copy in zip(time_steps, copies):
    np.testing.assert_array_equal(time_step.observation, copy)
  assert len({time_step.observation.tobytes() for time_step in time_steps}) > 9


def test_clip_actions():
  env = create('HalfCheetah-v4', seed=0)
  clipping = create('HalfCheetah-v4', seed=0, clip_actions=True)
  clipped = create('HalfCheetah-v4', seed=0)
  for environment in (env, clipping, clipped):
    environment.reset()
  for action in 3 * _actions(env, 20, seed=0):
    before = action.copy()
    as_it_is = env.step(action)
    by_env = clipping.step(action)
    by_hand = clipped.step(np.clip(action, -1, 1))
    np.testing.assert_array_equal(action, before)
    assert _bits(by_env) == _bits(by_hand)
    # MuJoCo clips forces anyway; what differs is the control cost.
    np.testing.assert_array_equal(as_it_is.observation, by_env.observation)
    assert as_it_is.reward < by_env.reward


@pytest.mark.parametrize('name', ['HalfCheetah-v4', 'Ant-v4', 'Pendulum-v1'])
def test_seed_decides_everything(name):
  def play(env):
    seen = [_bits(env.reset())]
    return seen + _roll(env, 120, seed=0)

  used = create(name, seed=1, max_episode_steps=50)
  play(used)
  used.step(_actions(used, 1, seed=4)[0])
  fresh = create(name, seed=9, max_episode_steps=50)
  used.seed(7)
  fresh.seed(7)
  expected = play(fresh)
  assert play(used) == expected
  assert play(create(name, seed=7, max_episode_steps=50)) == expected
  assert play(create(name, seed=8, max_episode_steps=50)) != expected
  assert play(used) != expected  # The stream goes on.


@pytest.mark.parametrize(
  'name, bindings',
  [
    *((name, {}) for name in TASKS),
    ('Ant-v4', {'use_contact_forces': True}),
    ('Humanoid-v4', {'use_contact_forces': True}),
    ('Ant-v5', {}),
    ('Humanoid-v5', {}),
    ('Walker2d-v5', {}),
    ('Pusher-v5', {}),  # Its reward reads where bodies were a step before.
    ('Reacher-v4', {}),
    ('InvertedDoublePendulum-v4', {}),
    ('Pendulum-v1', {}),
    ('MountainCarContinuous-v0', {}),
  ],
)
def test_state_continues_to_the_bit(name, bindings, through_json):
  env = create(name, seed=11, max_episode_steps=110, **bindings)
  env.reset()
  # After a reset, within episodes, and (the last) right after a cut.
  for moment, steps in enumerate((0, 1, 12, 70)):
    _roll(env, steps, seed=moment)
    state = through_json(env.get_state())
    assert state['in_episode'] == (not env.current_time_step().is_last())
    seen_last = _bits(env.current_time_step())
    expected = _roll(env, 150, seed=100 + moment)

    fresh = create(name, seed=99, max_episode_steps=110, **bindings)
    fresh.set_state(state)
    assert _bits(fresh.current_time_step()) == seen_last
    assert _roll(fresh, 150, seed=100 + moment) == expected
  # The state is a copy: it can be used again, and in a used environment.
  env.set_state(state)
  assert _roll(env, 150, seed=100 + moment) == expected


def test_state_at_the_end_of_an_episode(through_json):
  env = create('Hopper-v4', seed=11)
  _steps_to_fall(env)
  fresh = create('Hopper-v4', seed=99)
  fresh.set_state(through_json(env.get_state()))
  assert fresh.current_time_step().is_last()
  assert fresh.current_time_step().discount == 0
  assert _roll(fresh, 60, seed=2) == _roll(env, 60, seed=2)


def test_state_before_the_first_reset(through_json):
  env, fresh = create('Hopper-v4', seed=11), create('Hopper-v4', seed=12)
  fresh.reset()
  fresh.set_state(through_json(env.get_state()))
  with pytest.raises(ValueError):
    fresh.current_time_step()
  assert _bits(fresh.reset()) == _bits(env.reset())
  assert _roll(fresh, 60, seed=2) == _roll(env, 60, seed=2)


def test_state_keeps_a_seed_that_waits_for_the_next_reset(through_json):
  env, fresh = create('Hopper-v4', seed=11), create('Hopper-v4', seed=12)
  env.reset()
  _roll(env, 10, seed=0)
  env.seed(5)
  fresh.set_state(through_json(env.get_state()))
  assert _roll(fresh, 3, seed=2) == _roll(env, 3, seed=2)
  assert _bits(fresh.reset()) == _bits(create('Hopper-v4', seed=5).reset())


def test_state_of_another_task_is_refused():
  state = create('Hopper-v4', seed=0).get_state()
  with pytest.raises(ValueError, match='Hopper-v4, not of Walker2d-v4'):
    create('Walker2d-v4', seed=0).set_state(state)


class _HiddenState(gymnasium.Env):
  """A task whose state an adapter cannot know."""

  action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
  observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self._hidden = self.np_random.uniform(-1, 1, 1).astype(np.float32)
    return self._hidden, {}

  def step(self, action):
    return self._hidden, 0.5, False, False, {}


class _Unbounded(_HiddenState):
  action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)


class _Whole(_HiddenState):
  action_space = gymnasium.spaces.Box(0, 3, (2,), np.int64)


class _Image(_HiddenState):
  observation_space = gymnasium.spaces.Box(0, 255, (4, 4), np.uint8)


@pytest.fixture(params=[_HiddenState])
def custom_task(request):
  name = 'MujocoTestTask-v0'
  gymnasium.register(name, request.param, max_episode_steps=5)
  yield name
  del gymnasium.registry[name]


def test_unknown_state_cuts_the_episode(custom_task, through_json):
  env = create(custom_task, seed=0)
  env.reset()
  env.step(np.zeros(2, np.float32))
  fresh = create(custom_task, seed=1)
  fresh.set_state(through_json(env.get_state()))
  restored, current = fresh.current_time_step(), env.current_time_step()
  assert current.is_mid() and restored.is_last()
  assert restored.discount == 1 and restored.reward == current.reward
  np.testing.assert_array_equal(restored.observation, current.observation)
  assert _bits(fresh.reset()) == _bits(env.reset())
  assert _roll(fresh, 3, seed=0) == _roll(env, 3, seed=0)


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
    create.__wrapped__(custom_task, seed=0)
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
    create.__wrapped__(name, seed=0)
  message = str(info.value)
  assert '\n' not in message
  assert message.startswith(f'ENV_NAME="{name}" ')
  assert 'HalfCheetah-v4, Hopper-v4, Walker2d-v4, Ant-v4, Humanoid' in message
  assert named in message


@pytest.mark.parametrize('name', [3, ['Ant-v4'], None])
def test_what_is_no_name_of_a_task_is_a_user_error(name, user_error):
  with user_error(f'env_name is {name!r}', 'a text in quotes'):
    create.__wrapped__(name, seed=0)


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
    create.__wrapped__(name, seed=0, **{binding: value})
  message = str(info.value)
  assert '\n' not in message
  assert message.startswith(f'create_mujoco_environment.{binding} is {value!r}')
  assert named in message


@pytest.mark.parametrize('name', TASKS)
def test_nothing_is_said(name, capfd):
  def handler(message):
    raise AssertionError(message)

  mujoco_lib.set_mju_user_warning(handler)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      env = create(name, seed=0)
      env.reset()
      env.step(_actions(env, 1, seed=0)[0])
    # Only for the time that a task is made are warnings kept back.
    assert mujoco_lib.get_mju_user_warning() is handler
  finally:
    mujoco_lib.set_mju_user_warning(None)
  create(name, seed=0)
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
      assert create(seed=0).observation_spec().shape == (27,)
      with pytest.raises(ValueError, match='seed'):
        gin.parse_config('create_mujoco_environment.seed = 1')
    finally:
      gin.clear_config()
