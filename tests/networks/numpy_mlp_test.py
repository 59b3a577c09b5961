"""The NumPy forward passes equal TensorFlow's."""

import pickle

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.agents.ppo import ppo_policy
from tf_agents.policies import actor_policy, greedy_policy
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts
from tf_agents.utils import tensor_normalizer

from helpers import small_models
from rigl_rl.errors import UserError
from rigl_rl.networks import actor_critic, numpy_mlp, q_networks
from rigl_rl.sparsity import wrappers

OBSERVATION = tf.TensorSpec((17,), tf.float32)
ACTION = tensor_spec.BoundedTensorSpec(
  (3,), tf.float32, [-0.4, -1.0, 0.0], [0.4, 3.0, 1.0]
)


def _model():
  model = q_networks.MLPQNetwork(num_actions=3, seed=0)
  small_models.built(model, 4, 2)
  wrappers.sparsify(model, sparsity=0.9, seed=1)
  return model


@pytest.mark.parametrize('batch', [1, 20])
def test_equals_keras(batch):
  model = _model()
  states = np.random.default_rng(0).normal(size=(batch, 4, 2))
  expected = model(states.astype(np.float32))
  q_values = numpy_mlp.NumpyMLP(numpy_mlp.read_weights(model))(states)
  assert q_values.dtype == np.float32
  np.testing.assert_allclose(q_values, expected, rtol=1e-5, atol=1e-6)


def test_batches_of_different_sizes_do_not_meet():
  network = numpy_mlp.NumpyMLP(numpy_mlp.read_weights(_model()))
  states = np.random.default_rng(0).normal(size=(5, 4, 2))
  together = network(states)
  alone = network(states[:1])
  np.testing.assert_allclose(alone[0], together[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('sizes', [(17, 64, 64, 6), (4, 1, 3), (1, 5, 1)])
def test_one_state_has_the_bits_of_matrices(sizes):
  rng = np.random.default_rng(0)
  weights = [
    (rng.normal(size=(a, b)).astype(np.float32), np.float32(rng.normal(size=b)))
    for a, b in zip(sizes, sizes[1:])
  ]
  state = rng.normal(size=(1, sizes[0])).astype(np.float32)
  expected = state
  for kernel, bias in weights:
    if expected is not state:
      expected = np.tanh(expected)
    expected = np.dot(expected, kernel) + bias
  outputs = numpy_mlp.NumpyMLP(weights, 'tanh')(state)
  np.testing.assert_array_equal(outputs, expected, strict=True)


def test_set_weights():
  network = numpy_mlp.NumpyMLP([(np.eye(2), np.zeros(2)), (np.eye(2), [1, 2])])
  np.testing.assert_array_equal(network([[3, -4]]), [[4, 2]])
  network.set_weights([(np.ones((2, 2)), [0.5, 2]), (np.eye(2), [0, 1])])
  np.testing.assert_array_equal(network([[3, -4]]), [[0, 2]])


def test_refuses_shapes_that_do_not_fit():
  network = numpy_mlp.NumpyMLP(
    [(np.eye(2), np.zeros(2)), (np.eye(3), np.zeros(3))]
  )
  with pytest.raises(ValueError):
    network([[3, -4]])


def test_tanh():
  weights = [(np.eye(2), [0, 1]), (np.eye(2), np.zeros(2))]
  np.testing.assert_allclose(
    numpy_mlp.NumpyMLP(weights, 'tanh')([[3, -4]]),
    np.tanh([[3, -3]]),
    rtol=1e-6,
  )


def test_refuses_an_unknown_activation():
  with pytest.raises(KeyError, match='gelu'):
    numpy_mlp.NumpyMLP([(np.eye(2), np.zeros(2))], 'gelu')


def _randomize(network, seed):
  """Sets all weights at random; kernels stay masked."""
  rng = np.random.default_rng(seed)
  layers = wrappers.named_layers(network).values()
  masks = {layer.kernel.ref(): layer.mask for layer in layers}
  for variable in network.trainable_variables:
    value = tf.constant(rng.normal(0, 0.2, variable.shape), tf.float32)
    variable.assign(value * masks.get(variable.ref(), 1.0))


def _build(network, sparsity=0.5, **kwargs):
  actor = network(OBSERVATION, ACTION, seed=0, **kwargs)
  actor.create_variables()
  wrappers.sparsify(actor, sparsity=sparsity, seed=1)
  _randomize(actor, 0)
  return actor


def _observations(batch, seed=0):
  # float64, as MuJoCo's; in one dimension far from the rest.
  x = np.random.default_rng(seed).normal(3, 2, (batch, 17))
  x[:, 0] *= 100
  return x


def _close(actual, expected):
  assert actual.dtype == np.float32
  np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-6)


class _OwnForwardPass(actor_critic.DeterministicActor):
  def _map(self, inputs):
    return -super()._map(inputs)


def test_refuses_a_forward_pass_of_the_users_own():
  message = r'_OwnForwardPass, but must have the `_map` of DeterministicActor'
  with pytest.raises(UserError, match=message):
    numpy_mlp.NumpyActor(_build(_OwnForwardPass))


@pytest.mark.parametrize('batch', [1, 20])
@pytest.mark.parametrize(
  'kwargs', [{}, {'log_std_min': -0.5, 'log_std_max': 0.25}]
)
def test_squashed_gaussian_actor(batch, kwargs):
  actor = _build(actor_critic.SquashedGaussianActor, **kwargs)
  in_numpy = numpy_mlp.NumpySquashedGaussianActor(actor)
  observations = _observations(batch) / 10
  tensor = tf.constant(observations, tf.float32)
  mean, log_std = actor.mean_and_log_std(tensor)
  for actual, expected in zip(
    in_numpy.mean_and_log_std(observations), (mean, log_std)
  ):
    _close(actual, expected)

  policy = actor_policy.ActorPolicy(
    ts.time_step_spec(OBSERVATION), ACTION, actor
  )
  time_step = ts.restart(tensor, batch_size=batch)
  greedy = greedy_policy.GreedyPolicy(policy).action(time_step).action
  _close(in_numpy(observations), greedy)

  noise = tf.random.stateless_normal((batch, 3), [1, 2])
  sample = policy.distribution(time_step).action.sample(seed=[1, 2])
  _close(
    in_numpy.sample_from(mean.numpy(), log_std.numpy(), noise.numpy()), sample
  )


@pytest.mark.parametrize('batch', [1, 20])
@pytest.mark.parametrize('factor', [0.01, 1000])
def test_deterministic_actor(batch, factor):
  actor = _build(actor_critic.DeterministicActor)
  in_numpy = numpy_mlp.NumpyActor(actor)
  observations = factor * _observations(batch) / 10
  tensor = tf.constant(observations, tf.float32)
  actions = in_numpy(observations)
  assert actions.shape == (batch, 3)
  _close(actions, actor.actions(tensor))
  policy = actor_policy.ActorPolicy(
    ts.time_step_spec(OBSERVATION), ACTION, actor
  )
  _close(actions, policy.action(ts.restart(tensor, batch_size=batch)).action)
  # Not even by rounding.
  assert np.all(actions >= ACTION.minimum) and np.all(actions <= ACTION.maximum)
  at_the_end = (actions == ACTION.minimum) | (actions == ACTION.maximum)
  assert at_the_end.any() == (factor > 1)


def _ppo_policies(actor, normalizer):
  value = actor_critic.ValueNetwork(OBSERVATION, seed=1)
  return [
    ppo_policy.PPOPolicy(
      ts.time_step_spec(OBSERVATION),
      ACTION,
      actor,
      value,
      observation_normalizer=normalizer,
      clip=False,
      collect=collect,
    )
    for collect in (True, False)
  ]


@pytest.mark.parametrize('batch', [1, 20])
@pytest.mark.parametrize('normalize', [True, False])
@pytest.mark.parametrize('squash_mean', [True, False])
def test_gaussian_actor(batch, normalize, squash_mean):
  actor = _build(actor_critic.GaussianActor, squash_mean=squash_mean)
  normalizer = None
  if normalize:
    normalizer = tensor_normalizer.StreamingTensorNormalizer(OBSERVATION)
    seen = tf.constant(_observations(30, seed=1), tf.float32)
    # One number hardly varies, another one comes from farther away than what
    # was seen: ε and clipping matter.
    seen = seen * tf.constant([0.1] + [1.0] * 15 + [0.01])
    normalizer.update(seen)
  in_numpy = numpy_mlp.NumpyGaussianActor(actor, normalizer)
  observations = _observations(batch)
  time_step = ts.restart(
    tf.constant(observations, tf.float32), batch_size=batch
  )
  collect, evaluate = _ppo_policies(actor, normalizer)

  info = collect.action(time_step).info['dist_params']
  means, stds = map(np.array, zip(*map(in_numpy.mean_and_std, observations)))
  _close(means, info['loc'])
  _close(stds, info['scale_diag'])
  greedy = greedy_policy.GreedyPolicy(evaluate).action(time_step).action
  _close(in_numpy(observations), greedy)
  pickled = pickle.dumps(in_numpy)
  actor.set_weights([-weight for weight in actor.get_weights()])
  if normalize:
    normalizer.reset()
  in_another_process = pickle.loads(pickled)
  np.testing.assert_array_equal(
    in_another_process(observations), in_numpy(observations)
  )
  in_numpy.refresh()
  assert not np.array_equal(
    in_another_process(observations), in_numpy(observations)
  )


def test_normalizer():
  normalizer = tensor_normalizer.StreamingTensorNormalizer(OBSERVATION)
  in_numpy = numpy_mlp.NumpyNormalizer(normalizer)
  observations = _observations(20)
  tensor = tf.constant(observations, tf.float32)
  for seed in (1, 2):
    seen = tf.constant(_observations(30, seed), tf.float32)
    normalizer.update(seen * tf.constant([0.1] + [1.0] * 15 + [0.01]))
    in_numpy.refresh()
    expected = normalizer.normalize(tensor)
    assert np.abs(expected).max() == 5
    _close(in_numpy(observations), expected)
  # As before the first update, when no observation has been seen.
  normalizer.reset()
  in_numpy.refresh()
  _close(in_numpy(observations), normalizer.normalize(tensor))


def _sample(in_numpy, observations):
  """Actions that depend on all weights, explored if the actor does that."""
  if type(in_numpy) is numpy_mlp.NumpyActor:
    return in_numpy(observations)
  noise = np.ones((len(observations), 3))
  if isinstance(in_numpy, numpy_mlp.NumpyGaussianActor):
    means, stds = map(np.array, zip(*map(in_numpy.mean_and_std, observations)))
    return means + stds * noise
  return in_numpy.sample_from(*in_numpy.mean_and_log_std(observations), noise)


@pytest.mark.parametrize(
  'network,numpy_network',
  [
    (actor_critic.SquashedGaussianActor, numpy_mlp.NumpySquashedGaussianActor),
    (actor_critic.GaussianActor, numpy_mlp.NumpyGaussianActor),
    (actor_critic.DeterministicActor, numpy_mlp.NumpyActor),
  ],
)
def test_refresh_reads_the_weights_of_this_moment(network, numpy_network):
  actor = _build(network)
  in_numpy = numpy_network(actor)
  observations = _observations(4) / 10
  before = _sample(in_numpy, observations)
  for variable in actor.trainable_variables:
    variable.assign_sub(tf.fill(variable.shape, 0.1))
  # Not even an update of the variables in place is seen by itself.
  np.testing.assert_array_equal(_sample(in_numpy, observations), before)
  in_numpy.refresh()
  after = _sample(in_numpy, observations)
  np.testing.assert_array_equal(
    after, _sample(numpy_network(actor), observations)
  )
  assert not np.any(np.isclose(after, before))


def test_refresh_reads_layers_that_are_stored_sparsely_since(operations):
  actor = _build(actor_critic.DeterministicActor, sparsity=0.9)
  layers = list(wrappers.named_layers(actor).values())
  in_numpy = numpy_mlp.NumpyActor(actor)
  observations = _observations(4) / 10
  before = in_numpy(observations)
  for layer in layers[:2]:
    layer.store_sparsely()
    in_numpy.refresh()
    np.testing.assert_array_equal(in_numpy(observations), before)
  # They are read from where they are trained now.
  layers[0].trained_kernel.assign(tf.zeros_like(layers[0].trained_kernel))
  in_numpy.refresh()
  biases_alone = in_numpy(np.zeros_like(observations))
  np.testing.assert_array_equal(in_numpy(observations), biases_alone)
  assert not np.array_equal(before, biases_alone)


def test_actions_last():
  actor = _build(actor_critic.SquashedGaussianActor)
  ppo_actor = _build(actor_critic.GaussianActor)
  td3_actor = _build(actor_critic.DeterministicActor)
  for in_numpy in (
    numpy_mlp.NumpySquashedGaussianActor(actor),
    numpy_mlp.NumpyGaussianActor(ppo_actor),
    numpy_mlp.NumpyActor(td3_actor),
  ):
    for act in (in_numpy, lambda x, a=in_numpy: _sample(a, x)):
      actions = act(_observations(1) / 10)
      copy = actions.copy()
      act(_observations(1, seed=1) / 10)
      np.testing.assert_array_equal(actions, copy)
