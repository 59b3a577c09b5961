"""Actors, critics and value networks equal TF-Agents'."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from tf_agents.agents.ddpg import actor_network, critic_network
from tf_agents.agents.ppo import ppo_actor_network
from tf_agents.agents.sac import tanh_normal_projection_network
from tf_agents.networks import actor_distribution_network, value_network
from tf_agents.trajectories import time_step as ts

from helpers import actor_critics
from rigl_rl.sparsity import wrappers


def _copy_weights(source, target):
  for old, new in zip(source.trainable_variables, target.trainable_variables):
    new.assign(tf.reshape(old, new.shape))


def _sac_actors():
  ours = actor_critics.build(actor_critics.SAC_ACTOR, hidden_units=(16, 8))
  theirs = actor_distribution_network.ActorDistributionNetwork(
    actor_critics.OBSERVATION,
    actor_critics.ACTION,
    fc_layer_params=(16, 8),
    continuous_projection_net=(
      tanh_normal_projection_network.TanhNormalProjectionNetwork
    ),
  )
  theirs.create_variables()
  actor_critics.randomize_biases(ours)
  _copy_weights(ours, theirs)
  return ours, theirs


def test_squashed_gaussian_actor_equals_tf_agents():
  ours, theirs = _sac_actors()
  observations, actions = actor_critics.observations(), actor_critics.actions()
  with tf.GradientTape(persistent=True) as tape:
    our_distribution, _ = ours(observations)
    # TF-Agents' actor has its own way of being called.
    their_distribution, _ = theirs(observations, ts.StepType.MID, ())
    our_log_prob = our_distribution.log_prob(actions)
    their_log_prob = their_distribution.log_prob(actions)
  np.testing.assert_allclose(
    our_distribution.mode(), their_distribution.mode(), rtol=1e-5, atol=1e-6
  )
  assert our_log_prob.shape == (7,)
  np.testing.assert_allclose(our_log_prob, their_log_prob, rtol=1e-5, atol=1e-5)
  for ours_, theirs_ in zip(
    tape.gradient(our_log_prob, ours.trainable_variables),
    tape.gradient(their_log_prob, theirs.trainable_variables),
  ):
    np.testing.assert_allclose(ours_, theirs_, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(
    our_distribution.kl_divergence(ours(observations + 1.0)[0]),
    their_distribution.kl_divergence(
      theirs(observations + 1.0, ts.StepType.MID, ())[0]
    ),
    rtol=1e-4,
  )


def test_log_probability_of_a_sample_and_its_gradient_equal_tf_agents():
  ours, theirs = _sac_actors()
  observations, seed = actor_critics.observations(), tf.constant([1, 2])
  noise = tf.random.stateless_normal((7, 3), seed)
  with tf.GradientTape(persistent=True) as tape:
    our_distribution, _ = ours(observations)
    our_actions = our_distribution.sample(seed=seed)
    our_value = our_distribution.log_prob(our_actions) + tf.reduce_sum(
      our_actions, axis=1
    )
    theirs_, _ = theirs(observations, ts.StepType.MID, ())
    normal = theirs_.input_distribution
    # By the same bijector that TF-Agents samples with, which remembers its
    # argument.
    their_actions = theirs_._squashed_distribution.bijector.forward(
      normal.loc + normal.stddev() * noise
    )
    their_value = theirs_.log_prob(their_actions) + tf.reduce_sum(
      their_actions, axis=1
    )
  np.testing.assert_allclose(our_actions, their_actions, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(our_value, their_value, rtol=1e-5, atol=1e-5)
  for our_gradient, their_gradient in zip(
    tape.gradient(our_value, ours.trainable_variables),
    tape.gradient(their_value, theirs.trainable_variables),
  ):
    np.testing.assert_allclose(
      our_gradient, their_gradient, rtol=1e-4, atol=1e-4
    )


def test_log_std_range():
  free = actor_critics.build(actor_critics.SAC_ACTOR)
  bounded = actor_critics.build(
    actor_critics.SAC_ACTOR, log_std_min=-0.1, log_std_max=0.05
  )
  mean, log_std = free.mean_and_log_std(actor_critics.observations())
  bounded_mean, bounded_log_std = bounded.mean_and_log_std(
    actor_critics.observations()
  )
  np.testing.assert_array_equal(mean, bounded_mean)
  clipped = np.clip(log_std, np.float32(-0.1), np.float32(0.05))
  np.testing.assert_array_equal(bounded_log_std, clipped)
  assert not np.array_equal(log_std, clipped)


def _td3_actors():
  ours = actor_critics.build(actor_critics.TD3_ACTOR, hidden_units=(16, 8))
  theirs = actor_network.ActorNetwork(
    actor_critics.OBSERVATION, actor_critics.ACTION, fc_layer_params=(16, 8)
  )
  theirs.create_variables()
  _copy_weights(ours, theirs)
  return ours, theirs


def test_deterministic_actor_equals_tf_agents():
  ours, theirs = _td3_actors()
  observations = 3 * actor_critics.observations()
  with tf.GradientTape(persistent=True) as tape:
    our_actions, state = ours(observations)
    their_actions, _ = theirs(observations)
  assert our_actions.shape == (7, 3) and state == ()
  np.testing.assert_allclose(our_actions, their_actions, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(our_actions, ours.actions(observations))
  for ours_, theirs_ in zip(
    tape.gradient(our_actions, ours.trainable_variables),
    tape.gradient(their_actions, theirs.trainable_variables),
  ):
    np.testing.assert_allclose(ours_, theirs_, rtol=1e-4, atol=1e-5)
  # Each action reaches both ends of its own range.
  for sign, end in (
    (-1, actor_critics.ACTION.minimum),
    (1, actor_critics.ACTION.maximum),
  ):
    ours._output_layer.bias.assign(tf.fill((3,), 100.0 * sign))
    np.testing.assert_allclose(
      ours.actions(observations), np.tile(end, (7, 1)), atol=1e-6
    )


@pytest.mark.parametrize('outer', [(7,), (7, 1), (2, 3)])
def test_gaussian_actor_equals_tf_agents(outer):
  ours = actor_critics.build(actor_critics.PPO_ACTOR, hidden_units=(16, 8))
  actor_critics.randomize_biases(ours)
  theirs = ppo_actor_network.PPOActorNetwork().create_sequential_actor_net(
    (16, 8), actor_critics.ACTION
  )
  theirs.create_variables(actor_critics.OBSERVATION)
  for name, variable in zip(('dense1', 'dense2', 'output'), range(0, 6, 2)):
    layer = wrappers.named_layers(ours)[name]
    theirs.trainable_variables[variable].assign(layer.kernel)
    theirs.trainable_variables[variable + 1].assign(layer.bias)
  theirs.trainable_variables[6].assign(ours.raw_std)

  size = math.prod(outer)
  observations = tf.reshape(actor_critics.observations(size), (*outer, 5))
  actions = tf.reshape(actor_critics.actions(size), (*outer, 3))
  our_distribution, _ = ours(observations)
  their_distribution, _ = theirs(observations)
  for value in ('mean', 'stddev', 'mode', 'entropy'):
    np.testing.assert_allclose(
      getattr(our_distribution, value)(),
      getattr(their_distribution, value)(),
      rtol=1e-5,
      atol=1e-6,
    )
  log_prob = our_distribution.log_prob(actions)
  assert log_prob.shape == outer
  np.testing.assert_allclose(
    log_prob, their_distribution.log_prob(actions), rtol=1e-5, atol=1e-5
  )
  other, _ = ours(observations + 1.0)
  np.testing.assert_allclose(
    tfp.distributions.kl_divergence(our_distribution, other),
    tfp.distributions.kl_divergence(
      their_distribution, theirs(observations + 1.0)[0]
    ),
    rtol=1e-4,
  )


def test_gaussian_actor_without_squashing():
  squashed = actor_critics.build(actor_critics.PPO_ACTOR)
  free = actor_critics.build(actor_critics.PPO_ACTOR, squash_mean=False)
  center = (actor_critics.ACTION.maximum + actor_critics.ACTION.minimum) / 2
  magnitude = (actor_critics.ACTION.maximum - actor_critics.ACTION.minimum) / 2
  np.testing.assert_allclose(
    squashed.mean_and_std(actor_critics.observations())[0],
    center
    + magnitude * np.tanh(free.mean_and_std(actor_critics.observations())[0]),
    rtol=1e-5,
    atol=1e-6,
  )


def test_critic_equals_tf_agents():
  ours = actor_critics.build(actor_critics.CRITIC, hidden_units=(16, 8))
  theirs = critic_network.CriticNetwork(
    (actor_critics.OBSERVATION, actor_critics.ACTION),
    joint_fc_layer_params=(16, 8),
  )
  theirs.create_variables()
  actor_critics.randomize_biases(ours)
  _copy_weights(ours, theirs)
  inputs = (actor_critics.observations(), actor_critics.actions())
  values, _ = ours(inputs)
  assert values.shape == (7,)
  np.testing.assert_allclose(values, theirs(inputs)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('outer', [(7,), (7, 1), (2, 3)])
@pytest.mark.parametrize('activation', ['relu', 'tanh'])
def test_value_network_equals_tf_agents(outer, activation):
  ours = actor_critics.build(
    actor_critics.VALUE, hidden_units=(16, 8), activation=activation
  )
  theirs = value_network.ValueNetwork(
    actor_critics.OBSERVATION,
    fc_layer_params=(16, 8),
    activation_fn=getattr(tf.keras.activations, activation),
  )
  theirs.create_variables()
  actor_critics.randomize_biases(ours)
  _copy_weights(ours, theirs)
  observations = tf.reshape(
    actor_critics.observations(math.prod(outer)), (*outer, 5)
  )
  values, _ = ours(observations)
  assert values.shape == outer
  np.testing.assert_allclose(
    values, theirs(observations)[0], rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize('shape', [(None, 5), (None, None, 5), (4, None, 5)])
def test_outer_dimensions_may_be_unknown(shape):
  value = actor_critics.build(actor_critics.VALUE)
  function = tf.function(
    lambda x: value(x)[0], input_signature=[tf.TensorSpec(shape)]
  )
  outer = [size or 2 for size in shape[:-1]]
  x = tf.reshape(actor_critics.observations(math.prod(outer)), (*outer, 5))
  np.testing.assert_allclose(function(x), value(x)[0], rtol=1e-5, atol=1e-6)
  assert function.get_concrete_function().output_shapes.rank == len(outer)
