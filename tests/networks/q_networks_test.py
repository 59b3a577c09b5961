"""Tests of the Q-networks: shapes, widths, seeds, weight decay."""

import math

import gin
import numpy as np
import pytest
import tensorflow as tf

from helpers import small_models
from rigl_rl.errors import UserError
from rigl_rl.networks import q_networks, widths
from rigl_rl.sparsity import wrappers

# Network, observation shape, stack size, number of actions.
NETWORKS = (
  (q_networks.MLPQNetwork, (4,), 1, 2),
  (q_networks.NatureQNetwork, (84, 84), 4, 6),
  (q_networks.ImpalaQNetwork, (84, 84), 4, 9),
)
SMALL_NETWORKS = (
  (q_networks.MLPQNetwork, (4,), 1, 2),
  (q_networks.NatureQNetwork, (20, 21), 4, 6),
  (q_networks.ImpalaQNetwork, (20, 21), 4, 9),
)


def _build(network, observation_shape, stack_size, num_actions, seed=0, **kw):
  model = network(num_actions=num_actions, seed=seed, **kw)
  return small_models.built(model, *observation_shape, stack_size)


def _shapes(model):
  return {
    path: tuple(layer.kernel.shape)
    for path, layer in wrappers.named_layers(model).items()
  }


@pytest.mark.parametrize(
  'case,num_weights', zip(NETWORKS, (265216, 4045824, 4357760))
)
def test_number_of_weights(case, num_weights):
  shapes = _shapes(_build(*case))
  assert sum(math.prod(shape) for shape in shapes.values()) == num_weights


@pytest.mark.parametrize('case', SMALL_NETWORKS)
@pytest.mark.parametrize('width', [1.0, 0.3, 0.01, 1.7])
def test_layer_shapes_are_those_of_the_built_network(case, width):
  model = _build(*case, width=width)
  expected = model.layer_shapes((*case[1], case[2]))
  assert list(_shapes(model).items()) == list(expected.items())
  assert sum(
    math.prod(v.shape) for v in model.trainable_variables
  ) == widths.num_parameters(expected)


def test_paths_tell_the_layer():
  shapes = _shapes(_build(*SMALL_NETWORKS[2]))
  assert list(shapes)[:4] == [
    'stack1/conv',
    'stack1/block1/conv1',
    'stack1/block1/conv2',
    'stack1/block2/conv1',
  ]
  assert list(shapes)[-2:] == ['dense1', 'output']
  assert len(shapes) == 17


def test_width_rules_of_the_released_code():
  mlp = q_networks.MLPQNetwork(2, 0, width=0.999)
  nature = q_networks.NatureQNetwork(2, 0, width=0.999)
  # Rounded down, but to 1 at least; rounded up.
  assert mlp.layer_shapes((4, 1))['dense2'] == (511, 511)
  assert mlp.layer_shapes((4, 1), 1e-6)['dense2'] == (1, 1)
  assert nature.layer_shapes((84, 84, 4))['output'] == (512, 2)


@pytest.mark.parametrize('case', SMALL_NETWORKS)
def test_q_values(case):
  network, observation_shape, stack_size, num_actions = case
  model = _build(*case)
  states = np.random.default_rng(0).integers(
    0, 256, (3, *observation_shape, stack_size), dtype=np.uint8
  )
  q_values = model(states)
  assert q_values.shape == (3, num_actions)
  assert q_values.dtype == tf.float32
  np.testing.assert_allclose(
    tf.function(model)(states), q_values, rtol=1e-4, atol=1e-5
  )
  assert np.std(q_values, axis=0).min() > 0


def test_mlp_by_hand():
  model = _build(
    q_networks.MLPQNetwork, (2,), 1, 2, hidden_units=(2, 2), seed=5
  )
  layers = list(wrappers.named_layers(model).values())
  kernels = ([[1, -1], [2, 0]], [[1, 1], [0, 1]], [[1, 0], [0, -1]])
  for layer, kernel in zip(layers, kernels):
    layer.kernel.assign(kernel)
  # relu((3, 1) k) = (5, 0); then (5, 5); then (5, -5), and the bias of -0.2.
  np.testing.assert_allclose(model(np.array([[[3], [1]]])), [[4.8, -5.2]])


def test_mlp_initialization_as_released():
  layers = wrappers.named_layers(_build(*NETWORKS[0]))
  hidden = layers['dense2'].kernel.numpy()
  np.testing.assert_allclose(hidden.std(), np.sqrt(2 / 512), rtol=0.02)
  # Keras truncates at two standard deviations, and corrects for it.
  assert np.abs(hidden).max() <= 2 * np.sqrt(2 / 512) / 0.8796 + 1e-6
  output = layers['output'].kernel.numpy()
  assert 0.029 < np.abs(output).max() <= 0.03
  np.testing.assert_allclose(layers['output'].bias, -0.2)
  np.testing.assert_array_equal(layers['dense1'].bias, 0)


def test_pixels_are_scaled():
  model = _build(*SMALL_NETWORKS[1])
  states = np.random.default_rng(0).integers(0, 256, (2, 20, 21, 4))
  layers = wrappers.named_layers(model)
  x = states / np.float32(255)
  for name in ('conv1', 'conv2', 'conv3'):
    x = layers[name](x)
  x = layers['output'](layers['dense1'](tf.reshape(x, (2, -1))))
  np.testing.assert_allclose(model(states), x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('case', SMALL_NETWORKS[1:])
def test_an_image_may_have_channels_beside_the_stack(case):
  network, (height, width), stack_size, num_actions = case
  plain = _build(*case)
  channel = _build(network, (height, width, 1), stack_size, num_actions)
  states = np.random.default_rng(0).integers(0, 256, (3, height, width, 4))
  assert plain.layer_shapes((height, width, 4)) == channel.layer_shapes(
    (height, width, 1, 4)
  )
  np.testing.assert_array_equal(
    plain(states), channel(states[:, :, :, np.newaxis])
  )
  colors = _build(network, (height, width, 3), stack_size, num_actions)
  assert list(_shapes(colors).values())[0][2] == 12


def test_impala_block_is_residual():
  model = _build(*SMALL_NETWORKS[2])
  for path, layer in wrappers.named_layers(model).items():
    if 'block' in path:
      layer.kernel.assign(tf.zeros_like(layer.kernel))
  # With silent blocks, only conv and pool remain, three times.
  layers = wrappers.named_layers(model)
  states = np.random.default_rng(0).integers(0, 256, (2, 20, 21, 4))
  x = states / np.float32(255)
  for stack in ('stack1', 'stack2', 'stack3'):
    x = tf.nn.max_pool2d(layers[f'{stack}/conv'](x), 3, 2, 'SAME')
  x = tf.reshape(tf.nn.relu(x), (2, -1))
  x = layers['output'](layers['dense1'](x))
  np.testing.assert_allclose(model(states), x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('case', SMALL_NETWORKS)
def test_seed_decides_all_initial_weights(case):
  tf.random.set_seed(1)
  first = _build(*case, seed=3)
  tf.random.set_seed(2)
  tf.random.uniform((3,))
  same, other = _build(*case, seed=3), _build(*case, seed=4)
  kernels = []
  for path, layer in wrappers.named_layers(first).items():
    kernel = layer.kernel.numpy()
    kernels.append(kernel)
    np.testing.assert_array_equal(
      kernel, wrappers.named_layers(same)[path].kernel
    )
    assert not np.array_equal(kernel, wrappers.named_layers(other)[path].kernel)
  # Layers of one shape are no twins.
  for i, kernel in enumerate(kernels):
    for later in kernels[i + 1 :]:
      assert not np.array_equal(kernel, later)


@pytest.mark.parametrize('case,factor', zip(SMALL_NETWORKS, (1.0, 0.5, 0.5)))
@pytest.mark.parametrize('decay_output', [None, False, True])
def test_weight_decay_applies_to_kernels_only(case, factor, decay_output):
  chosen = {} if decay_output is None else {'decay_output': decay_output}
  model = _build(*case, weight_decay=1e-3, **chosen)
  for layer in wrappers.named_layers(model).values():
    layer.bias.assign(tf.ones_like(layer.bias))
  *hidden, output = wrappers.named_layers(model).values()
  if decay_output is None:  # As released: all kernels, only on Atari.
    decay_output = case[0] is not q_networks.MLPQNetwork
  layers = [*hidden, output] if decay_output else hidden
  squares = sum(float(tf.reduce_sum(layer.kernel**2)) for layer in layers)
  np.testing.assert_allclose(
    tf.add_n(model.losses), 1e-3 * factor * squares, rtol=1e-5
  )


@pytest.mark.parametrize('case', SMALL_NETWORKS)
def test_no_weight_decay_costs_nothing(case):
  assert not _build(*case).losses


def test_weight_decay_factor():
  case = SMALL_NETWORKS[0]
  half = _build(*case, weight_decay=1e-3, weight_decay_factor=0.5)
  full = _build(*case, weight_decay=1e-3)
  np.testing.assert_allclose(
    2 * tf.add_n(half.losses), tf.add_n(full.losses), rtol=1e-6
  )


@pytest.mark.parametrize('width', [0, -1.0, 'wide', float('nan'), True, (1, 0)])
@pytest.mark.parametrize('network', [case[0] for case in NETWORKS])
def test_width_out_of_range(network, width):
  with pytest.raises(UserError, match=r'\.width is .*, but must be'):
    network(2, 0, width=width)


def test_other_values_out_of_range():
  with pytest.raises(UserError, match='NatureQNetwork.weight_decay is -1'):
    q_networks.NatureQNetwork(2, 0, weight_decay=-1)
  with pytest.raises(UserError, match='ImpalaQNetwork.dense_units is 0'):
    q_networks.ImpalaQNetwork(2, 0, dense_units=0)
  with pytest.raises(
    UserError, match=r'MLPQNetwork.hidden_units is \(512, 2.5\)'
  ):
    q_networks.MLPQNetwork(2, 0, hidden_units=(512, 2.5))


def test_matched_width_is_bound_by_gin():
  with gin.unlock_config():
    gin.parse_config("""
        WIDTH = @matched_width
        matched_width.sparsity = 0.9
        MLPQNetwork.width = %WIDTH
    """)
  try:
    model = _build(*NETWORKS[0])
  finally:
    gin.clear_config()
  assert model.width == 0.317
  parameters = sum(math.prod(v.shape) for v in model.trainable_variables)
  sparse_parameters = 265216 // 10 + 1 + 1026
  assert model.size_mismatch == parameters / sparse_parameters - 1
