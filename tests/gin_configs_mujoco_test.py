"""Every gin file of SAC and PPO is parsed, and its agent built.

The numbers are those of Graesser et al. (2022), tables 2, 3, 8 and 9.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import gin
import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.agents import targets
from rigl_rl.config import parsing
from rigl_rl.replay import transition_buffer
from rigl_rl.sparsity import wrappers
from rigl_rl.training import run_directory

_ROOT = pathlib.Path(__file__).parents[1] / 'gin_configs'
_METHODS = ('dense', 'prune', 'static', 'set', 'rigl')
_ALGORITHMS = {
  'dense': 'Dense',
  'prune': 'Prune',
  'static': 'Static',
  'set': 'SET',
  'rigl': 'RigL',
  'ds': 'DS',
}
# Values of an observation and of an action.
_TASKS = {
  'HalfCheetah-v4': (17, 6),
  'Hopper-v4': (11, 3),
  'Walker2d-v4': (17, 6),
  'Ant-v4': (111, 8),
  'Humanoid-v4': (376, 17),
}


@dataclasses.dataclass(frozen=True)
class _Row:
  """A row of table 2 or 3."""

  weight_decay: float
  interval: int | None = None
  drop_fraction: float | None = None
  initializer: str | None = None


_ROWS = {
  'sac_mujoco': {
    'dense': _Row(1e-4),
    'prune': _Row(1e-4, 1000, None, 'sparsity_aware'),
    'static': _Row(1e-4, None, None, 'layer_default'),
    'rigl': _Row(1e-6, 1000, 0.5, 'sparsity_aware'),
    'set': _Row(1e-4, 250, 0.3, 'sparsity_aware'),
  },
  'ppo_mujoco': {
    'dense': _Row(1e-6),
    'prune': _Row(1e-6, 500, None, 'layer_default'),
    'static': _Row(0.0, None, None, 'sparsity_aware'),
    'rigl': _Row(1e-4, 250, 0.3, 'sparsity_aware'),
    'set': _Row(1e-6, 100, 0.0, 'sparsity_aware'),
  },
}


@dataclasses.dataclass(frozen=True)
class _Suite:
  """What table 8 or 9 prints for all methods alike."""

  runner: str
  # Its bindings.
  loop: dict[str, Any]
  # Attributes of the agent, those of TF-Agents among them.
  agent: dict[str, Any]
  adam_epsilon: float
  activation: str
  hidden_units: int
  # Network to (gin scope of its optimizer, outputs as a factor on actions).
  networks: dict[str, tuple[str, int]]
  gradient_steps: int


_SUITES = {
  'sac_mujoco': _Suite(
    runner='ActorCriticLoop',
    loop={'evaluation_period': 10000, 'evaluation_episodes': 30},
    agent={
      '_gamma': 0.99,
      '_reward_scale_factor': 0.1,
      '_target_update_tau': 0.005,
      '_target_update_period': 1,
      '_target_sparsity': targets.copy_masks,
      '_alpha_loss_weight': 1.0,
      '_target_entropy': -3.0,
      '_gradient_clipping': None,
    },
    adam_epsilon=1e-7,
    activation='relu',
    hidden_units=256,
    networks={
      'actor': ('actor', 2),
      'critic_1': ('critic', 0),
      'critic_2': ('critic', 0),
    },
    gradient_steps=990000,
  ),
  'ppo_mujoco': _Suite(
    runner='PPOLoop',
    loop={
      'rollout_steps': 2048,
      'evaluation_period': 1,
      'evaluation_episodes': 20,
    },
    agent={
      '_minibatch_size': 64,
      '_epochs': 10,
      '_num_epochs': 1,  # TF-Agents' own: ours come on top.
      '_num_rollouts': 489,
      '_discount_factor': 0.99,
      '_lambda': 0.95,
      '_importance_ratio_clipping': 0.2,
      '_entropy_regularization': 0.0,
      '_value_pred_loss_coef': 0.5,
      '_gradient_clipping': 0.5,
      '_value_clipping': 0.0,
      '_decay_learning_rate': True,
      '_bootstrap_time_limits': True,
      '_use_gae': True,
      '_use_td_lambda_return': True,
    },
    adam_epsilon=1e-5,
    activation='tanh',
    hidden_units=64,
    networks={'actor': ('ppo', 1), 'value': ('ppo', 0)},
    gradient_steps=156480,
  ),
}


@pytest.fixture(autouse=True)
def _no_bindings(no_gin_config):
  """None of an earlier test, nor of this one afterwards."""


def _file(*names):
  return '/'.join(('gin_configs', *names)) + '.gin'


def _parse(*files, bindings=()):
  gin.clear_config()
  parsing.parse([_file(*names) for names in files], bindings)


def _build(tmp_path):
  """Builds what the parsed config says, as a run would, with fewer episodes."""
  runner = gin.query_parameter('train.runner').configurable.name
  with gin.unlock_config():
    gin.bind_parameter(f'{runner}.evaluation_episodes', 1)
  return gin.get_configurable(runner)(
    run_directory.RunDirectory(str(tmp_path)),
    seed=gin.query_parameter('%SEED'),
    train_steps=gin.query_parameter('%TRAIN_STEPS'),
  )


def _shapes(suite, name, task='HalfCheetah-v4', units=None):
  observation, action = _TASKS[task]
  _, outputs = suite.networks[name]
  inputs = observation + (action if name.startswith('critic') else 0)
  units = units or suite.hidden_units
  return [(inputs, units), (units, units), (units, outputs * action or 1)]


def _kernel_shapes(agent, name):
  return [tuple(layer.kernel.shape) for layer in agent.networks.layers[name]]


def _check_networks(agent, suite, row, **activations):
  assert list(agent.networks) == list(suite.networks)
  for name, network in agent.networks.items():
    assert _kernel_shapes(agent, name) == _shapes(suite, name)
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


def _check_masks(agent, method, sparsities=None):
  for name, network in agent.networks.items():
    layers = agent.networks.layers[name]
    # All of them are sparse, the last one too.
    assert layers == list(wrappers.named_layers(network).values())
    for layer in layers:
      assert type(layer.algorithm).__name__ == _ALGORITHMS[method]
    sizes = [layer.mask.shape.num_elements() for layer in layers]
    target = sum(n * layer.sparsity for n, layer in zip(sizes, layers))
    zeros = sum(np.sum(layer.mask.numpy() == 0) for layer in layers)
    goal = (sparsities or {}).get(name, 0.9) if method != 'dense' else 0.0
    # Layers have whole numbers of zeros, which shows in PPO's few weights.
    assert target / sum(sizes) == pytest.approx(goal, abs=5e-4)
    if method in ('dense', 'prune'):
      assert zeros == 0
    elif method == 'ds':
      assert zeros / sum(sizes) == pytest.approx(goal, abs=0.03)
    else:
      assert zeros / sum(sizes) == pytest.approx(goal, abs=2e-3)


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


@pytest.mark.parametrize('method', _METHODS)
@pytest.mark.parametrize('name', _SUITES)
def test_row_of_a_table(name, method, tmp_path):
  suite, row = _SUITES[name], _ROWS[name][method]
  _parse(('graesser22', name, method))
  _check_loop(suite)
  if row.initializer:
    assert _initializer() == row.initializer
  loop = _build(tmp_path)
  agent = loop.agent
  _check_agent(agent, suite)
  _check_networks(agent, suite, row)
  _check_masks(agent, method)
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


@pytest.mark.parametrize('method', _METHODS)
@pytest.mark.parametrize('name', _SUITES)
def test_as_released_after_a_method(name, method, tmp_path):
  suite, row = _SUITES[name], _ROWS[name][method]
  _parse(('graesser22', name, method), ('graesser22', name, 'as_released'))
  if name == 'sac_mujoco':
    _check_loop(suite)
    agent = _build(tmp_path).agent
    _check_agent(agent, suite)
    _check_networks(agent, suite, row)
    _check_schedule(agent, suite, row, method)
  else:
    _check_loop(suite, evaluation_period=7)
    loop = _build(tmp_path)
    assert loop._period_ends[:2] == [7 * 2048, 14 * 2048]
    assert loop._period_ends[-1] == 489 * 2048
    agent = loop.agent
    _check_agent(agent, suite, _bootstrap_time_limits=False)
    _check_networks(agent, suite, row)
    _check_schedule(agent, suite, row, method, begin=0.2045, end=0.76687)
  _check_masks(agent, method)
  if method in ('set', 'rigl') or (name, method) == ('ppo_mujoco', 'static'):
    _check_initial_kernels(agent, 'per_connection_glorot')
  else:
    _check_initial_kernels(agent, None)


def test_as_stable_baselines3(tmp_path):
  """With its PPO's defaults, and the initial weights of its policies."""
  folder = ('graesser22', 'ppo_mujoco')
  _parse((*folder, 'dense'), (*folder, 'as_stable_baselines3'))
  loop = _build(tmp_path)
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


@pytest.mark.parametrize(
  'task, steps',
  [
    ('HalfCheetah-v4', 10000),
    ('Ant-v4', 10000),
    ('Hopper-v4', 1000),
    ('Walker2d-v4', 1000),
    ('Humanoid-v4', 1000),
    ('Ant-v5', 10000),
    ('Humanoid-v5', 1000),
    ('gymnasium:Hopper-v4', 1000),
    ('Pendulum-v1', 10000),
    ('my_module:Swing-v0', 10000),
  ],
)
def test_initial_collection(task, steps):
  _parse(
    ('graesser22', 'sac_mujoco', 'rigl'), bindings=[f'ENV_NAME = {task!r}']
  )
  collect = gin.query_parameter('ActorCriticLoop.initial_collect_steps')
  assert collect.scoped_configurable_fn() == steps


@pytest.mark.parametrize(
  'name, task',
  [('ppo_mujoco', task) for task in _TASKS] + [('sac_mujoco', 'Ant-v4')],
)
def test_other_tasks(name, task, tmp_path):
  suite = _SUITES[name]
  _parse(
    ('graesser22', name, 'rigl'),
    bindings=[f'ENV_NAME = {task!r}', 'SPARSITY = 0.8', 'SEED = 3'],
  )
  agent = _build(tmp_path).agent
  for network in agent.networks:
    assert _kernel_shapes(agent, network) == _shapes(suite, network, task)
  _check_masks(agent, 'rigl', dict.fromkeys(suite.networks, 0.8))


@pytest.mark.parametrize('algorithm', _ALGORITHMS)
@pytest.mark.parametrize('name', _SUITES)
def test_algorithm_on_an_agent(name, algorithm, tmp_path):
  suite = _SUITES[name]
  _parse(('agents', name), ('algorithms', algorithm))
  agent = _build(tmp_path).agent
  _check_masks(agent, algorithm)
  for optimizer in agent.networks.optimizers.values():
    updater = optimizer.mask_updater
    if algorithm in ('dense', 'static'):
      assert not updater.layers
      continue
    begin = 0.2 if algorithm == 'prune' else 0.0
    assert updater.schedule.interval == 1000
    assert updater.schedule.begin_step == begin * suite.gradient_steps
    # DS adapts until the last of the steps, which are counted from 0.
    end = 0.8 * suite.gradient_steps
    if algorithm == 'ds':
      end = suite.gradient_steps - 1
    assert updater.schedule.end_step == end


@pytest.mark.parametrize('name', _SUITES)
def test_agent_without_an_algorithm(name, tmp_path):
  """The building block is whole but for the algorithm, RigL by default."""
  suite = _SUITES[name]
  _parse(('agents', name))
  agent = _build(tmp_path).agent
  _check_agent(agent, suite)
  _check_networks(agent, suite, _Row(0.0))
  _check_masks(agent, 'rigl')


# ---------------------------------------------------------------------- macros


def _described(tmp_path, name, *bindings):
  _parse(('graesser22', name, 'static'), bindings=bindings)
  agent = _build(tmp_path).agent
  return agent, agent.describe()['networks']


@pytest.mark.parametrize('name', _SUITES)
def test_sparsity_of_actor_and_critic(name, tmp_path):
  agent, described = _described(
    tmp_path, name, 'ACTOR_SPARSITY = 0.5', 'CRITIC_SPARSITY = 0.95'
  )
  for network, (_, outputs) in _SUITES[name].networks.items():
    expected = 0.5 if outputs else 0.95
    assert described[network]['sparsity'] == pytest.approx(expected, abs=2e-3)
  assert len(described) == len(agent.networks)


@pytest.mark.parametrize('name', _SUITES)
def test_width_of_actor_and_critic(name, tmp_path):
  suite = _SUITES[name]
  agent, _ = _described(
    tmp_path, name, 'ACTOR_WIDTH = 0.25', 'CRITIC_WIDTH = 0.5'
  )
  for network, (_, outputs) in suite.networks.items():
    units = int(suite.hidden_units * (0.25 if outputs else 0.5))
    assert _kernel_shapes(agent, network) == _shapes(
      suite, network, units=units
    )
  agent, _ = _described(tmp_path, name, 'WIDTH = 2')
  for network in suite.networks:
    assert _kernel_shapes(agent, network) == _shapes(
      suite, network, units=2 * suite.hidden_units
    )


def _dense_parameters(suite, network, sparsity):
  """Active weights and biases at a sparsity of all weights together."""
  shapes = _shapes(suite, network)
  weights = sum(int(np.prod(shape)) for shape in shapes)
  return (1 - sparsity) * weights + sum(shape[-1] for shape in shapes)


@pytest.mark.parametrize('name', _SUITES)
def test_matched_width(name, tmp_path):
  """A dense network as large as a sparse one, each of them by itself."""
  suite = _SUITES[name]
  for bindings, sparsities in (
    (['WIDTH = @matched_width'], (0.9, 0.9)),
    (
      [
        'ACTOR_WIDTH = @matched_width',
        'actor/matched_width.sparsity = 0.8',
        'CRITIC_WIDTH = 1.0',
      ],
      (0.8, 0.0),
    ),
  ):
    _parse(('graesser22', name, 'dense'), bindings=bindings)
    agent = _build(tmp_path).agent
    for network, described in agent.describe()['networks'].items():
      sparsity = sparsities[0 if network == 'actor' else 1]
      expected = _dense_parameters(suite, network, sparsity)
      assert described['sparsity'] == 0
      mismatch = described['size_mismatch']
      if not sparsity:  # WIDTH is a number.
        assert (described['parameters'], mismatch) == (expected, None)
        continue
      assert mismatch == pytest.approx(
        described['parameters'] / expected - 1, abs=1e-3
      )
      assert abs(mismatch) < 0.05
    # A target network is as wide as what it follows.
    if name == 'sac_mujoco':
      copy = agent._target_critic_network_2
      assert [v.shape for v in copy.trainable_variables] == [
        v.shape for v in agent.networks['critic_2'].trainable_variables
      ]


def test_macro_that_others_replace(user_error, tmp_path):
  """The file binds it, which is no mistake, unless the user bound it."""
  rigl = ('graesser22', 'sac_mujoco', 'rigl')
  both = ['ACTOR_WIDTH = 0.5', 'CRITIC_WIDTH = 0.25']
  _parse(rigl, bindings=both)
  with user_error('WIDTH is bound, but nothing uses it'):
    _parse(rigl, bindings=[*both, 'WIDTH = 2.0'])
  # In a file of the user's, too.
  mine = tmp_path / 'mine.gin'
  lines = [f"include '{_file(*rigl)}'", *both]
  mine.write_text('\n'.join(lines))
  gin.clear_config()
  parsing.parse([str(mine)], [])
  mine.write_text('\n'.join([*lines, 'WITDH = 2.0']))
  gin.clear_config()
  with user_error('WITDH is bound, but nothing uses it', 'ACTOR_WIDTH'):
    parsing.parse([str(mine)], [])


# -------------------------------------------------------------------- coverage


def test_every_file_is_covered():
  covered = {
    _file('graesser22', name, method)
    for name in _SUITES
    for method in (*_METHODS, 'as_released')
  }
  covered |= {_file('agents', name) for name in _SUITES}
  covered.add(_file('graesser22', 'ppo_mujoco', 'as_stable_baselines3'))
  # The others are those of gin_configs_test.
  shipped = {
    path.relative_to(_ROOT.parent).as_posix()
    for path in _ROOT.glob('**/*.gin')
    if {path.stem, path.parent.name} & set(_SUITES)
  }
  assert shipped == covered
