"""Tests that a mistake in what is trained is one line, and code 2."""

import pytest

from helpers import command

pytestmark = pytest.mark.usefixtures('no_gin_config', 'threads_as_they_are')


@pytest.mark.parametrize(
  'gin_file,binding,parts',
  [
    (
      command.SAC,
      'TRAIN_STEPS = 30',
      ['TRAIN_STEPS is 30', 'initial_collect_steps'],
    ),
    (command.SAC, 'ENV_NAME = "Hoper-v4"', ['Hoper-v4', 'Hopper-v4']),
    (command.SAC, 'ENV_NAME = 3', ['ENV_NAME', 'is 3', 'a text in quotes']),
    (command.SAC, 'ACTOR_SPARSITY = 1.0', ['SPARSITY', '1.0', '[0, 1)']),
    (command.SAC, 'CRITIC_WIDTH = 0', ['WIDTH', 'Critic.width', '0']),
    (
      command.SAC,
      'SparseSacAgent.gamma = 2',
      ['SparseSacAgent.gamma', '[0, 1]'],
    ),
    (
      command.SAC,
      'TransitionBuffer.capacity = 1',
      ['TransitionBuffer.capacity'],
    ),
    (command.SAC, 'Critic.weight_decay = -1', ['Critic.weight_decay', '-1']),
    (
      command.SAC,
      'critics/sparsify.storage = "auto"',
      ["'critics'", 'Did you mean'],
    ),
    (command.PPO, 'ENV_NAME = "CartPole-v1"', ['CartPole-v1', 'Hopper-v4']),
    (command.PPO, 'CRITIC_SPARSITY = -1', ['SPARSITY', '-1', '[0, 1)']),
    (command.PPO, 'PPOLoop.rollout_steps = 30', ['minibatch_size', '8', '30']),
    (
      command.PPO,
      'SparsePPOAgent.clip_ratio = 0',
      ['clip_ratio', '0', '(0, 1]'],
    ),
    (
      command.PPO,
      'GaussianActor.activation = "x"',
      ["'x'", "'relu' or 'tanh'"],
    ),
    (command.PPO, 'ValueNetwork.width = 2.0', ['ValueNetwork']),
  ],
)
def test_mistake_in_a_binding_of_actor_and_critic(
  tmp_path, capsys, gin_file, binding, parts
):
  bindings = command.SMALL_SAC if gin_file == command.SAC else command.SMALL_PPO
  base_dir = tmp_path / 'runs' / '1'
  code = command.run(
    base_dir, *bindings, binding, gin_files=(gin_file,), small=False
  )
  assert code == 2
  command.assert_one_line(capsys, *parts)
  assert not list(tmp_path.iterdir())


def test_ds_td3_without_a_lambda_for_its_task(tmp_path, capsys):
  file = 'gin_configs/sokar22/td3/ds_td3.gin'
  binding = 'ENV_NAME = "Pendulum-v1"'
  assert command.run(tmp_path, binding, gin_files=(file,), small=False) == 2
  command.assert_one_line(
    capsys,
    'ENV_NAME="Pendulum-v1"',
    'lambdas/by_task.otherwise to a value such as (7, 64)',
  )


@pytest.mark.parametrize(
  'binding,parts',
  [
    ('RigL.drop_fracton = 0.5', ['drop_fracton', 'drop_fraction']),
    ('RigLL.drop_fraction = 0.5', ['RigLL', 'RigL']),
    ('SPARSTIY = 0.5', ['SPARSTIY', 'Did you mean SPARSITY?']),
    ('ENV_NAME = "CartPole-v9"', ['CartPole-v9', 'CartPole-v0']),
    ('ENV_NAME = "Cartpole"', ['Cartpole', 'CartPole-v0']),
    ('SPARSITY = 1.0', ['SPARSITY', '1.0', '[0, 1)']),
    ('SPARSITY = 1.5', ['SPARSITY', '1.5', '[0, 1)']),
    ('SPARSITY = -0.1', ['SPARSITY', '-0.1', '[0, 1)']),
    ('SPARSITY = "x"', ['SPARSITY', "'x'", '[0, 1)']),
    ('RigL.drop_fraction = 2', ['RigL.drop_fraction', '2', '[0, 1]']),
    ('WIDTH = 0', ['WIDTH', '0']),
    ('SEED = -1', ['SEED', '-1']),
    ('SEED = "one"', ['SEED', "'one'"]),
    ('TRAIN_STEPS = 0', ['TRAIN_STEPS', '0']),
    ('TRAIN_STEPS = 50', ['TRAIN_STEPS']),
    ('UpdateSchedule.interval = 0', ['UpdateSchedule.interval', '0']),
    ('UpdateSchedule.end = 1.5', ['UpdateSchedule.end', '1.5', '[0, 1]']),
    ('sparsify.keep_dense = ("head",)', ['sparsify.keep_dense', 'head']),
    ('adam.learning_rate = -1.0', ['adam.learning_rate', '-1.0']),
    ('SparseDQNAgent.gamma = 2', ['SparseDQNAgent.gamma', '2', '[0, 1]']),
    (
      'SparseDQNAgent.replay_capacity = 1',
      ['replay_capacity', '1'],
    ),
    (
      'DopamineRunner.evaluation_noise = 5.0',
      ['ObservationNoise.sigma', '5.0'],
    ),
    ('SPARSITY = ', ['SPARSITY', 'cannot be parsed']),
    ('SPARSITY', ['SPARSITY', 'cannot be parsed']),
    ('ENV_NAME=Acrobot-v1', ['Did you mean ENV_NAME="Acrobot-v1"?']),
    ('ENV_NAME = my:a/B-v0', ['Did you mean ENV_NAME="my:a/B-v0"?']),
    ('train.task = @nothing', ['nothing']),
    ('SPARSITY = 90', ['90', '[0, 1)', 'Did you mean 0.9?']),
    ('sparsify.distribution = "uniform"', ['Did you mean @uniform?']),
    ('SPARSITY = 0,9', ['Did you mean SPARSITY=0.9?']),
    ('SPARSITY = 90%', ['Did you mean SPARSITY=0.9?']),
    ('ENV_NAME = Acrobot-v1', ['Did you mean ENV_NAME="Acrobot-v1"?']),
    (
      'sparsify.distribution = uniform',
      ['Did you mean sparsify.distribution=@uniform or '],
    ),
    ('LR = %NOPE', ['LR is bound, but nothing uses it']),
    (
      'SEED = %NOPE',
      ['SEED (train.seed) is %NOPE, but NOPE is not bound.'],
    ),
    (
      'adam.learning_rate = %SPARSTIY',
      ['adam.learning_rate', '%SPARSTIY', 'Did you mean SPARSITY?'],
    ),
    ('sparsify.algorithm = @RigLL()', ['RigLL', 'Did you mean RigL?']),
  ],
)
def test_mistake_in_a_binding(tmp_path, capsys, binding, parts):
  assert command.run(tmp_path / 'runs' / '1', binding) == 2
  command.assert_one_line(capsys, *parts)
  assert not list(tmp_path.iterdir())


def test_note_on_a_binding_without_effect(tmp_path, capsys):
  assert command.run(tmp_path, 'SET.drop_fraction = 0.1') == 0
  assert capsys.readouterr().err.splitlines() == [
    'note: SET.drop_fraction = 0.1 has no effect: nothing in this run uses '
    'SET.drop_fraction.'
  ]


def test_corrected_start_on_the_same_directory(tmp_path, capsys):
  assert command.run(tmp_path, 'SPARSITY = 1.0') == 2
  assert command.run(tmp_path, 'SPARSITY = 0.5') == 0
  assert 'Final score' in capsys.readouterr().out


def test_unknown_game(tmp_path, capsys):
  code = command.run(
    tmp_path, 'GAME = "Pnog"', gin_files=(command.PONG,), small=False
  )
  assert code == 2
  command.assert_one_line(capsys, 'GAME', 'Pnog', 'Pong')
  assert not list(tmp_path.iterdir())


_NETWORK = '''
"""A network with a layer of a kind that no mask fits."""

import gin
import tensorflow as tf

from rigl_rl.networks import q_networks
from rigl_rl.sparsity import wrappers


@gin.configurable(denylist=['num_actions', 'seed', 'name'])
class LocalQNetwork(q_networks.QNetwork):

  def __init__(self, num_actions, seed, name=None):
    super().__init__(num_actions, seed, name=name)

  def _make_layers(self):
    self._layer = wrappers.SparseWrapper(
      tf.keras.layers.SeparableConv1D(self.num_actions, 1)
    )

  def call(self, state):
    return tf.reduce_sum(self._layer(tf.cast(state, tf.float32)), axis=1)
'''


def test_layer_that_cannot_be_wrapped(tmp_path, capsys, monkeypatch):
  (tmp_path / 'network_that_cannot_be_sparse.py').write_text(_NETWORK)
  gin_file = tmp_path / 'local.gin'
  gin_file.write_text(
    f"include '{command.RIGL}'\nimport network_that_cannot_be_sparse\n"
    'build_network.network = @LocalQNetwork\n'
  )
  monkeypatch.syspath_prepend(str(tmp_path))
  base_dir = tmp_path / 'run'
  assert command.run(base_dir, gin_files=(gin_file,)) == 2
  command.assert_one_line(capsys, 'SeparableConv1D', 'Dense, Conv1D or Conv2D')
  assert not base_dir.exists()


def test_missing_gin_file(tmp_path, capsys):
  assert command.run(tmp_path / 'run', gin_files=('no/such.gin',)) == 2
  command.assert_one_line(capsys, "--gin_files='no/such.gin'", 'no such file')
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
  'name',
  [
    'gin_configs/graesser22/dqn_classic/rigel.gin',
    'gin_configs/graesser22/dqn_clasic/rigl.gin',
    'graesser22/dqn_classic/rigl.gin',
    './dqn_classic/rigl.gin',
  ],
)
def test_name_like_a_shipped_gin_file(tmp_path, capsys, name):
  assert command.run(tmp_path / 'run', gin_files=(name,)) == 2
  command.assert_one_line(capsys, f'Did you mean {command.RIGL}?')


def test_name_like_a_file_of_the_user(tmp_path, capsys):
  (tmp_path / 'my_config.gin').write_text('')
  assert (
    command.run(tmp_path / 'run', gin_files=(tmp_path / 'my_confg.gin',)) == 2
  )
  command.assert_one_line(capsys, f'Did you mean {tmp_path / "my_config.gin"}?')


_ENVIRONMENT = """
import gymnasium
import numpy as np


class Bad(gymnasium.Env):
  observation_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)

  def __init__(self, kind, actions):
    self.kind, self.steps, self.action_space = kind, 0, actions
    if kind == 'make':
      fail()

  def reset(self, seed=None, options=None):
    super().reset(seed=seed)
    return np.zeros(3, np.float32), {}

  def step(self, action):
    self.steps += 1
    late = self.steps > 20
    if self.kind == 'step' and late:
      fail()
    reward = np.nan if self.kind == 'reward' and late else 0.5
    value = np.nan if self.kind == 'observation' and late else 0.5
    observation = np.full(3, value, np.float32)
    return observation, reward, False, self.steps % 10 == 0, {}


def fail():
  raise ZeroDivisionError('mine')


for kind in ('make', 'step', 'reward', 'observation', 'range'):
  high = np.inf if kind == 'range' else 1.0
  for name, actions in (
    ('Discrete', gymnasium.spaces.Discrete(2)),
    ('Box', gymnasium.spaces.Box(-high, high, (2,), np.float32)),
  ):
    gymnasium.register(
      f'{name}-{kind}-v0', Bad, kwargs={'kind': kind, 'actions': actions}
    )
"""


@pytest.fixture
def train_on(tmp_path, monkeypatch, capsys):
  """Trains on an environment of a user's that fails; returns stderr."""
  (tmp_path / 'environments_that_fail.py').write_text(_ENVIRONMENT)
  monkeypatch.syspath_prepend(str(tmp_path))

  def run(gin_file, kind):
    space = 'Discrete' if gin_file == command.RIGL else 'Box'
    name = f'environments_that_fail:{space}-{kind}-v0'
    small = {
      command.RIGL: command.SMALL,
      command.SAC: command.SMALL_SAC,
      command.PPO: command.SMALL_PPO,
    }[gin_file]
    bindings = [*small, f'ENV_NAME = "{name}"']
    base_dir = tmp_path / 'run'
    assert (
      command.run(base_dir, *bindings, gin_files=(gin_file,), small=False) == 2
    )
    return name, capsys.readouterr().err

  return run


@pytest.mark.parametrize('gin_file', [command.RIGL, command.SAC, command.PPO])
@pytest.mark.parametrize('kind', ['make', 'step'])
def test_environment_that_raises(train_on, gin_file, kind):
  name, printed = train_on(gin_file, kind)
  first, *traceback = printed.splitlines()
  assert first == (
    f'error: The environment ENV_NAME="{name}", in {kind}(), raised '
    'ZeroDivisionError: mine'
  )
  assert traceback[0] == 'Traceback (most recent call last):'
  assert traceback[-1] == 'ZeroDivisionError: mine'
  files = [line for line in traceback if line.startswith('  File ')]
  assert len(files) == 2
  assert all('environments_that_fail.py' in line for line in files)


@pytest.mark.parametrize('gin_file', [command.RIGL, command.SAC, command.PPO])
@pytest.mark.parametrize('kind', ['reward', 'observation'])
def test_environment_that_is_not_finite(train_on, gin_file, kind):
  _, printed = train_on(gin_file, kind)
  article = 'an' if kind == 'observation' else 'a'
  assert printed.startswith(
    f'error: The environment gave {article} {kind} of nan, but all must be '
    'finite'
  )
  assert printed.count('\n') == 1


@pytest.mark.parametrize('gin_file', [command.SAC, command.PPO])
def test_actions_without_bounds(train_on, gin_file):
  _, printed = train_on(gin_file, 'range')
  assert 'infinite range of actions' in printed and printed.count('\n') == 1


@pytest.mark.parametrize('text', ['SPARSITY = = 1\n', 'SPARSITY 1\n', '(\n'])
def test_syntax_error_in_a_file(tmp_path, capsys, text):
  path = tmp_path / 'mine.gin'
  path.write_text(f"include '{command.RIGL}'\n{text}")
  assert command.run(tmp_path / 'run', gin_files=(path,)) == 2
  command.assert_one_line(capsys)
  assert not (tmp_path / 'run').exists()


def test_module_that_is_not_there(tmp_path, capsys):
  path = tmp_path / 'mine.gin'
  path.write_text(f"include '{command.RIGL}'\nimport a_module_of_nobody\n")
  assert command.run(tmp_path / 'run', gin_files=(path,)) == 2
  command.assert_one_line(capsys, 'a_module_of_nobody')


def test_file_that_is_not_all_of_a_run(tmp_path, capsys):
  code = command.run(
    tmp_path / 'run',
    gin_files=('gin_configs/algorithms/rigl.gin',),
    small=False,
  )
  assert code == 2
  error = command.assert_one_line(capsys)
  assert 'train' in error
  assert not (tmp_path / 'run').exists()
