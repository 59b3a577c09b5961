"""Tests of rigl_rl.environments.gymnasium_tasks."""

import sys

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


@pytest.mark.parametrize(
  'name, hint',
  [
    # The preferred ones, the likest first, and none beside them.
    ('CartPole-v1x', 'Did you mean "CartPole-v0"?'),
    ('mountaincar-v0', 'Did you mean "MountainCar-v0"?'),
    ('Pendulun-v1', 'Did you mean "Pendulum-v1"'),
    ('Nonsense', 'and others. A task of your own'),
    ('Swing-v0', 'of your own needs its module: "my_module:Swing-v0".'),
  ],
)
def test_suggestions(name, hint):
  with pytest.raises(errors.UserError) as info:
    KIND.make(name)
  message = str(info.value)
  assert message.startswith(f'ENV_NAME="{name}" is not a gymnasium task; ')
  assert 'allowed are CartPole-v0, MountainCar-v0 and others.' in message
  assert hint in message


def test_a_name_without_a_version_is_refused():
  with pytest.raises(errors.UserError, match='names no version.*CartPole-v0'):
    KIND.make('CartPole')


_OWN_TASK = """
import gymnasium
import numpy as np


class Swing(gymnasium.Env):
  observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
  action_space = gymnasium.spaces.Discrete(2)


gymnasium.register('Swing-v0', Swing)
"""


def test_a_module_before_the_name_is_imported(tmp_path, monkeypatch):
  (tmp_path / 'own_tasks.py').write_text(_OWN_TASK)
  monkeypatch.syspath_prepend(tmp_path)
  try:
    env = KIND.make('own_tasks:Swing-v0')
    assert env.spec.id == 'Swing-v0'
    # A misspelt name of the same module.
    with pytest.raises(errors.UserError) as info:
      KIND.make('own_tasks:Swin-v0')
    message = str(info.value)
    assert 'is not registered by the module own_tasks;' in message
    assert 'Did you mean "own_tasks:Swing-v0"' in message
    assert 'of your own' not in message
  finally:
    gymnasium.registry.pop('Swing-v0', None)
    sys.modules.pop('own_tasks', None)


def test_a_package_that_a_task_needs_is_named(monkeypatch):
  def needs(**kwargs):
    raise gymnasium.error.DependencyNotInstalled('pip install swing')

  monkeypatch.setitem(
    gymnasium.registry,
    'Swing-v2',
    gymnasium.envs.registration.EnvSpec('Swing-v2', needs),
  )
  for newer in ('Other-v0', 'Swing-v4'):  # Not an old task of gymnasium.
    monkeypatch.setitem(
      gymnasium.registry,
      newer,
      gymnasium.envs.registration.EnvSpec(newer, needs),
    )
    with pytest.raises(errors.UserError, match='missing .pip install swing'):
      KIND.make('Swing-v2')


def test_arguments_reach_the_task():
  assert KIND.make('Pendulum-v1', g=3.0).unwrapped.g == 3.0
