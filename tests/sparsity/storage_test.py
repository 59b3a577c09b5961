"""What layers compute that are stored sparsely."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from helpers import stored_layers
from rigl_rl.kernels import loader
from rigl_rl.sparsity import sparse_kernel, step_plan, wrappers

pytestmark = pytest.mark.usefixtures('kernels')


def _twins(inputs=7, units=5, **arguments):
  """Two built layers that are alike, the second one stored sparsely."""
  twins = []
  for _ in range(2):
    arguments.setdefault(
      'bias_initializer', tf.keras.initializers.RandomNormal(seed=4)
    )
    layer = tf.keras.layers.Dense(
      units,
      kernel_initializer=tf.keras.initializers.RandomNormal(seed=3),
      **arguments,
    )
    twins.append(wrappers.SparseWrapper(layer, sparsity=0.6, seed=1))
    twins[-1].build((None, inputs))
  twins[1].store_sparsely()
  return twins


def _names(variables):
  return [variable.name.rsplit('/')[-1] for variable in variables]


def test_what_is_stored_stays():
  masked, sparse = _twins()
  active = int(np.sum(masked.mask))
  assert active == 14
  np.testing.assert_array_equal(sparse.kernel, masked.kernel)
  np.testing.assert_array_equal(sparse.mask, masked.mask)
  assert sparse.bias is sparse.layer.bias
  assert sparse.kernel_shape == masked.kernel_shape == (7, 5)
  assert sparse.trained_kernel is sparse.storage.trained
  assert sparse.trained_kernel.shape == (active,)
  assert masked.trained_kernel is masked.kernel
  assert (masked.storage.name, sparse.storage.name) == ('masked', 'sparse')


@pytest.mark.parametrize('use_bias', [True, False])
def test_variables_keep_their_places(use_bias):
  masked, sparse = _twins(use_bias=use_bias)
  bias = ['bias:0'] if use_bias else []
  assert _names(masked.weights) == ['kernel:0', *bias, 'mask:0']
  assert _names(sparse.weights) == ['kernel:0', *bias, 'kernel_structure:0']
  assert _names(sparse.trainable_variables) == ['kernel:0', *bias]
  assert _names(sparse.non_trainable_variables) == ['kernel_structure:0']
  for variable, other in zip(masked.weights, sparse.weights):
    assert variable.trainable == other.trainable
    np.testing.assert_array_equal(
      sparse_kernel.read(variable), sparse_kernel.read(other)
    )
  assert sparse.trainable_variables[0] is sparse.storage.trained
  # Nothing holds the kernel, or the mask, any more.
  assert all(np.size(variable) < 35 for variable in sparse.trainable_variables)


@pytest.mark.parametrize('activation', [None, 'relu', 'tanh', 'linear'])
@pytest.mark.parametrize('use_bias', [True, False])
@pytest.mark.parametrize('shape', [(6, 7), (2, 3, 7)], ids=str)
def test_call(activation, use_bias, shape):
  masked, sparse = _twins(activation=activation, use_bias=use_bias)
  x = tf.constant(stored_layers.examples(*shape))
  found = []
  for layer in (masked, sparse):
    with tf.GradientTape() as tape:
      tape.watch(x)
      y = layer(x)
      loss = tf.reduce_sum(y * tf.range(5.0))
    gradients = tape.gradient(loss, [x, *layer.trainable_variables])
    found.append([y, *gradients])
  assert found[0][2].shape == (7, 5)
  # Matrices of examples use only the active weights; other shapes use the
  # whole kernel.
  if len(shape) == 2:
    assert found[1][2].shape == (14,)
    found[1][2] = sparse.storage.dense(found[1][2])
    found[0][2] *= masked.mask
  for one, other in itertools.zip_longest(*found):
    assert one.shape == other.shape
    stored_layers.assert_close(one, other)


def test_in_a_model():
  masked, sparse = _twins(activation='relu')
  x = stored_layers.examples(6, 7)
  inputs = tf.keras.Input((7,))
  model = tf.keras.Model(inputs, sparse(inputs))
  stored_layers.assert_close(model(x), masked(x))
  stored_layers.assert_close(model.predict(x, verbose=0), masked(x))
  assert _names(model.weights) == _names(sparse.weights)


def test_computed_densely_the_gradient_is_that_of_all_weights():
  masked, sparse = _twins(activation='tanh')
  x = stored_layers.examples(6, 7)
  gradients = []
  for layer, densely in ((masked, False), (sparse, True)):
    layer.needs_dense_gradient = densely
    assert not layer.computes_sparsely
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(layer(x) ** 2)
    gradients.append(tape.gradient(loss, layer.trained_kernel))
  stored_layers.assert_close(*gradients)
  assert np.all(gradients[1] != 0)
  # By the plan of a step that changes no mask.
  step_plan.StepPlan().bind(lambda: gradients.append(sparse(x)))()
  stored_layers.assert_close(gradients.pop(), masked(x))
  assert step_plan.StepPlan().bind(lambda: sparse.computes_sparsely)()
  sparse.needs_dense_gradient = False
  assert sparse.computes_sparsely


@pytest.mark.parametrize('densely', [False, True])
def test_regularizers(densely):
  masked, sparse = _twins(
    kernel_regularizer=tf.keras.regularizers.L2(0.1),
    bias_regularizer=tf.keras.regularizers.L1(0.2),
  )
  sparse.needs_dense_gradient = densely
  x = stored_layers.examples(6, 7)
  found = []
  for layer in (masked, sparse):
    with tf.GradientTape() as tape:
      layer(x)
      loss = tf.add_n(layer.losses)
    assert len(layer.losses) == 2
    kernel, bias = tape.gradient(loss, layer.trainable_variables)
    if kernel.shape == (14,):
      kernel = layer.storage.dense(kernel)
    found.append([loss, kernel, bias])
  for one, other in zip(*found):
    stored_layers.assert_close(one, other)
  # By the values that are stored when they are read.
  for layer in (masked, sparse):
    layer.trained_kernel.assign(layer.trained_kernel * 2)
  stored_layers.assert_close(tf.add_n(masked.losses), tf.add_n(sparse.losses))


def test_a_regularizer_of_the_bias_only():
  masked, sparse = _twins(bias_regularizer=tf.keras.regularizers.L1(0.2))
  assert len(sparse.losses) == 1
  stored_layers.assert_close(sparse.losses, masked.losses)


def test_change_mask():
  twins = _twins()
  mask = np.roll(twins[0].mask, 3, axis=0)
  slots = []
  for layer in twins:
    slot = tf.Variable(tf.ones_like(layer.trained_kernel))
    if layer is twins[0]:
      slot.assign(layer.mask)
    sparse_kernel.adopt(slot, layer.trained_kernel)
    layer.storage.change_mask(tf.constant(mask), [slot])
    slots.append(sparse_kernel.read(slot))
  for layer in twins:
    np.testing.assert_array_equal(layer.mask, mask)
  np.testing.assert_array_equal(twins[0].kernel, twins[1].kernel)
  np.testing.assert_array_equal(*slots)


def _can_store(layer):
  wrapper = wrappers.SparseWrapper(layer)
  wrapper.build((None, 8, 8, 3)[: 4 if 'conv' in layer.name else 2])
  return sparse_kernel.can_store(layer, wrapper.storage)


def test_can_store():
  dense = tf.keras.layers.Dense
  for activation in (None, 'linear', 'relu', 'tanh'):
    assert _can_store(dense(3, activation=activation))
  assert _can_store(dense(3, kernel_regularizer='l2', use_bias=False))
  for layer in (
    dense(3, activation='elu'),
    dense(3, activity_regularizer='l2'),
    dense(3, kernel_constraint='non_neg'),
    dense(3, dtype='float64'),
  ):
    assert not _can_store(layer)


def test_can_store_plain_2d_convolutions():
  conv = functools.partial(tf.keras.layers.Conv2D, 3, 3, name='conv')
  for padding in ('same', 'valid'):
    assert _can_store(conv(strides=2, padding=padding, activation='relu'))
  for layer in (
    conv(activation='elu'),
    conv(groups=3),
    conv(dilation_rate=2),
    conv(dtype='float64'),
  ):
    assert not _can_store(layer)


def _layers(units):
  layers = []
  for i, (inputs, outputs) in enumerate(zip(units, units[1:])):
    layer = wrappers.SparseWrapper(
      tf.keras.layers.Dense(
        outputs,
        activation=(None, 'relu', 'tanh')[i % 3],
        kernel_initializer=tf.keras.initializers.RandomNormal(seed=i),
      ),
      sparsity=0.5,
      seed=i,
    )
    layer.build((None, inputs))
    layers.append(layer)
  return layers


def _chains(layers, x):
  """Returns how many layers each operation of a call computes."""
  graph = (
    tf.function(lambda: wrappers.call_in_turn(layers, x), autograph=False)
    .get_concrete_function()
    .graph
  )
  return [
    operation.get_attr('L') if operation.type == 'RiglSparseChain' else 0
    for operation in graph.get_operations()
    if operation.type in ('RiglSparseChain', 'MatMul')
  ]


@pytest.fixture
def chains_dense_layers(monkeypatch):
  monkeypatch.setattr(loader, 'instructions', lambda: 'avx512')


@pytest.mark.usefixtures('chains_dense_layers')
@pytest.mark.parametrize('stored', ['', '0', '123', '0123', '013', '03'])
def test_call_in_turn(stored):
  layers = _layers((150, 130, 140, 160, 5))
  x = stored_layers.examples(11, 150)
  expected = x
  for layer in layers:
    expected = layer(expected)
  for i in map(int, stored):
    layers[i].store_sparsely()
  stored_layers.assert_close(wrappers.call_in_turn(layers, x), expected)
  # TensorFlow computes tanh, unless it is stored sparsely.
  assert _chains(layers, x) == ([4] if '2' in stored else [2, 0, 1])


@pytest.mark.parametrize('instructions', [None, 'avx2', 'portable'])
def test_call_in_turn_without_avx512(monkeypatch, instructions):
  if instructions is None:
    monkeypatch.setenv('RIGL_RL_KERNELS', '0')
  else:
    monkeypatch.setattr(loader, 'instructions', lambda: instructions)
  layers = _layers((150, 130, 8))
  x = stored_layers.examples(11, 150)
  expected = layers[1](layers[0](x))
  stored_layers.assert_close(wrappers.call_in_turn(layers, x), expected)
  assert _chains(layers, x) == [0, 0]


@pytest.mark.usefixtures('chains_dense_layers')
def test_call_in_turn_leaves_some_layers_to_keras():
  """Small and wide ones, other activations, and those that are not built."""
  layers = _layers((150, 130, 20, 30, 600, 130))
  x = stored_layers.examples(11, 150)
  assert _chains(layers, x) == [2, 0, 0, 0]
  layers[1].layer.activation = tf.nn.elu
  assert _chains(layers, x) == [1, 0, 0, 0, 0]
  expected = x
  for layer in layers:
    expected = layer(expected)
  stored_layers.assert_close(wrappers.call_in_turn(layers, x), expected)
  # As for the SNR of gradients, which looks at each layer's calls.
  plan = step_plan.StepPlan(computes_densely=True)
  assert plan.bind(_chains)(layers, x) == [0] * 5
  layers.append(wrappers.SparseWrapper(tf.keras.layers.Dense(5)))
  assert wrappers.call_in_turn(layers, x).shape == (11, 5)


def test_call_in_turn_where_one_computes_densely():
  layers = _layers((6, 9, 8, 7, 5))
  x = stored_layers.examples(11, 6)
  expected = wrappers.call_in_turn(layers, x)
  for layer in layers:
    layer.store_sparsely()
  layers[1].needs_dense_gradient = True
  stored_layers.assert_close(wrappers.call_in_turn(layers, x), expected)
  assert _chains(layers, x) == [1, 0, 2]
