"""Tests of names of tasks, and values that differ from task to task."""

import gin
import pytest

from rigl_rl import tasks
from rigl_rl.environments import atari, classic_control, mujoco

_VALUES = {'Ant': 10000, 'Hopper': 1000, 'Nothing': 0}


@pytest.mark.parametrize(
  'task, value',
  [
    ('Ant-v4', 10000),
    ('Ant-v5', 10000),
    ('Ant-v12', 10000),
    ('Ant', 10000),
    ('gymnasium:Ant-v4', 10000),
    ('my_module:Hopper-v9', 1000),
    ('Hopper-v4', 1000),
    ('Nothing-v0', 0),  # A value as good as any.
  ],
)
def test_value_of_a_task(task, value):
  assert tasks.by_task(task, _VALUES) == value
  assert tasks.by_task(task, _VALUES, otherwise=7) == value


@pytest.mark.parametrize('task', ['Pendulum-v1', 'Ant-very-v4', 'ant-v4', 'v4'])
def test_other_tasks(task, user_error):
  assert tasks.by_task(task, _VALUES, otherwise=7) == 7
  with user_error(
    f'ENV_NAME="{task}"', 'Ant, Hopper, Nothing', 'by_task.otherwise', '10000'
  ):
    tasks.by_task(task, _VALUES)


@pytest.mark.parametrize('task', [3, None])
def test_value_that_is_not_a_name(task, user_error):
  with user_error(f'ENV_NAME={task!r} '):
    tasks.by_task(task, _VALUES)


def test_in_a_gin_file(no_gin_config, user_error):
  gin.parse_config("""
      TASK = 'Hopper-v4'
      initial/by_task.task = %TASK
      initial/by_task.values = {'Hopper': 3}
      a/macro.value = @initial/by_task()
  """)
  assert gin.query_parameter('a/macro.value').scoped_configurable_fn() == 3
  gin.bind_parameter('TASK/gin.macro.value', 'Swimmer-v4')
  with user_error(
    'ENV_NAME', 'Swimmer-v4', 'Hopper', 'initial/by_task.otherwise'
  ):
    gin.query_parameter('a/macro.value').scoped_configurable_fn()


@pytest.mark.parametrize(
  'lines, value',
  [
    (['sparsify.algorithm = @Static()'], 1),
    (['sparsify.algorithm = @SET()', 'SET.drop_fraction = 0.1'], 2),
    (['sparsify.algorithm = @own/RigL()'], 3),
    # In a scope, as in an actor's.
    (['sparsify.algorithm = @SET()', 'b/sparsify.algorithm = @Static()'], 1),
    ([], 3),
  ],
)
def test_value_of_an_algorithm(lines, value, no_gin_config):
  gin.parse_config(['import rigl_rl.sparsity.wrappers', *lines])
  gin.parse_config("""
      b/macro.value = @b/by_algorithm()
      by_algorithm.values = {'Static': 1, 'SET': 2}
      by_algorithm.otherwise = 3
  """)
  assert gin.query_parameter('b/macro.value').scoped_configurable_fn() == value


@pytest.mark.parametrize(
  'create',
  [
    atari.create_atari_environment,
    classic_control.create_classic_control_environment,
    mujoco.create_mujoco_environment,
  ],
)
def test_a_task_has_to_be_bound(create, no_gin_config):
  with pytest.raises(RuntimeError, match='Required bindings.*(env_name|game)'):
    create(seed=0)


def test_fifteen_games_in_order():
  assert len(set(tasks.GRAESSER22_GAMES)) == 15
  assert tasks.GRAESSER22_GAMES[:4] == ('MsPacman', 'Pong', 'Qbert', 'Assault')


def test_returns_that_a_task_can_give():
  assert tasks.return_range('CartPole-v0') == (0, 200)
  assert tasks.return_range('a.module:Acrobot-v1') == (-500, 0)
  assert tasks.return_range('Hopper-v4') == (-float('inf'), float('inf'))
