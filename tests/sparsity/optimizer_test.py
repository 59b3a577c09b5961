"""SparseOptimizer: the order of gradient step and mask update."""

import gin
import numpy as np
import pytest
import tensorflow as tf

from helpers.one_layer import MASK, WEIGHT, make_layer, make_optimizer
from rigl_rl.sparsity import algorithms, mask_updater, optimizer, schedules


@pytest.mark.parametrize('graph', [False, True])
def test_updates_on_the_schedules_steps(graph):
  layer = make_layer(WEIGHT, MASK, algorithms.SET(0.5))
  sparse = make_optimizer([layer], begin=0.02, end=0.1, interval=3)

  def step(gradient):
    return sparse.apply_gradients([(gradient, layer.kernel)])

  step = tf.function(step) if graph else step
  changed = []
  for i in range(15):
    before = layer.mask.numpy()
    assert int(step(tf.random.stateless_normal((1, 8), seed=(i, 0)))) == i + 1
    if (before != layer.mask.numpy()).any():
      changed.append(i)
  # Step 8 moves int(4 · .073) = 0; 10, the window's end, is off the interval.
  assert set(changed) <= {2, 5}
  assert changed


@pytest.mark.parametrize('graph', [False, True])
def test_uses_the_gradient_of_the_very_step(graph):
  layer = make_layer(WEIGHT, MASK)
  sparse = make_optimizer([layer], begin=0.02, interval=50)
  step = lambda g: sparse.apply_gradients([(g, layer.kernel)])  # noqa: E731
  step = tf.function(step) if graph else step
  rising = [[0.0, 0, 0, 0, 1, 2, 3, 4]]
  falling = [[0.0, 0, 0, 0, -4, -3, -2, -1]]
  for gradient in (rising, rising, falling):
    np.testing.assert_array_equal(layer.mask, MASK)
    step(tf.constant(gradient))
  # Step 2 updates: by its own gradient 4 and 5 grow, by the last one 6 and 7.
  np.testing.assert_array_equal(layer.mask, [[1, 0, 1, 0, 1, 1, 0, 0]])


@pytest.mark.parametrize(
  ('replace_gradient_step', 'mask', 'kernel'),
  [
    # The step makes -1 a -3 and 5 a 1: so 5's place and 2's are dropped.
    (False, [[0, 1, 1, 0, 0, 1, 0, 1]], [[0, -3, -4, 0, 0, 0, 0, 0]]),
    # Without the step -1 and 2 are the smallest.
    (True, [[1, 0, 1, 0, 0, 1, 0, 1]], [[5, 0, -4, 0, 0, 0, 0, 0]]),
  ],
)
def test_weights_are_scored_after_the_gradient_step(
  replace_gradient_step, mask, kernel
):
  layer = make_layer(WEIGHT, MASK)
  sparse = make_optimizer(
    [layer],
    tf.keras.optimizers.legacy.SGD(1.0),
    replace_gradient_step=replace_gradient_step,
  )
  gradient = tf.constant([[4.0, 2, 0, 0, -5, 8, 6, -9]])
  sparse.apply_gradients([(gradient, layer.kernel)])
  np.testing.assert_array_equal(layer.mask, mask)
  np.testing.assert_array_equal(layer.kernel, kernel)
  assert int(sparse.step) == 1


def test_static_layers_stay_masked_and_dense_variables_train():
  layer = make_layer(WEIGHT, MASK, algorithms.Static())
  other = tf.Variable([1.0, 2.0])
  sparse = make_optimizer([layer])
  sparse.apply_gradients([(tf.ones((1, 8)), layer.kernel), (tf.ones(2), other)])
  np.testing.assert_array_equal(layer.mask, MASK)
  np.testing.assert_allclose(
    layer.kernel, [[4.9, -1.1, -4.1, 1.9, 0, 0, 0, 0]], rtol=1e-6
  )
  np.testing.assert_allclose(other, [0.9, 1.9], rtol=1e-6)


def test_two_networks_in_one_optimizer():
  first, second = (make_layer(WEIGHT, MASK) for _ in range(2))
  sparse = make_optimizer([first, second])
  sparse.apply_gradients(
    [
      (tf.constant([[0.0, 0, 0, 0, 0, 0, 9, 9]]), second.kernel),
      (tf.constant([[0.0, 0, 0, 0, 9, 9, 0, 0]]), first.kernel),
    ]
  )
  np.testing.assert_array_equal(first.mask, [[1, 0, 1, 0, 1, 1, 0, 0]])
  np.testing.assert_array_equal(second.mask, [[1, 0, 1, 0, 0, 0, 1, 1]])


@pytest.mark.parametrize(
  'make',
  [
    lambda: 'adam',
    lambda: tf.keras.mixed_precision.LossScaleOptimizer(
      tf.keras.optimizers.Adam()
    ),
  ],
)
def test_unsupported_optimizers(make, user_error):
  with user_error('SparseOptimizer.inner', 'tf.keras.optimizers.legacy'):
    make_optimizer([make_layer(WEIGHT, MASK)], make())


def test_an_optimizer_with_moving_averages(user_error):
  inner = tf.keras.optimizers.SGD(use_ema=True)
  with user_error('SparseOptimizer.inner', 'SGD', 'use_ema=False'):
    make_optimizer([make_layer(WEIGHT, MASK)], inner)


def test_an_optimizer_that_has_trained_before(user_error):
  layer = make_layer(WEIGHT, MASK)
  inner = tf.keras.optimizers.Adam()
  inner.build([layer.kernel])
  with user_error('SparseOptimizer.inner', 'Adam', 'a new one'):
    make_optimizer([layer], inner)


def test_a_layer_without_gradient(user_error):
  first, second = (make_layer(WEIGHT, MASK) for _ in range(2))
  sparse = make_optimizer([first, second])
  pair = (tf.ones((1, 8)), first.kernel)
  for pairs in ([pair], [pair, (None, second.kernel)]):
    with user_error('gradients', second.name, 'RigL', 'sparsify.keep_dense'):
      sparse.apply_gradients(pairs)
  # Static masks need none.
  static = make_layer(WEIGHT, MASK, algorithms.Static())
  sparse = make_optimizer([static])
  other = (tf.ones(8), tf.Variable(tf.ones(8)))
  sparse.apply_gradients([(None, static.kernel), other])
  np.testing.assert_array_equal(static.kernel, WEIGHT)


@pytest.mark.parametrize(
  'make',
  [
    tf.keras.optimizers.legacy.Adam,
    tf.keras.optimizers.Adam,
    tf.compat.v1.train.AdamOptimizer,
  ],
)
@pytest.mark.parametrize('graph', [False, True])
def test_slots_of_each_kind_of_optimizer(make, graph):
  layer = make_layer(WEIGHT, MASK)
  inner = make(0.01)
  sparse = make_optimizer([layer], inner, interval=2)
  step = lambda g: sparse.apply_gradients([(g, layer.kernel)])  # noqa: E731
  step = tf.function(step) if graph else step
  gradient = tf.constant([[1.0, 1, 1, 1, -7, 5, -8, 6]])
  step(gradient)  # Updates the mask: 4 and 6 grow.
  np.testing.assert_array_equal(layer.mask, [[1, 0, 1, 0, 1, 0, 1, 0]])
  slots = [v for v in inner.variables() if v.shape == layer.kernel.shape]
  assert len(slots) == 2
  for slot in slots:
    np.testing.assert_array_equal(slot != 0, [[1, 0, 1, 0, 0, 0, 0, 0]])
  step(gradient)  # No update: the slots of active weights fill, no others.
  for slot in slots:
    np.testing.assert_array_equal(slot != 0, layer.mask)
  np.testing.assert_array_equal(layer.kernel != 0, layer.mask)


def test_variables_and_slots_exist_before_the_first_step():
  layer = make_layer(WEIGHT, MASK)
  inner = tf.keras.optimizers.legacy.Adam()
  sparse = make_optimizer([layer], inner)
  sparse.create_slots([layer.kernel])
  before = [v.ref() for v in sparse.variables()]
  assert len(before) == 4  # Adam's iterations and two slots; the step.
  assert sparse.step.ref() in before
  sparse.apply_gradients([(tf.ones((1, 8)), layer.kernel)])
  assert [v.ref() for v in sparse.variables()] == before


def test_keyword_arguments_reach_the_inner_optimizer():
  layer = make_layer(WEIGHT, MASK)
  inner = tf.compat.v1.train.GradientDescentOptimizer(0.1)
  global_step = tf.Variable(0, dtype=tf.int64)
  make_optimizer([layer], inner).apply_gradients(
    [(tf.ones((1, 8)), layer.kernel)], global_step=global_step
  )
  assert int(global_step) == 1


def test_make_sparse_optimizer_takes_gin(no_gin_config):
  gin.parse_config(
    """
    make_sparse_optimizer.replace_gradient_step = True
    UpdateSchedule.begin = 0.2
    UpdateSchedule.interval = 5
    """
  )
  layer = make_layer(WEIGHT, MASK)
  sparse = optimizer.make_sparse_optimizer(
    tf.keras.optimizers.legacy.SGD(0.1), [layer], total_steps=10, seed=0
  )
  schedule = sparse.mask_updater.schedule
  assert (schedule.begin_step, schedule.end_step) == (2, 8)
  gradient = tf.constant([[1.0, 1, 1, 1, 9, 9, 9, 9]])
  kernels = []
  for _ in range(4):
    kernels.append(layer.kernel.numpy())
    sparse.apply_gradients([(gradient, layer.kernel)])
  # Step 2 moves the mask instead of the weights.
  lasting = (kernels[3] != 0) & (kernels[2] != 0)
  assert (kernels[1] != kernels[2])[kernels[1] != 0].all()
  np.testing.assert_array_equal(kernels[2][lasting], kernels[3][lasting])
  assert (kernels[2] != kernels[3]).any()


def test_make_sparse_optimizer_takes_a_schedule(user_error):
  layer = make_layer(WEIGHT, MASK)
  inner = tf.keras.optimizers.legacy.SGD(0.1)
  schedule = schedules.UpdateSchedule(10, interval=3)
  sparse = optimizer.make_sparse_optimizer(inner, [layer], schedule=schedule)
  assert list(sparse.update_steps()) == [0, 3, 6]
  for arguments in ({}, {'total_steps': 10, 'schedule': schedule}):
    with user_error('make_sparse_optimizer.total_steps', 'schedule'):
      optimizer.make_sparse_optimizer(inner, [layer], **arguments)


def test_make_sparse_optimizer_passes_the_seed_on():
  def mask(seed):
    layer = make_layer(np.tri(16), np.tri(16), algorithms.SET(0.5))
    optimizer.make_sparse_optimizer(
      tf.keras.optimizers.legacy.SGD(0.1), [layer], total_steps=10, seed=seed
    ).apply_gradients([(tf.ones((16, 16)), layer.kernel)])
    return layer.mask.numpy()

  np.testing.assert_array_equal(mask(1), mask(1))
  assert (mask(1) != mask(2)).any()


def test_dense_slots_follow_all_gradients():
  """As the code of Sokar et al.: the optimizer does not know of the masks."""
  layer = make_layer(WEIGHT, MASK, algorithms.SET(0.5))
  schedule = schedules.UpdateSchedule(100, begin=0.02, interval=3)
  sparse = optimizer.SparseOptimizer(
    tf.keras.optimizers.legacy.Adam(0.1),
    [layer],
    mask_updater.MaskUpdater([layer], schedule),
    dense_slots=True,
  )
  adam = tf.keras.optimizers.legacy.Adam(0.1)
  unmasked = tf.Variable(WEIGHT)
  grown = set()
  for i in range(9):
    gradient = tf.random.stateless_normal((1, 8), seed=(i, 0))
    before = layer.mask.numpy()
    sparse.apply_gradients([(gradient, layer.kernel)])
    adam.apply_gradients([(gradient, unmasked)])
    mask = layer.mask.numpy()
    assert not layer.kernel.numpy()[mask == 0].any()
    grown |= set(np.flatnonzero((mask > before)))
    for slot in ('m', 'v'):
      np.testing.assert_array_equal(
        sparse.inner.get_slot(layer.kernel, slot).numpy(),
        adam.get_slot(unmasked, slot).numpy(),
      )
  assert grown
