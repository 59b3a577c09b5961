"""Tests of SparsePPOAgent: TF-Agents' PPO-Clip, on sparse networks.

Most of them run TensorFlow's functions as Python, since to trace one takes
seconds; `test_graph_does_the_same` is about the rest.
"""

import gin
import numpy as np
import pytest
import tensorflow as tf
from helpers import small
from tf_agents.agents.ppo import ppo_clip_agent
from tf_agents.agents.tf_agent import LossInfo
from tf_agents.trajectories import time_step as ts
from tf_agents.trajectories import trajectory
from tf_agents.utils import value_ops

from rigl_rl.agents import advantages as advantages_lib
from rigl_rl.agents import optimizers, ppo
from rigl_rl.networks import actor_critic
from rigl_rl.sparsity import algorithms, wrappers

_STEPS, _MINIBATCH, _EPOCHS, _ROLLOUTS = 8, 4, 2, 4
_PER_ROLLOUT = _EPOCHS * _STEPS // _MINIBATCH  # Gradient steps.
_TIME_STEP_SPEC, _ACTION_SPEC = small.specs()
_ALGORITHMS = ('Dense', 'Prune', 'Static', 'SET', 'RigL', 'DS')


@pytest.fixture(autouse=True)
def _small_networks(no_gin_config):
  gin.parse_config("""
      GaussianActor.hidden_units = (8, 8)
      actor_critic.ValueNetwork.hidden_units = (8, 8)
      sparsify.sparsity = 0.5
      UpdateSchedule.interval = 2
      DS.drop_fraction = 0.3
      adam.learning_rate = 1e-2
  """)


@pytest.fixture(autouse=True)
def _eagerly():
  tf.config.run_functions_eagerly(True)
  yield
  tf.config.run_functions_eagerly(False)


def _agent(algorithm='RigL', seed=0, **arguments):
  gin.bind_parameter('sparsify.algorithm', getattr(algorithms, algorithm)())
  defaults = {
    'rollout_steps': _STEPS,
    'num_rollouts': _ROLLOUTS,
    'minibatch_size': _MINIBATCH,
    'num_epochs': _EPOCHS,
  }
  return ppo.SparsePPOAgent(
    _TIME_STEP_SPEC, _ACTION_SPEC, seed=seed, **{**defaults, **arguments}
  )


def _rollout(agent, seed=0, last=(), terminal=()):
  """What the agent does on random observations.

  Args:
    agent: acts.
    seed: of the observations and rewards.
    last: steps at which an episode ended.
    terminal: those of them at which it terminated.
  """
  rng = np.random.default_rng(seed)
  steps = agent.rollout_steps
  observations = rng.standard_normal((steps + 1, small.OBSERVATION), np.float32)
  next_observation = observations[1:].copy()
  is_last = np.zeros(steps, bool)
  is_last[list(last)] = True
  next_observation[is_last] += 1  # Not what the next episode begins with.
  discount = np.ones(steps, np.float32)
  discount[list(terminal)] = 0
  agent.refresh_policy()
  actions, means, stds = zip(*(_copies(agent, o) for o in observations[:-1]))
  return ppo.Rollout(
    observation=observations[:-1],
    action=np.stack(actions),
    mean=np.stack(means),
    std=np.stack(stds),
    reward=3 * rng.standard_normal(steps, np.float32) + 1,
    discount=discount,
    next_observation=next_observation,
    is_last=is_last,
  )


def _copies(agent, observation):
  return [array.copy() for array in agent.explore(observation)]


def _train(agent, rollouts, seed=0):
  for i in range(rollouts):
    agent.train_on(_rollout(agent, seed + i, last=(2, 5), terminal=(5,)))


def _prepared(agent, rollout, monkeypatch):
  """Returns (steps, order) as `train_on` hands them on, and trains nothing."""
  found = []
  monkeypatch.setattr(
    agent,
    '_take_steps',
    lambda *arguments: found.append(arguments) or LossInfo(tf.zeros(()), None),
  )
  agent.train_on(rollout)
  ((steps, order),) = found
  return steps, order


def _layers(agent):
  return [
    layer for layers in agent.networks.layers.values() for layer in layers
  ]


def _weights(agent):
  return [
    variable.numpy()
    for network in agent.networks.values()
    for variable in network.variables
  ]


# ------------------------------------------------------------------ advantages


@pytest.mark.parametrize('bootstrap', [True, False])
def test_what_follows_the_end_of_an_episode(bootstrap, monkeypatch):
  agent = _agent(
    normalize_rewards=False,
    normalize_observations=False,
    bootstrap_time_limits=bootstrap,
    gamma=0.9,
    lambda_=0.8,
  )
  agent.networks['value'].trainable_variables[-1].assign([3.0])
  rollout = _rollout(agent, last=(2, 5), terminal=(5,))
  values, next_values = (
    agent._values(array).numpy()
    for array in (rollout.observation, rollout.next_observation)
  )
  assert (np.abs(next_values) > 0.5).all()  # Else there is nothing to see.
  steps, _ = _prepared(agent, rollout, monkeypatch)
  advantages = steps.policy_info['advantage'][:, 0]
  returns = steps.policy_info['return'][:, 0]

  # Cut by the time limit: by the value of the observation it ended with.
  after = 0.9 * next_values[2] if bootstrap else 0
  np.testing.assert_allclose(
    advantages[2], rollout.reward[2] + after - values[2], rtol=1e-5
  )
  # Terminated.
  np.testing.assert_allclose(
    advantages[5], rollout.reward[5] - values[5], rtol=1e-5
  )
  # The rollout's end is no episode's end.
  np.testing.assert_allclose(
    advantages[7],
    rollout.reward[7] + 0.9 * next_values[7] - values[7],
    rtol=1e-5,
  )
  discounts = np.full(_STEPS, np.float32(0.9))
  discounts[5] = 0
  if not bootstrap:
    discounts[2] = 0
  expected = advantages_lib.generalized_advantages(
    rollout.reward, discounts, values, next_values, rollout.is_last, 0.8
  )
  np.testing.assert_allclose(advantages, expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(returns, expected + values, rtol=1e-4, atol=1e-5)


# -------------------------------------------------------------------- training


def test_python_decides_which_steps_change_masks():
  gin.bind_parameter('UpdateSchedule.interval', 3)
  planned, looking = _agent(), _agent()
  runs, planned_function = [], planned._planned

  def record(plan):
    def call(steps, order, begin, end):
      runs.append((bool(plan.mask_updates), int(begin), int(end)))
      return planned_function(plan)(steps, order, begin, end)

    return call

  planned._planned = record
  # Without a plan each step looks at its count.
  looking._planned = lambda plan: looking._train_epochs
  for agent in (planned, looking):
    _train(agent, 2)
  # Masks change at 0, 3 and 6, of four gradient steps per rollout.
  assert runs == [
    (True, 0, 1),
    (False, 1, 3),
    (True, 3, 4),
    (False, 0, 2),
    (True, 2, 3),
    (False, 3, 4),
  ]
  for one, other in zip(_weights(planned), _weights(looking)):
    np.testing.assert_array_equal(one, other)


def test_gradient_steps_of_a_rollout():
  agent = _agent()
  assert agent.networks.total_steps == _ROLLOUTS * _PER_ROLLOUT
  for rollouts in (1, 2):
    _train(agent, 1)
    optimizer = agent.networks.optimizers['ppo']
    assert int(optimizer.step) == rollouts * _PER_ROLLOUT
    assert int(optimizer.inner.iterations) == rollouts * _PER_ROLLOUT
    assert int(agent.train_step_counter) == rollouts * _PER_ROLLOUT
    assert agent.describe()['gradient_steps'] == rollouts * _PER_ROLLOUT


def test_each_epoch_visits_each_step_once(monkeypatch):
  agent = _agent()
  minibatches = []

  def train(minibatch, weights):
    del weights
    minibatches.append(tf.nest.map_structure(np.array, minibatch))
    return LossInfo(tf.zeros(()), ())

  monkeypatch.setattr(agent, '_train', train)
  rollout = _rollout(agent)
  agent.train_on(rollout)
  assert len(minibatches) == _PER_ROLLOUT
  rows = {row.tobytes(): i for i, row in enumerate(rollout.observation)}
  orders = []
  for minibatch in minibatches:
    assert minibatch.observation.shape == (_MINIBATCH, 1, small.OBSERVATION)
    order = [rows[row.tobytes()] for row in minibatch.observation]
    orders.append(order)
    # What belongs together has stayed together.
    for found, expected in (
      (minibatch.action, rollout.action),
      (minibatch.reward, rollout.reward),
      (minibatch.policy_info['dist_params']['loc'], rollout.mean),
      (minibatch.policy_info['dist_params']['scale_diag'], rollout.std),
    ):
      np.testing.assert_array_equal(found[:, 0], expected[order])
  epochs = np.reshape(orders, (_EPOCHS, _STEPS))
  np.testing.assert_array_equal(
    np.sort(epochs), np.tile(np.arange(_STEPS), (_EPOCHS, 1))
  )
  # Each in an order of its own.
  assert len({tuple(epoch) for epoch in epochs}) == _EPOCHS


def _check_masks(agent, algorithm, first):
  for layer in _layers(agent):
    mask, kernel = layer.mask.numpy(), layer.kernel.numpy()
    assert set(np.unique(mask)) <= {0.0, 1.0}
    assert not kernel[mask == 0].any()
    for name in agent.networks.optimizers['ppo'].inner.get_slot_names():
      slot = agent.networks.optimizers['ppo'].inner.get_slot(layer.kernel, name)
      assert not slot.numpy()[mask == 0].any()
    if algorithm in ('Static', 'SET', 'RigL'):
      assert (mask == 0).sum() == int(layer.sparsity * mask.size * (1 + 1e-12))
    if algorithm == 'DS':
      assert mask.sum() == first[id(layer)].sum()
    if algorithm in ('Dense', 'Static'):
      np.testing.assert_array_equal(mask, first[id(layer)])


@pytest.mark.parametrize('algorithm', _ALGORITHMS)
def test_counts_and_zeros_are_exact(algorithm):
  agent = _agent(algorithm)
  first = {id(layer): layer.mask.numpy() for layer in _layers(agent)}
  for seed in range(_ROLLOUTS):
    _train(agent, 1, seed)
    _check_masks(agent, algorithm, first)
  for name, layers in agent.networks.layers.items():
    moved = any(
      (layer.mask.numpy() != first[id(layer)]).any()
      for layer in layers
      if layer.sparsity
    )
    assert moved == (algorithm not in ('Dense', 'Static')), name
  if algorithm == 'Prune':
    for layer in _layers(agent):
      assert (first[id(layer)] == 1).all()
      zeros = (layer.mask.numpy() == 0).sum()
      assert zeros == int(layer.sparsity * layer.mask.numpy().size + 1e-9)


def _step_counts(agent):
  return [
    int(variable)
    for variable in (
      agent.train_step_counter,
      agent.networks.optimizers['ppo'].step,
    )
  ]


def test_graph_does_the_same():
  """Traced, with all the masks' conditions inside a loop, as runs have it."""
  eager, graph = _agent(), _agent()
  first = {id(layer): layer.mask.numpy() for layer in _layers(graph)}
  _train(eager, 2)
  tf.config.run_functions_eagerly(False)
  for seed in range(2):
    _train(graph, 1, seed)
    _check_masks(graph, 'RigL', first)
  assert _step_counts(eager) == _step_counts(graph)
  for one, other in zip(_weights(eager), _weights(graph)):
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_train_step_of_the_stock_agent():
  """At sparsity 0, TF-Agents' own agent gets the same weights."""
  gin.parse_config("""
      sparsify.sparsity = 0.0
      GaussianActor.weight_decay = 0.02
      actor_critic.ValueNetwork.weight_decay = 0.01
  """)
  agent = _agent(
    minibatch_size=_STEPS,
    num_epochs=1,
    clip_ratio=0.1,
    gamma=0.9,
    lambda_=0.8,
    entropy_coefficient=0.03,
    value_coefficient=0.7,
    gradient_clipping=0.5,
    decay_learning_rate=False,
  )
  actor = actor_critic.GaussianActor(
    _TIME_STEP_SPEC.observation, _ACTION_SPEC, seed=7
  )
  value = actor_critic.ValueNetwork(_TIME_STEP_SPEC.observation, seed=8)
  stock = ppo_clip_agent.PPOClipAgent(
    _TIME_STEP_SPEC,
    _ACTION_SPEC,
    optimizer=tf.keras.optimizers.legacy.Adam(1e-2, epsilon=1e-8),
    actor_net=actor,
    value_net=value,
    importance_ratio_clipping=0.1,
    discount_factor=0.9,
    lambda_value=0.8,
    entropy_regularization=0.03,
    policy_l2_reg=0.02,
    value_function_l2_reg=0.01,
    value_pred_loss_coef=0.7,
    gradient_clipping=0.5,
    num_epochs=1,
    use_gae=True,
    use_td_lambda_return=True,
    compute_value_and_advantage_in_train=False,
    update_normalizers_in_train=False,
    train_step_counter=tf.Variable(0, dtype=tf.int64),
  )
  networks = list(zip(agent.networks.values(), (actor, value)))
  for ours, theirs in networks:
    for variable, twin in zip(
      ours.trainable_variables, theirs.trainable_variables
    ):
      twin.assign(variable)

  for seed in range(3):
    rollout = _rollout(agent, seed)  # Of one episode.
    values, next_values = (
      stock.collect_policy.apply_value_network(
        array, tf.fill([_STEPS], 1), training=False
      )[0]
      for array in (rollout.observation, rollout.next_observation)
    )
    stock.update_observation_normalizer(rollout.observation[None])
    stock.update_reward_normalizer(rollout.reward[None])
    # In time's order and in the agent's, which alters no sum but its rounding.
    experience = tf.nest.map_structure(
      lambda array: tf.constant(array)[None],
      _trajectory(rollout, values, next_values, stock),
    )
    loss = stock.train(experience)
    agent.train_on(rollout)
    np.testing.assert_allclose(
      float(agent._losses.loss), float(loss.loss), rtol=1e-4
    )
    for ours, theirs in networks:
      for variable, twin in zip(
        ours.trainable_variables, theirs.trainable_variables
      ):
        np.testing.assert_allclose(
          variable.numpy(), twin.numpy(), rtol=1e-3, atol=1e-5
        )


def _trajectory(rollout, values, next_values, stock):
  """The rollout, with returns and advantages as TF-Agents computes them."""
  rewards = stock._reward_normalizer.normalize(
    rollout.reward, center_mean=False, clip_value=10.0
  )
  advantages = value_ops.generalized_advantage_estimation(
    values[:, None],
    next_values[-1:],
    tf.fill([_STEPS, 1], 0.9),
    rewards[:, None],
    td_lambda=0.8,
  )[:, 0]
  step_type = np.full(_STEPS, ts.StepType.MID)
  return trajectory.Trajectory(
    step_type=step_type,
    observation=rollout.observation,
    action=rollout.action,
    policy_info={
      'dist_params': {'loc': rollout.mean, 'scale_diag': rollout.std},
      'value_prediction': values.numpy(),
      'return': (advantages + values).numpy(),
      'advantage': advantages.numpy(),
    },
    next_step_type=step_type,
    reward=rollout.reward,
    discount=rollout.discount,
  )


def test_sparsity_zero_trains_as_dense_bit_for_bit():
  gin.bind_parameter('sparsify.sparsity', 0.0)
  sparse, dense = _agent('RigL'), _agent('Dense')
  for agent in (sparse, dense):
    _train(agent, 2)
  for one, other in zip(_weights(sparse), _weights(dense)):
    np.testing.assert_array_equal(one, other)


def test_weight_decay_is_part_of_the_loss():
  gin.parse_config("""
      GaussianActor.weight_decay = 0.3
      GaussianActor.weight_decay_factor = 0.5
      actor_critic.ValueNetwork.weight_decay = 0.02
  """)
  agent = _agent(minibatch_size=_STEPS, num_epochs=1)
  squares = {
    name: sum(float(np.sum(layer.kernel.numpy() ** 2.0)) for layer in layers)
    for name, layers in agent.networks.layers.items()
  }
  agent.train_on(_rollout(agent))
  found = float(agent._losses.extra.l2_regularization_loss)
  expected = 0.15 * squares['actor'] + 0.02 * squares['value']
  assert found == pytest.approx(expected, rel=1e-4)
  parts = agent._losses.extra
  total = found + float(parts.policy_gradient_loss)
  total += float(parts.value_estimation_loss)
  assert float(agent._losses.loss) == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize('decay', [True, False])
def test_learning_rate(decay):
  agent = _agent(decay_learning_rate=decay)
  rates = []
  for seed in range(_ROLLOUTS):
    _train(agent, 1, seed)
    inner = agent.networks.optimizers['ppo'].inner
    rates.append(float(tf.convert_to_tensor(inner.learning_rate)))
  # After the last rollout it would be 0.
  expected = [1e-2, 0.75e-2, 0.5e-2, 0.25e-2] if decay else [1e-2] * 4
  assert rates == pytest.approx(expected)


# --------------------------------------------------------------- normalization


def test_normalizers_are_updated_once_a_rollout(monkeypatch):
  agent = _agent(gamma=0.9, lambda_=0.0)
  agent.networks['value'].trainable_variables[-1].assign([2.0])
  seen = []
  for number in (1, 2):
    rollout = _rollout(agent, number)
    values, next_values = (
      agent._values(array).numpy()
      for array in (rollout.observation, rollout.next_observation)
    )
    seen.append(rollout)
    steps, _ = _prepared(agent, rollout, monkeypatch)

    observations = np.concatenate([each.observation for each in seen])
    rewards = np.concatenate([each.reward for each in seen])
    for normalizer, numbers in (
      (agent._observation_normalizer, observations),
      (agent._reward_normalizer, rewards),
    ):
      count, mean, squares, _ = (v.numpy() for v in normalizer.variables)
      np.testing.assert_allclose(count, number * _STEPS)
      np.testing.assert_allclose(mean, numbers.mean(0), atol=1e-5)
      np.testing.assert_allclose(squares / count, numbers.var(0), rtol=1e-4)

    # The values are those of before, the rewards have all been counted.
    np.testing.assert_allclose(
      steps.policy_info['value_prediction'][:, 0], values, rtol=1e-6
    )
    after = agent._values(rollout.observation).numpy()
    assert np.abs(after - values).max() > 1e-3
    scaled = np.clip(rollout.reward / np.sqrt(rewards.var() + 1e-3), -10, 10)
    np.testing.assert_allclose(
      steps.policy_info['advantage'][:, 0],
      scaled + 0.9 * next_values - values,
      rtol=1e-4,
      atol=1e-5,
    )


def test_without_normalization(monkeypatch):
  agent = _agent(
    normalize_observations=False,
    normalize_rewards=False,
    gamma=0.9,
    lambda_=0.0,
  )
  rollout = _rollout(agent)
  values, next_values = (
    agent.networks['value'](tf.constant(array))[0].numpy()
    for array in (rollout.observation, rollout.next_observation)
  )
  mean, _ = agent.networks['actor'].mean_and_std(
    tf.constant(rollout.observation)
  )
  np.testing.assert_allclose(rollout.mean, mean.numpy(), rtol=1e-4, atol=1e-6)
  steps, _ = _prepared(agent, rollout, monkeypatch)
  np.testing.assert_allclose(
    steps.policy_info['advantage'][:, 0],
    rollout.reward + 0.9 * next_values - values,
    rtol=1e-4,
    atol=1e-5,
  )
  monkeypatch.undo()
  tf.config.run_functions_eagerly(True)
  agent.train_on(rollout)
  assert agent.get_state()['others'] == [_PER_ROLLOUT]


# ---------------------------------------------------------------------- acting


def test_explores_as_the_collect_policy_does():
  agent = _agent()
  _train(agent, 2)
  observations = _rollout(agent).observation
  agent.refresh_policy()
  step = ts.TimeStep(
    tf.fill([_STEPS], ts.StepType.MID),
    tf.zeros([_STEPS]),
    tf.ones([_STEPS]),
    tf.constant(observations),
  )
  distribution = agent.collect_policy.distribution(step).action
  found = [_copies(agent, observation) for observation in observations]
  actions, means, stds = (np.stack(arrays) for arrays in zip(*found))
  np.testing.assert_allclose(
    means, distribution.mean().numpy(), rtol=1e-4, atol=1e-5
  )
  np.testing.assert_allclose(stds, distribution.stddev().numpy(), rtol=1e-5)
  assert (stds != 0.35).all()  # Trained.
  noise = (actions - means) / stds
  assert np.unique(noise.round(3)).size == noise.size
  many = [agent.explore(observations[0])[0] for _ in range(4000)]
  np.testing.assert_allclose(np.mean(many, 0), means[0], atol=0.05)
  np.testing.assert_allclose(np.std(many, 0), stds[0], rtol=0.05)
  # Greedy evaluation, of all at once.
  np.testing.assert_allclose(
    agent.greedy_policy()(observations),
    agent.policy.action(step).action.numpy(),
    rtol=1e-4,
    atol=1e-5,
  )


def test_explores_by_the_weights_that_were_read():
  agent = _agent()
  rollout = _rollout(agent)
  observation = rollout.observation[0]
  _, before, std = _copies(agent, observation)
  agent.train_on(rollout)
  _, unread, unread_std = _copies(agent, observation)
  np.testing.assert_array_equal(before, unread)
  np.testing.assert_array_equal(std, unread_std)
  agent.refresh_policy()
  _, read, read_std = _copies(agent, observation)
  assert (before != read).all() and (std != read_std).all()


# ----------------------------------------------------------------------- state


def test_restored_agent_goes_on_bit_for_bit():
  agent = _agent('RigL')
  _train(agent, 2)
  state = agent.get_state()

  def go_on(agent):
    _train(agent, 2, seed=20)
    actions = [agent.explore(np.ones(small.OBSERVATION, np.float32))[0]]
    return np.stack(actions), agent.get_state()

  actions, after = go_on(agent)
  restored = _agent('RigL')
  restored.set_state(state)
  tf.nest.map_structure(
    np.testing.assert_array_equal, state, restored.get_state()
  )
  restored_actions, restored_after = go_on(restored)
  np.testing.assert_array_equal(actions, restored_actions)
  tf.nest.map_structure(np.testing.assert_array_equal, after, restored_after)
  # All of this lies in the state: an agent without it goes another way.
  other_actions, _ = go_on(_agent('RigL'))
  assert (other_actions != actions).any()


def test_seed_decides_everything():
  one, same, other = _agent(seed=1), _agent(seed=1), _agent(seed=2)
  for agent in (one, same, other):
    _train(agent, 2)
  for left, right in zip(_weights(one), _weights(same)):
    np.testing.assert_array_equal(left, right)
  kernels = [
    [layer.kernel.numpy() for layer in _layers(agent)] for agent in (one, other)
  ]
  assert all((a != b).any() for a, b in zip(*kernels))
  # Actor and value network are not the same at their start, either.
  actor, value = (layers[0] for layers in one.networks.layers.values())
  assert (actor.kernel.numpy() != value.kernel.numpy()).any()
  assert (actor.mask.numpy() != value.mask.numpy()).any()


# ----------------------------------------------------------------- diagnostics


def test_snr_agrees_with_single_examples_and_changes_nothing():
  agent = _agent(clip_ratio=0.2, value_coefficient=0.5)
  _train(agent, 2)
  before = agent.get_state()
  ratios = agent.gradient_snr()
  tf.nest.map_structure(
    np.testing.assert_array_equal, before, agent.get_state()
  )
  steps = tf.nest.map_structure(lambda x: x[:, 0], agent._last_minibatch)
  info = steps.policy_info
  advantages = info['advantage'].numpy()
  advantages = (advantages - advantages.mean()) / advantages.std()
  normalized = agent._observation_normalizer.normalize(steps.observation)

  def log_prob(mean, std, action):
    return tf.reduce_sum(
      -(((action - mean) / std) ** 2) / 2 - tf.math.log(std), axis=-1
    )

  def actor_loss(i):
    mean, std = agent.networks['actor'].mean_and_std(normalized[i : i + 1])
    old = log_prob(
      info['dist_params']['loc'][i],
      info['dist_params']['scale_diag'][i],
      steps.action[i],
    )
    ratio = tf.exp(log_prob(mean, std, steps.action[i : i + 1])[0] - old)
    clipped = tf.clip_by_value(ratio, 0.8, 1.2)
    return -tf.minimum(ratio * advantages[i], clipped * advantages[i])

  def value_loss(i):
    value, _ = agent.networks['value'](normalized[i : i + 1])
    return 0.5 * (info['return'][i] - value[0]) ** 2

  for name, loss_of in (('actor', actor_loss), ('value', value_loss)):
    variables = [
      variable
      for layer in wrappers.named_layers(agent.networks[name]).values()
      for variable in (layer.kernel, layer.bias)
    ]
    gradients = []
    for i in range(_MINIBATCH):
      with tf.GradientTape() as tape:
        loss = loss_of(i)
      found = tape.gradient(loss, variables)
      gradients.append(np.concatenate([g.numpy().ravel() for g in found]))
    mean = np.mean(gradients, 0)
    mean_square = np.mean(np.square(gradients), 0)
    variance = np.maximum(mean_square - mean**2, 1e-6 * mean_square)
    expected = np.divide(
      np.abs(mean), np.sqrt(variance), out=np.zeros_like(mean), where=mean != 0
    ).mean()
    assert expected > 0
    assert float(ratios[name]) == pytest.approx(expected, rel=5e-3)


def test_summaries(tmp_path):
  agent = _agent(summarize_gradient_snr=True)
  _train(agent, 1)
  with tf.summary.create_file_writer(str(tmp_path)).as_default(step=1):
    agent.write_summaries()
  (events,) = tmp_path.iterdir()
  scalars = {
    value.tag: float(tf.make_ndarray(value.tensor))
    for event in tf.compat.v1.train.summary_iterator(str(events))
    for value in event.summary.value
  }
  assert scalars['actor/share_of_parameters'] == pytest.approx(
    agent.describe()['actor_share']
  )
  assert {
    'train/loss',
    'train/policy_gradient_loss',
    'train/value_estimation_loss',
    'train/clip_fraction',
    'train/learning_rate',
    'actor/sparsity/dense1',
    'value/sparsity/dense2',
    'actor/masks/drop_fraction',
    'actor/share_of_parameters',
    'gradients/snr/actor',
    'gradients/snr/value',
  } <= scalars.keys()


def test_scopes_bind_actor_and_value_network_apart():
  gin.parse_config("""
      actor/sparsify.sparsity = 0.25
      value/sparsify.sparsity = 0.75
  """)
  agent = _agent('Static')
  described = agent.describe()
  sparsities = {
    name: part['sparsity'] for name, part in described['networks'].items()
  }
  assert sparsities['actor'] == pytest.approx(0.25, abs=0.02)
  assert sparsities['value'] == pytest.approx(0.75, abs=0.02)
  actor = described['networks']['actor']['parameters']
  assert described['actor_share'] == pytest.approx(
    actor / described['parameters']
  )
  # As the figures count them: no standard deviations.
  active = sum(
    layer.mask.numpy().sum() + layer.bias.shape[0]
    for layer in agent.networks.layers['actor']
  )
  assert actor == active


def test_pruning_honors_both_sparsities():
  gin.parse_config("""
      actor/sparsify.sparsity = 0.25
      value/sparsify.sparsity = 0.75
      UpdateSchedule.begin = 0.2
      UpdateSchedule.interval = 1
  """)
  agent = _agent('Prune')
  _train(agent, _ROLLOUTS)
  networks = agent.describe()['networks']
  assert networks['actor']['sparsity'] == pytest.approx(0.25, abs=0.02)
  assert networks['value']['sparsity'] == pytest.approx(0.75, abs=0.02)


# ---------------------------------------------------------------------- errors


def test_not_finite_loss_is_one_line(user_error):
  agent = _agent(optimizer=lambda: optimizers.adam(1e30))
  with user_error('A loss is not finite', 'adam.learning_rate'):
    _train(agent, 3)


@pytest.mark.parametrize(
  'arguments, words',
  [
    ({'gamma': 1.5}, ('SparsePPOAgent.gamma', '1.5', '[0, 1]')),
    ({'lambda_': 'a'}, ('SparsePPOAgent.lambda_', "'a'", '[0, 1]')),
    ({'clip_ratio': 0}, ('SparsePPOAgent.clip_ratio', '0', '(0, 1]')),
    ({'entropy_coefficient': -1}, ('entropy_coefficient', '-1', 'at least 0')),
    ({'value_coefficient': None}, ('value_coefficient', 'None')),
    ({'gradient_clipping': 0}, ('gradient_clipping', '0', 'above 0, or None')),
    ({'value_clipping': 'x'}, ('value_clipping', "'x'", 'above 0, or None')),
    ({'minibatch_size': 0}, ('minibatch_size', '0', 'whole number')),
    ({'num_epochs': 1.5}, ('num_epochs', '1.5', 'whole number')),
    (
      {'minibatch_size': 5},
      ('SparsePPOAgent.minibatch_size', '5', 'PPOLoop.rollout_steps', '8'),
    ),
  ],
)
def test_bad_bindings(arguments, words, user_error):
  with user_error(*words):
    _agent(**arguments)


def test_clipping_that_is_off():
  agent = _agent(gradient_clipping=None, value_clipping=None)
  _train(agent, 1)
  assert int(agent.train_step_counter) == _PER_ROLLOUT
