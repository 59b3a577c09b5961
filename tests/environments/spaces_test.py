"""The table of spaces, against the environments themselves."""

import pytest

from rigl_rl.environments import atari, classic_control, spaces


def _check(environment, task, **kwargs):
  try:
    found = spaces.find_spaces(task, **kwargs)
    assert found.observation_shape == environment.observation_space.shape
    assert found.num_actions == environment.action_space.n
  finally:
    environment.close()


@pytest.mark.parametrize('game', atari.GRAESSER22_GAMES)
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
