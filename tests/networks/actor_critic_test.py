"""Actors, critics and value networks equal TF-Agents', and serve its agents."""

import json
import math

import gin
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from tf_agents.agents.ddpg import actor_network, critic_network
from tf_agents.agents.ppo import (
  ppo_actor_network,
  ppo_clip_agent,
  ppo_utils,
)
from tf_agents.agents.sac import sac_agent, tanh_normal_projection_network
from tf_agents.agents.td3 import td3_agent
from tf_agents.networks import actor_distribution_network, value_network
from tf_agents.policies import actor_policy, greedy_policy
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts
from tf_agents.trajectories import trajectory

from rigl_rl.errors import UserError
from rigl_rl.networks import (
  actor_critic,
  sparse_layers,
  widths,
)
from rigl_rl.sparsity import (
  algorithms,
  distributions,
  initializers,
  wrappers,
)

OBSERVATION = tf.TensorSpec((5,), tf.float32, 'observation')
ACTION = tensor_spec.BoundedTensorSpec(
  (3,), tf.float32, [-0.4, -1.0, 0.0], [0.4, 3.0, 1.0], 'action'
)
HALF_CHEETAH = (
  tf.TensorSpec((17,), tf.float32),
  tensor_spec.BoundedTensorSpec((6,), tf.float32, -1.0, 1.0),
)
SAC_ACTOR, PPO_ACTOR, TD3_ACTOR, CRITIC, VALUE = (
  actor_critic.SquashedGaussianActor,
  actor_critic.GaussianActor,
  actor_critic.DeterministicActor,
  actor_critic.Critic,
  actor_critic.ValueNetwork,
)
NETWORKS = (SAC_ACTOR, PPO_ACTOR, TD3_ACTOR, CRITIC, VALUE)
# As TD3's released code, in PyTorch, initializes its layers.
AS_PYTORCH = {
  'kernel_initializer': sparse_layers.fan_in_uniform,
  'output_initializer': sparse_layers.fan_in_uniform,
  'bias_initializer': sparse_layers.fan_in_uniform_biases,
}


def _make(network, observation=OBSERVATION, action=ACTION, seed=0, **kwargs):
  """Constructs a network without building it."""
  specs = {
    SAC_ACTOR: (observation, action),
    PPO_ACTOR: (observation, action),
    TD3_ACTOR: (observation, action),
    CRITIC: ((observation, action),),
    VALUE: (observation,),
  }
  return network(*specs[network], seed=seed, **kwargs)


def _build(network, **kwargs):
  made = _make(network, **kwargs)
  made.create_variables()
  return made


def _kernels(network):
  layers = wrappers.named_layers(network)
  return {path: layer.kernel.numpy() for path, layer in layers.items()}


def _biases(network):
  layers = wrappers.named_layers(network)
  return {path: layer.bias.numpy() for path, layer in layers.items()}


def _observations(batch=7, seed=0):
  x = np.random.default_rng(seed).normal(size=(batch, 5))
  return tf.constant(x, tf.float32)


def _actions(batch=7, seed=1):
  x = np.random.default_rng(seed).uniform(
    ACTION.minimum, ACTION.maximum, (batch, 3)
  )
  return tf.constant(x, tf.float32)


def _randomize_biases(network):
  rng = np.random.default_rng(0)
  for variable in network.trainable_variables:
    if variable.shape.rank == 1:
      variable.assign(variable + rng.normal(0, 0.1, variable.shape))


def _copy_weights(source, target):
  for old, new in zip(source.trainable_variables, target.trainable_variables):
    new.assign(tf.reshape(old, new.shape))


# --- Structure


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('width', [1.0, 0.3, 1e-6, 1.7])
def test_layer_shapes_are_those_of_the_built_network(network, width):
  unbuilt = _make(network, width=width)
  expected = unbuilt.layer_shapes()
  assert not unbuilt.built
  built = _build(network, width=width)
  shapes = {path: kernel.shape for path, kernel in _kernels(built).items()}
  assert list(shapes.items()) == list(expected.items())
  assert list(shapes) == ['dense1', 'dense2', 'output']
  weights = sum(math.prod(v.shape) for v in built.trainable_variables)
  extra = 3 if network is PPO_ACTOR else 0  # One standard deviation an action.
  assert weights == widths.num_parameters(expected) + extra
  assert all(
    isinstance(layer, wrappers.SparseWrapper)
    for layer in wrappers.named_layers(built).values()
  )


def test_width_scales_hidden_layers_as_released():
  # Rounded down, but to 1 at least.
  assert _make(CRITIC, width=0.999).layer_shapes() == {
    'dense1': (8, 255),
    'dense2': (255, 255),
    'output': (255, 1),
  }


def test_actor_share_of_the_weights_of_sac_on_half_cheetah():
  def size(network):
    shapes = _make(network, *HALF_CHEETAH).layer_shapes()
    return sum(math.prod(shape) for shape in shapes.values())

  assert size(TD3_ACTOR) + 2 * size(CRITIC) == 214784  # Sokar et al. (2022).
  actor, critic = size(SAC_ACTOR), size(CRITIC)
  assert (actor, critic) == (72960, 71680)
  assert round(actor / (actor + 2 * critic), 3) == 0.337


@pytest.mark.parametrize('network', NETWORKS)
def test_matched_width_is_bound_by_gin(network):
  name = network.__name__.replace('Value', 'actor_critic.Value')
  with gin.unlock_config():
    gin.parse_config(f"""
        WIDTH = @matched_width
        matched_width.sparsity = 0.9
        {name}.width = %WIDTH
    """)
  try:
    made = _make(network, *HALF_CHEETAH)
  finally:
    gin.clear_config()
  shapes = made.layer_shapes()
  dense = made.layer_shapes(1.0)
  weights = sum(math.prod(shape) for shape in dense.values())
  biases = sum(shape[-1] for shape in dense.values())
  target = weights / 10 + biases
  mismatch = widths.num_parameters(shapes) / target - 1
  assert made.size_mismatch == pytest.approx(mismatch, abs=1e-3)
  # The copy has the same, though gin has forgotten about it.
  other = made.copy(name='other')
  assert other.layer_shapes() == shapes
  assert other.size_mismatch == made.size_mismatch


def test_bindings():
  with gin.unlock_config():
    gin.parse_config("""
        SquashedGaussianActor.hidden_units = (4, 6, 8)
        SquashedGaussianActor.kernel_initializer = @orthogonal
        orthogonal.gain = 2.0
        SquashedGaussianActor.log_std_max = 2
        GaussianActor.output_initializer = @small_uniform
        small_uniform.limit = 1e-4
        GaussianActor.initial_std = 1.0
        DeterministicActor.bias_initializer = @zero_biases
        Critic.bias_initializer = @fan_in_uniform_biases
        Critic.weight_decay = 0.5
        actor_critic.ValueNetwork.activation = 'tanh'
    """)
  try:
    actor, ppo_actor, td3_actor, critic, value = map(_build, NETWORKS)
    again = actor.copy(name='again')
    again.create_variables()
  finally:
    gin.clear_config()
  for network in (actor, again):
    kernels = _kernels(network)
    assert list(kernels) == ['dense1', 'dense2', 'dense3', 'output']
    kernel = kernels['dense2']
    np.testing.assert_allclose(kernel @ kernel.T, 4 * np.eye(4), atol=1e-5)
    assert network.log_std_range == (None, 2)
  assert np.abs(_kernels(ppo_actor)['output']).max() <= 1e-4
  np.testing.assert_allclose(
    ppo_actor.mean_and_std(_observations())[1], 1, rtol=1e-6
  )
  assert not any(np.any(bias) for bias in _biases(td3_actor).values())
  assert all(np.all(bias) for bias in _biases(critic).values())
  assert critic.l2_coefficient == 0.5
  assert value.activation == 'tanh'


# --- Seeds and copies


@pytest.mark.parametrize('network', NETWORKS)
def test_seed_decides_all_initial_weights(network):
  tf.random.set_seed(1)
  first = _kernels(_build(network, seed=3))
  tf.random.set_seed(2)
  tf.random.uniform((3,))
  same, other = (_kernels(_build(network, seed=seed)) for seed in (3, 4))
  for path, kernel in first.items():
    np.testing.assert_array_equal(kernel, same[path])
    assert not np.array_equal(kernel, other[path])


@pytest.mark.parametrize('network', NETWORKS)
def test_copy_keeps_the_structure_and_draws_other_weights(network):
  original = _build(network, width=0.3, hidden_units=(9, 8), weight_decay=0.1)
  wrappers.sparsify(original, sparsity=0.5)
  copies = [original.copy(name=name) for name in ('one', 'two', 'one')]
  for copy in copies:
    assert not copy.built
    copy.create_variables()
    assert copy.layer_shapes() == original.layer_shapes()
    assert [v.shape for v in copy.variables] == [
      v.shape for v in original.variables
    ]
    assert copy.l2_coefficient == original.l2_coefficient
    assert all(
      isinstance(layer, wrappers.SparseWrapper)
      for layer in wrappers.named_layers(copy).values()
    )
  one, two, same = map(_kernels, copies)
  for path, kernel in _kernels(original).items():
    assert not np.array_equal(kernel, one[path])
    assert not np.array_equal(two[path], one[path])
    np.testing.assert_array_equal(same[path], one[path])
  again = original.copy(seed=0)
  again.create_variables()
  fresh = _build(network, width=0.3, hidden_units=(9, 8))
  for path, kernel in _kernels(fresh).items():
    np.testing.assert_array_equal(kernel, _kernels(again)[path])


@pytest.mark.parametrize('network', NETWORKS)
def test_biases_have_seeds_of_their_own(network):
  def build(seed=3, **kwargs):
    return _build(network, seed=seed, hidden_units=(16, 16), **kwargs)

  first = build(bias_initializer=sparse_layers.fan_in_uniform_biases)
  copies = [
    build(bias_initializer=sparse_layers.fan_in_uniform_biases),
    build(seed=4, bias_initializer=sparse_layers.fan_in_uniform_biases),
    first.copy(name='copy'),
  ]
  copies[-1].create_variables()
  same, other, copy = map(_biases, copies)
  biases = _biases(first)
  for path, bias in biases.items():
    np.testing.assert_array_equal(bias, same[path])
    assert not np.any(bias == other[path]) and not np.any(bias == copy[path])
  # dense2 and output would otherwise begin alike: their fan-in is the same.
  size = biases['output'].size
  assert not np.any(biases['dense2'][:size] == biases['output'])
  # Kernels do not depend on how biases are drawn.
  zero = build(bias_initializer=sparse_layers.zero_biases)
  for path, kernel in _kernels(zero).items():
    np.testing.assert_array_equal(kernel, _kernels(first)[path])
    np.testing.assert_array_equal(_biases(zero)[path], 0)


def test_layers_are_copied_with_the_initializer_of_their_bias():
  made = _build(TD3_ACTOR)
  for layer in wrappers.named_layers(made).values():
    config = json.loads(json.dumps(layer.get_config()))
    copy = wrappers.SparseWrapper.from_config(config)
    copy.build((None, layer.kernel.shape[0]))
    np.testing.assert_array_equal(copy.kernel, layer.kernel)
    np.testing.assert_array_equal(copy.bias, layer.bias)


@pytest.mark.parametrize('network', NETWORKS)
def test_checkpoint(network, tmp_path):
  saved, restored = _build(network, seed=1), _build(network, seed=2)
  wrappers.sparsify(saved, sparsity=0.5)
  path = tf.train.Checkpoint(network=saved).write(str(tmp_path / 'saved'))
  tf.train.Checkpoint(network=restored).read(path).assert_consumed()
  assert len(saved.variables) == len(restored.variables)
  for old, new in zip(saved.variables, restored.variables):
    np.testing.assert_array_equal(old, new)


# --- Initial weights, as released


@pytest.mark.parametrize('network', [SAC_ACTOR, CRITIC])
def test_sac_is_initialized_as_released(network):
  made = _build(network)
  for kernel in _kernels(made).values():
    limit = np.sqrt(6 / sum(kernel.shape))
    assert 0.95 * limit < np.abs(kernel).max() <= limit
    np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.08)
  for bias in _biases(made).values():
    np.testing.assert_array_equal(bias, 0)


@pytest.mark.parametrize(
  'network,kwargs', [(TD3_ACTOR, {}), (CRITIC, AS_PYTORCH)]
)
def test_td3_is_initialized_as_released(network, kwargs):
  # Masks leave the range as it is: fan_in counts all incoming connections.
  made = _build(network, **kwargs)
  dense = _biases(made)
  wrappers.sparsify(made, sparsity=0.9, initializer=initializers.layer_default)
  fan_in = {'dense1': 8 if network is CRITIC else 5}
  for path, kernel in _kernels(made).items():
    limit = 1 / np.sqrt(fan_in.get(path, 256))
    active = kernel[kernel != 0]
    assert 0.9 * limit < np.abs(active).max() <= limit
    np.testing.assert_allclose(active.std(), limit / np.sqrt(3), rtol=0.12)
    bias = _biases(made)[path]
    np.testing.assert_array_equal(bias, dense[path])
    assert np.all(bias) and np.abs(bias).max() <= limit
    assert np.unique(bias).size == bias.size
    if bias.size > 3:
      assert np.abs(bias).max() > 0.95 * limit
      assert abs(bias.mean()) < 0.1 * limit
      np.testing.assert_allclose(bias.std(), limit / np.sqrt(3), rtol=0.08)


@pytest.mark.parametrize('network', [PPO_ACTOR, VALUE])
def test_ppo_is_initialized_as_released(network):
  made = _build(network)
  kernels = _kernels(made)
  kernel = kernels['dense1']
  np.testing.assert_allclose(kernel @ kernel.T, np.eye(5), atol=1e-5)
  kernel = kernels['dense2']
  np.testing.assert_allclose(kernel @ kernel.T, np.eye(64), atol=1e-5)
  kernel = kernels['output']
  if network is VALUE:
    assert 0.025 < np.abs(kernel).max() <= 0.03
  else:
    np.testing.assert_allclose(kernel.std(), np.sqrt(0.1 / 64), rtol=0.15)
    np.testing.assert_allclose(tf.nn.softplus(made.raw_std), 0.35, rtol=1e-6)
  for layer in wrappers.named_layers(made).values():
    np.testing.assert_array_equal(layer.bias, 0)


# --- Equality with TF-Agents' networks of the same weights


def _sac_actors():
  ours = _build(SAC_ACTOR, hidden_units=(16, 8))
  theirs = actor_distribution_network.ActorDistributionNetwork(
    OBSERVATION,
    ACTION,
    fc_layer_params=(16, 8),
    continuous_projection_net=(
      tanh_normal_projection_network.TanhNormalProjectionNetwork
    ),
  )
  theirs.create_variables()
  _randomize_biases(ours)
  _copy_weights(ours, theirs)
  return ours, theirs


def test_squashed_gaussian_actor_equals_tf_agents():
  ours, theirs = _sac_actors()
  observations, actions = _observations(), _actions()
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
  observations, seed = _observations(), tf.constant([1, 2])
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
  free = _build(SAC_ACTOR)
  bounded = _build(SAC_ACTOR, log_std_min=-0.1, log_std_max=0.05)
  mean, log_std = free.mean_and_log_std(_observations())
  bounded_mean, bounded_log_std = bounded.mean_and_log_std(_observations())
  np.testing.assert_array_equal(mean, bounded_mean)
  clipped = np.clip(log_std, np.float32(-0.1), np.float32(0.05))
  np.testing.assert_array_equal(bounded_log_std, clipped)
  assert not np.array_equal(log_std, clipped)


def _td3_actors():
  ours = _build(TD3_ACTOR, hidden_units=(16, 8))
  theirs = actor_network.ActorNetwork(
    OBSERVATION, ACTION, fc_layer_params=(16, 8)
  )
  theirs.create_variables()
  _copy_weights(ours, theirs)
  return ours, theirs


def test_deterministic_actor_equals_tf_agents():
  ours, theirs = _td3_actors()
  observations = 3 * _observations()
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
  for sign, end in ((-1, ACTION.minimum), (1, ACTION.maximum)):
    ours._output_layer.bias.assign(tf.fill((3,), 100.0 * sign))
    np.testing.assert_allclose(
      ours.actions(observations), np.tile(end, (7, 1)), atol=1e-6
    )


@pytest.mark.parametrize('outer', [(7,), (7, 1), (2, 3)])
def test_gaussian_actor_equals_tf_agents(outer):
  ours = _build(PPO_ACTOR, hidden_units=(16, 8))
  _randomize_biases(ours)
  theirs = ppo_actor_network.PPOActorNetwork().create_sequential_actor_net(
    (16, 8), ACTION
  )
  theirs.create_variables(OBSERVATION)
  for name, variable in zip(('dense1', 'dense2', 'output'), range(0, 6, 2)):
    layer = wrappers.named_layers(ours)[name]
    theirs.trainable_variables[variable].assign(layer.kernel)
    theirs.trainable_variables[variable + 1].assign(layer.bias)
  theirs.trainable_variables[6].assign(ours.raw_std)

  size = math.prod(outer)
  observations = tf.reshape(_observations(size), (*outer, 5))
  actions = tf.reshape(_actions(size), (*outer, 3))
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
  squashed = _build(PPO_ACTOR)
  free = _build(PPO_ACTOR, squash_mean=False)
  center = (ACTION.maximum + ACTION.minimum) / 2
  magnitude = (ACTION.maximum - ACTION.minimum) / 2
  np.testing.assert_allclose(
    squashed.mean_and_std(_observations())[0],
    center + magnitude * np.tanh(free.mean_and_std(_observations())[0]),
    rtol=1e-5,
    atol=1e-6,
  )


def test_critic_equals_tf_agents():
  ours = _build(CRITIC, hidden_units=(16, 8))
  theirs = critic_network.CriticNetwork(
    (OBSERVATION, ACTION), joint_fc_layer_params=(16, 8)
  )
  theirs.create_variables()
  _randomize_biases(ours)
  _copy_weights(ours, theirs)
  inputs = (_observations(), _actions())
  values, _ = ours(inputs)
  assert values.shape == (7,)
  np.testing.assert_allclose(values, theirs(inputs)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('outer', [(7,), (7, 1), (2, 3)])
@pytest.mark.parametrize('activation', ['relu', 'tanh'])
def test_value_network_equals_tf_agents(outer, activation):
  ours = _build(VALUE, hidden_units=(16, 8), activation=activation)
  theirs = value_network.ValueNetwork(
    OBSERVATION,
    fc_layer_params=(16, 8),
    activation_fn=getattr(tf.keras.activations, activation),
  )
  theirs.create_variables()
  _randomize_biases(ours)
  _copy_weights(ours, theirs)
  observations = tf.reshape(_observations(math.prod(outer)), (*outer, 5))
  values, _ = ours(observations)
  assert values.shape == outer
  np.testing.assert_allclose(
    values, theirs(observations)[0], rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize('shape', [(None, 5), (None, None, 5), (4, None, 5)])
def test_outer_dimensions_may_be_unknown(shape):
  value = _build(VALUE)
  function = tf.function(
    lambda x: value(x)[0], input_signature=[tf.TensorSpec(shape)]
  )
  outer = [size or 2 for size in shape[:-1]]
  x = tf.reshape(_observations(math.prod(outer)), (*outer, 5))
  np.testing.assert_allclose(function(x), value(x)[0], rtol=1e-5, atol=1e-6)
  assert function.get_concrete_function().output_shapes.rank == len(outer)


# --- Weight decay and sparsity


@pytest.mark.parametrize('network', NETWORKS)
def test_weight_decay_is_of_kernels_alone(network):
  assert not _build(network).losses
  made = _build(network, weight_decay=1e-3, weight_decay_factor=0.5)
  _randomize_biases(made)
  squares = sum(np.sum(kernel**2) for kernel in _kernels(made).values())
  assert made.l2_coefficient == 5e-4
  np.testing.assert_allclose(tf.add_n(made.losses), 5e-4 * squares, rtol=1e-5)


@pytest.mark.parametrize('network', NETWORKS)
def test_sparsify_counts_exactly(network):
  made = _build(network)
  layers = wrappers.sparsify(
    made, sparsity=0.8, algorithm=algorithms.RigL(), keep_dense=('output',)
  )
  assert [layer.name for layer in layers] == ['dense1', 'dense2']
  shapes = {path: kernel.shape for path, kernel in _kernels(made).items()}
  shapes.pop('output')
  sparsities = distributions.erdos_renyi_kernel(shapes, 0.8)
  for layer in layers:
    zeros = layer.mask.numpy().size - int(tf.reduce_sum(layer.mask))
    size = math.prod(shapes[layer.name])
    assert zeros == distributions.num_zeros(size, sparsities[layer.name])
    off = layer.kernel.numpy()[layer.mask.numpy() == 0]
    np.testing.assert_array_equal(off, 0)
  assert np.all(_kernels(made)['output'] != 0)


# --- Stock agents


def _sac(actor, critic, **kwargs):
  def optimizer():
    return tf.keras.optimizers.legacy.Adam(3e-4)

  agent = sac_agent.SacAgent(
    ts.time_step_spec(OBSERVATION),
    ACTION,
    critic_network=critic,
    actor_network=actor,
    actor_optimizer=optimizer(),
    critic_optimizer=optimizer(),
    alpha_optimizer=optimizer(),
    target_update_tau=0.005,
    gamma=0.99,
    **kwargs,
  )
  agent.initialize()
  return agent


def _pairs(batch):
  """Two steps from each of `batch` episodes."""
  ones = tf.ones((batch, 2))
  steps = tf.ones((batch, 2), tf.int32)
  return trajectory.Trajectory(
    step_type=steps,
    observation=tf.stack([_observations(batch), _observations(batch, 3)], 1),
    action=tf.stack([_actions(batch), _actions(batch, 4)], 1),
    policy_info=(),
    next_step_type=steps,
    reward=ones,
    discount=ones,
  )


def test_stock_sac_agent_trains():
  actor = _build(SAC_ACTOR, hidden_units=(16, 8), weight_decay=1e-4)
  critic = _make(CRITIC, hidden_units=(16, 8), weight_decay=1e-4)
  agent = _sac(actor, critic)
  first, second = agent._critic_network_1, agent._critic_network_2
  targets = agent._target_critic_network_1, agent._target_critic_network_2
  for path, kernel in _kernels(first).items():
    assert not np.array_equal(kernel, _kernels(second)[path])  # No twins.
  for online, target in zip((first, second), targets):
    for path, kernel in _kernels(online).items():
      np.testing.assert_array_equal(kernel, _kernels(target)[path])

  networks = (actor, first, second, *targets)
  before = [_kernels(network) for network in networks]
  loss = agent.train(_pairs(16))
  assert np.isfinite(loss.loss)
  for network, kernels in zip(networks, before):
    for path, kernel in _kernels(network).items():
      assert not np.array_equal(kernel, kernels[path])


def test_actor_policy_acts():
  actor = _build(SAC_ACTOR)
  policy = actor_policy.ActorPolicy(
    ts.time_step_spec(OBSERVATION), ACTION, actor
  )
  time_step = ts.restart(_observations(), batch_size=7)
  actions = policy.action(time_step).action
  assert np.all(actions >= ACTION.minimum) and np.all(actions <= ACTION.maximum)
  greedy = greedy_policy.GreedyPolicy(policy).action(time_step).action
  mean, _ = actor.mean_and_log_std(_observations())
  center = (ACTION.maximum + ACTION.minimum) / 2
  np.testing.assert_allclose(
    greedy, center + (ACTION.maximum - center) * np.tanh(mean), rtol=1e-5
  )


def _td3(actor, critic, **kwargs):
  def optimizer():
    return tf.keras.optimizers.legacy.Adam(1e-3)

  agent = td3_agent.Td3Agent(
    ts.time_step_spec(OBSERVATION),
    ACTION,
    actor_network=actor,
    critic_network=critic,
    actor_optimizer=optimizer(),
    critic_optimizer=optimizer(),
    target_update_tau=0.005,
    gamma=0.99,
    **kwargs,
  )
  agent.initialize()
  return agent


def test_stock_td3_agent_trains():
  actor = _make(TD3_ACTOR, hidden_units=(16, 8))
  critic = _make(CRITIC, hidden_units=(16, 8), **AS_PYTORCH)
  agent = _td3(actor, critic)
  assert actor.create_variables() == tf.TensorSpec((3,), tf.float32)
  first, second = agent._critic_network_1, agent._critic_network_2
  for path, kernel in _kernels(first).items():
    assert not np.array_equal(kernel, _kernels(second)[path])  # No twins.
    assert not np.array_equal(_biases(first)[path], _biases(second)[path])
  pairs = [
    (actor, agent._target_actor_network),
    (first, agent._target_critic_network_1),
    (second, agent._target_critic_network_2),
  ]
  for online, target in pairs:
    for variable, copy in zip(online.variables, target.variables):
      np.testing.assert_array_equal(variable, copy)

  networks = [network for pair in pairs for network in pair]
  before = [_kernels(network) for network in networks]
  loss = agent.train(_pairs(16))
  assert np.isfinite(loss.loss)
  for network, kernels in zip(networks, before):
    for path, kernel in _kernels(network).items():
      assert not np.array_equal(kernel, kernels[path])


def test_td3_policies_act():
  actor = _build(TD3_ACTOR)
  agent = _td3(actor, _make(CRITIC), exploration_noise_std=0.1)
  time_step = ts.restart(_observations(), batch_size=7)
  expected = actor.actions(_observations())
  greedy = agent.policy.action(time_step).action
  np.testing.assert_allclose(greedy, expected, rtol=1e-6, atol=1e-7)
  explored = agent.collect_policy.action(time_step).action
  assert not np.any(explored == greedy)
  # At the end of its range, exploration does not carry an action beyond.
  actor._output_layer.bias.assign(tf.fill((3,), 100.0))
  actions = agent.collect_policy.action(time_step).action
  assert np.all(actions >= ACTION.minimum) and np.all(actions <= ACTION.maximum)


def _ppo(actor, value, **kwargs):
  agent = ppo_clip_agent.PPOClipAgent(
    ts.time_step_spec(OBSERVATION),
    ACTION,
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
  actor = _make(PPO_ACTOR, hidden_units=(16, 8))
  value = _make(VALUE, hidden_units=(16, 8))
  agent = _ppo(actor, value)
  experience = _collect(agent, 21)
  agent.update_observation_normalizer(experience.observation)
  processed = agent.preprocess_sequence(experience)
  # A minibatch, as PPOLearner makes it: (minibatch, 1, ...).
  minibatch = tf.nest.map_structure(
    lambda x: tf.expand_dims(x[0, :16], 1), processed
  )
  before = _kernels(actor), _kernels(value)
  raw_std = actor.raw_std.numpy()
  loss = agent.train(minibatch)
  assert np.isfinite(loss.loss)
  for network, kernels in zip((actor, value), before):
    for path, kernel in _kernels(network).items():
      assert not np.array_equal(kernel, kernels[path])
  assert np.all(actor.raw_std != raw_std)


def test_ppo_rebuilds_the_distribution_from_its_parameters():
  actor = _build(PPO_ACTOR)
  distribution, _ = actor(_observations())
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
    rebuilt.log_prob(_actions()), distribution.log_prob(_actions())
  )


def test_l2_coefficient_gives_ppo_the_same_weight_decay():
  actor = _build(PPO_ACTOR, weight_decay=1e-2)
  value = _build(VALUE, weight_decay=1e-3)
  agent = _ppo(
    actor,
    value,
    policy_l2_reg=actor.l2_coefficient,
    value_function_l2_reg=value.l2_coefficient,
  )
  _randomize_biases(actor)
  _randomize_biases(value)
  np.testing.assert_allclose(
    agent.l2_regularization_loss(),
    tf.add_n(actor.losses) + tf.add_n(value.losses),
    rtol=1e-5,
  )


# --- Mistakes


def _line(error):
  """The message, less the lines in which gin says where it was."""
  return str(error.value).partition('\n')[0]


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize(
  'binding,value',
  [
    ('width', 0),
    ('width', 'wide'),
    ('width', (1.0, -1.0)),
    ('weight_decay', -1e-4),
    ('weight_decay_factor', float('nan')),
    ('hidden_units', 256),
    ('hidden_units', (256, 0)),
    ('hidden_units', (2.5,)),
    ('activation', 'gelu'),
    ('kernel_initializer', 'zeros'),
    ('output_initializer', tf.keras.initializers.Zeros()),
    ('bias_initializer', None),
  ],
)
def test_bad_bindings(network, binding, value):
  with pytest.raises(UserError) as error:
    _make(network, **{binding: value})
  message = _line(error)
  assert f'{network.__name__}.{binding}' in message
  offending = value[-1] if isinstance(value, tuple) else value
  assert repr(offending) in message and 'must be' in message
  assert ('actor_critic.ValueNetwork' in message) == (network is VALUE)


@pytest.mark.parametrize(
  'network,kwargs,words',
  [
    (SAC_ACTOR, {'log_std_min': 'low'}, ('log_std_min', "'low'")),
    (SAC_ACTOR, {'log_std_max': True}, ('log_std_max', 'True')),
    (
      SAC_ACTOR,
      {'log_std_min': 2, 'log_std_max': -20},
      ('log_std_min is 2', '-20'),
    ),
    (PPO_ACTOR, {'initial_std': 0}, ('initial_std is 0', 'above 0')),
  ],
)
def test_bad_bindings_of_one_network(network, kwargs, words):
  with pytest.raises(UserError) as error:
    _make(network, **kwargs)
  for word in (network.__name__, *words):
    assert word in _line(error)


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize(
  'binding,value,allowed',
  [
    ('kernel_initializer', sparse_layers.fan_in_uniform_biases, 'of seed,'),
    ('output_initializer', sparse_layers.zero_biases, 'of seed,'),
    ('bias_initializer', sparse_layers.fan_in_uniform, 'of seed and fan_in'),
  ],
)
def test_initializers_of_kernels_and_biases_are_told_apart(
  network, binding, value, allowed
):
  with pytest.raises(UserError) as error:
    _make(network, **{binding: value})
  line = _line(error)
  assert f'{network.__name__}.{binding} is @{value.__name__}, but' in line
  assert allowed in line


def test_bad_initializer():
  with pytest.raises(UserError) as error:
    sparse_layers.variance_scaling(seed=0, mode='fan')
  for word in ('variance_scaling', "'fan'", 'fan_in'):
    assert word in _line(error)


def test_specs_of_other_kinds_are_refused():
  image = tf.TensorSpec((8, 8, 3), tf.float32)
  with pytest.raises(ValueError, match='vectors'):
    _make(VALUE, observation=image)
  with pytest.raises(ValueError, match='vectors'):
    _make(TD3_ACTOR, action=(ACTION, ACTION))
  with pytest.raises(ValueError, match='vectors'):
    _make(CRITIC, observation={'a': OBSERVATION})
