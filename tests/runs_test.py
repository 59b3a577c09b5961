"""Runs from Python: train, load_run, load_runs."""

import csv
import os
import shutil
import types

import gin
import numpy as np
import pytest
import tensorflow as tf

import rigl_rl
from helpers import tiny
from helpers.runs import interrupt_from
from rigl_rl import runs
from rigl_rl.training import saved_run

pytestmark = pytest.mark.usefixtures('no_gin_config')

_FILE = 'gin_configs/graesser22/dqn_classic/rigl.gin'
_BINDINGS = {
  'SPARSITY': 0.5,
  'SEED': 3,
  'TRAIN_STEPS': 600,
  'UpdateSchedule.interval': 5,
  'MLPQNetwork.hidden_units': (8, 8),
  'SparseDQNAgent.batch_size': 4,
  'SparseDQNAgent.replay_capacity': 1000,
  'SparseDQNAgent.min_replay_history': 20,
  'DopamineRunner.evaluation_period': 200,
  'DopamineRunner.evaluation_episodes': 3,
}


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A finished run of DQN."""
  gin.clear_config()
  return rigl_rl.train(
    _FILE, _BINDINGS, tmp_path_factory.mktemp('runs') / 'run'
  )


@pytest.fixture
def copied(trained, tmp_path):
  """A copy of it, to be changed."""
  return shutil.copytree(trained.directory, tmp_path / 'copy')


def _evaluations(directory):
  with open(os.path.join(directory, 'evaluations.csv')) as file:
    return list(csv.DictReader(file))


def test_a_finished_run(trained):
  assert gin.config_str() == ''
  table = trained.evaluations
  assert len(table) == 3
  assert table.step.iloc[-1] == 600
  assert table.return_mean.dtype == float
  for row, own in zip(table.itertuples(), _evaluations(trained.directory)):
    assert row.step == int(own['step'])
    assert row.return_mean == float(own['return_mean'])
    assert row.return_std == float(own['return_std'])
    assert row.episodes == 3
  assert trained.info.finished
  assert trained.info.task == 'CartPole-v0'
  assert trained.info.method == 'RigL'
  assert trained.info.final_score == table.return_mean.iloc[-1]
  assert trained.config.value('SPARSITY') == 0.5
  assert trained.config.value('train.seed') == 3
  assert trained.step == 600


def test_training_twice_in_one_process_is_the_same(trained, tmp_path):
  texts = [f'{name} = {value!r}' for name, value in _BINDINGS.items()]
  again = rigl_rl.train([_FILE], texts, str(tmp_path / 'again'))
  assert _evaluations(again.directory) == _evaluations(trained.directory)


def test_a_finished_run_is_not_trained_again(trained, capsys):
  before = os.stat(os.path.join(trained.directory, 'summary.json')).st_mtime_ns
  rigl_rl.train(_FILE, _BINDINGS, trained.directory)
  assert 'Nothing to do' in capsys.readouterr().out
  after = os.stat(os.path.join(trained.directory, 'summary.json')).st_mtime_ns
  assert before == after


def test_an_interrupt_passes_and_the_run_continues(
  trained, tmp_path, monkeypatch
):
  with monkeypatch.context() as patch:
    interrupt_from(patch, 400)
    with pytest.raises(KeyboardInterrupt):
      rigl_rl.train(_FILE, _BINDINGS, tmp_path / 'run')
  assert gin.config_str() == ''
  unfinished = rigl_rl.load_run(tmp_path / 'run')
  assert not unfinished.info.finished
  assert unfinished.step == trained.evaluations.step[0]
  rigl_rl.train(_FILE, _BINDINGS, tmp_path / 'run')
  assert unfinished.info.finished
  assert _evaluations(unfinished.directory) == _evaluations(trained.directory)


@pytest.mark.parametrize(
  ('files', 'bindings', 'parts'),
  [
    (_FILE, {'SPARSITTY': 0.5}, ('SPARSITTY', 'SPARSITY')),
    (_FILE, {'SPARSITY': 1.5}, ('SPARSITY', '1.5')),
    (_FILE, 'SPARSITY = ', ('SPARSITY',)),
    ('gin_configs/none.gin', {}, ('gin_configs/none.gin', 'no such file')),
    ('gin_configs/algorithms/rigl.gin', {}, ()),
  ],
)
def test_mistakes_are_user_errors(files, bindings, parts, tmp_path, user_error):
  with user_error(*parts):
    rigl_rl.train(files, bindings, tmp_path / 'run')
  assert gin.config_str() == ''
  assert not (tmp_path / 'run').exists()


def test_no_directory(user_error):
  with user_error('base_dir'):
    rigl_rl.train(_FILE, _BINDINGS, '')


def test_bindings_as_text():
  assert runs._as_text('A = 1') == ['A = 1']
  assert runs._as_text(['A = 1', 'B = 2']) == ['A = 1', 'B = 2']
  given = {
    'A': np.float32(0.5),
    'B.c': (1, 2),
    'D': 'Hopper-v4',
    'E': None,
    'F': '@actor/RigL()',
    'G': '%SPARSITY',
  }
  assert runs._as_text(given) == [
    'A = 0.5',
    'B.c = (1, 2)',
    "D = 'Hopper-v4'",
    'E = None',
    'F = @actor/RigL()',
    'G = %SPARSITY',
  ]


def test_bindings_of_gin_are_neither_used_nor_lost(tmp_path, user_error):
  gin.bind_parameter('RigL.drop_fraction', 0.125)
  with user_error('RigL.drop_fraction = 0.125', 'gin.clear_config()'):
    rigl_rl.train(_FILE, _BINDINGS, tmp_path / 'run')
  assert gin.query_parameter('RigL.drop_fraction') == 0.125
  assert not (tmp_path / 'run').exists()


def test_policy(trained):
  policy = trained.policy
  assert policy.observation_shape == (4,)
  rng = np.random.default_rng(0)
  observations = rng.normal(size=(64, 4))
  actions = policy(observations)
  assert actions.shape == (64,)
  assert set(actions) <= {0, 1}
  np.testing.assert_array_equal(policy(observations), actions)
  for observation, action in zip(observations, actions):
    assert policy(observation) == action
    assert policy(observation).shape == ()
  # It is the greedy action of the network.
  (network,) = trained.networks.values()
  values = network(observations[..., None].astype(np.float32)).numpy()
  np.testing.assert_array_equal(values.argmax(axis=1), actions)


def test_policy_of_atari_takes_stacked_frames():
  # The greedy action is the frame that is brightest.
  agent = types.SimpleNamespace(
    state_shape=(84, 84, 1, 4),
    observation_dtype=tf.uint8,
    greedy_policy=lambda: lambda states: states.sum((1, 2, 3)).argmax(axis=1),
  )
  policy = saved_run.Policy(agent)
  assert policy.observation_shape == (84, 84, 4)
  states = np.zeros((3, 84, 84, 4))
  states[range(3), :, :, (2, 0, 3)] = 255
  assert list(policy(states)) == [2, 0, 3]
  assert policy(states[2]) == 3


@pytest.mark.parametrize('shape', [(), (3,), (2, 3), (1, 2, 4)])
def test_an_observation_of_another_shape(shape, trained, user_error):
  with user_error(str(shape), '(4,)', '(batch, 4)'):
    trained.policy(np.zeros(shape))


def test_networks_are_sparse(trained):
  layers = rigl_rl.named_layers(trained.networks['online'])
  kernels = [layer.kernel.numpy() for layer in layers.values()]
  zeros = sum((kernel == 0).sum() for kernel in kernels)
  assert zeros / sum(kernel.size for kernel in kernels) == pytest.approx(
    0.5, abs=0.02
  )
  assert gin.config_str() == ''


def test_policy_and_networks_of_sac(tmp_path):
  run = rigl_rl.train(
    'gin_configs/graesser22/sac_mujoco/rigl.gin',
    [*tiny.SAC, 'TRAIN_STEPS = 60'],
    tmp_path / 'sac',
  )
  assert set(run.networks) == {'actor', 'critic_1', 'critic_2'}
  observations = np.random.default_rng(0).normal(size=(5, 11))
  actions = run.policy(observations)
  assert actions.shape == (5, 3)
  assert (np.abs(actions) <= 1).all()
  np.testing.assert_array_equal(run.policy(observations), actions)
  for observation, action in zip(observations, actions):
    np.testing.assert_allclose(run.policy(observation), action, rtol=1e-5)


def test_a_run_that_has_just_begun(copied, user_error):
  for name in ('evaluations.csv', 'timing.csv', 'summary.json', 'curve.png'):
    (copied / name).unlink()
  shutil.rmtree(copied / 'checkpoints')
  run = rigl_rl.load_run(copied)
  assert len(run.evaluations) == 0
  assert 'return_mean' in run.evaluations
  assert not run.info.finished
  with user_error(str(copied), 'checkpoint'):
    run.policy  # noqa: B018
  assert gin.config_str() == ''


def test_a_relative_path_stays_valid(copied, monkeypatch, tmp_path):
  monkeypatch.chdir(copied.parent)
  run = rigl_rl.load_run('copy')
  monkeypatch.chdir(tmp_path.parent)
  assert len(run.evaluations) == 3
  assert run.step == 600
  assert repr(run) == f"Run('{copied}')"


def test_no_run(tmp_path, user_error):
  with user_error(str(tmp_path), 'config.gin'):
    rigl_rl.load_run(tmp_path)
  with user_error(str(tmp_path / 'none')):
    rigl_rl.load_runs(tmp_path / 'none')
  assert len(rigl_rl.load_runs(tmp_path)) == 0


def test_a_torn_file_is_named(copied, user_error):
  (copied / 'evaluations.csv').write_text('step,return\n1')
  with user_error('evaluations.csv'):
    rigl_rl.load_run(copied).evaluations  # noqa: B018


def test_many_runs(trained, copied, tmp_path):
  shutil.copytree(copied, tmp_path / 'deeper' / 'other')
  found = rigl_rl.load_runs(tmp_path)
  assert [run.directory for run in found] == list(found.runs.directory)
  assert len(found) == 2
  assert set(found.runs.method) == {'RigL'}
  assert len(found.evaluations) == 6
  np.testing.assert_array_equal(
    found[0].evaluations.return_mean, trained.evaluations.return_mean
  )
  assert len(found.problems) == 0
