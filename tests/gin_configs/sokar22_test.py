"""Every gin file of TD3, and of Sokar et al., is parsed, and its agent built.

The numbers are those of Sokar et al. (2022), section 4.4 and appendix A; where
they are silent, those of the code that the authors publish or name.
"""

import gin
import numpy as np
import pytest
import tensorflow as tf

from helpers.gin_files import name_of, parse, shipped
from helpers.sokar22_tables import (
  AS_RELEASED,
  COLUMNS,
  NETWORKS,
  SUITES,
  agent_from,
  build_from,
  column_file,
  shapes_of,
  update_steps,
)
from rigl_rl.agents import targets
from rigl_rl.replay import transition_buffer
from rigl_rl.sparsity import wrappers
from rigl_rl.training import scores

pytestmark = pytest.mark.usefixtures('no_gin_config')


def _check_networks(agent, column):
  assert list(agent.networks) == list(NETWORKS)
  for name, network in agent.networks.items():
    layers = agent.networks.layers[name]
    # All layers are wrapped, the dense last one too.
    assert layers == list(wrappers.named_layers(network).values())
    shapes = [tuple(layer.kernel.shape) for layer in layers]
    assert shapes == shapes_of(column.suite, name)
    for layer in layers[:-1]:
      assert layer.layer.activation is tf.keras.activations.relu
    assert layers[-1].layer.activation is tf.keras.activations.linear
    assert not network.losses  # Weight decay is Adam's.
  if column.suite == 'sac':
    assert agent.networks['actor'].log_std_range == (-20, 2)


def _check_agent(agent, column):
  suite = SUITES[column.suite]
  for name, value in {**suite.agent, **column.agent}.items():
    assert getattr(agent, name) == value, name
  assert agent._td_errors_loss_fn is tf.math.squared_difference
  assert agent._target_sparsity is (
    targets.keep_largest if column.algorithm == 'DS' else targets.copy_masks
  )
  if column.suite == 'sac':
    assert float(agent.log_alpha) == pytest.approx(np.log(0.2))
  assert list(agent.networks.optimizers) == ['actor', 'critic']
  for scope, optimizer in agent.networks.optimizers.items():
    assert optimizer.period == (suite.actor_period if scope == 'actor' else 1)
    inner = optimizer.inner
    assert isinstance(inner, tf.keras.optimizers.legacy.Adam)
    rate = float(tf.convert_to_tensor(inner.learning_rate))
    assert rate == pytest.approx(suite.learning_rate)
    assert inner.epsilon == 1e-8
    assert getattr(inner, '_weight_decay', 0.0) == suite.weight_decay


def _check_first_weights(agent, column):
  """As PyTorch draws them in TD3, as Glorot in SAC; then masked, not scaled."""
  for name, network in agent.networks.items():
    fresh = network.copy(seed=network.seed)
    fresh.create_variables()
    twins = wrappers.named_layers(fresh).values()
    for layer, twin in zip(agent.networks.layers[name], twins):
      kernel = twin.kernel.numpy()
      np.testing.assert_array_equal(
        layer.kernel.numpy(), kernel * layer.mask.numpy()
      )
      fan_in, fan_out = kernel.shape
      bias = layer.bias.numpy()
      limit = 1 / np.sqrt(fan_in)
      if column.suite == 'td3':
        assert bias.all() and np.abs(bias).max() <= limit
        if fan_out == 256:
          assert np.std(bias) == pytest.approx(limit / np.sqrt(3), rel=0.1)
      else:
        limit = np.sqrt(6 / (fan_in + fan_out))
        assert not bias.any()
      assert 0.98 * limit < np.abs(kernel).max() <= limit
      assert np.std(kernel) == pytest.approx(limit / np.sqrt(3), rel=0.1)


def _check_targets(agent):
  """They begin as the online networks are."""
  for name, copy in agent._targets.items():
    for online, target in zip(agent.networks[name].variables, copy.variables):
      np.testing.assert_array_equal(online.numpy(), target.numpy())


@pytest.mark.parametrize('name', COLUMNS)
def test_column_of_a_table(name, tmp_path):
  column = COLUMNS[name]
  suite = SUITES[column.suite]
  parse(column_file(name))
  for macro, value in (
    ('ENV_NAME', 'HalfCheetah-v4'),
    ('WIDTH', 1.0),
    ('SEED', 0),
    ('TRAIN_STEPS', 1000000),
  ):
    assert gin.query_parameter(f'%{macro}') == value
  assert gin.query_parameter('ActorCriticLoop.evaluation_episodes') == 10
  train = gin.get_bindings('train')
  assert train['runner'].__name__ == 'ActorCriticLoop'
  assert train['task'] == 'HalfCheetah-v4'
  assert scores.describe_final_score() == 'last 10 evaluations'
  loop = build_from(tmp_path, column_file(name))
  assert loop._period_ends == list(range(5000, 1000001, 5000))
  assert loop._initial_collect_steps == suite.initial_steps
  assert isinstance(loop._replay, transition_buffer.TransitionBuffer)
  assert loop._replay.capacity == 1000000
  assert loop._replay.batch_size == suite.batch_size
  agent = loop.agent
  assert agent.networks.total_steps == 1000000 - suite.initial_steps
  _check_agent(agent, column)
  _check_networks(agent, column)
  _check_first_weights(agent, column)
  _check_targets(agent)
  for layers in agent.networks.layers.values():
    for layer in layers:
      assert type(layer.algorithm).__name__ == column.algorithm
      if column.algorithm == 'Dense':
        assert layer.sparsity == 0 and np.all(layer.mask.numpy() == 1)
  for scope, optimizer in agent.networks.optimizers.items():
    assert not optimizer._replace_gradient_step
    updater = optimizer.mask_updater
    # The output layers, being dense, do not adapt.
    adapting = 0
    if column.algorithm == 'DS':
      adapting = 2 if scope == 'actor' else 4
    assert len(updater.algorithms) == adapting
    for algorithm in updater.algorithms:
      assert algorithm.drop_fraction == column.drop_fraction
      assert not algorithm.drop_each_sign
      assert not algorithm.last_update_only_drops


def _adapted(agent, step):
  """Adapts 1,000 weights, 800 of them active, 600 of those positive."""
  mask = np.repeat([1.0, 0.0], [800, 200]).astype(np.float32)
  weight = mask * np.repeat([1.0, -1.0], [600, 400]).astype(np.float32)
  weight *= np.linspace(1, 2, 1000, dtype=np.float32)
  algorithm = agent.networks.optimizers['critic'].mask_updater.algorithms[0]
  adapted = algorithm.update(
    tf.constant(weight),
    tf.constant(mask),
    None,
    tf.constant(step, tf.int64),
    tf.constant([1, 2]),
  ).numpy()
  dropped = mask * (1 - adapted)
  grown = adapted * (1 - mask)
  return dropped[:600].sum(), dropped[600:].sum(), grown.sum()


def test_ds_td3_as_released(tmp_path):
  agent = agent_from(tmp_path, column_file('ds_td3'), AS_RELEASED)
  for steps in update_steps(agent).values():
    np.testing.assert_array_equal(steps, range(2, 925003, 1000))
  # ⌊5 %⌋ + 1 of 600 positive and ⌈5 %⌉ of 200 negative weights; in the end none
  # grows.
  assert _adapted(agent, 924001) == (31, 10, 41)
  assert _adapted(agent, 925001) == (31, 10, 0)


def test_ds_td3_as_printed_adapts_differently(tmp_path):
  agent = agent_from(tmp_path, column_file('ds_td3'))
  for step in (923999, 974999):  # 5 % of 800 weights, half of each sign.
    assert _adapted(agent, step) == (20, 20, 40)


@pytest.mark.parametrize('name', ['td3', 'static_td3'])
def test_as_released_leaves_others_alone(name, tmp_path):
  column = COLUMNS[name]
  agent = agent_from(tmp_path, column_file(name), AS_RELEASED)
  _check_agent(agent, column)
  _check_networks(agent, column)
  _check_first_weights(agent, column)
  for steps in update_steps(agent).values():
    assert not len(steps)


def test_every_file_is_covered():
  covered = {name_of(*column_file(name)) for name in COLUMNS}
  covered |= {name_of(*AS_RELEASED), name_of('agents', 'td3_mujoco')}
  own = {
    str(path)
    for path in shipped()
    if path.stem == 'td3_mujoco' or path.parts[:2] == ('gin_configs', 'sokar22')
  }
  assert own == covered
