"""Tests of rigl_rl.compat.gymnasium."""

import itertools
import warnings

import gymnasium
import numpy as np
import pytest

from rigl_rl.compat import gymnasium as compat


def _make(name, **kwargs):
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    return gymnasium.make(name, **kwargs).unwrapped


def _assert_same(task, reference, action):
  *outputs, info = compat.planar_step(task)(action)
  *expected, _ = reference.step(action)
  for output, value in zip(outputs, expected, strict=True):
    np.testing.assert_array_equal(output, value, strict=True)
  assert info == {}
  return outputs[2]


@pytest.mark.parametrize(
  'name, kwargs',
  [
    ('HalfCheetah-v4', {}),
    ('Hopper-v4', {}),
    ('Walker2d-v4', {}),
    ('Hopper-v4', {'ctrl_cost_weight': 0.5, 'healthy_reward': 0.3}),
    ('Walker2d-v4', {'exclude_current_positions_from_observation': False}),
    ('HalfCheetah-v4', {'forward_reward_weight': 2.5}),
  ],
)
def test_same_numbers_as_gymnasium(name, kwargs):
  task, reference = (_make(name, **kwargs) for _ in range(2))
  for each in (task, reference):
    each.reset(seed=3)
  rng = np.random.default_rng(0)
  fell, fastest = [], 0.0
  for i in range(150):  # On after a fall.
    if i == 100:  # Hopper and Walker2d observe 10.
      task.data.qvel[3] = reference.data.qvel[3] = 60
    action = rng.uniform(-1.5, 1.5, task.action_space.shape)
    fell.append(_assert_same(task, reference, action.astype(np.float32)))
    fastest = max(fastest, abs(task.data.qvel).max())
  assert fastest > 10
  assert any(fell) == (name != 'HalfCheetah-v4') and not all(fell)


@pytest.mark.parametrize('name', ['Hopper-v4', 'Walker2d-v4'])
@pytest.mark.filterwarnings('ignore:invalid value')
@pytest.mark.parametrize('value', [np.nan, np.inf, -0.3, 101.0, 0.8])
def test_same_falls_as_gymnasium(name, value):
  task, reference = (_make(name) for _ in range(2))
  action = np.zeros(task.action_space.shape, np.float32)
  fell = set()
  for part, place in itertools.product(('qpos', 'qvel'), range(6)):
    for each in (task, reference):
      each.reset(seed=3)
      each.do_simulation = lambda action, frames: None
      getattr(each.data, part)[place] = value
    fell.add(_assert_same(task, reference, action))
  assert len(fell) == 2


def test_no_step_of_other_tasks():
  for name in ('Ant-v4', 'Hopper-v5'):
    assert compat.planar_step(_make(name)) is None
  task = _make('Hopper-v4', terminate_when_unhealthy=False)
  assert compat.planar_step(task) is None
