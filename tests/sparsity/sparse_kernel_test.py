"""Tests of SparseKernel: the active weights of a layer, and where they lie."""

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.sparsity import masked_kernel, sparse_kernel

MASK = np.float32([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]])
KERNEL = np.float32([[0, 2, 0, 4], [0, 0, 0, 0], [1, 3, 0, 0]])


pytestmark = pytest.mark.usefixtures('operations')


def _storage(kernel=KERNEL, mask=MASK):
  layer = tf.keras.layers.Dense(kernel.shape[1], name='layer')
  layer(tf.zeros((1, len(kernel))))
  layer.kernel.assign(kernel)
  masked = masked_kernel.MaskedKernel(layer, tf.Variable(mask))
  return sparse_kernel.SparseKernel(layer, masked, int(np.sum(mask)))


def _assert_stores(storage, kernel, mask):
  np.testing.assert_array_equal(storage.weights, kernel)
  np.testing.assert_array_equal(storage.mask, mask)


def _slot(storage, values):
  slot = tf.Variable(np.float32(values))
  sparse_kernel.adopt(slot, storage.trained)
  return slot


def test_active_weights_by_output_then_by_input():
  storage = _storage()
  assert storage.trained.numpy().tolist() == [1, 2, 3, 4]
  assert storage.shape == (3, 4)
  _assert_stores(storage, KERNEL, MASK)


def test_variables():
  storage = _storage()
  assert storage.trained.trainable and not storage.structure.trainable
  assert storage.trained.name == 'layer/kernel:0'
  assert storage.structure.name == 'layer/kernel_structure:0'
  # Where active weights lie: three numbers each, and where each row begins.
  assert storage.structure.shape == (3 * 4 + (3 + 1) + (4 + 1),)


def test_memory_is_proportional_to_density():
  rng = np.random.default_rng(0)
  sizes = []
  for density in (0.1, 0.2):
    mask = np.float32(rng.permutation(20000) < density * 20000)
    storage = _storage(mask.reshape(100, 200), mask.reshape(100, 200))
    assert storage.trained.shape == (int(density * 20000),)
    sizes.append(storage.structure.shape[0] - (100 + 1) - (200 + 1))
  assert sizes == [6000, 12000]


@pytest.mark.parametrize('density', [0, 1])
def test_all_or_no_weights_are_active(density):
  mask = np.full((5, 3), density, np.float32)
  storage = _storage(7 * mask, mask)
  assert storage.trained.shape == (15 * density,)
  _assert_stores(storage, 7 * mask, mask)
  np.testing.assert_array_equal(storage.active(7 * mask), storage.trained)


def test_dense_and_active():
  storage = _storage()
  values = tf.constant([5.0, 6, 7, 8])
  dense = storage.dense(values)
  np.testing.assert_array_equal(dense, [[0, 6, 0, 8], [0] * 4, [5, 7, 0, 0]])
  np.testing.assert_array_equal(storage.active(dense), values)
  # What lies elsewhere is left out.
  np.testing.assert_array_equal(storage.active(dense - 9 * (1 - MASK)), values)


def test_gradient_of_the_kernel_is_that_of_all_weights():
  storage = _storage()
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(storage.weights * [[1.0], [2], [3]])
  np.testing.assert_array_equal(
    tape.gradient(loss, storage.trained), [[1] * 4, [2] * 4, [3] * 4]
  )


@pytest.mark.parametrize('in_function', [True, False])
def test_change_mask(in_function):
  """Weights and slots that stay are kept; those that leave or come are 0."""
  storage = _storage()
  slots = [_slot(storage, [10, 20, 30, 40]), _slot(storage, [-1, -2, -3, -4])]
  change = storage.change_mask
  if in_function:
    change = tf.function(change, autograph=False)
  new = np.float32([[0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 1, 0]])
  change(tf.constant(new), slots)
  _assert_stores(storage, KERNEL * new, new)
  assert storage.trained.numpy().tolist() == [1, 0, 0, 4]
  assert [slot.numpy().tolist() for slot in slots] == [
    [10, 0, 0, 40],
    [-1, 0, 0, -4],
  ]
  # The next one moves what is stored now.
  change(tf.constant(MASK), slots)
  _assert_stores(storage, KERNEL * new * MASK, MASK)
  assert slots[0].numpy().tolist() == [10, 0, 0, 40]


def test_fewer_weights_than_there_is_room_for():
  storage = _storage()
  slot = _slot(storage, [10, 20, 30, 40])
  few = np.float32([[0, 1, 0, 0], [0] * 4, [0] * 4])
  storage.change_mask(few, [slot])
  _assert_stores(storage, KERNEL * few, few)
  assert storage.trained.numpy().tolist() == [2, 0, 0, 0]
  # Even if an optimizer moves those that are not in use.
  storage.trained.assign_add(tf.ones(4))
  slot.assign_add(tf.ones(4))
  _assert_stores(storage, 3 * few, few)
  storage.change_mask(MASK, [slot])
  _assert_stores(storage, 3 * few, MASK)
  assert slot.numpy().tolist() == [0, 21, 0, 0]


def test_more_weights_than_there_is_room_for():
  storage = _storage()
  with pytest.raises(tf.errors.InvalidArgumentError, match='room for 4'):
    storage.change_mask(np.ones((3, 4), np.float32))
  _assert_stores(storage, KERNEL, MASK)


def test_copy_mask():
  online = _storage()
  target = _storage(KERNEL * 10, MASK)
  new = np.float32([[0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 1, 0]])
  online.change_mask(new)
  online.trained.assign([5, 6, 7, 8])
  target.copy_mask(online)
  _assert_stores(target, 10 * KERNEL * new, new)
  # They share nothing.
  target.trained.assign_add(tf.ones(4))
  assert online.trained.numpy().tolist() == [5, 6, 7, 8]
  online.change_mask(MASK)
  np.testing.assert_array_equal(target.mask, new)


def test_shapes_of_gradients():
  storage = _storage()
  slot = _slot(storage, [0, 0, 0, 0])
  plain = tf.Variable([1.0])
  sparse_kernel.adopt(tf.Variable([0.0]), plain)
  values = tf.constant([1.0, 2, 3, 4])
  for variable in (storage.trained, slot):
    for gradient in (values, tf.constant(KERNEL)):
      np.testing.assert_array_equal(
        sparse_kernel.as_variable(gradient, variable), values
      )
      np.testing.assert_array_equal(
        sparse_kernel.as_kernel(gradient, variable), KERNEL
      )
  assert sparse_kernel.as_variable(values, plain) is values
  assert sparse_kernel.as_kernel(values, plain) is values


def test_read():
  storage = _storage()
  slot = _slot(storage, [5, 6, 7, 8])
  plain = tf.Variable([1.0, 2])
  for variable, expected in (
    (storage.trained, KERNEL),
    (storage.structure, MASK),
    (slot, [[0, 6, 0, 8], [0] * 4, [5, 7, 0, 0]]),
    (plain, [1, 2]),
  ):
    array = sparse_kernel.read(variable)
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize('structure_first', [True, False])
def test_assign(structure_first):
  """Values read of a masked layer, in any order of variables."""
  storage = _storage()
  slot = _slot(storage, [10, 20, 30, 40])
  bias = tf.Variable([0.0])
  mask = np.float32([[1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]])
  kernel = np.float32(np.arange(1, 13)).reshape(3, 4) * mask
  pairs = [
    (storage.trained, kernel),
    (bias, np.float32([7])),
    (slot, -kernel),
    (storage.structure, mask),
  ]
  if structure_first:
    pairs.reverse()
  sparse_kernel.assign(*zip(*pairs))
  _assert_stores(storage, kernel, mask)
  np.testing.assert_array_equal(sparse_kernel.read(slot), -kernel)
  assert bias.numpy().tolist() == [7]


def test_what_one_storage_reads_another_assigns():
  storage, other = _storage(), _storage(KERNEL[::-1], MASK[::-1])
  one, two = (
    [s.trained, s.structure, _slot(s, range(4))] for s in (storage, other)
  )
  sparse_kernel.assign(two, [sparse_kernel.read(variable) for variable in one])
  for variable, copy in zip(one, two):
    np.testing.assert_array_equal(variable, copy)


@pytest.mark.parametrize(
  'activation,expected',
  [
    (None, True),
    ('linear', True),
    ('relu', True),
    ('tanh', True),
    (tf.keras.activations.relu, True),
    ('elu', False),
    (tf.nn.relu, False),  # It may be, but is not known.
    (lambda x: x, False),
    (tf.keras.layers.ReLU(), False),
  ],
)
def test_activations_that_can_be_stored(activation, expected):
  layer = tf.keras.layers.Dense(3, activation=activation)
  layer.build((None, 2))
  masked = masked_kernel.MaskedKernel(layer, tf.ones((2, 3)))
  assert sparse_kernel.can_store(layer, masked) == expected


def test_an_activation_with_a_name_that_it_is_not():
  def relu(x):
    return x

  layer = tf.keras.layers.Dense(3, activation=relu)
  layer.build((None, 2))
  masked = masked_kernel.MaskedKernel(layer, tf.ones((2, 3)))
  assert not sparse_kernel.can_store(layer, masked)
