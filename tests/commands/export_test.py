"""Exported runs act as the runs themselves."""

import os
import shutil
import subprocess

import gin
import numpy as np
import pytest
import tensorflow as tf

from helpers import runs, tiny
from rigl_rl.commands import export
from rigl_rl.export import c_header, weights
from rigl_rl.networks import numpy_mlp
from rigl_rl.sparsity import wrappers
from rigl_rl.training import saved_run

pytestmark = pytest.mark.usefixtures('no_gin_config', 'threads_as_they_are')

_SPARSE = ('SPARSITY = 0.95', 'UpdateSchedule.interval = 5')
_HOPPER = (*_SPARSE, 'TRAIN_STEPS = 60')
_DQN = (
  *tiny.SHORT_DQN,
  *_SPARSE,
  'TRAIN_STEPS = 60',
  'SparseDQNAgent.min_replay_history = 20',
  'DopamineRunner.evaluation_period = 60',
)
_RUNS = {
  'dqn': (
    'graesser22/dqn_classic/rigl.gin',
    *_DQN,
    'DopamineRunner.evaluation_episodes = 1',
  ),
  'sac': (
    'graesser22/sac_mujoco/rigl.gin',
    *tiny.SHORT_OFF_POLICY,
    *_HOPPER,
  ),
  'td3': ('sokar22/td3/ds_td3.gin', *tiny.SHORT_OFF_POLICY, *_HOPPER),
  'ppo': ('graesser22/ppo_mujoco/rigl.gin', *tiny.SHORT_PPO, *_HOPPER),
  'atari': (
    'graesser22/dqn_atari_cnn/rigl.gin',
    *_DQN,
    'GAME = "Pong"',
    'WIDTH = 0.1',
    'DopamineRunner.evaluation_steps = 10',
    'DopamineRunner.max_steps_per_episode = 10',
  ),
}
_MLPS = ['dqn', 'sac', 'td3', 'ppo']


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """Returns the directory of a run that is trained once, by its name."""
  return runs.train_once(tmp_path_factory.mktemp('runs'), _RUNS)


def _export(directory, out):
  return export.main([f'--run={directory}', f'--out={out}'])


def _policy(directory):
  """Returns the policy of `launch.evaluate`, and observations for it."""
  policy = saved_run.Policy(saved_run.load(str(directory)).runner.agent)
  rng = np.random.default_rng(0)
  return policy, rng.normal(0, 2, (1000, *policy.observation_shape))


@pytest.mark.parametrize('name', _MLPS)
def test_c_header(name, trained, tmp_path, capsys):
  path = tmp_path / 'policy.h'
  directory = trained(name)
  capsys.readouterr()
  assert _export(directory, path) == 0
  first, second, third, fourth = capsys.readouterr().out.splitlines()
  assert first.endswith(
    f' on {"CartPole-v0" if name == "dqn" else "Hopper-v4"}: {directory}'
  )
  assert second.startswith('Checkpoint of step ')
  gin.clear_config()
  policy, observations = _policy(directory)
  header = c_header.make(policy, 'the same')
  assert f'{header.active:,} of {header.all_weights:,} weights' in third
  # What was written is this header, but for the title.
  assert header.text.splitlines()[1:] == path.read_text().splitlines()[1:]
  assert 0.93 < 1 - header.active / header.all_weights < 0.97
  if shutil.which('cc') is None:
    pytest.skip('there is no C compiler')
  assert fourth.startswith('Compiled: ')
  actions, microseconds = c_header.measure(header, observations)
  assert 0 < microseconds < 1000
  expected = policy(observations)
  assert actions.shape == expected.shape and np.ptp(expected, axis=0).all()
  if name == 'dqn':
    np.testing.assert_array_equal(actions, expected)
  else:
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=2e-6)


def test_a_layer_without_active_weights():
  layers = [(np.zeros((2, 3)), [1, -2, 3]), (np.eye(3), [0.5, 0, 0])]
  policy = _Policy(numpy_mlp.NumpyMLP(layers))
  header = c_header.make(policy, 'text */ that ends no comment')
  assert (header.active, header.all_weights) == (3, 15)
  if shutil.which('cc') is None:
    pytest.skip('there is no C compiler')
  actions, _ = c_header.measure(header, np.ones((4, 2)))
  np.testing.assert_array_equal(actions, [2, 2, 2, 2])


class _Policy:
  def __init__(self, q_values):
    self.greedy = self
    self.q_values = q_values


def test_without_a_compiler(trained, tmp_path, capsys, monkeypatch):
  monkeypatch.setenv('CC', 'no-such-compiler')
  assert _export(trained('dqn'), tmp_path / 'policy.h') == 0
  last = capsys.readouterr().out.splitlines()[-1]
  assert last.startswith('Not compiled') and 'no-such-compiler' in last
  # A program may include the header all the same.
  if shutil.which('cc') is not None:
    command = ['cc', '-std=c99', '-fsyntax-only', str(tmp_path / 'policy.h')]
    subprocess.run(command, check=True)


@pytest.mark.parametrize(
  'name', [*_MLPS, pytest.param('atari', marks=pytest.mark.slow)]
)
def test_arrays(name, trained, tmp_path):
  path = tmp_path / 'weights.npz'
  assert _export(trained(name), path) == 0
  arrays = np.load(path)
  gin.clear_config()
  agent = saved_run.load(str(trained(name))).runner.agent
  for network, model in agent.networks.items():
    for layer_name, layer in wrappers.named_layers(model).items():
      kernel = arrays[f'{network}/{layer_name}/kernel']
      np.testing.assert_array_equal(kernel, layer.kernel)
      np.testing.assert_array_equal(
        arrays[f'{network}/{layer_name}/bias'], layer.bias
      )
      data, indices, indptr, shape = (
        arrays[f'{network}/{layer_name}/kernel/{field}']
        for field in ('data', 'indices', 'indptr', 'shape')
      )
      assert len(data) == len(indices) == np.count_nonzero(layer.mask)
      dense = np.zeros((np.prod(shape[:-1]), shape[-1]), np.float32)
      for row in range(len(dense)):
        own = slice(indptr[row], indptr[row + 1])
        dense[row, indices[own]] = data[own]
      np.testing.assert_array_equal(dense.reshape(shape), kernel)
  assert ('normalizer/scale' in arrays) == (name == 'ppo')


def test_csr():
  kernel = np.array([[0.0, 5.0], [0.0, 0.0], [7.0, 0.0]], np.float32)
  mask = np.array([[0, 1], [0, 0], [1, 1]])  # One active weight is 0.
  rows = weights.to_csr(kernel, mask)
  assert list(rows.data) == [5, 7, 0] and list(rows.indices) == [1, 0, 1]
  assert list(rows.indptr) == [0, 1, 1, 3] and rows.shape == (3, 2)
  assert rows.data.dtype == np.float32 and rows.indices.dtype == np.int32


@pytest.mark.parametrize(
  'name', [*_MLPS, pytest.param('atari', marks=pytest.mark.slow)]
)
def test_saved_model(name, trained, tmp_path):
  path = tmp_path / 'model'
  path.mkdir()
  assert _export(trained(name), path) == 0
  gin.clear_config()
  policy, observations = _policy(trained(name))
  if name == 'atari':
    observations = np.abs(50 * observations[:20])
  observations = observations.astype(policy.agent.observation_dtype.name)
  loaded = tf.saved_model.load(str(path))
  actions = loaded.policy(observations).numpy()
  expected = policy(observations)
  if expected.ndim == 1:
    np.testing.assert_array_equal(actions, expected)
  else:
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=2e-6)
  served = loaded.signatures['serving_default'](tf.constant(observations))
  np.testing.assert_array_equal(*served.values(), actions)
  # No operation of the package is needed to load it.
  operations = {
    op.type for op in loaded.policy.concrete_functions[0].graph.get_operations()
  }
  assert not any('Rigl' in operation for operation in operations)
  assert os.listdir(tmp_path) == ['model']


@pytest.mark.slow
def test_no_header_of_convolutions(trained, tmp_path, capsys):
  directory = trained('atari')
  capsys.readouterr()
  assert _export(directory, tmp_path / 'policy.h') == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('error: --out ends in .h') and '.npz' in line
  assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
  'out, parts',
  [
    ('a.onnx', ['--out is', 'a.onnx', '.npz or .h']),
    ('none/file/a.h', ['--out needs', 'cannot be written']),
    ('none', ['--out is', 'new or empty directory']),
  ],
)
def test_mistakes(out, parts, tmp_path, capsys):
  (tmp_path / 'none').mkdir()
  (tmp_path / 'none' / 'file').touch()
  assert _export(tmp_path / 'no_run', tmp_path / out) == 2
  printed = capsys.readouterr()
  assert not printed.out
  (line,) = printed.err.splitlines()
  for part in parts:
    assert part in line


def test_no_run(tmp_path, capsys):
  assert _export(tmp_path, tmp_path / 'a.h') == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert str(tmp_path) in line and 'config.gin' in line
