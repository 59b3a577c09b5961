"""Tests of policies of earlier runs: which they are, and how they act."""

import shutil

import gin
import numpy as np
import pytest
from tf_agents.specs import tensor_spec

from rigl_rl.agents import sac
from rigl_rl.config import parsing
from rigl_rl.environments import mujoco
from rigl_rl.training import checkpointing, run_directory
from rigl_rl.training.saved_policy import saved_policy

pytestmark = pytest.mark.usefixtures('no_gin_config')

_BINDINGS = (
  # Only in the actor's scope, where no copy of it is made.
  'actor/SquashedGaussianActor.hidden_units = (8, 6)',
  'Critic.hidden_units = (8, 8)',
  'SPARSITY = 0.5',
)


def _make(*bindings, seed=0, task='Hopper-v4', method='rigl'):
  """Returns an agent and its environment."""
  gin.clear_config()
  parsing.parse(
    [f'gin_configs/graesser22/sac_mujoco/{method}.gin'],
    [*_BINDINGS, f'ENV_NAME = {task!r}', *bindings],
  )
  environment = mujoco.create_mujoco_environment(seed=0)
  agent = sac.SparseSacAgent(
    tensor_spec.from_spec(environment.time_step_spec()),
    tensor_spec.from_spec(environment.action_spec()),
    seed=seed,
    gradient_steps=20,
  )
  return agent, environment


def _save(base_dir, agent, environment, step=20, changes=None):
  """Writes a checkpoint of a run, with other parts if `changes` has some."""
  directory = run_directory.RunDirectory(str(base_dir))
  state = {
    'agent': agent.get_state(),
    'environment': environment.get_state(),
    'steps_done': step,
    **(changes or {}),
  }
  directory.checkpoints.save(step, state)
  return str(base_dir)


def _observations(environment, count=20):
  (size,) = environment.observation_spec().shape
  return np.random.default_rng(0).normal(size=(count, size)).astype(np.float32)


def _act(policy, observations):
  return np.stack([policy(observation) for observation in observations])


def _weights(agent):
  return [variable.numpy() for variable in agent.networks['actor'].variables]


# ---------------------------------------------------------------------- acting


@pytest.mark.parametrize('saved', ['dense', 'rigl'])
@pytest.mark.parametrize('own', ['dense', 'rigl'])
def test_acts_as_the_saved_agent_does(tmp_path, saved, own):
  theirs = _make(seed=1, method=saved)
  run = _save(tmp_path, *theirs)
  agent, environment = _make(seed=2, method=own)
  before = _weights(agent)
  observations = _observations(environment)
  own_actions = agent.greedy_policy()(observations).copy()

  policy = saved_policy(agent, environment, seed=2, run=run)
  actions = _act(policy, observations)
  expected = theirs[0].greedy_policy()(observations)
  # One observation at a time adds up in another order than all at once.
  np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-6)
  assert actions.dtype == np.float32 and actions.shape == (20, 3)
  assert np.abs(actions - own_actions).max() > 0.01

  # The agent is as it was, and acts as it did.
  for one, other in zip(before, _weights(agent)):
    np.testing.assert_array_equal(one, other)
  np.testing.assert_array_equal(
    agent.greedy_policy()(observations), own_actions
  )


def test_an_action_lasts(tmp_path):
  agent, environment = _make()
  run = _save(tmp_path, agent, environment)
  policy = saved_policy(agent, environment, seed=0, run=run)
  first, second = _observations(environment, 2)
  action = policy(first)
  kept = action.copy()
  policy(second)
  np.testing.assert_array_equal(action, kept)


# ----------------------------------------------------------------------- noise


def test_noise_is_in_halves_of_the_range(tmp_path):
  agent, environment = _make(task='Pendulum-v1')  # Actions in [-2, 2].
  run = _save(tmp_path, agent, environment)
  # All alike, and far from the bounds.
  observations = np.zeros((2000, 3), np.float32)
  exact = _act(saved_policy(agent, environment, 0, run=run), observations)
  assert np.ptp(exact) == 0 and np.abs(exact).max() < 1
  policy = saved_policy(agent, environment, 0, run=run, noise=0.1)
  noise = _act(policy, observations) - exact
  assert noise.dtype == np.float32
  assert abs(np.mean(noise)) < 0.02
  assert np.std(noise) == pytest.approx(0.2, rel=0.05)
  policy = saved_policy(agent, environment, 0, run=run, noise=3)
  actions = _act(policy, observations)
  assert np.abs(actions).max() == 2
  assert (np.abs(actions) == 2).mean() > 0.5


def test_noise_has_a_stream_of_its_own(tmp_path):
  agent, environment = _make()
  run = _save(tmp_path, agent, environment)
  observations = _observations(environment)
  exploration = agent.get_state()['exploration']
  one, same, other = (
    _act(
      saved_policy(agent, environment, seed, run=run, noise=0.1), observations
    )
    for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(one, same)
  assert (one != other).any()
  assert agent.get_state()['exploration'] == exploration


# --------------------------------------------------------------------- restart


def test_continues_without_the_run(tmp_path):
  agent, environment = _make(seed=1)
  run = _save(tmp_path / 'run', agent, environment)
  agent, environment = _make(seed=2)
  observations = _observations(environment)
  whole = saved_policy(agent, environment, 2, run=run, noise=0.1)
  expected = _act(whole, observations)

  policy = saved_policy(agent, environment, 2, run=run, noise=0.1)
  _act(policy, observations[:7])
  checkpointer = checkpointing.Checkpointer(str(tmp_path / 'own'))
  checkpointer.save(7, policy.get_state())
  shutil.rmtree(run)
  _, state = checkpointer.load_latest()
  agent, environment = _make(seed=2)
  resumed = saved_policy(agent, environment, 2, state, run=run, noise=0.1)
  np.testing.assert_array_equal(_act(resumed, observations[7:]), expected[7:])


# ---------------------------------------------------------------- the run used


def test_newest_checkpoint_that_is_whole(tmp_path, caplog):
  old, new = _make(seed=1), _make(seed=2)
  _save(tmp_path, *old, step=10)
  run = _save(tmp_path, *new, step=20)
  agent, environment = _make(seed=3)
  observations = _observations(environment)

  def expect(saved):
    policy = saved_policy(agent, environment, seed=3, run=run)
    np.testing.assert_allclose(
      _act(policy, observations),
      saved[0].greedy_policy()(observations),
      atol=1e-6,
    )

  expect(new)
  path = tmp_path / 'checkpoints' / 'ckpt-20' / 'arrays.npz'
  contents = bytearray(path.read_bytes())
  contents[len(contents) // 2] ^= 1
  path.write_bytes(contents)
  expect(old)
  assert 'ckpt-20' in caplog.text


def test_nothing_of_the_run_is_changed(tmp_path):
  """It may be writing its next checkpoint."""
  agent, environment = _make()
  run = _save(tmp_path, agent, environment)
  checkpoints = tmp_path / 'checkpoints'
  unfinished = checkpoints / 'ckpt-30.tmp-12345'
  unfinished.mkdir()
  (unfinished / 'arrays.npz').write_bytes(b'half')
  before = sorted(tmp_path.rglob('*'))
  saved_policy(agent, environment, seed=0, run=run)
  assert sorted(tmp_path.rglob('*')) == before


def test_version_of_the_task_does_not_count(tmp_path):
  agent, environment = _make()
  state = {**environment.get_state(), 'env_name': 'Hopper-v5'}
  run = _save(tmp_path, agent, environment, changes={'environment': state})
  saved_policy(agent, environment, seed=0, run=run)


def test_home_directory(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  agent, environment = _make()
  _save(tmp_path / 'run', agent, environment)
  saved_policy(agent, environment, seed=0, run='~/run')


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize('noise', [-0.1, 'x', None, float('nan'), True])
def test_noise_outside_its_range(tmp_path, noise, user_error):
  agent, environment = _make()
  run = _save(tmp_path, agent, environment)
  with user_error(f'saved_policy.noise is {noise!r}', 'at least 0'):
    saved_policy(agent, environment, seed=0, run=run, noise=noise)


@pytest.mark.parametrize(
  'run,allowed',
  [(None, 'directory of a run'), ('', 'directory of a run'), (3, 'a text')],
)
def test_no_directory_named(run, allowed, user_error):
  agent, environment = _make()
  with user_error(f'saved_policy.run is {run!r}', allowed):
    saved_policy(agent, environment, seed=0, run=run)


def test_run_that_is_not_there(tmp_path, user_error):
  agent, environment = _make()
  run = str(tmp_path / 'none')
  with user_error(f'saved_policy.run is {run!r}', 'no such directory'):
    saved_policy(agent, environment, seed=0, run=run)


@pytest.mark.parametrize('torn', [False, True])
def test_run_without_a_whole_checkpoint(tmp_path, torn, user_error):
  agent, environment = _make()
  run = str(tmp_path)
  if torn:
    _save(tmp_path, agent, environment)
    (tmp_path / 'checkpoints' / 'ckpt-20' / 'state.json').write_text('{')
  texts = (f'saved_policy.run is {run!r}', 'no whole checkpoint')
  if torn:
    texts = (f'{run}/checkpoints', 'ckpt-20/state.json cannot be used')
  with user_error(*texts):
    saved_policy(agent, environment, seed=0, run=run)


@pytest.mark.parametrize(
  'bindings, saved_kernels',
  [
    (
      ('actor/SquashedGaussianActor.hidden_units = (8, 7)',),
      '11 x 8, 8 x 7, 7 x 6',
    ),
    (
      ('actor/SquashedGaussianActor.hidden_units = (8,)',),
      '11 x 8, 8 x 6',
    ),
    (('WIDTH = 0.5',), '11 x 4, 4 x 3, 3 x 6'),
  ],
)
def test_actor_of_other_shapes(tmp_path, bindings, saved_kernels, user_error):
  run = _save(tmp_path, *_make(*bindings))
  with user_error(
    f'saved_policy.run is {run!r}', f'{saved_kernels};', '11 x 8, 8 x 6, 6 x 6.'
  ):
    saved_policy(*_make(), seed=0, run=run)


def test_run_on_another_task(tmp_path, user_error):
  # Both observe 17 numbers and have 6 actions.
  run = _save(tmp_path, *_make(task='Walker2d-v4'))
  with user_error(
    f'saved_policy.run is {run!r}', 'on Walker2d-v4', 'on HalfCheetah-v4'
  ):
    saved_policy(*_make(task='HalfCheetah-v4'), seed=0, run=run)


@pytest.mark.parametrize(
  'state, words',
  [
    ({'networks': {'networks': {'actor': [], 'value': []}}}, 'actor, value;'),
    ({'online': []}, 'no networks by name;'),  # DQN's.
  ],
)
def test_run_of_another_agent(tmp_path, state, words, user_error):
  agent, environment = _make()
  run = _save(tmp_path, agent, environment, changes={'agent': state})
  with user_error(
    f'saved_policy.run is {run!r}', words, 'actor, critic_1, critic_2.'
  ):
    saved_policy(agent, environment, seed=0, run=run)
