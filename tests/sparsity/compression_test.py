"""Tests of layers that are stored sparsely, and of when they are.

They compute and are trained as before, by other variables.
"""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.errors import UserError
from rigl_rl.sparsity import (
  algorithms,
  compression,
  distributions,
  sparse_kernel,
  step_plan,
  wrappers,
)
from rigl_rl.sparsity import optimizer as sparse_optimizer


@pytest.fixture(autouse=True)
def _kernels(request):
  if 'nothing_loaded' not in request.fixturenames:
    request.getfixturevalue('operations')


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


def _examples(*shape):
  return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def _assert_close(one, other):
  np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


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
  x = tf.constant(_examples(*shape))
  found = []
  for layer in (masked, sparse):
    with tf.GradientTape() as tape:
      tape.watch(x)
      y = layer(x)
      loss = tf.reduce_sum(y * tf.range(5.0))
    gradients = tape.gradient(loss, [x, *layer.trainable_variables])
    found.append([y, *gradients])
  assert found[0][2].shape == (7, 5)
  # Examples in a row are computed with the active weights alone; else the
  # kernel is taken as a whole.
  if len(shape) == 2:
    assert found[1][2].shape == (14,)
    found[1][2] = sparse.storage.dense(found[1][2])
    found[0][2] *= masked.mask
  for one, other in itertools.zip_longest(*found):
    assert one.shape == other.shape
    _assert_close(one, other)


def test_in_a_model():
  masked, sparse = _twins(activation='relu')
  x = _examples(6, 7)
  inputs = tf.keras.Input((7,))
  model = tf.keras.Model(inputs, sparse(inputs))
  _assert_close(model(x), masked(x))
  _assert_close(model.predict(x, verbose=0), masked(x))
  assert _names(model.weights) == _names(sparse.weights)


def test_computed_densely_the_gradient_is_that_of_all_weights():
  masked, sparse = _twins(activation='tanh')
  x = _examples(6, 7)
  gradients = []
  for layer, densely in ((masked, False), (sparse, True)):
    layer.needs_dense_gradient = densely
    assert not layer.computes_sparsely
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(layer(x) ** 2)
    gradients.append(tape.gradient(loss, layer.trained_kernel))
  _assert_close(*gradients)
  assert np.all(gradients[1] != 0)
  # By the plan of a step that changes no mask.
  step_plan.StepPlan().bind(lambda: gradients.append(sparse(x)))()
  _assert_close(gradients.pop(), masked(x))
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
  x = _examples(6, 7)
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
    _assert_close(one, other)
  # By the values that are stored when they are read.
  for layer in (masked, sparse):
    layer.trained_kernel.assign(layer.trained_kernel * 2)
  _assert_close(tf.add_n(masked.losses), tf.add_n(sparse.losses))


def test_a_regularizer_of_the_bias_alone():
  masked, sparse = _twins(bias_regularizer=tf.keras.regularizers.L1(0.2))
  assert len(sparse.losses) == 1
  _assert_close(sparse.losses, masked.losses)


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
    tf.keras.layers.Conv2D(3, 3, name='conv'),
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


def _operations(layers, x):
  """Returns the types of operations of a call."""
  graph = (
    tf.function(lambda: wrappers.call_in_turn(layers, x), autograph=False)
    .get_concrete_function()
    .graph
  )
  return [
    operation.type
    for operation in graph.get_operations()
    if operation.type in ('RiglSparseChain', 'MatMul')
  ]


@pytest.mark.parametrize('stored', ['', '0', '123', '0123', '013', '03'])
def test_call_in_turn(stored):
  layers = _layers((6, 9, 8, 7, 5))
  x = _examples(11, 6)
  expected = x
  for layer in layers:
    expected = layer(expected)
  for i in map(int, stored):
    layers[i].store_sparsely()
  _assert_close(wrappers.call_in_turn(layers, x), expected)
  # Neighbors that are stored sparsely are one operation.
  kinds = [
    'RiglSparseChain' if str(i) in stored else 'MatMul' for i in range(4)
  ]
  expected = [
    operation
    for kind, group in itertools.groupby(kinds)
    for operation in (list(group) if kind == 'MatMul' else [kind])
  ]
  assert _operations(layers, x) == expected


def test_call_in_turn_where_one_computes_densely():
  layers = _layers((6, 9, 8, 7, 5))
  x = _examples(11, 6)
  expected = wrappers.call_in_turn(layers, x)
  for layer in layers:
    layer.store_sparsely()
  layers[1].needs_dense_gradient = True
  _assert_close(wrappers.call_in_turn(layers, x), expected)
  assert _operations(layers, x) == [
    'RiglSparseChain',
    'MatMul',
    'RiglSparseChain',
  ]


# A cheap first layer, two large ones, a cheap last one.
UNITS = (4, 300, 200, 2)


def _network(sparsity=0.9, units=UNITS, activation='relu', **arguments):
  """A network whose layers all want the storage, and are masked yet."""
  model = tf.keras.Sequential(
    [
      wrappers.SparseWrapper(tf.keras.layers.Dense(n, activation))
      for n in units[1:]
    ]
  )
  model.build((None, units[0]))
  arguments.setdefault('distribution', distributions.uniform)
  wrappers.sparsify(model, sparsity=sparsity, **arguments)
  return model


def _compress(*arguments, **named):
  return compression.Compressor(*arguments, **named).compress()


def _stored_sparsely(model):
  """By layer, whether it is stored sparsely."""
  return [
    isinstance(layer, wrappers.SparseWrapper) and layer.storage.name == 'sparse'
    for layer in wrappers.named_layers(model).values()
  ]


@pytest.mark.parametrize('sparsity', [0.05, 0.9])
@pytest.mark.parametrize('wanted', ['masked', 'sparse', 'auto'])
def test_choice(wanted, sparsity):
  model = _network(sparsity, storage=wanted)
  assert _stored_sparsely(model) == [False] * 3
  chosen = _compress(model)
  # If the large layer takes less time, its small neighbors join it.
  expected = wanted == 'sparse' or (wanted == 'auto' and sparsity == 0.9)
  assert _stored_sparsely(model) == [expected] * 3
  layers = list(wrappers.named_layers(model).values())
  assert chosen == (layers if expected else [])


def test_auto_leaves_a_large_dense_neighbor_masked():
  sparsities = {(4, 300): 0.0, (300, 200): 0.95, (200, 400): 0.0, (400, 2): 0.0}
  model = _network(
    units=(4, 300, 200, 400, 2),
    storage='auto',
    distribution=lambda shapes, sparsity: {
      path: sparsities[shape] for path, shape in shapes.items()
    },
  )
  chosen = _compress(model)
  assert _stored_sparsely(model) == [True, True, False, True]
  assert [tuple(layer.kernel_shape) for layer in chosen] == [
    (4, 300),
    (300, 200),
    (400, 2),
  ]


@pytest.mark.parametrize('inputs,expected', [(64, True), (65, False)])
def test_auto_compresses_a_neighbor_of_few_inputs(inputs, expected):
  sparsities = {(inputs, 600): 0.05, (600, 300): 0.95, (300, 2): 0.0}
  model = _network(
    units=(inputs, 600, 300, 2),
    storage='auto',
    distribution=lambda shapes, sparsity: {
      path: sparsities[shape] for path, shape in shapes.items()
    },
  )
  _compress(model)
  assert _stored_sparsely(model) == [expected, True, True]


@pytest.mark.parametrize('sparsity,expected', [(0.0, True), (0.05, False)])
def test_auto_compresses_a_neighbor_that_has_all_its_weights(
  sparsity, expected
):
  """Its sums take less time than those of nearly as many weights."""
  sparsities = {(8, 700): 0.0, (700, 300): 0.95, (300, 100): sparsity}
  model = _network(
    units=(8, 700, 300, 100),
    storage='auto',
    distribution=lambda shapes, sparsity: {
      path: sparsities[shape] for path, shape in shapes.items()
    },
  )
  _compress(model)
  assert _stored_sparsely(model) == [True, True, expected]


def test_auto_compresses_few_inputs_beside_others_alone():
  model = _network(
    0.5,
    units=(64, 600, 300),
    storage='auto',
    distribution=distributions.uniform,
  )
  assert _compress(model) == []


@pytest.mark.parametrize(
  'cost,sparsity,expected',
  [(2.0, 0.4, False), (2.0, 0.6, True), (1.0, 0.4, True), (3.0, 0.6, False)],
)
def test_auto_by_the_cost_of_a_weight(monkeypatch, cost, sparsity, expected):
  monkeypatch.setattr(compression, '_COST_OF_WEIGHT', cost)
  model = _network(sparsity, storage='auto')
  _compress(model)
  assert _stored_sparsely(model) == [expected] * 3


@pytest.mark.parametrize('not_wide,expected', [(10_000, True), (1, False)])
def test_auto_by_the_cost_in_wide_layers(monkeypatch, not_wide, expected):
  monkeypatch.setattr(compression, '_COST_OF_WEIGHT', 2.0)
  monkeypatch.setattr(compression, '_COST_IN_WIDE_LAYER', 3.0)
  monkeypatch.setattr(compression, '_NOT_WIDE', not_wide)
  model = _network(0.6, storage='auto')
  _compress(model)
  assert _stored_sparsely(model) == [expected] * 3


def test_auto_leaves_masked_what_saves_too_little(monkeypatch):
  units = (4, 90, 80, 2)
  assert _compress(_network(units=units, storage='auto')) == []
  # As where operations cost nothing.
  monkeypatch.setattr(compression, '_OPERATION', 0)
  model = _network(units=units, storage='auto')
  _compress(model)
  assert _stored_sparsely(model) == [True] * 3


def test_dense_networks_stay_as_they_are():
  for arguments in ({'sparsity': 0.0}, {'algorithm': algorithms.Dense()}):
    for wanted in ('sparse', 'auto'):
      model = _network(storage=wanted, **arguments)
      assert _compress(model) == []
      assert not any(_stored_sparsely(model))


def test_what_cannot_be_compressed_stays_masked():
  model = tf.keras.Sequential(
    [
      wrappers.SparseWrapper(tf.keras.layers.Conv2D(8, 3, name='conv')),
      tf.keras.layers.Flatten(),
      wrappers.SparseWrapper(tf.keras.layers.Dense(90, 'elu')),
      wrappers.SparseWrapper(tf.keras.layers.Dense(80, 'relu')),
      tf.keras.layers.Dense(3),  # sparsify wraps it, and calls it as it is.
    ]
  )
  x = _examples(5, 6, 6, 2)
  model.build(x.shape)
  wrappers.sparsify(
    model,
    sparsity=0.9,
    storage='sparse',
    distribution=distributions.uniform,
  )
  expected = model(x)
  _compress(model)
  assert _stored_sparsely(model) == [False, False, True, False]
  _assert_close(model(x), expected)


def _prune(model, share):
  """Leaves about this share of all weights active."""
  rng = np.random.default_rng(int(1000 * share))
  for layer in model.layers:
    mask = layer.mask * np.float32(rng.random(layer.mask.shape) < share)
    layer.storage.change_mask(mask)


@pytest.mark.parametrize('wanted', ['masked', 'sparse', 'auto'])
def test_pruned_layers_are_compressed_once_they_take_less_time(wanted):
  model = _network(storage=wanted, algorithm=algorithms.Prune())
  assert _compress(model) == []
  # Three eighths of the weights take longer than all; the half of these do not.
  for share, expected in ((0.375, False), (0.5, wanted != 'masked')):
    _prune(model, share)
    _compress(model)
    assert _stored_sparsely(model) == [expected] * 3
  if wanted == 'masked':
    return
  large = model.layers[1].storage
  assert large.capacity == 300 * 200 // 4
  assert _compress(model) == []
  _prune(model, 0.4)
  assert model.layers[1] in _compress(model)
  assert model.layers[1].storage is not large
  assert model.layers[1].storage.capacity == 300 * 200 // 8


@pytest.mark.parametrize('wanted', ['sparse', 'auto'])
def test_compressor_looks_at_new_masks(operations, wanted):
  model = _network(storage=wanted, algorithm=algorithms.Prune())
  compressor = compression.Compressor(model)
  assert not compressor.compress()
  _prune(model, 0.25)
  assert not compressor.compress()  # Nobody has said so.
  compressor.note_new_masks()
  assert compressor.compress()
  assert _stored_sparsely(model) == [True] * 3
  assert not compressor.is_due


def test_compressor_looks_at_other_masks_once():
  for arguments in (
    {'algorithm': algorithms.Dense()},
    {'algorithm': algorithms.Static()},
    {'algorithm': algorithms.RigL()},
    {'algorithm': algorithms.Prune(), 'storage': 'masked'},
    {'algorithm': algorithms.Prune(), 'sparsity': 0.0},
  ):
    model = _network(**{'storage': 'auto', **arguments})
    compressor = compression.Compressor(model)
    assert compressor.is_due
    compressor.compress()
    compressor.note_new_masks()
    assert not compressor.is_due


def test_a_copy_that_is_less_sparse_decides():
  model, copy = (
    _network(storage='auto', algorithm=algorithms.Prune()) for _ in range(2)
  )
  _prune(model, 0.2)
  assert _compress(model, [copy]) == []
  _prune(copy, 0.25)
  _compress(model, [copy])
  assert _stored_sparsely(model) == _stored_sparsely(copy) == [True] * 3
  # A target takes over what the network has.
  for variable, other in zip(copy.variables, model.variables):
    assert variable.shape == other.shape


def _with_optimizer(inner):
  """A network that is pruned, with slots that tell weights from one another."""
  model = _network(storage='auto', algorithm=algorithms.Prune())
  sparse = sparse_optimizer.make_sparse_optimizer(
    inner, model.layers, total_steps=10, seed=0
  )
  sparse.create_slots(model.trainable_variables)
  rng = np.random.default_rng(8)
  for layer in model.layers:
    for name in inner.get_slot_names():
      slot = inner.get_slot(layer.kernel, name)
      slot.assign(rng.standard_normal(slot.shape))
  _prune(model, 0.2)
  for layer in model.layers:
    for name in inner.get_slot_names():
      slot = inner.get_slot(layer.kernel, name)
      slot.assign(slot * layer.mask)
  return model, sparse


def test_slots_come_along():
  model, optimizer = _with_optimizer(tf.keras.optimizers.legacy.Adam())
  # Twice: from the kernel, and from the room for more weights.
  for share in (1.0, 0.4):
    _prune(model, share)
    masks = {layer.kernel_shape: layer.mask.numpy() for layer in model.layers}
    before = [
      value * masks.get(value.shape, 1)
      for value in map(sparse_kernel.read, optimizer.variables())
    ]
    assert _compress(model, optimizer=optimizer)
    after = list(map(sparse_kernel.read, optimizer.variables()))
    assert len(after) == len(before)
    for one, other in zip(after, before):
      np.testing.assert_array_equal(one, other)
    for layer in model.layers:
      slot = optimizer.inner.get_slot(layer.trained_kernel, 'm')
      assert slot.shape == layer.trained_kernel.shape
  assert len(optimizer.inner._slots) == len(model.trainable_variables)


def test_pruned_layers_stay_masked_where_slots_cannot_come_along():
  model, optimizer = _with_optimizer(tf.compat.v1.train.AdamOptimizer())
  assert _compress(model, optimizer=optimizer) == []
  assert not any(_stored_sparsely(model))


def test_copies_are_compressed_too():
  model, copy, other = (_network(storage='sparse') for _ in range(3))
  expected = model(_examples(5, 4))
  copy.set_weights(model.get_weights())
  layers = _compress(model, [copy, other])
  assert layers == model.layers
  for each in (model, copy, other):
    assert _stored_sparsely(each) == [True] * 3
  _assert_close(model(_examples(5, 4)), expected)
  _assert_close(copy(_examples(5, 4)), expected)
  for one, two in zip(model.layers, copy.layers):
    assert one.storage is not two.storage


def test_what_is_compressed_stays_so():
  model = _network(storage='sparse')
  layers = _compress(model)
  before = [layer.storage for layer in layers]
  assert _compress(model) == []
  assert [layer.storage for layer in layers] == before


def test_an_obstacle():
  for wanted in ('masked', 'auto'):
    model = _network(storage=wanted)
    assert _compress(model, obstacle='it is Tuesday') == []
    assert not any(_stored_sparsely(model))
  model = _network(storage='sparse')
  with pytest.raises(UserError) as error:
    _compress(model, obstacle='it is Tuesday')
  assert str(error.value) == "sparsify.storage is 'sparse', but it is Tuesday."
  assert not any(_stored_sparsely(model))
  # It is told before a layer has been pruned.
  model = _network(storage='sparse', algorithm=algorithms.Prune())
  with pytest.raises(UserError, match='but it is Tuesday'):
    _compress(model, obstacle='it is Tuesday')
  # It is none to a network that would stay masked anyway.
  model = _network(0.0, storage='sparse')
  assert _compress(model, obstacle='it is Tuesday') == []


def test_without_kernels_layers_stay_masked(nothing_loaded, monkeypatch, capfd):
  monkeypatch.setenv('RIGL_RL_KERNELS', '0')
  for wanted in ('sparse', 'auto'):
    model = _network(storage=wanted)
    assert _compress(model) == []
    assert not any(_stored_sparsely(model))
  assert capfd.readouterr() == ('', '')


def test_without_a_compiler_one_line_says_so(
  nothing_loaded, monkeypatch, capfd, tmp_path
):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setenv('PATH', '')
  monkeypatch.delenv('CXX', raising=False)
  model = _network(storage='sparse')
  assert _compress(model) == []
  assert _compress(_network(storage='sparse')) == []
  assert not any(_stored_sparsely(model))
  (line,) = capfd.readouterr().err.splitlines()
  assert 'no C++ compiler' in line
