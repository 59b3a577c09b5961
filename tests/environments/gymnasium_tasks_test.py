"""Tests of rigl_rl.environments.gymnasium_tasks."""

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers

from rigl_rl import errors
from rigl_rl.environments import gymnasium_tasks

KIND = gymnasium_tasks.TaskKind(
  ('CartPole-v0', 'MountainCar-v0'), 'CartPole-v0, MountainCar-v0 and others'
)


def test_unwrap_takes_off_what_gymnasium_puts_around():
  wrapped = gymnasium.make('Pendulum-v1')
  assert wrapped is not wrapped.unwrapped
  env, limit = gymnasium_tasks.unwrap(wrapped)
  assert env is wrapped.unwrapped
  assert limit == 200


def test_unwrap_takes_the_shorter_of_two_limits():
  for outer, expected in ((70, 70), (300, 200)):
    wrapped = wrappers.TimeLimit(gymnasium.make('Pendulum-v1'), outer)
    assert gymnasium_tasks.unwrap(wrapped)[1] == expected


def test_unwrap_leaves_a_tasks_own_wrappers():
  task = gymnasium.make('Pendulum-v1').unwrapped
  own = wrappers.RescaleAction(task, np.float32(-1), np.float32(1))
  assert gymnasium_tasks.unwrap(own) == (own, None)
  assert gymnasium_tasks.unwrap(wrappers.TimeLimit(own, 9)) == (own, 9)


def test_random_stream_goes_on():
  env, fresh = gymnasium.make('Pendulum-v1'), gymnasium.make('Pendulum-v1')
  env.reset(seed=3)
  gymnasium_tasks.set_rng_state(fresh, gymnasium_tasks.get_rng_state(env))
  np.testing.assert_array_equal(fresh.reset()[0], env.reset()[0])


@pytest.mark.parametrize(
  'name, hint',
  [
    # The preferred ones, the likest first, and none beside them.
    ('CartPole-v1x', 'Did you mean CartPole-v0?'),
    ('mountaincar-v0', 'Did you mean MountainCar-v0?'),
    ('Pendulun-v1', 'Did you mean Pendulum-v1'),
    ('Nonsense', 'and others.'),
  ],
)
def test_suggestions(name, hint):
  with pytest.raises(errors.UserError) as info:
    KIND.make(name)
  message = str(info.value)
  assert message.startswith(f'ENV_NAME = {name!r} is not a gymnasium task; ')
  assert 'allowed are CartPole-v0, MountainCar-v0 and others.' in message
  assert hint in message


def test_a_name_without_a_version_is_refused():
  with pytest.raises(errors.UserError, match='names no version.*CartPole-v0'):
    KIND.make('CartPole')


def test_a_module_may_stand_before_the_name():
  env = KIND.make('gymnasium:Pendulum-v1')
  assert env.spec.id == 'Pendulum-v1'


def test_arguments_reach_the_task():
  assert KIND.make('Pendulum-v1', g=3.0).unwrapped.g == 3.0
