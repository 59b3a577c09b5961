"""Every gin file of DQN is parsed, and its agent built.

The numbers are those of Graesser et al. (2022), tables 1 and 4 to 7.
"""

import dataclasses
from typing import Any

import gin
import numpy as np
import pytest
import tensorflow as tf

from helpers import small_models
from helpers.gin_files import ALGORITHMS, METHODS, name_of, parse, shipped
from rigl_rl import errors, seeding
from rigl_rl.agents import dqn, q_learner
from rigl_rl.config import bindings
from rigl_rl.networks import q_networks
from rigl_rl.sparsity import step_plan

_RESNET_SHAPES = [
  shape
  for channels, filters in ((4, 32), (32, 64), (64, 64))
  for shape in [(3, 3, channels, filters)] + 4 * [(3, 3, filters, filters)]
]
_CNN_SHAPES = [(8, 8, 4, 32), (4, 4, 32, 64), (3, 3, 64, 64)]


@dataclasses.dataclass(frozen=True)
class _Suite:
  """What a table prints for all methods alike."""

  task: str
  agent: dict[str, Any]  # Attributes of the agent.
  batch_size: int
  replay_capacity: int
  learning_rate: float
  adam_epsilon: float
  # Of an error of 3: 9 squared, or 2.5 by Huber's.
  loss_of_3: float
  network: type
  # Kernels on the first task, first layer first.
  kernels: list[tuple[int, ...]]
  stack_size: int
  # Of the term weight_decay * factor * sum of squares.
  weight_decay: float
  weight_decay_factor: float
  decay_output: bool
  interval: int
  drop_fraction: float
  gradient_steps: int
  prune_initializer: str
  runner: dict[str, Any]


_SUITES = {
  'dqn_classic': _Suite(
    task='CartPole-v0',
    agent={
      'gamma': 0.99,
      'update_horizon': 1,
      'min_replay_history': 1000,
      'update_period': 1,
      'target_update_period': 100,
      'epsilon_train': 0.1,
      'epsilon_eval': 0.1,
      'epsilon_decay_period': 25000,
    },
    batch_size=128,
    replay_capacity=100000,
    learning_rate=1e-3,
    adam_epsilon=1e-7,
    loss_of_3=9.0,
    network=q_networks.MLPQNetwork,
    kernels=[(4, 512), (512, 512), (512, 2)],
    stack_size=1,
    weight_decay=1e-6,
    weight_decay_factor=1.0,
    decay_output=False,
    interval=1000,
    drop_fraction=0.5,
    gradient_steps=98999,  # Of agent steps 1,001 to 99,999.
    prune_initializer='sparsity_aware',
    runner={
      'evaluation_period': 2000,
      'evaluation_episodes': 20,
      'clip_rewards': False,
    },
  ),
  'dqn_atari_cnn': _Suite(
    task='Pong',
    agent={
      'gamma': 0.99,
      'update_horizon': 1,
      'min_replay_history': 20000,
      'update_period': 4,
      'target_update_period': 8000,
      'epsilon_train': 0.01,
      'epsilon_eval': 0.001,
      'epsilon_decay_period': 25000,
    },
    batch_size=32,
    replay_capacity=1000000,
    learning_rate=2.5e-4,
    adam_epsilon=1e-8,
    loss_of_3=2.5,
    network=q_networks.NatureQNetwork,
    kernels=_CNN_SHAPES + [(7744, 512), (512, 6)],
    stack_size=4,
    weight_decay=0.0,
    weight_decay_factor=0.5,
    decay_output=True,
    interval=5000,
    drop_fraction=0.3,
    gradient_steps=2494999,
    prune_initializer='layer_default',
    runner={
      'evaluation_period': 250000,
      'evaluation_steps': 125000,
      'max_steps_per_episode': 27000,
      'clip_rewards': True,
    },
  ),
}
_SUITES['dqn_atari_resnet'] = dataclasses.replace(
  _SUITES['dqn_atari_cnn'],
  learning_rate=1e-4,
  adam_epsilon=3.125e-4,
  network=q_networks.ImpalaQNetwork,
  kernels=_RESNET_SHAPES + [(7744, 512), (512, 6)],
  weight_decay=1e-5,
)

pytestmark = pytest.mark.usefixtures('no_gin_config')


@pytest.fixture
def untraced(monkeypatch):
  """All is built but the graph of the train step, which other tests trace."""

  def act(self, *batch):
    return self.online(batch[-1])

  monkeypatch.setattr(q_learner.QLearner, '_train', act)


def _build(task):
  """Builds the agent of the parsed config, with a small replay buffer."""
  capacity = gin.query_parameter('SparseDQNAgent.replay_capacity')
  least = gin.query_parameter('%INITIAL_COLLECT_STEPS')
  with gin.unlock_config():
    gin.bind_parameter('SparseDQNAgent.replay_capacity', least)
  create = bindings.read(gin.get_configurable('DopamineRunner'))
  environment = create['create_environment'](task)
  agent = dqn.SparseDQNAgent(
    num_actions=environment.action_space.n,
    observation_space=environment.observation_space,
    seed=gin.query_parameter('%SEED'),
    train_steps=gin.query_parameter('%TRAIN_STEPS'),
  )
  return agent, capacity


def _fresh_kernels(agent):
  """The kernels that the agent's network has before anything is masked."""
  make = gin.get_configurable(type(agent.online).__name__)
  seed = seeding.stream_seed(gin.query_parameter('%SEED'), 'network')
  model = make(num_actions=agent.num_actions, seed=seed)
  small_models.built(model, *agent.state_shape)
  return [v.numpy() for v in model.trainable_variables if v.shape.rank > 1]


def _kernels(agent):
  return [layer.kernel.numpy() for layer in agent.layers]


def _check_agent(agent, suite, **changed):
  for name, value in {**suite.agent, **changed}.items():
    assert getattr(agent, name) == value, name
  assert agent.replay.batch_size == suite.batch_size
  inner = agent.optimizer.inner
  assert isinstance(inner, tf.keras.optimizers.legacy.Adam)
  rate = float(tf.convert_to_tensor(inner.learning_rate))
  assert rate == pytest.approx(suite.learning_rate)
  assert inner.epsilon == suite.adam_epsilon
  error = agent._loss(tf.constant([3.0]), tf.constant([0.0]))
  assert error.numpy().tolist() == [suite.loss_of_3]
  assert agent.networks.total_steps == suite.gradient_steps


def _check_network(agent, suite, kernels):
  assert isinstance(agent.online, suite.network)
  assert [tuple(layer.kernel.shape) for layer in agent.layers] == kernels
  assert agent.stack_size == suite.stack_size
  decayed = _kernels(agent)[: None if suite.decay_output else -1]
  squares = sum(float(np.sum(kernel**2.0)) for kernel in decayed)
  decay = suite.weight_decay * suite.weight_decay_factor
  assert sum(map(float, agent.online.losses)) == pytest.approx(
    decay * squares, rel=1e-4
  )
  if not suite.weight_decay:
    assert not agent.online.losses


def _check_masks(agent, method, sparsity=0.9):
  assert len(agent.layers) == len(agent.online.weights) // 3
  for layer in agent.layers:
    assert type(layer.algorithm).__name__ == ALGORITHMS[method]
  sizes = [kernel.size for kernel in _kernels(agent)]
  target = sum(n * layer.sparsity for n, layer in zip(sizes, agent.layers))
  zeros = sum(np.sum(layer.mask.numpy() == 0) for layer in agent.layers)
  goal = 0.0 if method == 'dense' else sparsity
  assert target / sum(sizes) == pytest.approx(goal, abs=1e-4)
  if method in ('dense', 'prune'):
    assert zeros == 0
  else:
    assert zeros / sum(sizes) == pytest.approx(goal, abs=2e-3)


def _check_schedule(agent, suite, method, end=0.8):
  updater = agent.optimizer.mask_updater
  if method in ('dense', 'static'):
    assert not updater.layers
    return
  begin = 0.2 if method == 'prune' else 0.0
  assert updater.schedule.interval == suite.interval
  assert updater.schedule.begin_step == round(begin * suite.gradient_steps)
  assert updater.schedule.end_step == round(end * suite.gradient_steps)
  if method != 'prune':
    for algorithm in updater.algorithms:
      fraction = float(algorithm.drop_fraction_at(tf.constant(0, tf.int64)))
      assert fraction == pytest.approx(suite.drop_fraction)


def _check_sparsity_aware(agent):
  """Each output unit's weights are scaled by √(fan-in / active fan-in)."""
  for layer, fresh in zip(agent.layers, _fresh_kernels(agent)):
    mask = layer.mask.numpy()
    axes = tuple(range(mask.ndim - 1))
    active = np.maximum(mask.sum(axis=axes), 1)
    scale = np.sqrt(mask[..., 0].size / active)
    np.testing.assert_allclose(
      layer.kernel.numpy(), fresh * mask * scale, rtol=1e-5, atol=1e-7
    )


def _initializer():
  return gin.query_parameter('sparsify.initializer').configurable.name


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('name', _SUITES)
def test_row_of_a_table(name, method, untraced):
  suite = _SUITES[name]
  parse(('graesser22', name, method))
  assert gin.query_parameter('%SPARSITY') == 0.9
  for parameter, value in suite.runner.items():
    assert gin.query_parameter(f'DopamineRunner.{parameter}') == value
  agent, capacity = _build(suite.task)
  assert capacity == suite.replay_capacity
  _check_agent(agent, suite)
  _check_network(agent, suite, suite.kernels)
  _check_masks(agent, method)
  _check_schedule(agent, suite, method)
  assert not agent.optimizer._replace_gradient_step
  if method in ('set', 'rigl'):
    assert agent.optimizer.mask_updater.algorithms[0].drop_noise == 0

  if method in ('dense', 'prune'):
    # Whatever the table says, nothing is masked at first.
    if method == 'prune':
      assert _initializer() == suite.prune_initializer
    for kernel, fresh in zip(_kernels(agent), _fresh_kernels(agent)):
      np.testing.assert_array_equal(kernel, fresh)
  else:
    assert _initializer() == 'sparsity_aware'
    _check_sparsity_aware(agent)


def _rows_to_trace():
  """All methods with the small network; of the large ones, RigL is quick."""
  for name in _SUITES:
    for method in METHODS:
      quick = name == 'dqn_classic' or method == 'rigl'
      marks = () if quick else pytest.mark.slow
      yield pytest.param(name, method, marks=marks)


@pytest.mark.parametrize(('name', 'method'), _rows_to_trace())
def test_train_step_of_a_row(name, method):
  parse(('graesser22', name, method))
  agent, _ = _build(_SUITES[name].task)
  # On Atari gradients are computed beside the agent's steps.
  functions = agent.learner._traced(step_plan.StepPlan())
  assert agent.learner._traced.cache_info().misses == 1  # Built with it.
  assert len(functions) == (1 if name == 'dqn_classic' else 2)
  trained = {v.ref() for function in functions for v in function.variables}
  assert {layer.trained_kernel.ref() for layer in agent.layers} <= trained
  assert agent.optimizer.step.ref() in trained


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('name', _SUITES)
def test_as_released_after_a_method(name, method, untraced):
  suite = _SUITES[name]
  parse(('graesser22', name, method), ('graesser22', name, 'as_released'))
  agent, _ = _build(suite.task)
  classic = name == 'dqn_classic'
  kernels = list(suite.kernels)
  if classic:
    _check_agent(
      agent,
      suite,
      epsilon_train=0.01,
      epsilon_decay_period=1,
      epsilon_eval=0.0,
    )
  else:
    _check_agent(agent, suite, epsilon_decay_period=250000)
    if name == 'dqn_atari_resnet':
      kernels[-2:] = [(7744, 256), (256, 6)]
  _check_network(agent, suite, kernels)
  _check_masks(agent, method)
  _check_schedule(agent, suite, method, end=0.75 if classic else 0.8)
  # SET and pruning take the gradient step on Atari, too.
  replaces = method == 'rigl' and not classic
  assert agent.optimizer._replace_gradient_step == replaces
  if method in ('set', 'rigl'):
    for algorithm in agent.optimizer.mask_updater.algorithms:
      assert algorithm.drop_noise == (0 if classic else 1e-5)
  fresh = _fresh_kernels(agent)[1] * agent.layers[1].mask.numpy()
  ratio = agent.layers[1].kernel.numpy()[fresh != 0] / fresh[fresh != 0]
  if method in ('set', 'rigl') or (classic and method == 'static'):
    assert np.std(ratio) > 0.1  # Redrawn, not scaled.
  else:
    assert (ratio == 1).all()


@pytest.mark.parametrize('algorithm', ALGORITHMS)
def test_algorithm_on_an_agent(algorithm):
  files = ('agents', 'dqn_classic'), ('algorithms', algorithm)
  parse(*files, bindings=['SPARSITY = 0.5'])
  agent, _ = _build('CartPole-v0')
  updater = agent.optimizer.mask_updater
  for layer in agent.layers:
    assert type(layer.algorithm).__name__ == ALGORITHMS[algorithm]
  if algorithm in ('dense', 'static'):
    assert not updater.layers
    return
  begin = 0.2 if algorithm == 'prune' else 0.0
  assert updater.schedule.interval == 1000
  assert updater.schedule.begin_step == round(begin * 98999)
  # DS adapts until the last of the steps, which are counted from 0.
  end_step = 98998 if algorithm == 'ds' else round(0.8 * 98999)
  assert updater.schedule.end_step == end_step
  if algorithm != 'prune':
    fraction = float(updater.algorithms[0].drop_fraction_at(0))
    assert fraction == pytest.approx(0.05 if algorithm == 'ds' else 0.3)


@pytest.mark.parametrize(
  'agent_name',
  ['dqn_classic', 'dqn_atari_cnn', 'dqn_atari_resnet'],
)
def test_agent_without_an_algorithm(agent_name, untraced):
  """The building block is whole but for the algorithm, RigL by default."""
  parse(('agents', agent_name))
  suite = _SUITES[agent_name]
  assert gin.query_parameter('train.runner').configurable.name == (
    'DopamineRunner'
  )
  agent, _ = _build(suite.task)
  _check_agent(agent, suite)
  assert [tuple(layer.kernel.shape) for layer in agent.layers] == suite.kernels
  _check_masks(agent, 'rigl')


def test_part_of_an_agent_is_not_taken_for_a_whole():
  """dqn_atari.gin leaves the network, and so the width, to its includers."""
  with pytest.raises(errors.UserError, match='WIDTH'):
    parse(('agents', 'dqn_atari'))


@pytest.mark.parametrize(
  'task,kernels',
  [
    ('Acrobot-v1', [(6, 512), (512, 512), (512, 3)]),
    ('MountainCar-v0', [(2, 512), (512, 512), (512, 3)]),
  ],
)
def test_other_classic_tasks(task, kernels):
  parse(
    ('graesser22', 'dqn_classic', 'rigl'),
    bindings=[f'ENV_NAME = {task!r}', 'SPARSITY = 0.95', 'SEED = 3'],
  )
  agent, _ = _build(task)
  assert [tuple(layer.kernel.shape) for layer in agent.layers] == kernels
  _check_masks(agent, 'rigl', sparsity=0.95)


def test_sizes_of_the_atari_networks():
  def size(name, num_actions):
    kernels = _SUITES[name].kernels[:-1] + [(512, num_actions)]
    return sum(np.prod(shape) for shape in kernels)

  assert size('dqn_atari_cnn', num_actions=6) == 4045824
  assert size('dqn_atari_resnet', num_actions=9) == 4357760


def test_every_file_is_covered():
  covered = {name_of('graesser22', s, m) for s in _SUITES for m in METHODS}
  covered |= {name_of('graesser22', s, 'as_released') for s in _SUITES}
  covered |= {name_of('algorithms', name) for name in ALGORITHMS}
  covered |= {
    name_of('agents', name)
    for name in ('dqn_classic', 'dqn_atari', *list(_SUITES)[1:])
  }
  # Covered by mujoco_test and sokar22_test beside this file, sweeps/papers_test
  # and training/smoke_test.
  elsewhere = {'sac_mujoco', 'ppo_mujoco', 'td3_mujoco', 'sokar22', 'sweeps'}
  elsewhere |= {'smoke'}
  own = {
    str(path) for path in shipped() if not {path.stem, *path.parts} & elsewhere
  }
  assert own == covered
