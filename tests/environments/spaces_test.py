"""The table of spaces, against the environments themselves."""

import pytest

from rigl_rl import errors, tasks
from rigl_rl.environments import atari, classic_control, mujoco, spaces


def _check(environment, task, **kwargs):
  try:
    found = spaces.find_spaces(task, **kwargs)
    assert found.observation_shape == environment.observation_space.shape
    assert found.num_actions == environment.action_space.n
  finally:
    environment.close()


@pytest.mark.parametrize('game', tasks.GRAESSER22_GAMES)
def test_games(game):
  _check(atari.create_atari_environment(game, seed=0), game)


def test_full_action_set():
  environment = atari.create_atari_environment(
    'Pong', seed=0, full_action_set=True
  )
  _check(environment, 'Pong', full_action_set=True)


@pytest.mark.parametrize('task', classic_control.CLASSIC_CONTROL_TASKS)
def test_classic_control(task):
  _check(classic_control.create_classic_control_environment(task, seed=0), task)


def test_other_tasks_are_not_known():
  assert spaces.find_spaces('Freeway') is None
  assert spaces.find_spaces('HalfCheetah-v4') is None
  assert spaces.find_continuous_spaces('Pendulum-v1') is None
  assert spaces.find_continuous_spaces('CartPole-v0') is None


@pytest.mark.parametrize('version', ['v4', 'v5'])
@pytest.mark.parametrize('task', mujoco.MUJOCO_TASKS)
@pytest.mark.parametrize(
  'bindings',
  [{}, {'ant_padding': False}, {'use_contact_forces': True}],
  ids=['default', 'unpadded', 'contact_forces'],
)
def test_mujoco(task, version, bindings):
  task = task.replace('v4', version)
  found = spaces.find_continuous_spaces(task, **bindings)
  try:
    environment = mujoco.create_mujoco_environment(task, seed=0, **bindings)
  except errors.UserError:
    assert found is None
    return
  assert environment.observation_spec().shape == (found.observation_size,)
  assert environment.action_spec().shape == (found.action_size,)
  environment.close()


def test_papers_ant_has_111_observations():
  ant = spaces.find_continuous_spaces('Ant-v4')
  assert ant == spaces.ContinuousSpaces(observation_size=111, action_size=8)


def test_contact_forces_come_last():
  for task, before in spaces.BEFORE_CONTACT_FORCES.items():
    found = spaces.find_continuous_spaces(task, use_contact_forces=True)
    assert found.observation_size == before + spaces.CONTACT_FORCES
