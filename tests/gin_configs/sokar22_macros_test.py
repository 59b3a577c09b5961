"""When TD3 and SAC adapt, and both with other tasks, algorithms and widths."""

import gin
import numpy as np
import pytest

from helpers.gin_files import parse
from helpers.sokar22_tables import (
  COLUMNS,
  DS,
  SAC_COLLECTS,
  SPARSE,
  SUITES,
  agent_from,
  all_layers,
  build_from,
  column_file,
  expected_active,
  size_of,
  update_steps,
)
from rigl_rl.agents import targets
from rigl_rl.training import run_directory

pytestmark = pytest.mark.usefixtures('no_gin_config')


def _check_adapts(loop, t):
  """At these environment steps, counted from 1, and no others."""
  for steps in update_steps(loop.agent).values():
    np.testing.assert_array_equal(steps + loop._initial_collect_steps, t)


@pytest.mark.parametrize('interval', [200, 500, 1000, 2000])
def test_adaptation_of_ds_td3(interval, tmp_path):
  """Whenever t is a multiple of e: algorithm 1, figure 2a."""
  bindings = [f'UpdateSchedule.interval = {interval}']
  loop = build_from(tmp_path, column_file('ds_td3'), bindings=bindings)
  first = 25000 + interval - 25000 % interval
  _check_adapts(loop, range(first, 1000001, interval))


@pytest.mark.parametrize('task', ['HalfCheetah-v4', 'Hopper-v4'])
def test_adaptation_of_ds_sac(task, tmp_path):
  bindings = [f'ENV_NAME = {task!r}']
  loop = build_from(tmp_path, column_file('ds_sac'), bindings=bindings)
  collected = SAC_COLLECTS[task[:-3]]
  _check_adapts(loop, range(collected + 1000, 1000001, 1000))


@pytest.mark.parametrize('name', DS)
def test_adaptation_in_a_short_run(name, tmp_path):
  """t is counted in environment steps, however many come before training."""
  bindings = ['TRAIN_STEPS = 5000', 'INITIAL_COLLECT_STEPS = 1500']
  loop = build_from(tmp_path, column_file(name), bindings=bindings)
  assert loop._period_ends == [5000]
  assert loop.agent.networks.total_steps == 3500
  _check_adapts(loop, [2000, 3000, 4000, 5000])


@pytest.mark.parametrize('name', COLUMNS)
def test_run_without_any_training(name, tmp_path, user_error):
  """One that is shorter than the random steps before it."""
  parse(column_file(name), bindings=['TRAIN_STEPS = 3000'])
  steps = SUITES[COLUMNS[name].suite].initial_steps
  with user_error('TRAIN_STEPS is 3,000', f'must exceed the {steps:,} steps'):
    gin.get_configurable('ActorCriticLoop')(
      run_directory.RunDirectory(str(tmp_path)), seed=0, train_steps=3000
    )


@pytest.mark.parametrize('task', SAC_COLLECTS)
def test_initial_collection_of_sac(task):
  parse(column_file('ds_sac'), bindings=[f"ENV_NAME = '{task}-v4'"])
  bound = gin.get_bindings('ActorCriticLoop')
  assert bound['initial_collect_steps'] == SAC_COLLECTS[task]
  steps_before = gin.get_bindings('UpdateSchedule')['steps_before']
  assert steps_before == SAC_COLLECTS[task]


def test_initial_collection_bound_by_itself():
  binding = 'ActorCriticLoop.initial_collect_steps = 1500'
  parse(column_file('ds_td3'), bindings=[binding])
  assert gin.get_bindings('UpdateSchedule')['steps_before'] == 1500


@pytest.mark.parametrize('name', ['td3', 'sac'])
def test_dense_agent_on_another_task(name, tmp_path):
  bindings = ["ENV_NAME = 'Pendulum-v1'"]
  loop = build_from(tmp_path, column_file(name), bindings=bindings)
  assert loop._initial_collect_steps == (25000 if name == 'td3' else 10000)
  agent = loop.agent
  assert agent.networks.layers['actor'][0].kernel.shape == (3, 256)


@pytest.mark.parametrize('name', SPARSE)
def test_sparse_agent_on_another_task(name, tmp_path, user_error):
  bindings = ["ENV_NAME = 'Pendulum-v1'"]
  with user_error('ENV_NAME', 'Pendulum-v1', 'by_task.otherwise'):
    agent_from(tmp_path / 'a', column_file(name), bindings=bindings)
  for path, value in (
    ('b', 'lambdas/by_task.otherwise = (2, 50)'),
    ('c', 'erdos_renyi_lambda.lambdas = (2, 50)'),
  ):
    agent = agent_from(
      tmp_path / path, column_file(name), bindings=[*bindings, value]
    )
    first, second, last = agent.networks.layers['actor']
    assert first.sparsity == pytest.approx(1 - 2 * (3 + 256) / (3 * 256))
    assert second.sparsity == pytest.approx(1 - 50 * 512 / 256**2)
    assert last.sparsity == 0


@pytest.mark.parametrize('algorithm', ['prune', 'rigl', 'set', 'ds'])
def test_algorithm_on_td3(algorithm, tmp_path):
  """Under the distribution of Graesser et al., at a sparsity of one's own."""
  agent = agent_from(
    tmp_path,
    ('agents', 'td3_mujoco'),
    ('algorithms', algorithm),
    bindings=['SPARSITY = 0.9', 'sparsify.distribution = @erdos_renyi_kernel'],
  )
  layers = all_layers(agent.networks.layers)
  size = sum(map(size_of, layers))
  assert expected_active(layers) / size == pytest.approx(0.1, abs=1e-4)
  for layer in layers:
    assert type(layer.algorithm).__name__.lower() == algorithm
  # The actor's masks change in the train steps in which it is trained.
  steps = update_steps(agent)
  assert len(steps['actor']) and not (steps['actor'] % 2).any()
  assert agent._target_sparsity is targets.copy_masks


def test_widths_of_td3(tmp_path):
  bindings = ['ACTOR_WIDTH = 0.25', 'CRITIC_WIDTH = 0.5']
  agent = agent_from(tmp_path / 'a', column_file('td3'), bindings=bindings)
  for name, layers in agent.networks.layers.items():
    units = 64 if name == 'actor' else 128
    assert layers[1].kernel.shape == (units, units)
  bindings = ['WIDTH = @budget_width', 'Budget.total = 0.5']
  agent = agent_from(tmp_path / 'b', column_file('td3'), bindings=bindings)
  # 214,784 weights and 1,544 biases.
  parameters = agent.describe()['parameters']
  assert parameters == pytest.approx((214784 + 1544) / 2, rel=0.01)
