"""Tests of the on-policy loop: what it collects, trains on and resumes.

All but one have an agent that only takes notes. The task is Hopper, where
random actions end an episode after a dozen steps or more, and a limit of 18
cuts the others.
"""

import functools
import multiprocessing

import gin
import numpy as np
import pytest
import tensorflow as tf

from helpers import damages, noted_loop, runs
from rigl_rl.agents import ppo
from rigl_rl.config import parsing
from rigl_rl.errors import UserError
from rigl_rl.training import background, ppo_loop, record, run_directory

_RIGL = 'gin_configs/graesser22/ppo_mujoco/rigl.gin'
_BINDINGS = (
  'ENV_NAME = "Hopper-v4"',
  'create_mujoco_environment.max_episode_steps = 18',
  'GaussianActor.hidden_units = (8, 8)',
  'actor_critic.ValueNetwork.hidden_units = (8, 8)',
  'SPARSITY = 0.5',
  'UpdateSchedule.interval = 2',
  'SparsePPOAgent.minibatch_size = 4',
  'SparsePPOAgent.num_epochs = 1',
  'PPOLoop.rollout_steps = 8',
  'PPOLoop.evaluation_episodes = 2',
  'PPOLoop.evaluation_processes = 0',
)


pytestmark = pytest.mark.usefixtures('no_gin_config')


class _Agent(noted_loop.Notes):
  """Acts at random and notes what it is asked."""

  def __init__(
    self, time_step_spec, action_spec, seed, rollout_steps, num_rollouts
  ):
    super().__init__(time_step_spec, action_spec, seed)
    self.rollout_steps = rollout_steps
    self.num_rollouts = num_rollouts
    self.rollouts = []

  def refresh_policy(self):
    self.calls.append('refresh')

  def explore(self, observation):
    self.calls.append('explore')
    mean, std = observation[:3], np.exp(observation[3:6])
    return mean + std * self.rng.standard_normal(3, np.float32), mean, std

  def train_on(self, rollout):
    self.calls.append('train')
    self.rollouts.append(ppo.Rollout(*(field.copy() for field in rollout)))

  def greedy_policy(self):
    return _first_three


def _first_three(observations):
  return observations[:, :3]


def _make_loop(base_dir, *bindings, train_steps=40, seed=0, **arguments):
  """With the agent that takes notes, unless `create_agent` is another."""
  gin.clear_config()
  parsing.parse([_RIGL], [*_BINDINGS, *bindings])
  return ppo_loop.PPOLoop(
    run_directory.RunDirectory(str(base_dir)),
    seed=seed,
    train_steps=train_steps,
    **{'create_agent': _Agent, **arguments},
  )


def _run(*args, **arguments):
  loop = _make_loop(*args, **arguments)
  loop.run_experiment()
  return loop


# -------------------------------------------------------------------- schedule


@pytest.mark.parametrize(
  'train_steps, period, expected',
  [
    (24, 1, [8, 16, 24]),
    (25, 1, [8, 16, 24, 32]),  # Whole rollouts.
    (40, 2, [16, 32, 40]),  # The last period is shorter.
    (1, 1, [8]),
    (20, 9, [24]),
  ],
)
def test_evaluations(tmp_path, train_steps, period, expected):
  loop = _run(
    tmp_path, f'PPOLoop.evaluation_period = {period}', train_steps=train_steps
  )
  assert runs.steps(tmp_path) == expected
  rollouts = expected[-1] // 8
  assert loop.agent.num_rollouts == rollouts
  assert loop.agent.rollout_steps == 8
  # The policy's weights are read once they have been trained.
  calls = ['refresh'] + ['explore'] * 8 + ['train']
  assert loop.agent.calls == calls * rollouts


class _Counter(background.Worker):
  """Counts the workers, and the calls whose result has not been read yet."""

  workers, running, most = 0, 0, 0

  def __init__(self, function):
    super().__init__(function)
    self._is_busy = False
    _Counter.workers += 1

  def begin(self, *arguments):
    assert not self._is_busy
    self._is_busy = True
    _Counter.running += 1
    _Counter.most = max(_Counter.most, _Counter.running)
    super().begin(*arguments)

  def result(self):
    self._is_busy = False
    _Counter.running -= 1
    return super().result()

  def close(self):
    super().close()
    _Counter.workers -= 1


@pytest.mark.parametrize(
  'cores, bindings, create, expected',
  [
    (1, (), None, 0),
    (2, (), None, 1),
    (4, (), None, 3),
    (4, ('PPOLoop.evaluation_processes = 0',), None, 0),
    (1, ('PPOLoop.evaluation_processes = 1',), None, 1),
    # Not known to be gymnasium's own.
    (2, (), runs.ForgetfulEnvironment, 0),
  ],
)
def test_evaluations_beside_training(
  tmp_path, monkeypatch, cores, bindings, create, expected
):
  create = {} if create is None else {'create_environment': create}
  _run(tmp_path / 'waits', **create)
  monkeypatch.setattr(background, 'cores', lambda: cores)
  monkeypatch.setattr(background, 'Worker', _Counter)
  monkeypatch.setattr(_Counter, 'most', 0)
  _run(
    tmp_path / 'beside',
    'PPOLoop.evaluation_processes = None',
    *bindings,
    **create,
  )
  assert (_Counter.workers, _Counter.running) == (0, 0)
  # One more begins before the oldest is waited for.
  assert _Counter.most == expected + (expected > 0)
  runs.assert_same_run(tmp_path / 'waits', tmp_path / 'beside')


def test_error_in_training_keeps_evaluations_beside_it(tmp_path, user_error):
  loop = _make_loop(tmp_path, 'PPOLoop.evaluation_processes = 3')
  train = loop.train

  def fail(end_step):
    if end_step == 32:
      raise UserError('The loss is nan.')
    return train(end_step)

  loop.train = fail
  with user_error('The loss is nan.'):
    loop.run_experiment()
  assert runs.steps(tmp_path) == [8, 16, 24]
  assert runs.checkpointer(tmp_path).steps() == [16, 24]


def test_error_in_an_evaluation(tmp_path, user_error):
  loop = _make_loop(tmp_path, 'PPOLoop.evaluation_processes = 2')
  loop.agent.greedy_policy = lambda: _raise_user_error  # Itself is pickled.
  with user_error('No action.'):
    loop.run_experiment()
  assert not multiprocessing.active_children()


def test_policy_that_no_process_can_be_given(tmp_path, monkeypatch, user_error):
  monkeypatch.setattr(background, 'cores', lambda: 2)
  monkeypatch.setattr(
    _Agent, 'greedy_policy', lambda self: lambda x: _first_three(x)
  )
  monkeypatch.setattr(background, 'Worker', None)
  _run(tmp_path / 'waits', 'PPOLoop.evaluation_processes = None')
  with user_error('PPOLoop.evaluation_processes is 1, but must be 0: '):
    _make_loop(tmp_path / 'beside', 'PPOLoop.evaluation_processes = 1')


def _raise_user_error(observations):
  raise UserError('No action.')


# -------------------------------------------------------------------- rollouts


def test_what_is_trained_on(tmp_path):
  loop = _run(
    tmp_path, train_steps=160, create_environment=runs.RecordedEnvironment
  )
  assert len(loop.agent.rollouts) == 20
  joined = ppo.Rollout(*map(np.concatenate, zip(*loop.agent.rollouts)))
  collected = iter(zip(*joined))
  ends = set()
  previous = None
  for action, time_step in loop.environment.steps:
    if action is not None:
      step = ppo.Rollout(*next(collected))
      np.testing.assert_array_equal(step.observation, previous.observation)
      # As it was sampled, beyond the bounds too.
      np.testing.assert_array_equal(step.action, action)
      np.testing.assert_array_equal(step.mean, previous.observation[:3])
      np.testing.assert_array_equal(step.std, np.exp(previous.observation[3:6]))
      np.testing.assert_array_equal(
        step.next_observation, time_step.observation
      )
      assert step.reward == time_step.reward
      assert step.discount == time_step.discount
      assert step.is_last == bool(time_step.is_last())
      if step.is_last:
        ends.add(float(step.discount))
    else:
      # After every last step, and only there, an episode begins.
      assert previous is None or previous.is_last()
    previous = time_step
  assert next(collected, None) is None
  assert ends == {0.0, 1.0}  # Terminated, and cut by the limit.
  assert np.abs(joined.action).max() > 1
  assert joined.is_last.dtype == bool
  for field in joined[:-1]:
    assert field.dtype == np.float32


def test_episode_returns(tmp_path):
  loop = _make_loop(tmp_path, create_environment=runs.RecordedEnvironment)
  episodes = loop.train(8) + loop.train(24) + loop.train(96)
  expected, total = loop.environment.episodes()
  assert len(expected) >= 4
  assert episodes == expected
  assert loop._episode_return == total != 0


# --------------------------------------------------------------------- restart


@pytest.mark.parametrize(
  'processes, interrupted, period',
  # Evaluations that run beside training are lost, with their checkpoints.
  [(0, 1, 1), (0, 3, 3), (1, 4, 3), (2, 3, 1)],
)
def test_resumed_run_equals_one_never_stopped(
  tmp_path, processes, interrupted, period
):
  whole = _run(tmp_path / 'whole', train_steps=48)
  beside = f'PPOLoop.evaluation_processes = {processes}'
  make = functools.partial(_make_loop, tmp_path / 'cut', beside, train_steps=48)
  runs.interrupt(make(), interrupted)
  assert len(record.read_evaluations(str(tmp_path / 'cut'))) == period
  resumed = make()
  assert resumed.steps_done == 8 * period
  saved = runs.latest(tmp_path / 'cut')[1]['loop']
  assert resumed._episode_return == saved['episode_return'] != 0
  assert resumed.environment.current_time_step().is_mid()
  resumed.run_experiment()
  runs.assert_same_run(tmp_path / 'whole', tmp_path / 'cut')
  for one, other in zip(whole.agent.rollouts[period:], resumed.agent.rollouts):
    for field, same in zip(one, other):
      np.testing.assert_array_equal(field, same)


def test_resumed_ppo_equals_one_never_stopped(tmp_path):
  make = functools.partial(_make_loop, create_agent=gin.REQUIRED)
  # Traced, each of the three would take seconds more; see ppo_test.
  tf.config.run_functions_eagerly(True)
  try:
    whole = make(tmp_path / 'whole')
    masks = runs.masks(whole.agent)
    whole.run_experiment()
    resumed = runs.resume(make, tmp_path / 'cut', 2)
    assert resumed.steps_done == 16
    resumed.run_experiment()
  finally:
    tf.config.run_functions_eagerly(False)
  # Weights, masks, slots, normalizers, random streams, simulator.
  runs.assert_same_run(tmp_path / 'whole', tmp_path / 'cut')
  after = runs.masks(resumed.agent)
  assert any((a != b).any() for a, b in zip(masks, after))
  assert resumed.describe() == whole.describe()
  assert resumed.describe()['gradient_steps'] == 10
  assert resumed.title == 'RigL at 50 % sparsity'


def test_seed_decides_the_run(tmp_path):
  loops = [
    _run(tmp_path / name, seed=seed)
    for name, seed in (('a', 0), ('b', 0), ('c', 1))
  ]
  for one, same, other in zip(*(loop.agent.rollouts for loop in loops)):
    np.testing.assert_array_equal(one.observation, same.observation)
    np.testing.assert_array_equal(one.action, same.action)
    assert (one.observation != other.observation).any()
  tables = [runs.evaluations(tmp_path / name) for name in 'abc']
  assert tables[0] == tables[1] != tables[2]


@pytest.mark.parametrize('name', ['state.json', 'arrays.npz'])
def test_damaged_newest_checkpoint(tmp_path, name):
  _run(tmp_path / 'whole')
  _run(tmp_path / 'torn')
  path = tmp_path / 'torn' / 'checkpoints' / 'ckpt-40' / name
  damages.flip_byte(path)
  loop = _make_loop(tmp_path / 'torn')
  assert loop.steps_done == 32
  loop.run_experiment()
  runs.assert_same_run(tmp_path / 'whole', tmp_path / 'torn')


@pytest.mark.parametrize('period, saved', [(1, [32, 40]), (3, [24, 40])])
def test_checkpoints(tmp_path, period, saved):
  _run(tmp_path, f'PPOLoop.checkpoint_period = {period}')
  assert runs.checkpointer(tmp_path).steps() == saved


def test_episode_that_cannot_be_continued(tmp_path):
  """Another one begins, and no step leads from the one to the other."""
  arguments = {'create_environment': runs.ForgetfulEnvironment}
  runs.interrupt(_make_loop(tmp_path, **arguments), 2)
  loop = _make_loop(tmp_path, **arguments)
  loop.run_experiment()
  (action, first), (next_action, _), *_ = loop.environment.steps
  assert action is None and next_action is not None
  np.testing.assert_array_equal(
    loop.agent.rollouts[0].observation[0], first.observation
  )
  for rollout in loop.agent.rollouts:
    assert rollout.reward.all()  # A reset has none.


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
  'binding, words',
  [
    ('PPOLoop.rollout_steps = 0', ('is 0', '[1, 1000000]')),
    ('PPOLoop.rollout_steps = 2048.0', ('is 2048.0', 'whole number')),
    ('PPOLoop.evaluation_period = 0', ('is 0', 'at least 1')),
    ('PPOLoop.evaluation_period = "x"', ("is 'x'", 'whole number')),
    ('PPOLoop.evaluation_episodes = 0', ('is 0', '[1, 10000]')),
    ('PPOLoop.checkpoint_period = None', ('is None', 'whole number')),
  ],
)
def test_value_outside_its_range(tmp_path, binding, words, user_error):
  with user_error(binding.partition(' ')[0], *words):
    _make_loop(tmp_path, binding)
  assert not list(tmp_path.iterdir())


def test_rollout_that_is_not_whole_minibatches(tmp_path, user_error):
  with user_error('SparsePPOAgent.minibatch_size is 3', 'rollout_steps, 8'):
    _make_loop(
      tmp_path,
      'SparsePPOAgent.minibatch_size = 3',
      create_agent=gin.REQUIRED,
    )
  assert not list(tmp_path.iterdir())
