"""Tests of the sparse DQN agent, on networks that a reader can follow."""

import dataclasses
import types

import gin
import numpy as np
import pytest
import tensorflow as tf
from dopamine.agents.dqn import dqn_agent
from dopamine.discrete_domains import run_experiment

from rigl_rl import errors
from rigl_rl.agents import dqn, losses, optimizers, q_learner

pytestmark = pytest.mark.usefixtures('no_gin_config')

_CONFIG = """
build_network.network = @MLPQNetwork
build_network.stack_size = {stack_size}
MLPQNetwork.hidden_units = (8, 8)
MLPQNetwork.weight_decay = {weight_decay}
sparsify.sparsity = 0.5
sparsify.algorithm = @{algorithm}()
RigL.drop_fraction = 0.5
DS.drop_fraction = 0.5
UpdateSchedule.interval = 3
UpdateSchedule.end = 1.0
"""


@dataclasses.dataclass(frozen=True)
class _Space:
  shape: tuple
  dtype: type = np.float32


def _make_agent(
  algorithm='RigL',
  stack_size=1,
  weight_decay=0.0,
  hidden_units=None,
  decay_output=True,
  **changed,
):
  with gin.unlock_config():
    gin.clear_config()
    gin.parse_config(
      _CONFIG.format(
        algorithm=algorithm, stack_size=stack_size, weight_decay=weight_decay
      )
    )
    gin.bind_parameter('MLPQNetwork.decay_output', decay_output)
    if hidden_units is not None:
      gin.bind_parameter('MLPQNetwork.hidden_units', hidden_units)
  arguments = {
    'num_actions': 2,
    'observation_space': _Space((3,)),
    'seed': 0,
    'train_steps': 200,
    'optimizer': lambda: optimizers.adam(0.01),
    'loss': losses.squared_loss,
    'batch_size': 4,
    'replay_capacity': 100,
    'min_replay_history': 5,
    'update_period': 1,
    'target_update_period': 10,
    'epsilon_train': 0.1,
    'epsilon_decay_period': 20,
  }
  return dqn.SparseDQNAgent(**{**arguments, **changed})


def _play(agent, num_steps, rng=None, episode=7, after_step=None):
  """Random observations, in episodes of fixed length; returns the actions."""
  rng = np.random.default_rng(0) if rng is None else rng
  actions = []
  for step in range(num_steps):
    observation = rng.normal(size=3).astype(np.float32)
    if step % episode == 0:
      if step:
        agent.end_episode(1.0, terminal=step % (2 * episode) == 0)
      actions.append(agent.begin_episode(observation))
    else:
      actions.append(agent.step(rng.normal(), observation))
    if after_step is not None:
      after_step()
  agent.end_episode(1.0)
  return actions


def _values(agent, network):
  return [v.numpy() for v in getattr(agent, network).variables]


def _same(one, other):
  return all(np.array_equal(a, b) for a, b in zip(one, other))


def _sparse_layers(network):
  """(kernel, mask) of each layer, found by shape among the variables."""
  from rigl_rl.sparsity import wrappers

  return [
    (layer.kernel.numpy(), layer.mask.numpy())
    for layer in wrappers.named_layers(network).values()
  ]


# ------------------------------------------------- target network and masks


def test_target_starts_as_a_copy():
  agent = _make_agent()
  assert _same(_values(agent, 'online'), _values(agent, 'target'))
  assert all((m == 0).any() for _, m in _sparse_layers(agent.target)[1:2])


def test_masks_and_weights_agree_after_every_sync():
  agent = _make_agent()
  masks_differed = []
  synced = []

  def check():
    trained = agent.optimizer.step.numpy() > 0
    online, target = _values(agent, 'online'), _values(agent, 'target')
    if trained and (agent.training_steps - 1) % 10 == 0:
      assert _same(online, target)
      synced.append(agent.training_steps)
    elif trained:
      masks_differed.append(
        not _same(
          [m for _, m in _sparse_layers(agent.online)],
          [m for _, m in _sparse_layers(agent.target)],
        )
      )

  _play(agent, 60, after_step=check)
  assert len(synced) == 5
  # Else nothing was put to the test: RigL moved masks between two syncs.
  assert any(masks_differed)


@pytest.mark.parametrize(
  'algorithm', ['Dense', 'Prune', 'Static', 'SET', 'RigL', 'DS']
)
def test_weights_off_the_mask_are_exactly_zero(algorithm):
  agent = _make_agent(algorithm, weight_decay=0.01)
  changed = []
  first = [m for _, m in _sparse_layers(agent.online)]

  def check():
    for network in (agent.online, agent.target):
      for kernel, mask in _sparse_layers(network):
        assert set(np.unique(mask)) <= {0.0, 1.0}
        assert not kernel[mask == 0].any()
    masks = [m for _, m in _sparse_layers(agent.online)]
    changed.append(not _same(masks, first))

  _play(agent, 40, after_step=check)
  assert agent.optimizer.step.numpy() > 30
  assert any(changed) == (algorithm not in ('Dense', 'Static'))


def test_active_count_stays():
  agent = _make_agent('RigL')
  before = [m.sum() for _, m in _sparse_layers(agent.online)]
  _play(agent, 40)
  assert [m.sum() for _, m in _sparse_layers(agent.online)] == before


# ----------------------------------------------------------- one train step


def _numpy_step(agent, batch, rate, decay, output_decay, huber):
  """Loss and kernels and biases after a step of SGD, all by hand."""
  (w1, mask1), (w2, mask2) = _sparse_layers(agent.online)
  b1, b2 = (layer.bias.numpy() for layer in agent.layers)
  states, actions, rewards, next_states, terminals = batch
  x, next_x = (s.reshape(len(s), -1) for s in (states, next_states))

  (t1, _), (t2, _) = _sparse_layers(agent.target)
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
  agent = _make_agent(
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
  return q_learner.Batch(states, scalars, next_states)


def test_terminal_state_has_no_value():
  agent = _make_agent('Dense')
  agent.learner._loss = lambda targets, values: targets
  states = tf.ones((2, 3, 1))
  targets = agent.learner._bellman_loss(
    states, tf.constant([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), states
  )
  best = float(tf.reduce_max(agent.target(states)[0]))
  assert float(targets[0]) == pytest.approx(1 + 0.99 * best)
  assert float(targets[1]) == 1.0


def test_no_gradient_flows_into_targets():
  agent = _make_agent('Dense')
  before = _values(agent, 'target')
  _play(agent, 9)
  assert agent.optimizer.step.numpy() > 0
  assert _same(_values(agent, 'target'), before)


# ------------------------------------------------------------------- replay


def _two_episodes(agent, terminal):
  """Observations 1 to 4 and 11 to 14; the first episode ends as told."""
  for first in (1, 11):
    agent.begin_episode(np.full(3, first, np.float32))
    for number in range(first + 1, first + 4):
      agent.step(0.5, np.full(3, number, np.float32))
    agent.end_episode(9.0, terminal=terminal)


def _sampled(agent):
  """All transitions: {first observation: (next, reward, terminal)}."""
  found = {}
  for _ in range(50):
    states, (_, rewards, terminals), next_states = agent._sample_batch()
    for i, state in enumerate(states):
      found[state[0, -1]] = (
        next_states[i, 0, -1],
        rewards[i],
        terminals[i],
      )
  return found


def test_time_limit_is_not_terminal():
  agent = _make_agent(min_replay_history=50)
  _two_episodes(agent, terminal=False)
  found = _sampled(agent)
  # What follows observation 4 is unknown: it is not sampled at all.
  assert sorted(found) == [1, 2, 3, 11, 12, 13]
  assert not any(terminal for _, _, terminal in found.values())
  assert found[3][:2] == (4, 0.5)


def test_terminal_state_is_terminal():
  agent = _make_agent(min_replay_history=50)
  _two_episodes(agent, terminal=True)
  found = _sampled(agent)
  assert found[4][1:] == (9.0, 1)
  assert [k for k, value in found.items() if value[2]] == [4]


def test_rewards_of_n_steps():
  agent = _make_agent(min_replay_history=50, update_horizon=2, gamma=0.5)
  _two_episodes(agent, terminal=True)
  found = _sampled(agent)
  assert found[1] == (3, 0.5 + 0.5 * 0.5, 0)
  assert found[3][1:] == (0.5 + 0.5 * 9, 1)
  assert agent.cumulative_gamma == 0.25


@pytest.mark.parametrize('stack_size,horizon', [(1, 1), (3, 1), (2, 4)])
def test_trains_as_soon_as_there_is_a_transition(stack_size, horizon):
  agent = _make_agent(
    min_replay_history=0, stack_size=stack_size, update_horizon=horizon
  )
  _play(agent, 20)
  # At agent steps horizon + 1 to 19.
  assert agent.optimizer.steps_taken == 19 - horizon


def test_a_replay_buffer_below_its_history(user_error):
  with user_error('replay_capacity is 20', 'min_replay_history, 21'):
    _make_agent(replay_capacity=20, min_replay_history=21)
  _make_agent(replay_capacity=20, min_replay_history=20)


@pytest.mark.parametrize('overlap', [False, True])
def test_nothing_to_sample(overlap, user_error):
  agent = _make_agent(update_horizon=4, overlap_training=overlap)
  agent.begin_episode(np.ones(3, np.float32))
  with user_error('SparseDQNAgent.update_horizon is 4', 'min_replay_history'):
    for _ in range(10):  # All episodes are cut after 2 steps.
      agent.step(1.0, np.ones(3, np.float32))
      agent.end_episode(1.0, terminal=False)
      agent.begin_episode(np.ones(3, np.float32))
  assert agent.training_steps == 6


def test_states_are_stacked():
  agent = _make_agent(stack_size=2, min_replay_history=50)
  agent.begin_episode(np.full(3, 1, np.float32))
  np.testing.assert_array_equal(agent.state[0, 0], [0, 1])
  agent.step(0.0, np.full(3, 2, np.float32))
  np.testing.assert_array_equal(agent.state[0, 0], [1, 2])
  agent.begin_episode(np.full(3, 3, np.float32))
  np.testing.assert_array_equal(agent.state[0, 0], [0, 3])


# ------------------------------------------------------- ε and the schedule


def test_epsilon_decays_linearly_after_the_collection():
  agent = _make_agent(epsilon_eval=0.05)
  values = []
  for agent.training_steps in (0, 5, 15, 25, 100):
    values.append(agent._epsilon())
  # From 1 at step 5 to 0.1 at step 25.
  np.testing.assert_allclose(values, [1, 1, 0.55, 0.1, 0.1])
  agent.eval_mode = True
  assert agent._epsilon() == 0.05


def test_epsilon_is_dopamines_in_any_order():
  agent = _make_agent(epsilon_decay_period=3000)
  for step in (0, 999, 1000, 2500, 1001, 0, 5000):
    agent.training_steps = step
    expected = dqn_agent.linearly_decaying_epsilon(3000, step, 5, 0.1)
    assert agent._epsilon() == expected
  agent.epsilon_train = 0.2
  assert agent._epsilon() == 0.2


def test_epsilon_may_be_constant():
  agent = _make_agent(epsilon_fn=dqn_agent.identity_epsilon)
  assert agent._epsilon() == 0.1


@gin.configurable
def _halved_epsilon(decay_period, step, warm_up, epsilon, factor=0.5):
  del decay_period, step, warm_up
  return factor * epsilon


def test_an_epsilon_of_ones_own_has_its_bindings():
  agent = _make_agent(epsilon_fn=_halved_epsilon)
  assert agent._epsilon() == 0.05
  gin.bind_parameter('_halved_epsilon.factor', 0.25)
  assert agent._epsilon() == 0.025


def _given_batches(agent):
  """Lets an agent sample batches that do not depend on what it has stored."""
  rng = np.random.default_rng(5)

  def sample():
    return q_learner.Batch(
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
    _make_agent(
      update_period=4,
      target_update_period=target_period,
      overlap_training=overlap,
    )
    for overlap in (False, True)
  ]
  for agent in agents:
    _given_batches(agent)
    _play(agent, 30)
  plain, overlapped = agents
  assert plain.optimizer.step == overlapped.optimizer.step == 6
  same_target = target_period % 4 == 0  # Else it is that of the step before.
  for one, other in zip(
    _values(plain, 'online'), _values(overlapped, 'online')
  ):
    close = np.allclose(one, other, rtol=1e-4, atol=1e-6)
    assert close or not same_target
  assert not _same(_values(plain, 'online'), _values(_make_agent(), 'online'))


def _save(agent, directory):
  """What training goes on from, as a checkpoint has it."""
  return agent.get_state(), agent.replay.save(str(directory))


def _load(agent, directory, saved):
  state, replay = saved
  agent.set_state(state)
  agent.replay.load(str(directory), replay)


def test_overlapped_training_goes_on_from_a_checkpoint(tmp_path):
  def begin():
    agent = _make_agent(update_period=4, overlap_training=True)
    rng = np.random.default_rng(3)
    _play(agent, 22, rng)
    assert agent.learner.has_begun
    return agent, rng, _save(agent, tmp_path)

  agent, rng, bundle = begin()
  assert not agent.learner.has_begun
  restored = _make_agent(update_period=4, overlap_training=True)
  _load(restored, tmp_path, bundle)
  restored_rng = np.random.default_rng()
  restored_rng.bit_generator.state = rng.bit_generator.state
  # From the first observation of an episode on, as checkpoints lie there.
  assert _play(agent, 30, rng) == _play(restored, 30, restored_rng)
  assert _same(_values(agent, 'online'), _values(restored, 'online'))
  assert agent.optimizer.step == restored.optimizer.step


@pytest.mark.parametrize(
  'minimum,update_period,target_period', [(5, 1, 10), (6, 4, 8), (0, 3, 7)]
)
def test_trains_and_synchronizes_when_dopamine_does(
  monkeypatch, minimum, update_period, target_period
):
  agent = _make_agent(
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
  _play(agent, 40, after_step=lambda: dqn_agent.DQNAgent._train_step(dopamine))
  assert ours == theirs
  assert {kind for kind, _ in ours} == {'train', 'sync'}


# ------------------------------------------------------------------- acting


@pytest.mark.parametrize('update_period', [1, 2])
def test_q_values_to_act_by_are_fresh(update_period):
  agent = _make_agent(
    update_period=update_period,
    epsilon_fn=dqn_agent.identity_epsilon,
    epsilon_train=0.0,
  )
  agent._rng = types.SimpleNamespace(random=lambda: 0.5)  # Never explores.

  def check():
    fresh = agent.online(agent.state).numpy()
    np.testing.assert_allclose(agent._q_values, fresh, rtol=1e-5, atol=1e-6)
    assert agent.action == np.argmax(fresh)

  _play(agent, 30, after_step=check)


def test_explores_at_random():
  agent = _make_agent(
    epsilon_fn=dqn_agent.identity_epsilon, epsilon_train=1.0, num_actions=3
  )
  agent.begin_episode(np.zeros(3, np.float32))
  counts = np.bincount([agent._select_action() for _ in range(300)])
  assert counts.shape == (3,) and (counts > 70).all()


def test_greedy_policy_is_that_of_the_network():
  agent = _make_agent(num_actions=5)
  _play(agent, 30)
  rng = np.random.default_rng(2)
  for layer in agent.layers:
    layer.kernel.assign(rng.normal(size=layer.kernel.shape) * layer.mask)
  states = rng.normal(size=(20, 3, 1)).astype(np.float32)
  expected = np.argmax(agent.online(states), axis=1)
  policy = agent.greedy_policy()
  np.testing.assert_array_equal(policy(states), expected)
  assert len(set(expected)) > 1


def test_evaluation_leaves_training_alone():
  agent = _make_agent(epsilon_eval=0.5)
  _play(agent, 20)
  before = agent._rng.bit_generator.state
  weights, steps = _values(agent, 'online'), agent.training_steps
  count = agent.replay.add_count
  agent.begin_evaluation(seed=3)
  one = _play(agent, 20)
  agent.end_evaluation()
  assert agent._rng.bit_generator.state == before
  assert (agent.training_steps, agent.replay.add_count) == (steps, count)
  assert _same(_values(agent, 'online'), weights)
  assert not agent.eval_mode
  # The seed of an evaluation decides it.
  agent.begin_evaluation(seed=3)
  assert _play(agent, 20) == one
  agent.end_evaluation()


# -------------------------------------------------------------- checkpoints


def test_goes_on_bit_for_bit(tmp_path):
  agent = _make_agent()
  drawn = [m for _, m in _sparse_layers(agent.online)]
  rng = np.random.default_rng(5)
  _play(agent, 33, rng)
  bundle = _save(agent, tmp_path)
  masks = [m for _, m in _sparse_layers(agent.online)]
  assert not _same(masks, drawn)  # RigL has moved them.

  resumed = _make_agent()
  _load(resumed, tmp_path, bundle)
  # Taken from the checkpoint, and not drawn again.
  assert _same([m for _, m in _sparse_layers(resumed.online)], masks)
  assert resumed.training_steps == agent.training_steps == 33
  seed = np.random.default_rng(6)
  state = seed.bit_generator.state
  actions = _play(agent, 40, seed)
  seed.bit_generator.state = state
  assert _play(resumed, 40, seed) == actions
  for network in ('online', 'target'):
    assert _same(_values(agent, network), _values(resumed, network))
  assert _same(
    [v.numpy() for v in agent.optimizer.variables()],
    [v.numpy() for v in resumed.optimizer.variables()],
  )
  assert float(agent.learner.loss) == float(resumed.learner.loss)


class _Environment:
  """Random observations, in episodes that never end by themselves."""

  observation_space = _Space((3,))
  game_over = False

  def __init__(self):
    self._rng = np.random.default_rng(0)

  def reset(self):
    return self._rng.normal(size=3).astype(np.float32)

  def step(self, action):
    return self.reset(), self._rng.normal(), False, {}


def test_dopamines_own_runner_goes_on_from_its_checkpoint(tmp_path):
  def make_runner():
    return run_experiment.Runner(
      str(tmp_path),
      lambda sess, environment, summary_writer: _make_agent(),
      _Environment,
      num_iterations=2,
      training_steps=20,
      evaluation_steps=1,
      max_steps_per_episode=7,
      fine_grained_print_to_console=False,
    )

  runner = make_runner()
  runner.run_experiment()
  agent = runner._agent
  agent.eval_mode = False
  resumed = make_runner()
  assert resumed._start_iteration == 2
  # To the bit, replay included.
  assert _play(agent, 40) == _play(resumed._agent, 40)
  assert agent.training_steps == resumed._agent.training_steps == 82
  for network in ('online', 'target'):
    assert _same(_values(agent, network), _values(resumed._agent, network))


def test_state_holds_all_that_changes():
  agent = _make_agent()
  _play(agent, 20)
  state = agent.get_state()
  # Adam's count, two slots for each of six arrays, and our own step.
  assert len(state['optimizer']) == 1 + 2 * 6 + 1
  # Three layers of kernel, bias and mask.
  assert len(state['online']) == len(state['target']) == 9


def test_state_of_another_network_is_refused():
  other = _make_agent(hidden_units=(8,))
  with pytest.raises(ValueError, match='9 arrays for 6'):
    other.set_state(_make_agent().get_state())


def test_same_seed_same_run():
  runs = []
  for seed in (0, 0, 1):
    agent = _make_agent(seed=seed)
    actions = _play(agent, 40)
    runs.append((actions, _values(agent, 'online')))
  assert runs[0][0] == runs[1][0] and _same(runs[0][1], runs[1][1])
  assert not _same(runs[0][1], runs[2][1])


# ---------------------------------------------------------------- summaries


def _summaries(directory):
  """{tag: [values]} of all event files."""
  found = {}
  for path in sorted(directory.glob('events*')):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      for value in event.summary.value:
        found.setdefault(value.tag, []).append(
          float(tf.make_ndarray(value.tensor))
        )
  return found


@pytest.mark.parametrize('snr', [False, True])
def test_summaries(tmp_path, snr):
  writer = tf.summary.create_file_writer(str(tmp_path))
  agent = _make_agent(
    summary_writer=writer,
    summary_writing_frequency=10,
    summarize_gradient_snr=snr,
  )
  _play(agent, 41)
  writer.close()
  found = _summaries(tmp_path)
  # At steps 10 to 40.
  assert len(found['train/loss']) == 4
  assert np.isfinite(found['train/loss']).all()
  for name, layer in zip(('dense1', 'dense2', 'output'), agent.layers):
    np.testing.assert_allclose(
      found[f'sparsity/{name}'], np.mean(layer.mask.numpy() == 0), atol=1e-6
    )
  fractions = found['masks/drop_fraction']
  assert 0.5 > fractions[0] > fractions[-1] > 0
  assert ('gradients/snr' in found) == snr
  if snr:
    assert (np.array(found['gradients/snr']) > 0).all()
    assert np.isfinite(found['gradients/snr']).all()


def test_summaries_change_no_training():
  with_snr = _make_agent(
    summary_writer=tf.summary.create_noop_writer(),
    summary_writing_frequency=1,
    summarize_gradient_snr=True,
  )
  without = _make_agent()
  assert _play(with_snr, 30) == _play(without, 30)
  assert _same(_values(with_snr, 'online'), _values(without, 'online'))


def test_title_and_description():
  agent = _make_agent()
  assert agent.title == 'RigL at 50 % sparsity'
  assert _make_agent('Dense').title == 'Dense'
  _play(agent, 20)
  description = agent.describe()
  online = description['networks']['online']
  assert (online['algorithm'], online['width'], online['period']) == (
    'RigL',
    1.0,
    1,
  )
  assert description['gradient_steps'] == agent.optimizer.step.numpy()
  active = sum(int(m.sum()) for _, m in _sparse_layers(agent.online))
  assert active == sum(
    layer['active_weights'] for layer in online['layers'].values()
  )
  assert description['parameters'] == active + 8 + 8 + 2


# ------------------------------------------------------------------- errors


def test_loss_that_is_not_finite_is_told():
  agent = _make_agent(optimizer=lambda: optimizers.adam(1e20))
  agent.check_loss()  # Nothing trained yet.
  _play(agent, 30)
  with pytest.raises(errors.UserError) as error:
    agent.check_loss()
  message = str(error.value)
  assert 'adam.learning_rate' in message and '1e+20' in message
  assert '\n' not in message


@pytest.mark.parametrize(
  'name,value',
  [
    ('gamma', 1.5),
    ('gamma', -0.1),
    ('gamma', 'x'),
    ('epsilon_train', 1.1),
    ('epsilon_eval', -1),
    ('epsilon_decay_period', 0),
    ('update_horizon', 0),
    ('batch_size', 0),
    ('batch_size', 2.5),
    ('batch_size', '32'),
    ('min_replay_history', -1),
    ('update_period', 0),
    ('update_period', 1.5),
    ('target_update_period', 0),
    ('summary_writing_frequency', 0),
    ('replay_capacity', 0),
    ('replay_capacity', 1),
    ('gamma', float('nan')),
  ],
)
def test_value_outside_its_range(name, value):
  with pytest.raises(errors.UserError) as error:
    _make_agent(**{name: value})
  # gin adds lines that say where it was called from.
  message = str(error.value).splitlines()[0]
  assert name in message and str(value) in message


def test_too_few_steps_to_train_at_all():
  with pytest.raises(errors.UserError, match='TRAIN_STEPS'):
    _make_agent(train_steps=5)
