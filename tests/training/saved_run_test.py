"""Tests of runs that are evaluated again, of each agent."""

import csv
import shutil

import numpy as np
import pytest
import tensorflow as tf

from helpers import runs, tiny
from rigl_rl.sparsity.wrappers import named_layers
from rigl_rl.training import run_directory, saved_run

pytestmark = pytest.mark.usefixtures('no_gin_config')

_MORE = ('SPARSITY = 0.5', 'UpdateSchedule.interval = 5', 'SEED = 3')
_HOPPER = (*_MORE, 'TRAIN_STEPS = 60')
_OFF_POLICY = (
  *_HOPPER,
  'ActorCriticLoop.evaluation_period = 30',
  'ActorCriticLoop.evaluation_episodes = 3',
)
_ATARI = (
  *tiny.SHORT_DQN,
  *_MORE,
  'GAME = "Pong"',
  'WIDTH = 0.1',
  'TRAIN_STEPS = 60',
  'SparseDQNAgent.min_replay_history = 20',
  'DopamineRunner.evaluation_period = 30',
  'DopamineRunner.evaluation_steps = 60',
  # A period of training is whole episodes.
  'DopamineRunner.max_steps_per_episode = 25',
)
_RUNS = {
  'classic': (
    'graesser22/dqn_classic/rigl.gin',
    *tiny.DQN,
    *_MORE,
    'TRAIN_STEPS = 500',
    'DopamineRunner.evaluation_period = 250',
    'DopamineRunner.evaluation_episodes = 3',
    # Some of the actions are drawn.
    'SparseDQNAgent.epsilon_eval = 0.3',
  ),
  'cnn': ('graesser22/dqn_atari_cnn/set.gin', *_ATARI),
  'resnet': ('graesser22/dqn_atari_resnet/prune.gin', *_ATARI),
  'sac': ('graesser22/sac_mujoco/rigl.gin', *tiny.SAC, *_OFF_POLICY),
  'td3': ('sokar22/td3/ds_td3.gin', *tiny.TD3, *_OFF_POLICY),
  'ppo': (
    'graesser22/ppo_mujoco/rigl.gin',
    *tiny.PPO,
    *_HOPPER,
    'PPOLoop.evaluation_episodes = 3',
  ),
}


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """Returns the directory of a run that is trained once, by its name."""
  return runs.train_once(tmp_path_factory.mktemp('runs'), _RUNS)


def _contents(directory):
  return {
    path.relative_to(directory): path.read_bytes()
    for path in directory.rglob('*')
    if path.is_file()
  }


def _evaluations(directory):
  with (directory / 'evaluations.csv').open() as file:
    return list(csv.DictReader(file))


@pytest.mark.parametrize('name', list(_RUNS))
def test_the_policy_acts_as_the_agent_does(name, trained):
  saved = saved_run.load(str(trained(name)))
  policy = saved_run.Policy(saved.runner.agent)
  shape = {'classic': (4,), 'cnn': (84, 84, 4), 'resnet': (84, 84, 4)}.get(name)
  assert policy.observation_shape == (shape or (11,))
  rng = np.random.default_rng(0)
  observations = rng.integers(0, 256, (5, *policy.observation_shape))
  if name not in ('cnn', 'resnet'):
    observations = observations / 255
  actions = policy(observations)
  states = observations.reshape(5, *saved.runner.agent.state_shape)
  if shape:
    values = saved.runner.agent.online(states.astype(np.float32)).numpy()
    np.testing.assert_array_equal(actions, values.argmax(axis=1))
  else:
    assert actions.shape == (5, 3) and (np.abs(actions) <= 1).all()
  np.testing.assert_array_equal(policy(observations), actions)
  for observation, action in zip(observations, actions):
    np.testing.assert_allclose(policy(observation), action, rtol=1e-5)
  # Another storage has the same policy.
  masked = saved_run.load(str(trained(name)), as_masked=True)
  layers = named_layers(
    masked.runner.agent.networks['online' if shape else 'actor']
  )
  assert {layer.storage.name for layer in layers.values()} == {'masked'}
  np.testing.assert_allclose(
    saved_run.Policy(masked.runner.agent)(observations), actions, rtol=1e-5
  )


@pytest.mark.parametrize('name', list(_RUNS))
def test_plays_as_training_does(name, trained):
  directory = trained(name)
  before = _contents(directory)
  rows = _evaluations(directory)
  assert len(rows) == 2
  for index, row in enumerate(rows):
    saved = saved_run.load(str(directory), int(row['step']))
    assert saved.step == int(row['step'])
    is_of_pixels = saved.runner.agent.observation_dtype == tf.uint8
    assert is_of_pixels == (name in ('cnn', 'resnet'))
    # What training did then, with its own seeds.
    returns = saved.runner._begin_evaluation(index)()
    assert repr(float(np.mean(returns))) == row['return_mean']
    assert repr(float(np.std(returns))) == row['return_std']
    assert len(returns) == int(row['episodes'])
  # Ours: other episodes, the same again, and others with another seed.
  ours = saved.runner.evaluate(seed=0)
  assert len(ours) == len(returns) and ours.dtype == np.float64
  np.testing.assert_array_equal(saved.runner.evaluate(seed=0), ours)
  if name not in ('cnn', 'resnet'):  # Pong's points are few.
    assert list(ours) != list(returns)
    assert list(saved.runner.evaluate(seed=1)) != list(ours)
  assert _contents(directory) == before


def test_the_newest_checkpoint_that_is_whole(trained, tmp_path):
  directory = tmp_path / 'run'
  shutil.copytree(trained('classic'), directory)
  first, last = run_directory.checkpoints(str(directory)).steps()
  assert saved_run.load(str(directory)).step == last
  torn = directory / 'checkpoints' / f'ckpt-{last}' / 'arrays.npz'
  torn.write_bytes(torn.read_bytes()[:-100])
  assert saved_run.load(str(directory)).step == first


def test_episodes_instead_of_steps(trained):
  saved = saved_run.load(str(trained('cnn')), episodes=2)
  assert saved.runner.evaluate(seed=0).shape == (2,)
  saved = saved_run.load(str(trained('sac')), episodes=5)
  assert saved.runner.evaluate(seed=0).shape == (5,)


def test_noise_reaches_what_the_policy_sees(trained, monkeypatch):
  saved = saved_run.load(str(trained('cnn')), episodes=1)
  # Of what is seen first.
  seen = {}

  def watch(environment):
    reset = environment.reset
    monkeypatch.setattr(
      environment, 'reset', lambda: seen.setdefault('frame', reset())
    )
    return environment

  frames = []
  for level in (0.0, 20.0, None):
    seen.clear()
    noise = {} if level is None else {'noise_std': level}
    saved.runner.evaluate(0, watch, **noise)
    frames.append(seen['frame'].astype(int))
  # Drawn for the same frame.
  assert (frames[0] == frames[2]).all()
  assert 10 < np.abs(frames[1] - frames[0])[frames[0] > 60].mean() < 20
  # As before, afterwards.
  assert saved.runner._evaluation_noise == 0


def test_bindings_win_over_the_run(trained, user_error):
  directory = str(trained('sac'))
  limited = saved_run.load(
    directory,
    gin_bindings=['create_mujoco_environment.max_episode_steps = 3'],
  )
  least = limited.runner.evaluate(0).max()
  assert least < saved_run.load(directory).runner.evaluate(0).max()
  with user_error('create_mujoco_environment', 'nonsense'):
    saved_run.load(
      directory, gin_bindings=['create_mujoco_environment.nonsense = 3']
    )


def test_mistakes(trained, tmp_path, user_error):
  with user_error('--run is', 'no config.gin'):
    saved_run.load(str(tmp_path))
  directory = tmp_path / 'run'
  shutil.copytree(trained('classic'), directory)
  known = run_directory.checkpoints(str(directory)).steps()
  with user_error('--checkpoint is 7', f'{known[0]}, {known[1]}'):
    saved_run.load(str(directory), 7)
  with user_error('does not fit'):
    saved_run.load(
      str(directory), gin_bindings=['MLPQNetwork.hidden_units = (8, 9)']
    )
  torn = directory / 'checkpoints' / f'ckpt-{known[0]}' / 'arrays.npz'
  torn.write_bytes(b'')
  with user_error(f'ckpt-{known[0]}', 'torn'):
    saved_run.load(str(directory), known[0])
  shutil.rmtree(directory / 'checkpoints')
  with user_error('--run is', 'whole checkpoint'):
    saved_run.load(str(directory))
