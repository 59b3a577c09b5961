"""Every agent takes as many gradient steps as its schedules count.

Pruning up to the end of training shows it: the last update of its masks, at
which it reaches its sparsity, is the last gradient step of all.
"""

import gin
import numpy as np
import pytest

from helpers import runs
from rigl_rl.config import parsing
from rigl_rl.sparsity import distributions
from rigl_rl.training import (
  actor_critic_loop,
  dopamine_runner,
  ppo_loop,
  run_directory,
)

pytestmark = pytest.mark.usefixtures('no_gin_config')

_PRUNE = (
  'sparsify.algorithm = @Prune()',
  'sparsify.distribution = @uniform',
  'SPARSITY = 0.75',
  'UpdateSchedule.begin = 0.0',
  'UpdateSchedule.end = 1.0',
)


def _make(tmp_path, loop_class, gin_file, bindings, train_steps):
  gin.clear_config()
  parsing.parse([f'gin_configs/{gin_file}.gin'], [*bindings, *_PRUNE])
  return loop_class(
    run_directory.RunDirectory(str(tmp_path)), seed=0, train_steps=train_steps
  )


def _assert_pruned(layers):
  for layer in layers:
    size = layer.mask.shape.num_elements()
    zeros = np.count_nonzero(layer.mask.numpy() == 0)
    assert zeros == distributions.num_zeros(size, layer.sparsity) > 0


def _random_dqn_setting(seed):
  """Returns bindings, and how many agent steps to train."""
  rng = np.random.default_rng(seed)

  def draw(low, high):
    return int(rng.integers(low, high + 1))

  return (
    f'UpdateSchedule.interval = {draw(1, 30)}',
    f'SparseDQNAgent.min_replay_history = {draw(0, 40)}',
    f'SparseDQNAgent.update_period = {draw(1, 4)}',
    f'SparseDQNAgent.update_horizon = {draw(1, 3)}',
    f'SparseDQNAgent.target_update_period = {draw(1, 30)}',
    f'build_network.stack_size = {draw(1, 3)}',
    # Overlapped training in every second one.
    f'SparseDQNAgent.overlap_training = {bool(seed % 2)}',
    f'DopamineRunner.max_steps_per_episode = {draw(6, 40)}',
    f'DopamineRunner.evaluation_period = {draw(20, 50)}',
  ), draw(80, 140)


@pytest.mark.parametrize('seed', range(8))
def test_dqn(tmp_path, seed):
  setting, train_steps = _random_dqn_setting(seed)
  bindings = (
    'MLPQNetwork.hidden_units = (8,)',
    'SparseDQNAgent.batch_size = 4',
    'SparseDQNAgent.replay_capacity = 200',
    'DopamineRunner.evaluation_episodes = 1',
    *setting,
  )

  def make():
    return _make(
      tmp_path,
      dopamine_runner.DopamineRunner,
      'graesser22/dqn_classic/prune',
      bindings,
      train_steps,
    )

  runner = make()
  if seed >= 4:  # A run that is stopped, and resumed.
    runs.interrupt(runner, 1)
    runner = make()
    assert 0 < runner.steps_done < train_steps
  runner.run_experiment()
  agent = runner.agent
  assert agent.training_steps == runner.steps_done == train_steps
  planned = agent.networks.total_steps
  assert planned > 5
  assert runner.describe()['gradient_steps'] == planned
  schedule = agent.optimizer.mask_updater.schedule
  assert schedule.end_step == planned - 1
  _assert_pruned(agent.layers)


def test_dqn_that_prunes_to_its_end(tmp_path):
  """MountainCar's episodes of 200 steps end just where training does."""
  runner = _make(
    tmp_path,
    dopamine_runner.DopamineRunner,
    'graesser22/dqn_classic/prune',
    [
      "ENV_NAME = 'MountainCar-v0'",
      'WIDTH = 0.02',
      'SparseDQNAgent.min_replay_history = 100',
      'DopamineRunner.evaluation_period = 400',
      'DopamineRunner.evaluation_episodes = 1',
    ],
    train_steps=400,
  )
  runner.run_experiment()
  assert runner.describe()['gradient_steps'] == 299
  _assert_pruned(runner.agent.layers)


def _check_networks(loop):
  networks = loop.agent.networks
  description = loop.agent.describe()
  assert description['gradient_steps'] == networks.total_steps
  for name, layers in networks.layers.items():
    optimizer = networks.optimizer_of(name)
    assert optimizer.steps_taken == networks.gradient_steps(name) > 0
    last_step = networks.gradient_steps(name) * optimizer.period - 1
    assert optimizer.mask_updater.schedule.end_step == last_step
    _assert_pruned(layers)


_SAC_ACTOR = 'SquashedGaussianActor.hidden_units = (8, 8)'
_TD3_ACTOR = 'DeterministicActor.hidden_units = (8, 8)'
_PERIOD = 'SparseTd3Agent.actor_update_period'
_TINY = (
  "ENV_NAME = 'Hopper-v4'",
  'create_mujoco_environment.max_episode_steps = 9',
  'Critic.hidden_units = (8, 8)',
)


def _random_off_policy_setting(seed):
  rng = np.random.default_rng(seed)
  return (
    *_TINY,
    f'UpdateSchedule.interval = {rng.integers(1, 20)}',
    f'ActorCriticLoop.initial_collect_steps = {rng.integers(1, 20)}',
    f'ActorCriticLoop.evaluation_period = {rng.integers(9, 15)}',
    'ActorCriticLoop.evaluation_episodes = 1',
    'TransitionBuffer.capacity = 60',
    'TransitionBuffer.batch_size = 4',
  ), int(rng.integers(30, 50))


@pytest.mark.parametrize(
  'gin_file,more,seed',
  [
    ('graesser22/sac_mujoco/prune', (_SAC_ACTOR,), 0),
    ('graesser22/sac_mujoco/prune', (_SAC_ACTOR,), 1),
    ('sokar22/td3/ds_td3', (_TD3_ACTOR, f'{_PERIOD} = 2'), 2),
    ('sokar22/td3/ds_td3', (_TD3_ACTOR, f'{_PERIOD} = 3'), 3),
  ],
)
def test_off_policy(tmp_path, gin_file, more, seed):
  setting, train_steps = _random_off_policy_setting(seed)

  def make():
    return _make(
      tmp_path,
      actor_critic_loop.ActorCriticLoop,
      gin_file,
      [*more, *setting],
      train_steps,
    )

  loop = make()
  if seed % 2:
    runs.interrupt(loop, 1)
    loop = make()
    assert loop.steps_done > 0
  loop.run_experiment()
  _check_networks(loop)


@pytest.mark.parametrize(
  'train_steps,minibatch,epochs', [(40, 4, 1), (33, 8, 3)]
)
def test_ppo(tmp_path, train_steps, minibatch, epochs):
  loop = _make(
    tmp_path,
    ppo_loop.PPOLoop,
    'graesser22/ppo_mujoco/prune',
    [
      *_TINY[:2],
      'GaussianActor.hidden_units = (8, 8)',
      'actor_critic.ValueNetwork.hidden_units = (8, 8)',
      'UpdateSchedule.interval = 7',
      f'SparsePPOAgent.minibatch_size = {minibatch}',
      f'SparsePPOAgent.num_epochs = {epochs}',
      'PPOLoop.rollout_steps = 16',
      'PPOLoop.evaluation_episodes = 1',
    ],
    train_steps,
  )
  loop.run_experiment()
  assert loop.agent.networks.total_steps == 3 * epochs * 16 // minibatch
  _check_networks(loop)
