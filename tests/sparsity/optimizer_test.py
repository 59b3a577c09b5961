"""SparseOptimizer: the order of gradient step and mask update."""

import gin
import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.sparsity import (
  algorithms,
  mask_updater,
  optimizer,
  schedules,
  wrappers,
)


def _layer(weight, mask, algorithm=None):
  layer = wrappers.SparseWrapper(
    tf.keras.layers.Dense(np.shape(weight)[1], use_bias=False)
  )
  layer.build((None, np.shape(weight)[0]))
  layer.initialize(0.5, algorithm or algorithms.RigL(0.5), seed=0)
  layer.mask.assign(mask)
  layer.kernel.assign(weight)
  return layer


def _optimizer(layers, inner=None, replace_gradient_step=False, **kwargs):
  schedule = schedules.UpdateSchedule(100, **kwargs)
  return optimizer.SparseOptimizer(
    inner or tf.keras.optimizers.legacy.SGD(0.1),
    layers,
    mask_updater.MaskUpdater(layers, schedule),
    replace_gradient_step=replace_gradient_step,
  )


_MASK = [[1.0, 1, 1, 1, 0, 0, 0, 0]]
_WEIGHT = [[5.0, -1, -4, 2, 0, 0, 0, 0]]


@pytest.mark.parametrize('graph', [False, True])
def test_updates_on_the_schedules_steps(graph):
  layer = _layer(_WEIGHT, _MASK, algorithms.SET(0.5))
  sparse = _optimizer([layer], begin=0.02, end=0.1, interval=3)

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
  layer = _layer(_WEIGHT, _MASK)
  sparse = _optimizer([layer], begin=0.02, interval=50)
  step = lambda g: sparse.apply_gradients([(g, layer.kernel)])  # noqa: E731
  step = tf.function(step) if graph else step
  rising = [[0.0, 0, 0, 0, 1, 2, 3, 4]]
  falling = [[0.0, 0, 0, 0, -4, -3, -2, -1]]
  for gradient in (rising, rising, falling):
    np.testing.assert_array_equal(layer.mask, _MASK)
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
  layer = _layer(_WEIGHT, _MASK)
  sparse = _optimizer(
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
  layer = _layer(_WEIGHT, _MASK, algorithms.Static())
  other = tf.Variable([1.0, 2.0])
  sparse = _optimizer([layer])
  sparse.apply_gradients([(tf.ones((1, 8)), layer.kernel), (tf.ones(2), other)])
  np.testing.assert_array_equal(layer.mask, _MASK)
  np.testing.assert_allclose(
    layer.kernel, [[4.9, -1.1, -4.1, 1.9, 0, 0, 0, 0]], rtol=1e-6
  )
  np.testing.assert_allclose(other, [0.9, 1.9], rtol=1e-6)


def test_two_networks_in_one_optimizer():
  first, second = (_layer(_WEIGHT, _MASK) for _ in range(2))
  sparse = _optimizer([first, second])
  sparse.apply_gradients(
    [
      (tf.constant([[0.0, 0, 0, 0, 0, 0, 9, 9]]), second.kernel),
      (tf.constant([[0.0, 0, 0, 0, 9, 9, 0, 0]]), first.kernel),
    ]
  )
  np.testing.assert_array_equal(first.mask, [[1, 0, 1, 0, 1, 1, 0, 0]])
  np.testing.assert_array_equal(second.mask, [[1, 0, 1, 0, 0, 0, 1, 1]])


@pytest.mark.parametrize('name', ['Adam', 'SGD', 'RMSprop'])
def test_optimizers_without_slots_by_variable(name, user_error):
  inner = getattr(tf.keras.optimizers, name)()
  with user_error('SparseOptimizer.inner', name, 'tf.keras.optimizers.legacy'):
    _optimizer([_layer(_WEIGHT, _MASK)], inner)


@pytest.mark.parametrize(
  'make',
  [
    tf.keras.optimizers.legacy.Adam,
    tf.compat.v1.train.AdamOptimizer,
  ],
)
@pytest.mark.parametrize('graph', [False, True])
def test_slots_of_either_kind_of_optimizer(make, graph):
  layer = _layer(_WEIGHT, _MASK)
  inner = make(0.01)
  sparse = _optimizer([layer], inner, interval=2)
  step = lambda g: sparse.apply_gradients([(g, layer.kernel)])  # noqa: E731
  step = tf.function(step) if graph else step
  gradient = tf.constant([[1.0, 1, 1, 1, -7, 5, -8, 6]])
  step(gradient)  # Updates the mask: 4 and 6 grow.
  np.testing.assert_array_equal(layer.mask, [[1, 0, 1, 0, 1, 0, 1, 0]])
  slots = [
    inner.get_slot(layer.kernel, name) for name in inner.get_slot_names()
  ]
  assert len(slots) == 2
  for slot in slots:
    np.testing.assert_array_equal(slot != 0, [[1, 0, 1, 0, 0, 0, 0, 0]])
  step(gradient)  # No update: the slots of active weights fill, no others.
  for slot in slots:
    np.testing.assert_array_equal(slot != 0, layer.mask)
  np.testing.assert_array_equal(layer.kernel != 0, layer.mask)


def test_variables_and_slots_exist_before_the_first_step():
  layer = _layer(_WEIGHT, _MASK)
  inner = tf.keras.optimizers.legacy.Adam()
  sparse = _optimizer([layer], inner)
  sparse.create_slots([layer.kernel])
  before = [v.ref() for v in sparse.variables()]
  assert len(before) == 4  # Adam's iterations and two slots; the step.
  assert sparse.step.ref() in before
  sparse.apply_gradients([(tf.ones((1, 8)), layer.kernel)])
  assert [v.ref() for v in sparse.variables()] == before


def test_keyword_arguments_reach_the_inner_optimizer():
  layer = _layer(_WEIGHT, _MASK)
  inner = tf.compat.v1.train.GradientDescentOptimizer(0.1)
  global_step = tf.Variable(0, dtype=tf.int64)
  _optimizer([layer], inner).apply_gradients(
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
  layer = _layer(_WEIGHT, _MASK)
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


def test_make_sparse_optimizer_passes_the_seed_on():
  def mask(seed):
    layer = _layer(np.tri(16), np.tri(16), algorithms.SET(0.5))
    optimizer.make_sparse_optimizer(
      tf.keras.optimizers.legacy.SGD(0.1), [layer], total_steps=10, seed=seed
    ).apply_gradients([(tf.ones((16, 16)), layer.kernel)])
    return layer.mask.numpy()

  np.testing.assert_array_equal(mask(1), mask(1))
  assert (mask(1) != mask(2)).any()
