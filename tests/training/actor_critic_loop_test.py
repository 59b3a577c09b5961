"""Tests of the off-policy loop: what it steps, stores, trains and resumes.

All but one have an agent that only takes notes. The task is Hopper, where
random actions end an episode after a dozen steps or more, and a limit of 18
cuts the others.
"""

import shutil

import gin
import numpy as np
import pytest

from helpers import noted_loop, runs
from rigl_rl.agents import sac
from rigl_rl.config import parsing
from rigl_rl.training import actor_critic_loop, record, run_directory

pytestmark = pytest.mark.usefixtures('no_gin_config')


@pytest.mark.parametrize(
  'train_steps, expected',
  [
    (30, [8, 16, 24, 30]),  # The last period is shorter.
    (24, [8, 16, 24]),
    (11, [8, 11]),
    (12, [8, 12]),
  ],
)
def test_evaluations(tmp_path, train_steps, expected):
  loop = noted_loop.run(tmp_path, train_steps=train_steps)
  assert runs.steps(tmp_path) == expected
  assert loop.steps_done == train_steps
  for row in record.read_evaluations(str(tmp_path)):
    assert row['episodes'] == 2


def test_run_shorter_than_the_period(tmp_path):
  noted_loop.run(
    tmp_path, 'ActorCriticLoop.evaluation_period = 1000', train_steps=15
  )
  assert runs.steps(tmp_path) == [15]


def test_one_gradient_step_per_step_after_the_random_ones(tmp_path):
  loop = noted_loop.run(tmp_path, train_steps=30)
  assert loop.agent.gradient_steps == 20
  assert loop.agent.calls == ['random'] * 10 + ['explore', 'train'] * 20
  assert len(loop._replay.added) == 30
  for batch in loop.agent.batches:
    assert batch.observation.shape == (4, 11)


def test_initial_steps_by_task(tmp_path):
  for task, initial in (('HalfCheetah-v4', 10000), ('Walker2d-v5', 1000)):
    gin.clear_config()
    parsing.parse([noted_loop.RIGL], [f'ENV_NAME = {task!r}'])
    collect = gin.query_parameter('ActorCriticLoop.initial_collect_steps')
    assert collect.scoped_configurable_fn() == initial


def test_what_is_stored(tmp_path):
  loop = noted_loop.run(
    tmp_path, train_steps=200, create_environment=runs.RecordedEnvironment
  )
  added = iter(loop._replay.added)
  ends = set()
  returns, episode_return = [], 0.0
  previous = None
  for action, time_step in loop.environment.steps:
    if action is not None:
      *transition, is_last = next(added)
      observation, stored, reward, discount, next_observation = transition
      np.testing.assert_array_equal(observation, previous.observation)
      np.testing.assert_array_equal(stored, action)
      np.testing.assert_array_equal(next_observation, time_step.observation)
      assert reward == time_step.reward
      assert discount == time_step.discount
      assert is_last == bool(time_step.is_last())
      episode_return += float(time_step.reward)
      if is_last:
        ends.add(float(discount))
        returns.append(episode_return)
        episode_return = 0.0
    else:
      # After every last step, and only there, an episode begins.
      assert previous is None or previous.is_last()
    previous = time_step
  assert next(added, None) is None
  assert ends == {0.0, 1.0}  # Terminated, and cut by the limit.
  assert loop._episode_return == episode_return

  # Each sampled transition is one of those.
  known = {
    tuple(np.concatenate([np.ravel(field) for field in fields]).tolist())
    for *fields, _ in loop._replay.added
  }
  for _ in range(20):
    for row in zip(*loop._replay.sample()):
      assert tuple(np.concatenate([np.ravel(x) for x in row]).tolist()) in known


def test_agent_is_given_what_it_acts_on_next(tmp_path):
  """The observation given to a train step; after an episode, a new one."""
  loop = noted_loop.run(tmp_path, train_steps=40)
  calls, observations = loop.agent.calls[10:], loop.agent.observations
  assert calls == ['explore', 'train'] * 30
  for given, acted_on in zip(observations[1::2], observations[2::2]):
    np.testing.assert_array_equal(given, acted_on)


def test_episode_returns(tmp_path):
  loop = noted_loop.make(tmp_path, create_environment=runs.RecordedEnvironment)
  episodes = loop.train(7) + loop.train(30) + loop.train(90)
  expected, _ = loop.environment.episodes()
  assert len(expected) >= 4
  assert episodes == expected


class _Policy:
  """Counts its actions, from a number on, and notes what it acts on."""

  def __init__(self, agent, environment, seed, state=None):
    assert agent.seed == seed
    assert environment.action_spec().shape == (3,)
    self.count = 0 if state is None else state['count']
    self.observations = []

  def __call__(self, observation):
    self.observations.append(observation.copy())
    self.count += 1
    return np.full(3, 0.01 * self.count, np.float32)

  def get_state(self):
    return {'count': self.count}


class _Policies:
  """Makes them, and keeps them."""

  def __init__(self):
    self.made = []

  def __call__(self, *args, **kwargs):
    self.made.append(_Policy(*args, **kwargs))
    return self.made[-1]


def test_initial_policy(tmp_path):
  policies = _Policies()
  loop = noted_loop.run(tmp_path, train_steps=30, initial_policy=policies)
  (policy,) = policies.made
  # It acts only in the steps that would be random.
  assert loop.agent.calls == ['explore', 'train'] * 20
  assert loop.agent.gradient_steps == 20
  assert policy.count == 10 and len(loop._replay.added) == 30
  for i, observation in enumerate(policy.observations):
    stored = loop._replay.added[i]
    np.testing.assert_array_equal(stored[0], observation)
    np.testing.assert_array_equal(stored[1], np.float32(0.01 * (i + 1)))


def test_resumed_within_the_initial_collection(tmp_path):
  noted_loop.run(tmp_path / 'whole', initial_policy=_Policy)
  policies = _Policies()
  arguments = {'initial_policy': policies}
  runs.interrupt(noted_loop.make(tmp_path / 'cut', **arguments), 1)
  resumed = noted_loop.make(tmp_path / 'cut', **arguments)
  assert resumed.steps_done == 8
  assert policies.made[1].count == 8
  resumed.run_experiment()
  assert [policy.count for policy in policies.made] == [10, 10]
  runs.assert_same_run(tmp_path / 'whole', tmp_path / 'cut')


@pytest.mark.parametrize('initial_steps', [10, 16])
def test_resumed_after_the_initial_collection(tmp_path, initial_steps):
  """Its policy is made no more, even where it ended with the period."""
  binding = f'ActorCriticLoop.initial_collect_steps = {initial_steps}'
  noted_loop.run(tmp_path / 'whole', binding, initial_policy=_Policy)
  policies = _Policies()
  arguments = {'initial_policy': policies}
  runs.interrupt(noted_loop.make(tmp_path / 'cut', binding, **arguments), 2)
  resumed = noted_loop.make(tmp_path / 'cut', binding, **arguments)
  assert resumed.steps_done == 16 and len(policies.made) == 1
  resumed.run_experiment()
  assert len(policies.made) == 1
  runs.assert_same_run(tmp_path / 'whole', tmp_path / 'cut')


def test_older_checkpoint_without_an_initial_policy(tmp_path):
  """Written before there was any."""
  loop = runs.interrupt(noted_loop.make(tmp_path), 2)
  checkpointer = runs.checkpointer(tmp_path)
  step, state = checkpointer.load_latest()
  del state['loop']['initial_policy']
  checkpointer.save(step, state)
  assert noted_loop.make(tmp_path).steps_done == loop.steps_done - 8 == 16


def test_replay_filled_by_an_earlier_run(tmp_path, monkeypatch):
  """By SAC, restarted within the collection, when the earlier run is gone."""
  # Tracing it would take all the time.
  monkeypatch.setattr(sac.SparseSacAgent, 'train_step', lambda *args: None)
  earlier = noted_loop.run(
    tmp_path / 'earlier', train_steps=14, seed=1, create_agent=gin.REQUIRED
  )
  expected = earlier.agent.greedy_policy()
  bindings = (
    'ActorCriticLoop.initial_policy = @saved_policy',
    f'saved_policy.run = {str(tmp_path / "earlier")!r}',
    'saved_policy.noise = 0.1',
  )

  def make(name):
    return noted_loop.make(
      tmp_path / name, *bindings, train_steps=14, create_agent=gin.REQUIRED
    )

  whole = make('whole')
  whole.run_experiment()
  observations, actions = (
    np.stack([stored[i] for stored in whole._replay.added[:10]]) for i in (0, 1)
  )
  noise = actions - expected(observations)
  inside = np.abs(actions) < 1
  assert 0.05 < np.std(noise[inside]) < 0.2

  runs.interrupt(make('cut'), 1)
  shutil.rmtree(tmp_path / 'earlier')
  resumed = make('cut')
  assert resumed.steps_done == 8
  resumed.run_experiment()
  runs.assert_same_run(tmp_path / 'whole', tmp_path / 'cut')


@pytest.mark.parametrize(
  'binding, words',
  [
    ('ActorCriticLoop.initial_collect_steps = 0', ('is 0', 'at least 1')),
    ('ActorCriticLoop.initial_collect_steps = 1.5', ('is 1.5', 'whole number')),
    ('ActorCriticLoop.initial_collect_steps = None', ('is None', 'whole')),
    ('ActorCriticLoop.evaluation_period = 0', ('is 0', 'at least 1')),
    ('ActorCriticLoop.evaluation_period = "x"', ("is 'x'", 'whole number')),
    ('ActorCriticLoop.evaluation_episodes = 0', ('is 0', '[1, 10000]')),
    ('ActorCriticLoop.checkpoint_period = 0', ('is 0', 'at least 1')),
  ],
)
def test_value_outside_its_range(tmp_path, binding, words, user_error):
  with user_error(binding.partition(' ')[0], *words):
    noted_loop.make(tmp_path, binding)
  assert not list(tmp_path.iterdir())


def test_a_replay_buffer_below_its_batch(tmp_path, user_error):
  with user_error('.capacity is 3, but must be at least', '.batch_size, 4'):
    noted_loop.make(tmp_path, 'TransitionBuffer.capacity = 3')


@pytest.mark.parametrize('value', ['runs/td3', 3, True])
def test_no_initial_policy(tmp_path, value, user_error):
  with user_error(f'ActorCriticLoop.initial_policy is {value!r}', 'or None'):
    noted_loop.make(tmp_path, f'ActorCriticLoop.initial_policy = {value!r}')
  assert not list(tmp_path.iterdir())


def test_mistake_of_the_initial_policy(tmp_path, user_error):
  """Told before anything is written."""
  run = str(tmp_path / 'none')
  with user_error(f'saved_policy.run is {run!r}', 'no such directory'):
    noted_loop.make(
      tmp_path / 'run',
      'ActorCriticLoop.initial_policy = @saved_policy',
      f'saved_policy.run = {run!r}',
      create_agent=gin.REQUIRED,
    )
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('train_steps', [1, 9, 10])
def test_training_that_ends_before_it_begins(tmp_path, train_steps, user_error):
  with user_error(
    f'TRAIN_STEPS is {train_steps}',
    'must exceed the 10 steps before training',
    'ActorCriticLoop.initial_collect_steps',
  ):
    noted_loop.make(tmp_path, train_steps=train_steps)
  assert not list(tmp_path.iterdir())


def test_initial_steps_of_another_task(tmp_path, user_error):
  gin.clear_config()
  parsing.parse([noted_loop.RIGL], ['ENV_NAME = "Pendulum-v1"'])
  with user_error('TRAIN_STEPS is 30', 'the 10,000 steps before'):
    actor_critic_loop.ActorCriticLoop(
      run_directory.RunDirectory(str(tmp_path)), seed=0, train_steps=30
    )
