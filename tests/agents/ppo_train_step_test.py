"""Tests of SparsePPOAgent's numbers: advantages, losses, normalizers."""

import gin
import numpy as np
import pytest
import tensorflow as tf
from tf_agents.agents.ppo import ppo_clip_agent
from tf_agents.agents.tf_agent import LossInfo
from tf_agents.trajectories import time_step as ts
from tf_agents.trajectories import trajectory
from tf_agents.utils import value_ops

from helpers import small, small_ppo
from rigl_rl.agents import advantages as advantages_lib
from rigl_rl.networks import actor_critic
from rigl_rl.sparsity import wrappers

pytestmark = pytest.mark.usefixtures('small_ppo', 'eagerly')


@pytest.mark.parametrize('bootstrap', [True, False])
def test_what_follows_the_end_of_an_episode(bootstrap, monkeypatch):
  agent = small_ppo.make_agent(
    normalize_rewards=False,
    normalize_observations=False,
    bootstrap_time_limits=bootstrap,
    gamma=0.9,
    lambda_=0.8,
  )
  agent.networks['value'].trainable_variables[-1].assign([3.0])
  rollout = small_ppo.make_rollout(agent, last=(2, 5), terminal=(5,))
  values, next_values = (
    agent._values(array).numpy()
    for array in (rollout.observation, rollout.next_observation)
  )
  assert (np.abs(next_values) > 0.5).all()  # Large enough to matter.
  steps, _ = small_ppo.prepared(agent, rollout, monkeypatch)
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
  discounts = np.full(small_ppo.STEPS, np.float32(0.9))
  discounts[5] = 0
  if not bootstrap:
    discounts[2] = 0
  expected = advantages_lib.generalized_advantages(
    rollout.reward, discounts, values, next_values, rollout.is_last, 0.8
  )
  np.testing.assert_allclose(advantages, expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(returns, expected + values, rtol=1e-4, atol=1e-5)


def test_each_epoch_visits_each_step_once(monkeypatch):
  agent = small_ppo.make_agent()
  minibatches = []

  def train(minibatch, weights):
    del weights
    minibatches.append(tf.nest.map_structure(np.array, minibatch))
    return LossInfo(tf.zeros(()), ())

  monkeypatch.setattr(agent, '_train', train)
  rollout = small_ppo.make_rollout(agent)
  agent.train_on(rollout)
  assert len(minibatches) == small_ppo.PER_ROLLOUT
  rows = {row.tobytes(): i for i, row in enumerate(rollout.observation)}
  orders = []
  for minibatch in minibatches:
    assert minibatch.observation.shape == (
      small_ppo.MINIBATCH,
      1,
      small.OBSERVATION,
    )
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
  epochs = np.reshape(orders, (small_ppo.EPOCHS, small_ppo.STEPS))
  np.testing.assert_array_equal(
    np.sort(epochs), np.tile(np.arange(small_ppo.STEPS), (small_ppo.EPOCHS, 1))
  )
  # Each in an order of its own.
  assert len({tuple(epoch) for epoch in epochs}) == small_ppo.EPOCHS


def test_train_step_of_the_stock_agent():
  """At sparsity 0, TF-Agents' own agent gets the same weights."""
  gin.parse_config("""
      sparsify.sparsity = 0.0
      GaussianActor.weight_decay = 0.02
      actor_critic.ValueNetwork.weight_decay = 0.01
  """)
  agent = small_ppo.make_agent(
    minibatch_size=small_ppo.STEPS,
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
    small_ppo.TIME_STEP_SPEC.observation, small_ppo.ACTION_SPEC, seed=7
  )
  value = actor_critic.ValueNetwork(
    small_ppo.TIME_STEP_SPEC.observation, seed=8
  )
  stock = ppo_clip_agent.PPOClipAgent(
    small_ppo.TIME_STEP_SPEC,
    small_ppo.ACTION_SPEC,
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
    rollout = small_ppo.make_rollout(agent, seed)  # Of one episode.
    values, next_values = (
      stock.collect_policy.apply_value_network(
        array, tf.fill([small_ppo.STEPS], 1), training=False
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
    tf.fill([small_ppo.STEPS, 1], 0.9),
    rewards[:, None],
    td_lambda=0.8,
  )[:, 0]
  step_type = np.full(small_ppo.STEPS, ts.StepType.MID)
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


def test_weight_decay_is_part_of_the_loss():
  gin.parse_config("""
      GaussianActor.weight_decay = 0.3
      GaussianActor.weight_decay_factor = 0.5
      actor_critic.ValueNetwork.weight_decay = 0.02
  """)
  agent = small_ppo.make_agent(minibatch_size=small_ppo.STEPS, num_epochs=1)
  squares = {
    name: sum(float(np.sum(layer.kernel.numpy() ** 2.0)) for layer in layers)
    for name, layers in agent.networks.layers.items()
  }
  agent.train_on(small_ppo.make_rollout(agent))
  found = float(agent._losses.extra.l2_regularization_loss)
  expected = 0.15 * squares['actor'] + 0.02 * squares['value']
  assert found == pytest.approx(expected, rel=1e-4)
  parts = agent._losses.extra
  total = found + float(parts.policy_gradient_loss)
  total += float(parts.value_estimation_loss)
  assert float(agent._losses.loss) == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize('decay', [True, False])
def test_learning_rate(decay):
  agent = small_ppo.make_agent(decay_learning_rate=decay)
  rates = []
  for seed in range(small_ppo.ROLLOUTS):
    small_ppo.train(agent, 1, seed)
    inner = agent.networks.optimizers['ppo'].inner
    rates.append(float(tf.convert_to_tensor(inner.learning_rate)))
  # After the last rollout it would be 0.
  expected = [1e-2, 0.75e-2, 0.5e-2, 0.25e-2] if decay else [1e-2] * 4
  assert rates == pytest.approx(expected)


def test_normalizers_are_updated_once_per_rollout(monkeypatch):
  agent = small_ppo.make_agent(gamma=0.9, lambda_=0.0)
  agent.networks['value'].trainable_variables[-1].assign([2.0])
  seen = []
  for number in (1, 2):
    rollout = small_ppo.make_rollout(agent, number)
    values, next_values = (
      agent._values(array).numpy()
      for array in (rollout.observation, rollout.next_observation)
    )
    seen.append(rollout)
    steps, _ = small_ppo.prepared(agent, rollout, monkeypatch)

    observations = np.concatenate([each.observation for each in seen])
    rewards = np.concatenate([each.reward for each in seen])
    for normalizer, numbers in (
      (agent._observation_normalizer, observations),
      (agent._reward_normalizer, rewards),
    ):
      count, mean, squares, _ = (v.numpy() for v in normalizer.variables)
      np.testing.assert_allclose(count, number * small_ppo.STEPS)
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
  agent = small_ppo.make_agent(
    normalize_observations=False,
    normalize_rewards=False,
    gamma=0.9,
    lambda_=0.0,
  )
  rollout = small_ppo.make_rollout(agent)
  values, next_values = (
    agent.networks['value'](tf.constant(array))[0].numpy()
    for array in (rollout.observation, rollout.next_observation)
  )
  mean, _ = agent.networks['actor'].mean_and_std(
    tf.constant(rollout.observation)
  )
  np.testing.assert_allclose(rollout.mean, mean.numpy(), rtol=1e-4, atol=1e-6)
  steps, _ = small_ppo.prepared(agent, rollout, monkeypatch)
  np.testing.assert_allclose(
    steps.policy_info['advantage'][:, 0],
    rollout.reward + 0.9 * next_values - values,
    rtol=1e-4,
    atol=1e-5,
  )
  monkeypatch.undo()
  tf.config.run_functions_eagerly(True)
  agent.train_on(rollout)
  assert agent.get_state()['others'] == [small_ppo.PER_ROLLOUT]


def test_snr_agrees_with_single_examples_and_changes_nothing():
  agent = small_ppo.make_agent(clip_ratio=0.2, value_coefficient=0.5)
  small_ppo.train(agent, 2)
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
    for i in range(small_ppo.MINIBATCH):
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
