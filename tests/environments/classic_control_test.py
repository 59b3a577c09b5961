"""Tests of rigl_rl.environments.classic_control."""

import warnings

import gin
import gymnasium
import numpy as np
import pytest

from helpers import mujoco_tasks
from helpers.discrete_tasks import roll
from rigl_rl import errors
from rigl_rl.environments import classic_control

TASKS = classic_control.CLASSIC_CONTROL_TASKS
create = classic_control.create_classic_control_environment


@pytest.mark.parametrize(
  'name, actions, size',
  [('CartPole-v0', 2, 4), ('Acrobot-v1', 3, 6), ('MountainCar-v0', 3, 2)],
)
def test_protocol(name, actions, size):
  env = create(name, seed=0)
  assert env.action_space.n == actions
  assert env.observation_space.shape == (size,)
  assert env.game_over is False
  for observation in (env.reset(), env.step(0)[0]):
    assert observation.shape == (size,)
    assert observation.dtype == np.float32
  _, reward, is_terminal, _ = env.step(1)
  assert isinstance(reward, float)
  assert is_terminal is False
  env.close()


def test_fall_is_terminal():
  env = create('CartPole-v0', seed=0)
  env.reset()
  steps = 0
  while not env.game_over:
    _, reward, is_terminal, _ = env.step(1)
    assert reward == 1.0
    assert is_terminal == env.game_over
    steps += 1
  assert is_terminal and steps < 15


@pytest.mark.parametrize(
  'name, limit',
  [('CartPole-v0', 200), ('MountainCar-v0', 200), ('Acrobot-v1', 500)],
)
def test_time_limit_is_not_terminal(name, limit):
  policy = {
    'CartPole-v0': lambda o: int(o[2] + o[3] > 0),  # Keeps the pole upright.
    'MountainCar-v0': lambda o: 1,  # Lets the car roll.
    'Acrobot-v1': lambda o: 1,  # Lets the arm hang.
  }[name]
  env = create(name, seed=1)
  for _ in range(2):  # Each episode counts from 0.
    observation = env.reset()
    assert not env.game_over
    for step in range(1, limit + 1):
      observation, _, is_terminal, _ = env.step(policy(observation))
      assert not is_terminal
      assert env.game_over == (step == limit)


def test_step_between_episodes_is_an_error():
  env = create('MountainCar-v0', seed=0)
  with pytest.raises(RuntimeError, match='reset'):
    env.step(0)
  env.reset()
  while not env.game_over:
    env.step(0)
  with pytest.raises(RuntimeError, match='reset'):
    env.step(0)


@pytest.mark.parametrize('name', TASKS)
def test_same_as_gymnasium(name):
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    reference = gymnasium.make(name)
  env = create(name, seed=5)
  expected, _ = reference.reset(seed=5)
  np.testing.assert_array_equal(env.reset(), expected)
  rng = np.random.default_rng(0)
  for _ in range(700):
    action = int(rng.integers(env.action_space.n))
    observation, reward, is_terminal, _ = env.step(action)
    expected, expected_reward, terminated, truncated, _ = reference.step(action)
    np.testing.assert_array_equal(observation, expected)
    assert reward == expected_reward
    assert is_terminal == terminated
    assert env.game_over == (terminated or truncated)
    if env.game_over:
      np.testing.assert_array_equal(env.reset(), reference.reset()[0])


def test_seed_decides_everything():
  def trajectory(seed):
    env = create('CartPole-v0', seed=seed)
    env.reset()
    return roll(env, 100, seed=0)

  assert trajectory(3) == trajectory(3)
  assert trajectory(3) != trajectory(4)


@pytest.mark.parametrize('name', TASKS)
@pytest.mark.parametrize('steps_before', [0, 1, 7, 199, 200, 731])
def test_state_continues_to_the_bit(name, steps_before, through_json):
  env = create(name, seed=11)
  env.reset()
  roll(env, steps_before, seed=1)
  state = through_json(env.get_state())
  expected = roll(env, 600, seed=2)

  fresh = create(name, seed=99)
  fresh.set_state(state)
  assert roll(fresh, 600, seed=2) == expected
  # The state is a copy: it can be used again, and in a used environment.
  env.set_state(state)
  assert roll(env, 600, seed=2) == expected


@pytest.mark.parametrize('name', TASKS)
def test_state_at_the_end_of_an_episode(name, through_json):
  env = create(name, seed=11)
  env.reset()
  while not env.game_over:
    env.step(0)
  state = through_json(env.get_state())
  fresh = create(name, seed=99)
  fresh.set_state(state)
  assert fresh.game_over
  assert roll(fresh, 300, seed=2) == roll(env, 300, seed=2)


def test_state_before_the_first_reset(through_json):
  env = create('CartPole-v0', seed=11)
  fresh = create('CartPole-v0', seed=11)
  fresh.set_state(through_json(env.get_state()))
  np.testing.assert_array_equal(fresh.reset(), env.reset())


@pytest.mark.parametrize('has_started', [False, True])
def test_state_of_an_earlier_version(has_started, through_json):
  env = create('CartPole-v0', seed=11)
  if has_started:
    env.reset()
    roll(env, 7, seed=1)
  state = through_json(env.get_state())
  # Only the first reset takes the seed.
  del state['seed']
  state['started'] = has_started
  fresh = create('CartPole-v0', seed=11)
  fresh.set_state(state)
  np.testing.assert_array_equal(fresh.reset(), env.reset())


def test_state_of_another_task_is_refused():
  state = create('CartPole-v0', seed=0).get_state()
  with pytest.raises(ValueError, match='CartPole-v0, not of Acrobot-v1'):
    create('Acrobot-v1', seed=0).set_state(state)


class _HiddenState(mujoco_tasks.HiddenState):
  action_space = gymnasium.spaces.Discrete(2)
  state = 0.0  # Looks like the whole of it, and is not.


@pytest.mark.parametrize('custom_task', [_HiddenState], indirect=True)
def test_unknown_state_is_complete_between_episodes(custom_task, through_json):
  env = create(custom_task, seed=0)
  env.reset()
  env.step(0)
  state = through_json(env.get_state())
  fresh = create(custom_task, seed=1)
  fresh.set_state(state)
  with pytest.raises(RuntimeError, match='reset'):
    fresh.step(0)
  np.testing.assert_array_equal(fresh.reset(), env.reset())


def test_no_warning_about_the_version_of_cartpole():
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    create('CartPole-v0', seed=0).reset()


@pytest.mark.parametrize(
  'name, named',
  [
    ('CartPol-v0', 'Did you mean "CartPole-v0"?'),
    ('acrobot-v1', 'Did you mean "Acrobot-v1"?'),
    ('CartPole-v9', 'Did you mean "CartPole-v'),
    ('Nonsense', 'is not a gymnasium task'),
    ('no_such_module:Task-v0', 'which cannot be imported'),
    (3, 'is not a gymnasium task'),
    ('Pendulum-v1', 'has actions Box'),
    ('FrozenLake-v1', 'has observations Discrete'),
  ],
)
def test_unusable_task_is_a_user_error_of_one_line(name, named):
  with pytest.raises(errors.UserError) as info:
    create.__wrapped__(name, seed=0)
  message = str(info.value)
  assert '\n' not in message
  quoted = f'"{name}"' if isinstance(name, str) else repr(name)
  assert message.startswith(f'ENV_NAME={quoted} ')
  assert 'CartPole-v0, Acrobot-v1, MountainCar-v0' in message
  assert named in message


def test_bindings():
  with gin.unlock_config():
    gin.parse_config(
      "create_classic_control_environment.env_name = 'Acrobot-v1'"
    )
    try:
      assert create(seed=0).action_space.n == 3
      with pytest.raises(ValueError, match='seed'):
        gin.parse_config('create_classic_control_environment.seed = 1')
    finally:
      gin.clear_config()
