"""Actors, critics and value networks equal TF-Agents', and serve its agents."""

import json
import math

import gin
import numpy as np
import pytest
import tensorflow as tf
from tf_agents.specs import tensor_spec

from helpers import actor_critics
from rigl_rl.errors import UserError
from rigl_rl.networks import sparse_layers, widths
from rigl_rl.sparsity import algorithms, distributions, initializers, wrappers

HALF_CHEETAH = (
  tf.TensorSpec((17,), tf.float32),
  tensor_spec.BoundedTensorSpec((6,), tf.float32, -1.0, 1.0),
)


NETWORKS = (
  actor_critics.SAC_ACTOR,
  actor_critics.PPO_ACTOR,
  actor_critics.TD3_ACTOR,
  actor_critics.CRITIC,
  actor_critics.VALUE,
)


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('width', [1.0, 0.3, 1e-6, 1.7])
def test_layer_shapes_are_those_of_the_built_network(network, width):
  unbuilt = actor_critics.make(network, width=width)
  expected = unbuilt.layer_shapes()
  assert not unbuilt.built
  built = actor_critics.build(network, width=width)
  shapes = {
    path: kernel.shape for path, kernel in actor_critics.kernels(built).items()
  }
  assert list(shapes.items()) == list(expected.items())
  assert list(shapes) == ['dense1', 'dense2', 'output']
  weights = sum(math.prod(v.shape) for v in built.trainable_variables)
  extra = (
    3 if network is actor_critics.PPO_ACTOR else 0
  )  # One standard deviation an action.
  assert weights == widths.num_parameters(expected) + extra
  assert all(
    isinstance(layer, wrappers.SparseWrapper)
    for layer in wrappers.named_layers(built).values()
  )


def test_width_scales_hidden_layers_as_released():
  # Rounded down, but to 1 at least.
  assert actor_critics.make(
    actor_critics.CRITIC, width=0.999
  ).layer_shapes() == {
    'dense1': (8, 255),
    'dense2': (255, 255),
    'output': (255, 1),
  }


def test_actor_share_of_the_weights_of_sac_on_half_cheetah():
  def size(network):
    shapes = actor_critics.make(network, *HALF_CHEETAH).layer_shapes()
    return sum(math.prod(shape) for shape in shapes.values())

  assert (
    size(actor_critics.TD3_ACTOR) + 2 * size(actor_critics.CRITIC) == 214784
  )  # Sokar et al. (2022).
  actor, critic = size(actor_critics.SAC_ACTOR), size(actor_critics.CRITIC)
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
    made = actor_critics.make(network, *HALF_CHEETAH)
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
    actor, ppo_actor, td3_actor, critic, value = map(
      actor_critics.build, NETWORKS
    )
    again = actor.copy(name='again')
    again.create_variables()
  finally:
    gin.clear_config()
  for network in (actor, again):
    kernels = actor_critics.kernels(network)
    assert list(kernels) == ['dense1', 'dense2', 'dense3', 'output']
    kernel = kernels['dense2']
    np.testing.assert_allclose(kernel @ kernel.T, 4 * np.eye(4), atol=1e-5)
    assert network.log_std_range == (None, 2)
  assert np.abs(actor_critics.kernels(ppo_actor)['output']).max() <= 1e-4
  np.testing.assert_allclose(
    ppo_actor.mean_and_std(actor_critics.observations())[1], 1, rtol=1e-6
  )
  assert not any(
    np.any(bias) for bias in actor_critics.biases(td3_actor).values()
  )
  assert all(np.all(bias) for bias in actor_critics.biases(critic).values())
  assert critic.l2_coefficient == 0.5
  assert value.activation == 'tanh'


@pytest.mark.parametrize('network', NETWORKS)
def test_seed_decides_all_initial_weights(network):
  tf.random.set_seed(1)
  first = actor_critics.kernels(actor_critics.build(network, seed=3))
  tf.random.set_seed(2)
  tf.random.uniform((3,))
  same, other = (
    actor_critics.kernels(actor_critics.build(network, seed=seed))
    for seed in (3, 4)
  )
  for path, kernel in first.items():
    np.testing.assert_array_equal(kernel, same[path])
    assert not np.array_equal(kernel, other[path])


@pytest.mark.parametrize('network', NETWORKS)
def test_copy_keeps_the_structure_and_draws_other_weights(network):
  original = actor_critics.build(
    network, width=0.3, hidden_units=(9, 8), weight_decay=0.1
  )
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
  one, two, same = map(actor_critics.kernels, copies)
  for path, kernel in actor_critics.kernels(original).items():
    assert not np.array_equal(kernel, one[path])
    assert not np.array_equal(two[path], one[path])
    np.testing.assert_array_equal(same[path], one[path])
  again = original.copy(seed=0)
  again.create_variables()
  fresh = actor_critics.build(network, width=0.3, hidden_units=(9, 8))
  for path, kernel in actor_critics.kernels(fresh).items():
    np.testing.assert_array_equal(kernel, actor_critics.kernels(again)[path])


@pytest.mark.parametrize('network', NETWORKS)
def test_biases_have_seeds_of_their_own(network):
  def build(seed=3, **kwargs):
    return actor_critics.build(
      network, seed=seed, hidden_units=(16, 16), **kwargs
    )

  first = build(bias_initializer=sparse_layers.fan_in_uniform_biases)
  copies = [
    build(bias_initializer=sparse_layers.fan_in_uniform_biases),
    build(seed=4, bias_initializer=sparse_layers.fan_in_uniform_biases),
    first.copy(name='copy'),
  ]
  copies[-1].create_variables()
  same, other, copy = map(actor_critics.biases, copies)
  biases = actor_critics.biases(first)
  for path, bias in biases.items():
    np.testing.assert_array_equal(bias, same[path])
    assert not np.any(bias == other[path]) and not np.any(bias == copy[path])
  # dense2 and output would otherwise begin alike: their fan-in is the same.
  size = biases['output'].size
  assert not np.any(biases['dense2'][:size] == biases['output'])
  # Kernels do not depend on how biases are drawn.
  zero = build(bias_initializer=sparse_layers.zero_biases)
  for path, kernel in actor_critics.kernels(zero).items():
    np.testing.assert_array_equal(kernel, actor_critics.kernels(first)[path])
    np.testing.assert_array_equal(actor_critics.biases(zero)[path], 0)


def test_layers_are_copied_with_the_initializer_of_their_bias():
  made = actor_critics.build(actor_critics.TD3_ACTOR)
  for layer in wrappers.named_layers(made).values():
    config = json.loads(json.dumps(layer.get_config()))
    copy = wrappers.SparseWrapper.from_config(config)
    copy.build((None, layer.kernel.shape[0]))
    np.testing.assert_array_equal(copy.kernel, layer.kernel)
    np.testing.assert_array_equal(copy.bias, layer.bias)


@pytest.mark.parametrize('network', NETWORKS)
def test_checkpoint(network, tmp_path):
  saved, restored = (
    actor_critics.build(network, seed=1),
    actor_critics.build(network, seed=2),
  )
  wrappers.sparsify(saved, sparsity=0.5)
  path = tf.train.Checkpoint(network=saved).write(str(tmp_path / 'saved'))
  tf.train.Checkpoint(network=restored).read(path).assert_consumed()
  assert len(saved.variables) == len(restored.variables)
  for old, new in zip(saved.variables, restored.variables):
    np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
  'network', [actor_critics.SAC_ACTOR, actor_critics.CRITIC]
)
def test_sac_is_initialized_as_released(network):
  made = actor_critics.build(network)
  for kernel in actor_critics.kernels(made).values():
    limit = np.sqrt(6 / sum(kernel.shape))
    assert 0.95 * limit < np.abs(kernel).max() <= limit
    np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.08)
  for bias in actor_critics.biases(made).values():
    np.testing.assert_array_equal(bias, 0)


@pytest.mark.parametrize(
  'network,kwargs',
  [
    (actor_critics.TD3_ACTOR, {}),
    (actor_critics.CRITIC, actor_critics.AS_PYTORCH),
  ],
)
def test_td3_is_initialized_as_released(network, kwargs):
  # Masks do not change the range: fan_in counts all incoming connections.
  made = actor_critics.build(network, **kwargs)
  dense = actor_critics.biases(made)
  wrappers.sparsify(made, sparsity=0.9, initializer=initializers.layer_default)
  fan_in = {'dense1': 8 if network is actor_critics.CRITIC else 5}
  for path, kernel in actor_critics.kernels(made).items():
    limit = 1 / np.sqrt(fan_in.get(path, 256))
    active = kernel[kernel != 0]
    assert 0.9 * limit < np.abs(active).max() <= limit
    np.testing.assert_allclose(active.std(), limit / np.sqrt(3), rtol=0.12)
    bias = actor_critics.biases(made)[path]
    np.testing.assert_array_equal(bias, dense[path])
    assert np.all(bias) and np.abs(bias).max() <= limit
    assert np.unique(bias).size == bias.size
    if bias.size > 3:
      assert np.abs(bias).max() > 0.95 * limit
      assert abs(bias.mean()) < 0.1 * limit
      np.testing.assert_allclose(bias.std(), limit / np.sqrt(3), rtol=0.08)


@pytest.mark.parametrize(
  'network', [actor_critics.PPO_ACTOR, actor_critics.VALUE]
)
def test_ppo_is_initialized_as_released(network):
  made = actor_critics.build(network)
  kernels = actor_critics.kernels(made)
  kernel = kernels['dense1']
  np.testing.assert_allclose(kernel @ kernel.T, np.eye(5), atol=1e-5)
  kernel = kernels['dense2']
  np.testing.assert_allclose(kernel @ kernel.T, np.eye(64), atol=1e-5)
  kernel = kernels['output']
  if network is actor_critics.VALUE:
    assert 0.025 < np.abs(kernel).max() <= 0.03
  else:
    np.testing.assert_allclose(kernel.std(), np.sqrt(0.1 / 64), rtol=0.15)
    np.testing.assert_allclose(tf.nn.softplus(made.raw_std), 0.35, rtol=1e-6)
  for layer in wrappers.named_layers(made).values():
    np.testing.assert_array_equal(layer.bias, 0)


@pytest.mark.parametrize('network', NETWORKS)
def test_weight_decay_applies_to_kernels_only(network):
  assert not actor_critics.build(network).losses
  made = actor_critics.build(
    network, weight_decay=1e-3, weight_decay_factor=0.5
  )
  actor_critics.randomize_biases(made)
  squares = sum(
    np.sum(kernel**2) for kernel in actor_critics.kernels(made).values()
  )
  assert made.l2_coefficient == 5e-4
  np.testing.assert_allclose(tf.add_n(made.losses), 5e-4 * squares, rtol=1e-5)


@pytest.mark.parametrize('network', NETWORKS)
def test_sparsify_counts_exactly(network):
  made = actor_critics.build(network)
  layers = wrappers.sparsify(
    made, sparsity=0.8, algorithm=algorithms.RigL(), keep_dense=('output',)
  )
  assert [layer.name for layer in layers] == ['dense1', 'dense2']
  shapes = {
    path: kernel.shape for path, kernel in actor_critics.kernels(made).items()
  }
  shapes.pop('output')
  sparsities = distributions.erdos_renyi_kernel(shapes, 0.8)
  for layer in layers:
    zeros = layer.mask.numpy().size - int(tf.reduce_sum(layer.mask))
    size = math.prod(shapes[layer.name])
    assert zeros == distributions.num_zeros(size, sparsities[layer.name])
    off = layer.kernel.numpy()[layer.mask.numpy() == 0]
    np.testing.assert_array_equal(off, 0)
  assert np.all(actor_critics.kernels(made)['output'] != 0)


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
    actor_critics.make(network, **{binding: value})
  message = _line(error)
  assert f'{network.__name__}.{binding}' in message
  offending = value[-1] if isinstance(value, tuple) else value
  assert repr(offending) in message and 'must be' in message
  assert ('actor_critic.ValueNetwork' in message) == (
    network is actor_critics.VALUE
  )


@pytest.mark.parametrize(
  'network,kwargs,words',
  [
    (actor_critics.SAC_ACTOR, {'log_std_min': 'low'}, ('log_std_min', "'low'")),
    (actor_critics.SAC_ACTOR, {'log_std_max': True}, ('log_std_max', 'True')),
    (
      actor_critics.SAC_ACTOR,
      {'log_std_min': 2, 'log_std_max': -20},
      ('log_std_min is 2', '-20'),
    ),
    (
      actor_critics.PPO_ACTOR,
      {'initial_std': 0},
      ('initial_std is 0', 'above 0'),
    ),
  ],
)
def test_bad_bindings_of_one_network(network, kwargs, words):
  with pytest.raises(UserError) as error:
    actor_critics.make(network, **kwargs)
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
    actor_critics.make(network, **{binding: value})
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
    actor_critics.make(actor_critics.VALUE, observation=image)
  with pytest.raises(ValueError, match='vectors'):
    actor_critics.make(
      actor_critics.TD3_ACTOR,
      action=(actor_critics.ACTION, actor_critics.ACTION),
    )
  with pytest.raises(ValueError, match='vectors'):
    actor_critics.make(
      actor_critics.CRITIC, observation={'a': actor_critics.OBSERVATION}
    )
