"""The state of MuJoCo environments."""

import numpy as np
import pytest

from helpers import mujoco_tasks


def _roll(env, steps, seed):
  """Acts at random for some steps, across episodes; returns all that it saw."""
  seen = []
  for action in mujoco_tasks.actions(env, steps, seed):
    if env.current_time_step().is_last():
      seen.append(mujoco_tasks.bits(env.reset()))
    seen.append(mujoco_tasks.bits(env.step(action)))
  return seen


@pytest.mark.parametrize('name', ['HalfCheetah-v4', 'Ant-v4', 'Pendulum-v1'])
def test_seed_decides_everything(name):
  def play(env):
    seen = [mujoco_tasks.bits(env.reset())]
    return seen + _roll(env, 120, seed=0)

  used = mujoco_tasks.create(name, seed=1, max_episode_steps=50)
  play(used)
  used.step(mujoco_tasks.actions(used, 1, seed=4)[0])
  fresh = mujoco_tasks.create(name, seed=9, max_episode_steps=50)
  used.seed(7)
  fresh.seed(7)
  expected = play(fresh)
  assert play(used) == expected
  assert (
    play(mujoco_tasks.create(name, seed=7, max_episode_steps=50)) == expected
  )
  assert (
    play(mujoco_tasks.create(name, seed=8, max_episode_steps=50)) != expected
  )
  assert play(used) != expected  # The stream continues.


@pytest.mark.parametrize(
  'name, bindings',
  [
    *((name, {}) for name in mujoco_tasks.TASKS),
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
  env = mujoco_tasks.create(name, seed=11, max_episode_steps=110, **bindings)
  env.reset()
  # After a reset, within episodes, and (the last) right after a cut.
  for moment, steps in enumerate((0, 1, 12, 70)):
    _roll(env, steps, seed=moment)
    state = through_json(env.get_state())
    assert state['in_episode'] == (not env.current_time_step().is_last())
    seen_last = mujoco_tasks.bits(env.current_time_step())
    expected = _roll(env, 150, seed=100 + moment)

    fresh = mujoco_tasks.create(
      name, seed=99, max_episode_steps=110, **bindings
    )
    fresh.set_state(state)
    assert mujoco_tasks.bits(fresh.current_time_step()) == seen_last
    assert _roll(fresh, 150, seed=100 + moment) == expected
  # The state is a copy: it can be used again, and in a used environment.
  env.set_state(state)
  assert _roll(env, 150, seed=100 + moment) == expected


def test_state_at_the_end_of_an_episode(through_json):
  env = mujoco_tasks.create('Hopper-v4', seed=11)
  mujoco_tasks.steps_to_fall(env)
  fresh = mujoco_tasks.create('Hopper-v4', seed=99)
  fresh.set_state(through_json(env.get_state()))
  assert fresh.current_time_step().is_last()
  assert fresh.current_time_step().discount == 0
  assert _roll(fresh, 60, seed=2) == _roll(env, 60, seed=2)


def test_state_before_the_first_reset(through_json):
  env, fresh = (
    mujoco_tasks.create('Hopper-v4', seed=11),
    mujoco_tasks.create('Hopper-v4', seed=12),
  )
  fresh.reset()
  fresh.set_state(through_json(env.get_state()))
  with pytest.raises(ValueError):
    fresh.current_time_step()
  assert mujoco_tasks.bits(fresh.reset()) == mujoco_tasks.bits(env.reset())
  assert _roll(fresh, 60, seed=2) == _roll(env, 60, seed=2)


def test_state_keeps_a_seed_that_waits_for_the_next_reset(through_json):
  env, fresh = (
    mujoco_tasks.create('Hopper-v4', seed=11),
    mujoco_tasks.create('Hopper-v4', seed=12),
  )
  env.reset()
  _roll(env, 10, seed=0)
  env.seed(5)
  fresh.set_state(through_json(env.get_state()))
  assert _roll(fresh, 3, seed=2) == _roll(env, 3, seed=2)
  assert mujoco_tasks.bits(fresh.reset()) == mujoco_tasks.bits(
    mujoco_tasks.create('Hopper-v4', seed=5).reset()
  )


def test_state_of_another_task_is_refused():
  state = mujoco_tasks.create('Hopper-v4', seed=0).get_state()
  with pytest.raises(ValueError, match='Hopper-v4, not of Walker2d-v4'):
    mujoco_tasks.create('Walker2d-v4', seed=0).set_state(state)


def test_unknown_state_cuts_the_episode(custom_task, through_json):
  env = mujoco_tasks.create(custom_task, seed=0)
  env.reset()
  env.step(np.zeros(2, np.float32))
  fresh = mujoco_tasks.create(custom_task, seed=1)
  fresh.set_state(through_json(env.get_state()))
  restored, current = fresh.current_time_step(), env.current_time_step()
  assert current.is_mid() and restored.is_last()
  assert restored.discount == 1 and restored.reward == current.reward
  np.testing.assert_array_equal(restored.observation, current.observation)
  assert mujoco_tasks.bits(fresh.reset()) == mujoco_tasks.bits(env.reset())
  assert _roll(fresh, 3, seed=0) == _roll(env, 3, seed=0)
