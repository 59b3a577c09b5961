"""Tests of DQN's gradient steps: their numbers, and when they are taken."""

import threading
import time
import types

import numpy as np
import pytest
import tensorflow as tf
from dopamine.agents.dqn import dqn_agent

from helpers import small_dqn
from rigl_rl.agents import losses, q_learner

pytestmark = pytest.mark.usefixtures('no_gin_config')


def _numpy_step(agent, batch, rate, decay, output_decay, huber):
  """Loss and kernels and biases after a step of SGD, all by hand."""
  (w1, mask1), (w2, mask2) = small_dqn.sparse_layers(agent.online)
  b1, b2 = (layer.bias.numpy() for layer in agent.layers)
  states, actions, rewards, next_states, terminals = batch
  x, next_x = (s.reshape(len(s), -1) for s in (states, next_states))

  (t1, _), (t2, _) = small_dqn.sparse_layers(agent.target)
  c1, c2 = (v.numpy() for v in agent.target.trainable_variables[1::2])
  next_q = np.maximum(next_x @ t1 + c1, 0) @ t2 + c2
  discount = agent.gamma**agent.update_horizon
  goal = rewards + discount * next_q.max(axis=1) * (1 - terminals)

  hidden = np.maximum(x @ w1 + b1, 0)
  rows = np.arange(len(x))
  error = (hidden @ w2 + b2)[rows, actions] - goal
  if huber:
    size = np.abs(error)
    loss = np.where(size <= 1, error**2 / 2, size - 0.5).mean()
    slope = np.clip(error, -1, 1) / len(x)
  else:
    loss = (error**2).mean()
    slope = 2 * error / len(x)
  loss += decay * (w1**2).sum() + output_decay * (w2**2).sum()

  delta = np.zeros((len(x), 2))
  delta[rows, actions] = slope
  delta1 = (delta @ w2.T) * (hidden > 0)
  new = [
    (w1 - rate * (x.T @ delta1 + 2 * decay * w1)) * mask1,
    b1 - rate * delta1.sum(axis=0),
    (w2 - rate * (hidden.T @ delta + 2 * output_decay * w2)) * mask2,
    b2 - rate * delta.sum(axis=0),
  ]
  return error, loss, new


@pytest.mark.parametrize('horizon', [1, 3])
@pytest.mark.parametrize('decay', [0.0, 0.01])
@pytest.mark.parametrize('decay_output', [False, True])
@pytest.mark.parametrize('huber', [False, True])
def test_train_step_is_that_of_numpy(huber, decay_output, decay, horizon):
  agent = small_dqn.make_agent(
    'Static',
    hidden_units=(5,),
    weight_decay=decay,
    decay_output=decay_output,
    optimizer=lambda: tf.keras.optimizers.legacy.SGD(0.1),
    loss=losses.huber_loss if huber else losses.squared_loss,
    update_horizon=horizon,
    gamma=0.9,
  )
  rng = np.random.default_rng(1)
  for network in (agent.online, agent.target):
    for variable in network.trainable_variables:
      variable.assign(rng.normal(size=variable.shape))
  for layer in agent.layers:
    layer.kernel.assign(layer.kernel * layer.mask)
  batch = (
    rng.normal(size=(4, 3, 1)).astype(np.float32),
    np.array([0, 1, 1, 0], np.int32),
    np.array([0.1, -5.0, 2.0, 0.3], np.float32),
    rng.normal(size=(4, 3, 1)).astype(np.float32),
    np.array([0, 0, 1, 0], np.uint8),
  )
  error, expected_loss, expected = _numpy_step(
    agent, batch, 0.1, decay, decay if decay_output else 0.0, huber
  )
  # Both parts of Huber's loss, and a terminal state, have their turn.
  assert (np.abs(error) > 1).any()

  state = rng.normal(size=(1, 3, 1)).astype(np.float32)
  learner = agent.learner
  learner.begin(_packed(batch))
  q_values = learner.finish(state)
  assert float(learner.loss) == pytest.approx(expected_loss, rel=1e-5)
  for variable, value in zip(agent.online.trainable_variables, expected):
    np.testing.assert_allclose(variable.numpy(), value, rtol=1e-4, atol=1e-5)
  # The weights after the step act.
  np.testing.assert_allclose(q_values, agent.online(state), rtol=1e-6)


def _packed(batch):
  states, actions, rewards, next_states, terminals = batch
  scalars = np.float32([actions, rewards, terminals])
  return states, scalars, next_states


def test_terminal_state_has_no_value():
  agent = small_dqn.make_agent('Dense')
  agent._loss = lambda targets, values: targets
  states = tf.ones((2, 3, 1))
  targets = agent.compute_losses(
    agent.online,
    agent.target,
    states,
    actions=tf.constant([0, 0]),
    rewards=tf.ones(2),
    terminals=tf.constant([0.0, 1.0]),
    next_states=states,
  )
  best = float(tf.reduce_max(agent.target(states)[0]))
  assert float(targets[0]) == pytest.approx(1 + 0.99 * best)
  assert float(targets[1]) == 1.0


def test_no_gradient_flows_into_targets():
  agent = small_dqn.make_agent('Dense')
  before = small_dqn.values(agent, 'target')
  small_dqn.play(agent, 9)
  assert agent.optimizer.step.numpy() > 0
  assert small_dqn.same(small_dqn.values(agent, 'target'), before)


def test_time_limit_is_not_terminal():
  agent = small_dqn.make_agent(min_replay_history=50)
  small_dqn.two_episodes(agent, terminal=False)
  found = small_dqn.sampled(agent)
  # What follows observation 4 is unknown: it is not sampled at all.
  assert sorted(found) == [1, 2, 3, 11, 12, 13]
  assert not any(terminal for _, _, terminal in found.values())
  assert found[3][:2] == (4, 0.5)


def test_terminal_state_is_terminal():
  agent = small_dqn.make_agent(min_replay_history=50)
  small_dqn.two_episodes(agent, terminal=True)
  found = small_dqn.sampled(agent)
  assert found[4][1:] == (9.0, 1)
  assert [k for k, value in found.items() if value[2]] == [4]


def test_rewards_of_n_steps():
  agent = small_dqn.make_agent(
    min_replay_history=50, update_horizon=2, gamma=0.5
  )
  small_dqn.two_episodes(agent, terminal=True)
  found = small_dqn.sampled(agent)
  assert found[1] == (3, 0.5 + 0.5 * 0.5, 0)
  assert found[3][1:] == (0.5 + 0.5 * 9, 1)
  assert agent.cumulative_gamma == 0.25


@pytest.mark.parametrize('stack_size,horizon', [(1, 1), (3, 1), (2, 4)])
def test_trains_as_soon_as_there_is_a_transition(stack_size, horizon):
  agent = small_dqn.make_agent(
    min_replay_history=0, stack_size=stack_size, update_horizon=horizon
  )
  small_dqn.play(agent, 20)
  # At agent steps horizon + 1 to 19.
  assert agent.optimizer.steps_taken == 19 - horizon


def test_a_replay_buffer_below_its_history(user_error):
  with user_error('replay_capacity is 20', 'min_replay_history, 21'):
    small_dqn.make_agent(replay_capacity=20, min_replay_history=21)
  small_dqn.make_agent(replay_capacity=20, min_replay_history=20)


@pytest.mark.parametrize('overlap', [False, True])
def test_nothing_to_sample(overlap, user_error):
  agent = small_dqn.make_agent(update_horizon=4, overlap_training=overlap)
  agent.begin_episode(np.ones(3, np.float32))
  with user_error('SparseDQNAgent.update_horizon is 4', 'min_replay_history'):
    for _ in range(10):  # All episodes are cut after 2 steps.
      agent.step(1.0, np.ones(3, np.float32))
      agent.end_episode(1.0, terminal=False)
      agent.begin_episode(np.ones(3, np.float32))
  assert agent.training_steps == 6


def test_states_are_stacked():
  agent = small_dqn.make_agent(stack_size=2, min_replay_history=50)
  agent.begin_episode(np.full(3, 1, np.float32))
  np.testing.assert_array_equal(agent.state[0, 0], [0, 1])
  agent.step(0.0, np.full(3, 2, np.float32))
  np.testing.assert_array_equal(agent.state[0, 0], [1, 2])
  agent.begin_episode(np.full(3, 3, np.float32))
  np.testing.assert_array_equal(agent.state[0, 0], [0, 3])


def _given_batches(agent):
  """Lets an agent sample batches that do not depend on what it has stored."""
  rng = np.random.default_rng(5)

  def sample():
    return (
      rng.normal(size=(4, 3, 1)).astype(np.float32),
      np.float32(
        [
          rng.integers(2, size=4),
          rng.normal(size=4),
          rng.integers(2, size=4),
        ]
      ),
      rng.normal(size=(4, 3, 1)).astype(np.float32),
    )

  agent._sample_batch = sample


@pytest.mark.parametrize('target_period', [8, 7])
def test_overlapped_training_takes_the_same_steps(target_period):
  agents = [
    small_dqn.make_agent(
      update_period=4,
      target_update_period=target_period,
      overlap_training=overlap,
    )
    for overlap in (False, True)
  ]
  for agent in agents:
    _given_batches(agent)
    small_dqn.play(agent, 30)
  plain, overlapped = agents
  assert plain.optimizer.step == overlapped.optimizer.step == 6
  same_target = target_period % 4 == 0  # Otherwise the previous step's.
  for one, other in zip(
    small_dqn.values(plain, 'online'), small_dqn.values(overlapped, 'online')
  ):
    close = np.allclose(one, other, rtol=1e-4, atol=1e-6)
    assert close or not same_target
  assert not small_dqn.same(
    small_dqn.values(plain, 'online'),
    small_dqn.values(small_dqn.make_agent(), 'online'),
  )


def test_overlapped_training_continues_from_a_checkpoint(tmp_path):
  def begin():
    agent = small_dqn.make_agent(update_period=4, overlap_training=True)
    rng = np.random.default_rng(3)
    small_dqn.play(agent, 22, rng)
    assert agent.learner.has_begun
    return agent, rng, small_dqn.save(agent, tmp_path)

  agent, rng, bundle = begin()
  assert not agent.learner.has_begun
  restored = small_dqn.make_agent(update_period=4, overlap_training=True)
  small_dqn.load(restored, tmp_path, bundle)
  restored_rng = np.random.default_rng()
  restored_rng.bit_generator.state = rng.bit_generator.state
  # From the first observation of an episode on, as checkpoints lie there.
  assert small_dqn.play(agent, 30, rng) == small_dqn.play(
    restored, 30, restored_rng
  )
  assert small_dqn.same(
    small_dqn.values(agent, 'online'), small_dqn.values(restored, 'online')
  )
  assert agent.optimizer.step == restored.optimizer.step


@pytest.mark.parametrize(
  'minimum,update_period,target_period', [(5, 1, 10), (6, 4, 8), (0, 3, 7)]
)
def test_trains_and_synchronizes_when_dopamine_does(
  monkeypatch, minimum, update_period, target_period
):
  agent = small_dqn.make_agent(
    min_replay_history=minimum,
    update_period=update_period,
    target_update_period=target_period,
  )
  ours, theirs = [], []
  finish, synchronize = agent.learner.finish, agent.learner.sync_target

  def recorded_train(state):
    ours.append(('train', agent.training_steps))
    return finish(state)

  def recorded_sync():
    ours.append(('sync', agent.training_steps))
    synchronize()

  monkeypatch.setattr(agent.learner, 'finish', recorded_train)
  monkeypatch.setattr(agent.learner, 'sync_target', recorded_sync)

  # Dopamine's method, on a stand-in that has seen the same transitions.
  dopamine = types.SimpleNamespace(
    _replay=types.SimpleNamespace(memory=agent.replay),
    min_replay_history=minimum,
    update_period=update_period,
    target_update_period=target_period,
    training_steps=0,
    summary_writer=None,
    _train_op='train',
    _sync_qt_ops='sync',
  )
  dopamine._sess = types.SimpleNamespace(
    run=lambda op: theirs.append((op, dopamine.training_steps))
  )
  small_dqn.play(
    agent, 40, after_step=lambda: dqn_agent.DQNAgent._train_step(dopamine)
  )
  assert ours == theirs
  assert {kind for kind, _ in ours} == {'train', 'sync'}


def _overlapped(look):
  """An agent whose gradient step calls `look` before its loss is known."""

  def loss(targets, predictions):
    errors = losses.squared_loss(targets, predictions)
    with tf.control_dependencies([tf.numpy_function(look, [errors], [])]):
      return tf.identity(errors)

  agent = small_dqn.make_agent(
    loss=loss, update_period=20, overlap_training=True
  )
  small_dqn.play(agent, 10)
  return agent.learner, agent._sample_batch()


def _cores(monkeypatch, number):
  affinity = set(range(number))
  monkeypatch.setattr(q_learner.os, 'sched_getaffinity', lambda _: affinity)


def test_the_player_waits_for_the_loss_if_no_core_is_left(monkeypatch):
  seen = []

  def look(errors):
    time.sleep(0.05)
    seen.append(errors)

  _cores(monkeypatch, 1)
  learner, batch = _overlapped(look)
  learner.begin(batch)
  assert len(seen) == 1


def test_the_player_has_a_core_of_its_own(monkeypatch):
  has_played = threading.Event()
  _cores(monkeypatch, 100)
  monkeypatch.setattr(
    tf.config.threading, 'get_inter_op_parallelism_threads', lambda: 2
  )

  def look(errors):
    has_played.wait(60)

  learner, batch = _overlapped(look)
  learner.begin(batch)
  has_played.set()
  learner.finish(None)
  assert np.isfinite(learner.loss)


def test_the_player_waits_for_no_loss_that_fails(monkeypatch):
  def look(errors):
    raise ValueError('no errors today')

  _cores(monkeypatch, 1)
  learner, batch = _overlapped(look)
  learner.begin(batch)
  with pytest.raises(Exception, match='no errors today'):
    learner.finish(None)
