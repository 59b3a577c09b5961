"""Tests of finding an agent's specs."""

import gin
import pytest

from rigl_rl.environments import mujoco

pytestmark = pytest.mark.usefixtures('no_gin_config')


def _sizes(create_environment=mujoco.create_mujoco_environment):
  return tuple(spec.shape for spec in mujoco.find_specs(create_environment))


@pytest.mark.parametrize(
  'bindings,sizes',
  [
    (['env_name = "HalfCheetah-v4"'], ((17,), (6,))),
    (['env_name = "Ant-v4"'], ((111,), (8,))),
    (['env_name = "Ant-v4"', 'ant_padding = False'], ((27,), (8,))),
    (['env_name = "Ant-v4"', 'use_contact_forces = True'], ((111,), (8,))),
    (['env_name = "Ant-v5"'], ((105,), (8,))),
    (['env_name = "gymnasium:Ant-v4"'], ((111,), (8,))),
    (['env_name = "Humanoid-v4"'], ((376,), (17,))),
    (
      ['env_name = "Humanoid-v4"', 'use_contact_forces = True'],
      ((376,), (17,)),
    ),
    (['env_name = "Humanoid-v5"'], ((348,), (17,))),
  ],
)
def test_tasks_of_the_papers(bindings, sizes):
  for binding in bindings:
    gin.parse_config(f'create_mujoco_environment.{binding}')
  assert _sizes() == sizes


def test_specs_are_those_of_the_environment():
  gin.parse_config('create_mujoco_environment.env_name = "Hopper-v4"')
  environment = mujoco.create_mujoco_environment(seed=0)
  own = (environment.observation_spec(), environment.action_spec())
  for found, expected in zip(
    mujoco.find_specs(mujoco.create_mujoco_environment), own
  ):
    assert (found.shape, found.name) == (expected.shape, expected.name)
    assert found.dtype.as_numpy_dtype == expected.dtype


def test_another_task_is_asked():
  gin.parse_config('create_mujoco_environment.env_name = "Pendulum-v1"')
  assert _sizes() == ((3,), (1,))


def test_another_function_is_asked():
  gin.parse_config('create_mujoco_environment.env_name = "HalfCheetah-v4"')

  def create_pendulum(seed):
    return mujoco.create_mujoco_environment('Pendulum-v1', seed)

  assert _sizes(create_pendulum) == ((3,), (1,))


def test_no_such_task(user_error):
  gin.parse_config('create_mujoco_environment.env_name = "Walker3d-v4"')
  with user_error('Walker3d-v4', 'Walker2d-v4'):
    _sizes()


def test_an_option_that_the_task_does_not_have(user_error):
  gin.parse_config("""
    create_mujoco_environment.env_name = 'Hopper-v4'
    create_mujoco_environment.use_contact_forces = True
  """)
  with user_error('use_contact_forces'):
    _sizes()
