"""Tests of layers that are stored sparsely, and of when they are.

They compute and are trained as before, by other variables.
"""

import numpy as np
import pytest
import tensorflow as tf

from helpers import stored_layers
from rigl_rl.errors import UserError
from rigl_rl.kernels import loader
from rigl_rl.sparsity import (
  algorithms,
  compression,
  distributions,
  sparse_kernel,
  wrappers,
)
from rigl_rl.sparsity import optimizer as sparse_optimizer

pytestmark = pytest.mark.usefixtures('kernels')

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
  _sparsify(model, sparsity, **arguments)
  return model


def _sparsify(model, sparsity, **arguments):
  arguments.setdefault('distribution', distributions.uniform)
  wrappers.sparsify(model, sparsity=sparsity, **arguments)


def _network_of(sparsities):
  """A network of layers of these shapes, and sparsities."""
  (inputs, _), *_ = sparsities
  return _network(
    units=(inputs, *(outputs for _, outputs in sparsities)),
    storage='auto',
    distribution=lambda shapes, _: {
      path: sparsities[shape] for path, shape in shapes.items()
    },
  )


def _compress(*arguments, **named):
  return compression.Compressor(*arguments, **named).compress()


def _stored_sparsely(model):
  """By layer, whether it is stored sparsely."""
  return [
    isinstance(layer, wrappers.SparseWrapper) and layer.storage.name == 'sparse'
    for layer in wrappers.named_layers(model).values()
  ]


def _set_costs(monkeypatch, usual):
  costs = compression._Costs(usual, 3.0, 1.2, 1.2, convolution=2.0)
  monkeypatch.setattr(compression, '_costs', lambda: costs)


@pytest.fixture(autouse=True)
def _usual_costs(request, monkeypatch):
  """Decisions do not depend on the processor that runs the tests."""
  if 'instructions' not in request.fixturenames:
    _set_costs(monkeypatch, usual=2.4)


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
  model = _network_of(
    {(4, 300): 0.0, (300, 200): 0.95, (200, 400): 0.0, (400, 2): 0.0}
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
  model = _network_of({(inputs, 600): 0.05, (600, 300): 0.95, (300, 2): 0.0})
  _compress(model)
  assert _stored_sparsely(model) == [expected, True, True]


@pytest.mark.parametrize('sparsity,expected', [(0.0, True), (0.05, False)])
def test_auto_compresses_a_neighbor_that_has_all_its_weights(
  sparsity, expected
):
  """Its sums take less time than those of nearly as many weights."""
  model = _network_of({(8, 700): 0.0, (700, 300): 0.95, (300, 100): sparsity})
  _compress(model)
  assert _stored_sparsely(model) == [True, True, expected]


def test_auto_compresses_few_inputs_only_beside_others():
  model = _network(0.5, units=(64, 600, 300), storage='auto')
  assert _compress(model) == []


@pytest.mark.parametrize(
  'cost,sparsity,expected',
  [(2.0, 0.4, False), (2.0, 0.6, True), (1.0, 0.4, True), (3.0, 0.6, False)],
)
def test_auto_by_the_cost_of_a_weight(monkeypatch, cost, sparsity, expected):
  _set_costs(monkeypatch, usual=cost)
  model = _network(sparsity, storage='auto')
  _compress(model)
  assert _stored_sparsely(model) == [expected] * 3


@pytest.mark.parametrize(
  'instructions,sparsity,expected',
  [
    # Of 60,000 weights, of which an operation takes 8,192.
    ('portable', 0.35, True),
    ('portable', 0.33, False),
    ('avx2', 0.58, True),
    ('avx2', 0.56, False),
    ('avx512', 0.56, True),
    ('avx512', 0.54, False),
  ],
)
def test_auto_by_the_instructions(
  monkeypatch, instructions, sparsity, expected
):
  monkeypatch.setattr(loader, 'instructions', lambda: instructions)
  model = _network(sparsity, storage='auto')
  _compress(model)
  assert _stored_sparsely(model) == [expected] * 3


@pytest.mark.parametrize('not_wide,expected', [(10_000, True), (1, False)])
def test_auto_by_the_cost_in_wide_layers(monkeypatch, not_wide, expected):
  _set_costs(monkeypatch, usual=2.0)
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
      wrappers.SparseWrapper(
        tf.keras.layers.Conv2D(8, 3, name='conv', dilation_rate=2)
      ),
      tf.keras.layers.Flatten(),
      wrappers.SparseWrapper(tf.keras.layers.Dense(90, 'elu')),
      wrappers.SparseWrapper(tf.keras.layers.Dense(80, 'relu')),
      tf.keras.layers.Dense(3),  # sparsify wraps it, and calls it unchanged.
    ]
  )
  x = stored_layers.examples(5, 6, 6, 2)
  model.build(x.shape)
  _sparsify(model, 0.9, storage='sparse')
  expected = model(x)
  _compress(model)
  assert _stored_sparsely(model) == [False, False, True, False]
  stored_layers.assert_close(model(x), expected)


@pytest.mark.parametrize(
  'wanted,filters,sparsity,expected',
  [
    ('masked', 64, 0.9, False),
    ('sparse', 2, 0.1, True),
    # Transposing costs 16 weights per channel and filter, of 9 * 32 * 64.
    ('auto', 64, 0.6, True),
    ('auto', 64, 0.5, False),
    # It costs 16 * (32 + 1) weights, and there are but 9 * 32.
    ('auto', 1, 0.99, False),
  ],
)
def test_choice_of_a_convolution(wanted, filters, sparsity, expected):
  assert _stores_convolution(wanted, filters, sparsity) == expected


@pytest.mark.parametrize(
  'instructions,sparsity,expected',
  [
    ('portable', 0.4, True),
    ('avx512', 0.4, False),
    ('avx512', 0.56, True),
    ('avx2', 0.56, False),
  ],
)
def test_choice_of_a_convolution_by_the_instructions(
  monkeypatch, instructions, sparsity, expected
):
  monkeypatch.setattr(loader, 'instructions', lambda: instructions)
  assert _stores_convolution('auto', 64, sparsity) == expected


def _stores_convolution(wanted, filters, sparsity):
  layer = wrappers.SparseWrapper(tf.keras.layers.Conv2D(filters, 3))
  model = tf.keras.Sequential([layer])
  model.build((None, 8, 8, 32))
  _sparsify(model, sparsity, storage=wanted)
  _compress(model)
  return layer.storage.name == 'sparse'


def test_auto_leaves_a_dense_convolution_beside_sparse_layers():
  model = tf.keras.Sequential(
    [
      wrappers.SparseWrapper(tf.keras.layers.Conv2D(2, 3)),
      tf.keras.layers.Flatten(),
      wrappers.SparseWrapper(tf.keras.layers.Dense(900, 'relu')),
    ]
  )
  model.build((None, 12, 12, 1))
  wrappers.sparsify(
    model,
    distribution=lambda shapes, _: dict(zip(shapes, (0.0, 0.95))),
  )
  _compress(model)
  assert _stored_sparsely(model) == [False, True]


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
  expected = model(stored_layers.examples(5, 4))
  copy.set_weights(model.get_weights())
  layers = _compress(model, [copy, other])
  assert layers == model.layers
  for each in (model, copy, other):
    assert _stored_sparsely(each) == [True] * 3
  stored_layers.assert_close(model(stored_layers.examples(5, 4)), expected)
  stored_layers.assert_close(copy(stored_layers.examples(5, 4)), expected)
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
  # The error comes before a layer has been pruned.
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
