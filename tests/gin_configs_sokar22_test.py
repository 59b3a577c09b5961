"""Every gin file of TD3, and of Sokar et al., is parsed, and its agent built.

The numbers are those of Sokar et al. (2022), section 4.4 and appendix A; where
they are silent, those of the code that the authors publish or name.
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
from rigl_rl.environments import mujoco, specs
from rigl_rl.replay import transition_buffer
from rigl_rl.sparsity import wrappers
from rigl_rl.training import run_directory, scores

_ROOT = pathlib.Path(__file__).parents[1] / 'gin_configs'
# Values of an observation and of an action.
_TASKS = {
  'HalfCheetah': (17, 6),
  'Hopper': (11, 3),
  'Walker2d': (17, 6),
  'Ant': (111, 8),
  'Humanoid': (376, 17),
}
# λ of the first and of the second layer, and the sparsity of all three
# networks together that they come to.
_LAMBDAS = {
  'td3': {
    'HalfCheetah': ((7, 64), 0.506),
    'Hopper': ((7, 64), 0.494),
    'Walker2d': ((7, 64), 0.506),
    'Ant': ((40, 64), 0.496),
    'Humanoid': ((61, 64), 0.557),
  },
  'sac': {
    'HalfCheetah': ((12, 80), 0.369),
    'Walker2d': ((12, 80), 0.369),
    'Hopper': ((7, 20), 0.816),
    'Ant': ((30, 64), 0.530),
    'Humanoid': ((61, 64), 0.552),
  },
}
# Steps at random, before SAC trains.
_SAC_COLLECTS = {
  'HalfCheetah': 10000,
  'Ant': 10000,
  'Hopper': 1000,
  'Walker2d': 1000,
  'Humanoid': 1000,
}
_NETWORKS = ('actor', 'critic_1', 'critic_2')


@dataclasses.dataclass(frozen=True)
class _Suite:
  """What all columns of an agent have in common.

  Attributes:
    agent: attributes of the agent, those of TF-Agents among them.
    learning_rate: of Adam.
    weight_decay: of Adam, in its gradient.
    batch_size: of the replay buffer.
    actor_outputs: outputs of the actor for each value of an action.
    initial_steps: before training, on HalfCheetah.
    actor_period: gradient steps to one of the actor.
  """

  agent: dict[str, Any]
  learning_rate: float
  weight_decay: float
  batch_size: int
  actor_outputs: int
  initial_steps: int
  actor_period: int


_SUITES = {
  'td3': _Suite(
    agent={
      '_gamma': 0.99,
      '_reward_scale_factor': 1.0,
      '_target_update_tau': 0.005,
      '_target_update_period': 2,
      '_actor_update_period': 2,
      '_exploration_noise_std': pytest.approx([0.1] * 6),
      '_target_policy_noise': 0.2,
      '_target_policy_noise_clip': 0.5,
      '_clip_target_actions': True,
      '_gradient_clipping': None,
    },
    learning_rate=1e-3,
    weight_decay=2e-4,
    batch_size=100,
    actor_outputs=1,
    initial_steps=25000,
    actor_period=2,
  ),
  'sac': _Suite(
    agent={
      '_gamma': 0.99,
      '_reward_scale_factor': 1.0,
      '_learn_alpha': False,
      '_gradient_clipping': None,
    },
    learning_rate=3e-4,
    weight_decay=0.0,
    batch_size=256,
    actor_outputs=2,
    initial_steps=10000,
    actor_period=1,
  ),
}


@dataclasses.dataclass(frozen=True)
class _Column:
  """A column of table 1, 2, 4 or 5.

  Attributes:
    suite: 'td3' or 'sac'.
    algorithm: the sparse algorithm.
    drop_fraction: η, if masks change.
    agent: attributes of the agent that are not the suite's.
  """

  suite: str
  algorithm: str
  drop_fraction: float | None = None
  agent: dict[str, Any] = dataclasses.field(default_factory=dict)


_SOFT = {'_target_update_tau': 0.005, '_target_update_period': 1}
_HARD = {'_target_update_tau': 1.0, '_target_update_period': 1000}
_COLUMNS = {
  'td3': _Column('td3', 'Dense'),
  'static_td3': _Column('td3', 'Static'),
  'ds_td3': _Column('td3', 'DS', 0.05),
  'sac': _Column('sac', 'Dense', agent=_SOFT),
  'sac_hard': _Column('sac', 'Dense', agent=_HARD),
  'ds_sac': _Column('sac', 'DS', 0.1, _HARD),
}
_DS = ('ds_td3', 'ds_sac')
_SPARSE = ('static_td3', *_DS)


@pytest.fixture(autouse=True)
def _no_bindings(no_gin_config):
  """None of an earlier test, nor of this one afterwards."""


def _file(*names):
  return '/'.join(('gin_configs', *names)) + '.gin'


def _column(name):
  return ('sokar22', _COLUMNS[name].suite, name)


_AS_RELEASED = ('sokar22', 'td3', 'as_released')


def _parse(*files, bindings=()):
  gin.clear_config()
  parsing.parse([_file(*names) for names in files], bindings)


def _build(tmp_path, *files, bindings=()):
  """Builds what gin files say, as a run would, with fewer episodes."""
  _parse(*files, bindings=bindings)
  with gin.unlock_config():
    gin.bind_parameter('ActorCriticLoop.evaluation_episodes', 1)
  return gin.get_configurable('ActorCriticLoop')(
    run_directory.RunDirectory(str(tmp_path)),
    seed=gin.query_parameter('%SEED'),
    train_steps=gin.query_parameter('%TRAIN_STEPS'),
  )


def _agent(tmp_path, *files, bindings=()):
  return _build(tmp_path, *files, bindings=bindings).agent


def _shapes(suite, network, task='HalfCheetah'):
  observation, action = _TASKS[task]
  if network == 'actor':
    outputs = _SUITES[suite].actor_outputs * action
    return [(observation, 256), (256, 256), (256, outputs)]
  return [(observation + action, 256), (256, 256), (256, 1)]


def _densities(shapes, lambdas):
  """Equation 1; the output layer is dense."""
  first, second, _ = shapes
  return [
    *(
      factor * sum(shape) / np.prod(shape)
      for factor, shape in zip(lambdas, (first, second))
    ),
    1.0,
  ]


def _check_networks(agent, column):
  assert list(agent.networks) == list(_NETWORKS)
  for name, network in agent.networks.items():
    layers = agent.networks.layers[name]
    # All layers are wrapped, the dense last one too.
    assert layers == list(wrappers.named_layers(network).values())
    shapes = [tuple(layer.kernel.shape) for layer in layers]
    assert shapes == _shapes(column.suite, name)
    for layer in layers[:-1]:
      assert layer.layer.activation is tf.keras.activations.relu
    assert layers[-1].layer.activation is tf.keras.activations.linear
    assert not network.losses  # Weight decay is Adam's.
  if column.suite == 'sac':
    assert agent.networks['actor'].log_std_range == (-20, 2)


def _check_agent(agent, column):
  suite = _SUITES[column.suite]
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


@pytest.mark.parametrize('name', _COLUMNS)
def test_column_of_a_table(name, tmp_path):
  column = _COLUMNS[name]
  suite = _SUITES[column.suite]
  _parse(_column(name))
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
  loop = _build(tmp_path, _column(name))
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


# -------------------------------------------------------------------- sparsity


def _sparse_networks(suite):
  """Sparsifies the networks that the parsed config has for its task.

  No agent is built: but for that all is as in a run.
  """
  observation, action = specs.find_specs(mujoco.create_mujoco_environment)
  actor = 'DeterministicActor' if suite == 'td3' else 'SquashedGaussianActor'
  layers = {}
  for name in _NETWORKS:
    with gin.config_scope('actor' if name == 'actor' else 'critic'):
      if name == 'actor':
        inputs, make = observation, gin.get_configurable(actor)
        network = make(observation, action, seed=1)
      else:
        inputs = (observation, action)
        network = gin.get_configurable('Critic')(inputs, seed=1)
      network.create_variables(inputs)
      seed = _NETWORKS.index(name)
      layers[name] = gin.get_configurable('sparsify')(network, seed=seed)
  return layers


def _size(layer):
  return layer.mask.shape.num_elements()


def _expected_active(layers):
  return sum((1 - layer.sparsity) * _size(layer) for layer in layers)


def _all_layers(networks):
  return [layer for layers in networks.values() for layer in layers]


@pytest.mark.parametrize('task', _TASKS)
@pytest.mark.parametrize('name', _SPARSE)
def test_sparsity_by_task(name, task, capsys):
  suite = _COLUMNS[name].suite
  lambdas, sparsity = _LAMBDAS[suite][task]
  _parse(_column(name), bindings=[f"ENV_NAME = '{task}-v4'"])
  networks = _sparse_networks(suite)
  for network, layers in networks.items():
    shapes = _shapes(suite, network, task)
    assert [tuple(layer.mask.shape) for layer in layers] == shapes
    densities = _densities(shapes, lambdas)
    for layer, density in zip(layers, densities):
      assert 1 - layer.sparsity == pytest.approx(density, abs=1e-12)
      # Counts are binomial: within five σ.
      spread = 5 * np.sqrt(_size(layer) * density * (1 - density))
      active = float(tf.reduce_sum(layer.mask))
      assert abs(active - density * _size(layer)) <= spread
  counts = [int(tf.reduce_sum(networks[name][1].mask)) for name in _NETWORKS]
  assert len(set(counts)) > 1  # Of 256×256 weights each.
  everything = _all_layers(networks)
  size = sum(map(_size, everything))
  active = _expected_active(everything)
  assert 1 - active / size == pytest.approx(sparsity, abs=5e-4)
  if task == 'HalfCheetah' and suite == 'td3':
    assert size == 214784
    assert active == pytest.approx(106169)
  if task == 'Walker2d':  # Whatever the version.
    _parse(_column(name), bindings=["ENV_NAME = 'Walker2d-v5'"])
    again = _all_layers(_sparse_networks(suite))
    assert _expected_active(again) == pytest.approx(active)
  assert 'density' not in capsys.readouterr().out  # None of them is clipped.


@pytest.mark.parametrize('sparsity', [0.25, 0.5, 0.8])
@pytest.mark.parametrize('name', _SPARSE)
def test_another_sparsity_at_a_fixed_ratio(name, sparsity):
  """Figure 2b."""
  suite = _COLUMNS[name].suite
  lambdas, _ = _LAMBDAS[suite]['HalfCheetah']
  _parse(_column(name), bindings=[f'SPARSITY = {sparsity}'])
  for network, layers in _sparse_networks(suite).items():
    active = _expected_active(layers) / sum(map(_size, layers))
    assert active == pytest.approx(1 - sparsity)
    assert layers[-1].sparsity == 0
    first, second, _ = _densities(_shapes(suite, network), lambdas)
    scaled = [1 - layer.sparsity for layer in layers]
    assert scaled[0] / scaled[1] == pytest.approx(first / second)


def test_sparsity_of_actor_and_critic():
  bindings = ['ACTOR_SPARSITY = 0.8', 'CRITIC_SPARSITY = 0.3']
  _parse(_column('ds_td3'), bindings=bindings)
  for network, layers in _sparse_networks('td3').items():
    active = _expected_active(layers) / sum(map(_size, layers))
    assert active == pytest.approx(0.2 if network == 'actor' else 0.7)


def test_sparsity_that_the_output_layer_rules_out(user_error):
  _parse(_column('ds_td3'), bindings=['SPARSITY = 0.99'])
  with user_error('SPARSITY', '0.99', 'below 0.9785'):
    _sparse_networks('td3')


# -------------------------------------------------------------------- schedule


def _update_steps(agent):
  """Gradient steps at which actor and critics adapt, counted from 1."""
  return {
    scope: optimizer.update_steps() + 1
    for scope, optimizer in agent.networks.optimizers.items()
  }


def _check_adapts(loop, t):
  """At these environment steps, counted from 1, and no others."""
  for steps in _update_steps(loop.agent).values():
    np.testing.assert_array_equal(steps + loop._initial_collect_steps, t)


@pytest.mark.parametrize('interval', [200, 500, 1000, 2000])
def test_adaptation_of_ds_td3(interval, tmp_path):
  """Whenever t is a multiple of e: algorithm 1, figure 2a."""
  bindings = [f'UpdateSchedule.interval = {interval}']
  loop = _build(tmp_path, _column('ds_td3'), bindings=bindings)
  first = 25000 + interval - 25000 % interval
  _check_adapts(loop, range(first, 1000001, interval))


@pytest.mark.parametrize('task', ['HalfCheetah-v4', 'Hopper-v4'])
def test_adaptation_of_ds_sac(task, tmp_path):
  bindings = [f'ENV_NAME = {task!r}']
  loop = _build(tmp_path, _column('ds_sac'), bindings=bindings)
  collected = _SAC_COLLECTS[task[:-3]]
  _check_adapts(loop, range(collected + 1000, 1000001, 1000))


@pytest.mark.parametrize('name', _DS)
def test_adaptation_in_a_short_run(name, tmp_path):
  """t is counted in environment steps, however many come before training."""
  bindings = ['TRAIN_STEPS = 5000', 'INITIAL_COLLECT_STEPS = 1500']
  loop = _build(tmp_path, _column(name), bindings=bindings)
  assert loop._period_ends == [5000]
  assert loop.agent.networks.total_steps == 3500
  _check_adapts(loop, [2000, 3000, 4000, 5000])


@pytest.mark.parametrize('name', _COLUMNS)
def test_run_without_any_training(name, tmp_path, user_error):
  """One that is shorter than the random steps before it."""
  _parse(_column(name), bindings=['TRAIN_STEPS = 3000'])
  steps = _SUITES[_COLUMNS[name].suite].initial_steps
  with user_error('TRAIN_STEPS is 3,000', f'must exceed the {steps:,} steps'):
    gin.get_configurable('ActorCriticLoop')(
      run_directory.RunDirectory(str(tmp_path)), seed=0, train_steps=3000
    )


@pytest.mark.parametrize('task', _SAC_COLLECTS)
def test_initial_collection_of_sac(task):
  _parse(_column('ds_sac'), bindings=[f"ENV_NAME = '{task}-v4'"])
  bound = gin.get_bindings('ActorCriticLoop')
  assert bound['initial_collect_steps'] == _SAC_COLLECTS[task]
  steps_before = gin.get_bindings('UpdateSchedule')['steps_before']
  assert steps_before == _SAC_COLLECTS[task]


def test_initial_collection_bound_by_itself():
  binding = 'ActorCriticLoop.initial_collect_steps = 1500'
  _parse(_column('ds_td3'), bindings=[binding])
  assert gin.get_bindings('UpdateSchedule')['steps_before'] == 1500


# ----------------------------------------------------------------- as released


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
  agent = _agent(tmp_path, _column('ds_td3'), _AS_RELEASED)
  for steps in _update_steps(agent).values():
    np.testing.assert_array_equal(steps, range(2, 925003, 1000))
  # ⌊5 %⌋ + 1 of 600 positive and ⌈5 %⌉ of 200 negative weights; in the end none
  # grows.
  assert _adapted(agent, 924001) == (31, 10, 41)
  assert _adapted(agent, 925001) == (31, 10, 0)


def test_ds_td3_as_printed_adapts_otherwise(tmp_path):
  agent = _agent(tmp_path, _column('ds_td3'))
  for step in (923999, 974999):  # 5 % of 800 weights, half of each sign.
    assert _adapted(agent, step) == (20, 20, 40)


@pytest.mark.parametrize('name', ['td3', 'static_td3'])
def test_as_released_leaves_others_alone(name, tmp_path):
  column = _COLUMNS[name]
  agent = _agent(tmp_path, _column(name), _AS_RELEASED)
  _check_agent(agent, column)
  _check_networks(agent, column)
  _check_first_weights(agent, column)
  for steps in _update_steps(agent).values():
    assert not len(steps)


# ----------------------------------------------------------------- other tasks


@pytest.mark.parametrize('name', ['td3', 'sac'])
def test_dense_agent_on_another_task(name, tmp_path):
  bindings = ["ENV_NAME = 'Pendulum-v1'"]
  loop = _build(tmp_path, _column(name), bindings=bindings)
  assert loop._initial_collect_steps == (25000 if name == 'td3' else 10000)
  agent = loop.agent
  assert agent.networks.layers['actor'][0].kernel.shape == (3, 256)


@pytest.mark.parametrize('name', _SPARSE)
def test_sparse_agent_on_another_task(name, tmp_path, user_error):
  bindings = ["ENV_NAME = 'Pendulum-v1'"]
  with user_error('ENV_NAME', 'Pendulum-v1', 'by_task.otherwise'):
    _agent(tmp_path / 'a', _column(name), bindings=bindings)
  for path, value in (
    ('b', 'lambdas/by_task.otherwise = (2, 50)'),
    ('c', 'erdos_renyi_lambda.lambdas = (2, 50)'),
  ):
    agent = _agent(tmp_path / path, _column(name), bindings=[*bindings, value])
    first, second, last = agent.networks.layers['actor']
    assert first.sparsity == pytest.approx(1 - 2 * (3 + 256) / (3 * 256))
    assert second.sparsity == pytest.approx(1 - 50 * 512 / 256**2)
    assert last.sparsity == 0


# ------------------------------------------------------- TD3 with other choices


@pytest.mark.parametrize('algorithm', ['prune', 'rigl', 'set', 'ds'])
def test_algorithm_on_td3(algorithm, tmp_path):
  """Under the distribution of Graesser et al., at a sparsity of one's own."""
  agent = _agent(
    tmp_path,
    ('agents', 'td3_mujoco'),
    ('algorithms', algorithm),
    bindings=['SPARSITY = 0.9', 'sparsify.distribution = @erdos_renyi_kernel'],
  )
  layers = _all_layers(agent.networks.layers)
  size = sum(map(_size, layers))
  assert _expected_active(layers) / size == pytest.approx(0.1, abs=1e-4)
  for layer in layers:
    assert type(layer.algorithm).__name__.lower() == algorithm
  # The actor's masks change in the train steps in which it is trained.
  steps = _update_steps(agent)
  assert len(steps['actor']) and not (steps['actor'] % 2).any()
  assert agent._target_sparsity is targets.copy_masks


def test_widths_of_td3(tmp_path):
  bindings = ['ACTOR_WIDTH = 0.25', 'CRITIC_WIDTH = 0.5']
  agent = _agent(tmp_path / 'a', _column('td3'), bindings=bindings)
  for name, layers in agent.networks.layers.items():
    units = 64 if name == 'actor' else 128
    assert layers[1].kernel.shape == (units, units)
  bindings = ['WIDTH = @budget_width', 'Budget.total = 0.5']
  agent = _agent(tmp_path / 'b', _column('td3'), bindings=bindings)
  # 214,784 weights and 1,544 biases.
  parameters = agent.describe()['parameters']
  assert parameters == pytest.approx((214784 + 1544) / 2, rel=0.01)


# -------------------------------------------------------------------- coverage


def test_every_file_is_covered():
  covered = {_file(*_column(name)) for name in _COLUMNS}
  covered |= {_file(*_AS_RELEASED), _file('agents', 'td3_mujoco')}
  # The others are those of gin_configs_test and gin_configs_mujoco_test.
  shipped = {
    path.relative_to(_ROOT.parent).as_posix()
    for path in _ROOT.glob('**/*.gin')
    if path.stem == 'td3_mujoco' or path.parent.parent == _ROOT / 'sokar22'
  }
  assert shipped == covered
