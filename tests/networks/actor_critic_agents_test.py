"""Stock agents of TF-Agents train actors, critics and value networks."""

import numpy as np
import tensorflow as tf
from tf_agents.agents.ppo import ppo_clip_agent, ppo_utils
from tf_agents.agents.sac import sac_agent
from tf_agents.agents.td3 import td3_agent
from tf_agents.policies import actor_policy, greedy_policy
from tf_agents.trajectories import time_step as ts
from tf_agents.trajectories import trajectory

from helpers import actor_critics


def _adam(learning_rate):
  return tf.keras.optimizers.legacy.Adam(learning_rate)


def _off_policy(agent_class, actor, critic, **kwargs):
  """SacAgent or Td3Agent, initialized."""
  agent = agent_class(
    ts.time_step_spec(actor_critics.OBSERVATION),
    actor_critics.ACTION,
    actor_network=actor,
    critic_network=critic,
    actor_optimizer=_adam(1e-3),
    critic_optimizer=_adam(1e-3),
    target_update_tau=0.005,
    gamma=0.99,
    **kwargs,
  )
  agent.initialize()
  return agent


def _train(agent, experience, networks):
  """Takes a train step, which has to change each kernel of the networks."""
  before = [actor_critics.kernels(network) for network in networks]
  loss = agent.train(experience)
  assert np.isfinite(loss.loss)
  for network, kernels in zip(networks, before):
    for path, kernel in actor_critics.kernels(network).items():
      assert not np.array_equal(kernel, kernels[path])


def _pairs(batch):
  """Two steps from each of `batch` episodes."""
  ones = tf.ones((batch, 2))
  steps = tf.ones((batch, 2), tf.int32)
  return trajectory.Trajectory(
    step_type=steps,
    observation=tf.stack(
      [actor_critics.observations(batch), actor_critics.observations(batch, 3)],
      1,
    ),
    action=tf.stack(
      [actor_critics.actions(batch), actor_critics.actions(batch, 4)], 1
    ),
    policy_info=(),
    next_step_type=steps,
    reward=ones,
    discount=ones,
  )


def test_stock_sac_agent_trains():
  actor = actor_critics.build(
    actor_critics.SAC_ACTOR, hidden_units=(16, 8), weight_decay=1e-4
  )
  critic = actor_critics.make(
    actor_critics.CRITIC, hidden_units=(16, 8), weight_decay=1e-4
  )
  agent = _off_policy(
    sac_agent.SacAgent, actor, critic, alpha_optimizer=_adam(1e-3)
  )
  first, second = agent._critic_network_1, agent._critic_network_2
  targets = agent._target_critic_network_1, agent._target_critic_network_2
  for path, kernel in actor_critics.kernels(first).items():
    assert not np.array_equal(
      kernel, actor_critics.kernels(second)[path]
    )  # No twins.
  for online, target in zip((first, second), targets):
    for path, kernel in actor_critics.kernels(online).items():
      np.testing.assert_array_equal(kernel, actor_critics.kernels(target)[path])

  networks = (actor, first, second, *targets)
  _train(agent, _pairs(16), networks)


def test_actor_policy_acts():
  actor = actor_critics.build(actor_critics.SAC_ACTOR)
  policy = actor_policy.ActorPolicy(
    ts.time_step_spec(actor_critics.OBSERVATION), actor_critics.ACTION, actor
  )
  time_step = ts.restart(actor_critics.observations(), batch_size=7)
  actions = policy.action(time_step).action
  assert np.all(actions >= actor_critics.ACTION.minimum) and np.all(
    actions <= actor_critics.ACTION.maximum
  )
  greedy = greedy_policy.GreedyPolicy(policy).action(time_step).action
  mean, _ = actor.mean_and_log_std(actor_critics.observations())
  center = (actor_critics.ACTION.maximum + actor_critics.ACTION.minimum) / 2
  np.testing.assert_allclose(
    greedy,
    center + (actor_critics.ACTION.maximum - center) * np.tanh(mean),
    rtol=1e-5,
  )


def test_stock_td3_agent_trains():
  actor = actor_critics.make(actor_critics.TD3_ACTOR, hidden_units=(16, 8))
  critic = actor_critics.make(
    actor_critics.CRITIC, hidden_units=(16, 8), **actor_critics.AS_PYTORCH
  )
  agent = _off_policy(td3_agent.Td3Agent, actor, critic)
  assert actor.create_variables() == tf.TensorSpec((3,), tf.float32)
  first, second = agent._critic_network_1, agent._critic_network_2
  for path, kernel in actor_critics.kernels(first).items():
    assert not np.array_equal(
      kernel, actor_critics.kernels(second)[path]
    )  # No twins.
    assert not np.array_equal(
      actor_critics.biases(first)[path], actor_critics.biases(second)[path]
    )
  pairs = [
    (actor, agent._target_actor_network),
    (first, agent._target_critic_network_1),
    (second, agent._target_critic_network_2),
  ]
  for online, target in pairs:
    for variable, copy in zip(online.variables, target.variables):
      np.testing.assert_array_equal(variable, copy)

  networks = [network for pair in pairs for network in pair]
  _train(agent, _pairs(16), networks)


def test_td3_policies_act():
  actor = actor_critics.build(actor_critics.TD3_ACTOR)
  critic = actor_critics.make(actor_critics.CRITIC)
  agent = _off_policy(
    td3_agent.Td3Agent, actor, critic, exploration_noise_std=0.1
  )
  time_step = ts.restart(actor_critics.observations(), batch_size=7)
  expected = actor.actions(actor_critics.observations())
  greedy = agent.policy.action(time_step).action
  np.testing.assert_allclose(greedy, expected, rtol=1e-6, atol=1e-7)
  explored = agent.collect_policy.action(time_step).action
  assert not np.any(explored == greedy)
  # At the end of its range, exploration does not carry an action beyond.
  actor._output_layer.bias.assign(tf.fill((3,), 100.0))
  actions = agent.collect_policy.action(time_step).action
  assert np.all(actions >= actor_critics.ACTION.minimum) and np.all(
    actions <= actor_critics.ACTION.maximum
  )


def _ppo(actor, value, **kwargs):
  agent = ppo_clip_agent.PPOClipAgent(
    ts.time_step_spec(actor_critics.OBSERVATION),
    actor_critics.ACTION,
    optimizer=tf.keras.optimizers.legacy.Adam(3e-4, epsilon=1e-5),
    actor_net=actor,
    value_net=value,
    importance_ratio_clipping=0.2,
    lambda_value=0.95,
    use_gae=True,
    use_td_lambda_return=True,
    num_epochs=1,
    gradient_clipping=0.5,
    normalize_observations=True,
    compute_value_and_advantage_in_train=False,
    update_normalizers_in_train=False,
    **kwargs,
  )
  agent.initialize()
  return agent


def _collect(agent, steps):
  """One sequence of `steps` steps, acted by the collect policy."""
  rng = np.random.default_rng(0)
  observations = tf.constant(rng.normal(3, 2, (steps, 5)), tf.float32)
  step = agent.collect_policy.action(ts.restart(observations, batch_size=steps))
  step_type = tf.ones((1, steps), tf.int32)
  return trajectory.Trajectory(
    step_type=step_type,
    observation=observations[tf.newaxis],
    action=step.action[tf.newaxis],
    policy_info=tf.nest.map_structure(lambda x: x[tf.newaxis], step.info),
    next_step_type=step_type,
    reward=tf.constant(rng.normal(size=(1, steps)), tf.float32),
    discount=tf.ones((1, steps)),
  )


def test_stock_ppo_agent_trains():
  actor = actor_critics.make(actor_critics.PPO_ACTOR, hidden_units=(16, 8))
  value = actor_critics.make(actor_critics.VALUE, hidden_units=(16, 8))
  agent = _ppo(actor, value)
  experience = _collect(agent, 21)
  agent.update_observation_normalizer(experience.observation)
  processed = agent.preprocess_sequence(experience)
  # A minibatch, as PPOLearner makes it: (minibatch, 1, ...).
  minibatch = tf.nest.map_structure(
    lambda x: tf.expand_dims(x[0, :16], 1), processed
  )
  raw_std = actor.raw_std.numpy()
  _train(agent, minibatch, (actor, value))
  assert np.all(actor.raw_std != raw_std)


def test_ppo_rebuilds_the_distribution_from_its_parameters():
  actor = actor_critics.build(actor_critics.PPO_ACTOR)
  distribution, _ = actor(actor_critics.observations())
  parameters = ppo_utils.get_distribution_params(
    distribution, legacy_distribution_network=False
  )
  assert {k: tuple(v.shape) for k, v in parameters.items()} == {
    'loc': (7, 3),
    'scale_diag': (7, 3),
  }
  rebuilt = ppo_utils.distribution_from_spec(
    actor.create_variables(), parameters, legacy_distribution_network=False
  )
  np.testing.assert_array_equal(
    rebuilt.log_prob(actor_critics.actions()),
    distribution.log_prob(actor_critics.actions()),
  )


def test_l2_coefficient_gives_ppo_the_same_weight_decay():
  actor = actor_critics.build(actor_critics.PPO_ACTOR, weight_decay=1e-2)
  value = actor_critics.build(actor_critics.VALUE, weight_decay=1e-3)
  agent = _ppo(
    actor,
    value,
    policy_l2_reg=actor.l2_coefficient,
    value_function_l2_reg=value.l2_coefficient,
  )
  actor_critics.randomize_biases(actor)
  actor_critics.randomize_biases(value)
  np.testing.assert_allclose(
    agent.l2_regularization_loss(),
    tf.add_n(actor.losses) + tf.add_n(value.losses),
    rtol=1e-5,
  )
