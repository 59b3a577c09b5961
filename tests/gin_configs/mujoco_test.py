"""Every gin file of SAC and PPO is parsed, and its agent built.

The numbers are those of Graesser et al. (2022), tables 2, 3, 8 and 9.
"""

import gin
import numpy as np
import pytest
import tensorflow as tf

from helpers.gin_files import METHODS, build, name_of, parse, shipped
from helpers.graesser22_tables import (
  ROWS,
  SUITES,
  Row,
  check_masks,
  kernel_shapes,
  shapes_of,
)
from rigl_rl.replay import transition_buffer
from rigl_rl.sparsity import wrappers

pytestmark = pytest.mark.usefixtures('no_gin_config')


def _check_networks(agent, suite, row, **activations):
  assert list(agent.networks) == list(suite.networks)
  for name, network in agent.networks.items():
    assert kernel_shapes(agent, name) == shapes_of(suite, name)
    # The value network's is not the PPO actor's.
    expected = 'relu' if name == 'value' else suite.activation
    assert network.activation == activations.get(name, expected)
    for layer in agent.networks.layers[name][:-1]:
      assert layer.layer.activation.__name__ == network.activation
    squares = sum(
      float(tf.reduce_sum(layer.kernel**2.0))
      for layer in agent.networks.layers[name]
    )
    # TF-Agents' SAC adds the networks' losses, its PPO weighs the squares.
    decay = sum(map(float, network.losses))
    assert decay == pytest.approx(row.weight_decay * squares, rel=1e-4)
    assert bool(network.losses) == bool(row.weight_decay)
  if 'value' in agent.networks:
    assert agent._policy_l2_reg == row.weight_decay
    assert agent._value_function_l2_reg == row.weight_decay
    assert agent._shared_vars_l2_reg == 0


def _check_agent(agent, suite, **changed):
  for name, value in {**suite.agent, **changed}.items():
    assert getattr(agent, name) == value, name
  inner = [each.inner for each in agent.networks.optimizers.values()]
  if suite.runner == 'ActorCriticLoop':
    inner.append(agent._alpha_optimizer)
    assert agent._td_errors_loss_fn is tf.math.squared_difference
    assert float(agent.log_alpha) == 0.0
    assert agent.networks['actor'].log_std_range == (None, None)
  else:
    assert agent._observation_normalizer is not None
    assert agent._reward_normalizer is not None
    actor = agent.networks['actor']
    assert actor.squash_mean
    std = tf.nn.softplus(actor.raw_std).numpy()
    np.testing.assert_allclose(std, np.full(std.shape, 0.35), rtol=1e-5)
  for optimizer in inner:
    assert isinstance(optimizer, tf.keras.optimizers.legacy.Adam)
    rate = float(tf.convert_to_tensor(optimizer.learning_rate))
    assert rate == pytest.approx(3e-4)
    assert optimizer.epsilon == suite.adam_epsilon
  assert agent.networks.total_steps == suite.gradient_steps


def _check_schedule(agent, suite, row, method, begin=0.2, end=0.8):
  for optimizer in agent.networks.optimizers.values():
    assert not optimizer._replace_gradient_step
    updater = optimizer.mask_updater
    if method in ('dense', 'static'):
      assert not updater.layers
      continue
    begin = begin if method == 'prune' else 0.0
    assert updater.schedule.interval == row.interval
    assert updater.schedule.begin_step == round(begin * suite.gradient_steps)
    assert updater.schedule.end_step == round(end * suite.gradient_steps)
    for algorithm in updater.algorithms:
      if method != 'prune':
        fraction = float(algorithm.drop_fraction_at(tf.constant(0, tf.int64)))
        assert fraction == pytest.approx(row.drop_fraction)
        assert algorithm.drop_noise == 0


def _fresh_kernels(network):
  """The kernels that a network has before anything is masked."""
  copy = network.copy(seed=network.seed)
  copy.create_variables()
  return [
    layer.kernel.numpy() for layer in wrappers.named_layers(copy).values()
  ]


def _check_initial_kernels(agent, initializer):
  for name, network in agent.networks.items():
    for layer, fresh in zip(
      agent.networks.layers[name], _fresh_kernels(network)
    ):
      mask, kernel = layer.mask.numpy(), layer.kernel.numpy()
      if initializer == 'per_connection_glorot':
        if (mask == 0).any():  # Redrawn, not scaled.
          active = fresh * mask != 0
          assert np.std(kernel[active] / fresh[active]) > 0.1
        continue
      scale = 1.0
      if initializer == 'sparsity_aware':
        scale = np.sqrt(len(mask) / np.maximum(mask.sum(axis=0), 1))
      np.testing.assert_allclose(
        kernel, fresh * mask * scale, rtol=1e-5, atol=1e-7
      )


def _initializer():
  return gin.query_parameter('sparsify.initializer').configurable.name


def _check_loop(suite, **changed):
  assert gin.query_parameter('train.runner').configurable.name == suite.runner
  for parameter, value in {**suite.loop, **changed}.items():
    assert gin.query_parameter(f'{suite.runner}.{parameter}') == value
  for macro, value in (
    ('ENV_NAME', 'HalfCheetah-v4'),
    ('SPARSITY', 0.9),
    ('WIDTH', 1.0),
    ('SEED', 0),
    ('TRAIN_STEPS', 1000000),
  ):
    assert gin.query_parameter(f'%{macro}') == value


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('name', SUITES)
def test_row_of_a_table(name, method, tmp_path):
  suite, row = SUITES[name], ROWS[name][method]
  parse(('graesser22', name, method))
  _check_loop(suite)
  if row.initializer:
    assert _initializer() == row.initializer
  loop = build(tmp_path)
  agent = loop.agent
  _check_agent(agent, suite)
  _check_networks(agent, suite, row)
  check_masks(agent, method)
  _check_schedule(agent, suite, row, method)
  # Whatever the table says, nothing is masked at first in the first two.
  is_masked = method not in ('dense', 'prune')
  _check_initial_kernels(agent, row.initializer if is_masked else None)
  if name == 'sac_mujoco':
    assert isinstance(loop._replay, transition_buffer.TransitionBuffer)
    assert loop._replay.capacity == 1000000
    assert loop._replay.batch_size == 256
    assert loop._period_ends == list(range(10000, 1000001, 10000))
  else:
    assert loop._period_ends == list(range(2048, 489 * 2048 + 1, 2048))


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('name', SUITES)
def test_as_released_after_a_method(name, method, tmp_path):
  suite, row = SUITES[name], ROWS[name][method]
  parse(('graesser22', name, method), ('graesser22', name, 'as_released'))
  if name == 'sac_mujoco':
    _check_loop(suite)
    agent = build(tmp_path).agent
    _check_agent(agent, suite)
    _check_networks(agent, suite, row)
    _check_schedule(agent, suite, row, method)
  else:
    _check_loop(suite, evaluation_period=7)
    loop = build(tmp_path)
    assert loop._period_ends[:2] == [7 * 2048, 14 * 2048]
    assert loop._period_ends[-1] == 489 * 2048
    agent = loop.agent
    _check_agent(agent, suite, _bootstrap_time_limits=False)
    _check_networks(agent, suite, row)
    _check_schedule(agent, suite, row, method, begin=0.2045, end=0.76687)
  check_masks(agent, method)
  if method in ('set', 'rigl') or (name, method) == ('ppo_mujoco', 'static'):
    _check_initial_kernels(agent, 'per_connection_glorot')
  else:
    _check_initial_kernels(agent, None)


def test_as_stable_baselines3(tmp_path):
  """With its PPO's defaults, and the initial weights of its policies."""
  folder = ('graesser22', 'ppo_mujoco')
  parse((*folder, 'dense'), (*folder, 'as_stable_baselines3'))
  loop = build(tmp_path)
  agent = loop.agent
  hidden = 2**0.5
  for name, gains in (
    ('actor', (hidden, hidden, 0.01)),
    ('value', (hidden, hidden, 1.0)),
  ):
    network = agent.networks[name]
    assert network.activation == 'tanh'
    assert network.l2_coefficient == 0
    layers = wrappers.named_layers(network).values()
    for layer, gain in zip(layers, gains):
      kernel = layer.kernel.numpy()
      if kernel.shape[0] > kernel.shape[1]:
        kernel = kernel.T
      np.testing.assert_allclose(
        kernel @ kernel.T, gain**2 * np.eye(len(kernel)), atol=1e-5
      )
  actor = agent.networks['actor']
  assert not actor.squash_mean
  np.testing.assert_allclose(tf.nn.softplus(actor.raw_std), 1, rtol=1e-6)
  assert agent._observation_normalizer is agent._reward_normalizer is None
  assert not agent._decay_learning_rate
  assert gin.query_parameter('create_mujoco_environment.clip_actions')
  optimizer = agent._sparse_optimizer.inner
  assert optimizer.epsilon == 1e-5
  assert float(tf.convert_to_tensor(optimizer.learning_rate)) == (
    pytest.approx(3e-4)
  )


@pytest.mark.parametrize('name', SUITES)
def test_agent_without_an_algorithm(name, tmp_path):
  """The building block is whole but for the algorithm, RigL by default."""
  suite = SUITES[name]
  parse(('agents', name))
  agent = build(tmp_path).agent
  _check_agent(agent, suite)
  _check_networks(agent, suite, Row(0.0))
  check_masks(agent, 'rigl')


def test_every_file_is_covered():
  covered = {
    name_of('graesser22', name, method)
    for name in SUITES
    for method in (*METHODS, 'as_released')
  }
  covered |= {name_of('agents', name) for name in SUITES}
  covered.add(name_of('graesser22', 'ppo_mujoco', 'as_stable_baselines3'))
  own = {
    str(path)
    for path in shipped()
    if {path.stem, path.parent.name} & set(SUITES)
  }
  assert own == covered
