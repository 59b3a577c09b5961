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


def _optimizer(
  layers,
  inner=None,
  replace_gradient_step=False,
  period=1,
  total_steps=100,
  **kwargs,
):
  schedule = schedules.UpdateSchedule(total_steps, **kwargs)
  return optimizer.SparseOptimizer(
    inner or tf.keras.optimizers.legacy.SGD(0.1),
    layers,
    mask_updater.MaskUpdater(layers, schedule),
    replace_gradient_step=replace_gradient_step,
    period=period,
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


@pytest.mark.parametrize(
  'make',
  [
    lambda: 'adam',
    lambda: tf.keras.mixed_precision.LossScaleOptimizer(
      tf.keras.optimizers.Adam()
    ),
  ],
)
def test_what_is_no_optimizer_of_these(make, user_error):
  with user_error('SparseOptimizer.inner', 'tf.keras.optimizers.legacy'):
    _optimizer([_layer(_WEIGHT, _MASK)], make())


def test_an_optimizer_with_moving_averages(user_error):
  inner = tf.keras.optimizers.SGD(use_ema=True)
  with user_error('SparseOptimizer.inner', 'SGD', 'use_ema=False'):
    _optimizer([_layer(_WEIGHT, _MASK)], inner)


def test_an_optimizer_that_has_trained_before(user_error):
  layer = _layer(_WEIGHT, _MASK)
  inner = tf.keras.optimizers.Adam()
  inner.build([layer.kernel])
  with user_error('SparseOptimizer.inner', 'Adam', 'a new one'):
    _optimizer([layer], inner)


def test_a_layer_without_gradient(user_error):
  first, second = (_layer(_WEIGHT, _MASK) for _ in range(2))
  sparse = _optimizer([first, second])
  pair = (tf.ones((1, 8)), first.kernel)
  for pairs in ([pair], [pair, (None, second.kernel)]):
    with user_error('gradients', second.name, 'RigL', 'sparsify.keep_dense'):
      sparse.apply_gradients(pairs)
  # Static masks need none.
  static = _layer(_WEIGHT, _MASK, algorithms.Static())
  sparse = _optimizer([static])
  other = (tf.ones(8), tf.Variable(tf.ones(8)))
  sparse.apply_gradients([(None, static.kernel), other])
  np.testing.assert_array_equal(static.kernel, _WEIGHT)


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
  layer = _layer(_WEIGHT, _MASK)
  inner = make(0.01)
  sparse = _optimizer([layer], inner, interval=2)
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


def test_make_sparse_optimizer_takes_a_schedule(user_error):
  layer = _layer(_WEIGHT, _MASK)
  inner = tf.keras.optimizers.legacy.SGD(0.1)
  schedule = schedules.UpdateSchedule(10, interval=3)
  sparse = optimizer.make_sparse_optimizer(inner, [layer], schedule=schedule)
  assert list(sparse.update_steps()) == [0, 3, 6]
  for arguments in ({}, {'total_steps': 10, 'schedule': schedule}):
    with user_error('make_sparse_optimizer.total_steps', 'schedule'):
      optimizer.make_sparse_optimizer(inner, [layer], **arguments)


def test_make_sparse_optimizer_passes_the_seed_on():
  def mask(seed):
    layer = _layer(np.tri(16), np.tri(16), algorithms.SET(0.5))
    optimizer.make_sparse_optimizer(
      tf.keras.optimizers.legacy.SGD(0.1), [layer], total_steps=10, seed=seed
    ).apply_gradients([(tf.ones((16, 16)), layer.kernel)])
    return layer.mask.numpy()

  np.testing.assert_array_equal(mask(1), mask(1))
  assert (mask(1) != mask(2)).any()


def _train_steps(sparse, layer, total_steps):
  """Takes an agent's train steps; yields each, and whether the mask moved."""
  for step in range(total_steps):
    before = layer.mask.numpy()
    if (step + 1) % sparse.period == 0:
      # No weight becomes zero, so that DS moves some at each update.
      gradient = tf.random.stateless_normal(layer.kernel.shape, (step, 1))
      sparse.apply_gradients([(gradient, layer.kernel)])
    yield step, bool((layer.mask.numpy() != before).any())


def test_step_counts_train_steps_by_the_period():
  layer = _layer(_WEIGHT, _MASK)
  sparse = _optimizer([layer], period=3, interval=50)
  # Of train steps 0, 1, 2, ... it takes part in 2, 5, 8, ...
  assert (int(sparse.step), sparse.steps_taken) == (2, 0)
  for calls in (1, 2, 3):
    next_step = sparse.apply_gradients([(tf.ones((1, 8)), layer.kernel)])
    assert int(next_step) == int(sparse.step) == 2 + 3 * calls
    assert sparse.steps_taken == calls
    assert int(sparse.inner.iterations) == calls


_SCHEDULES = (
  {'interval': 1},
  {'interval': 4, 'begin': 0.1},
  {'interval': 5, 'offset': 3},
  {'interval': 6, 'end': 1.0, 'steps_before': 8},
  {'interval': 100},
)


@pytest.mark.parametrize('schedule', _SCHEDULES)
@pytest.mark.parametrize('period', [1, 2, 3])
def test_update_steps_are_where_masks_change(period, schedule):
  layer = _layer(_WEIGHT, _MASK, algorithms.DS(0.5))
  sparse = _optimizer([layer], period=period, total_steps=24, **schedule)
  moved = [step for step, moves in _train_steps(sparse, layer, 24) if moves]
  assert moved == sparse.update_steps().tolist()
  # Each is the first step of this optimizer from an update step on.
  expected = set()
  for step in range(24):
    if sparse.mask_updater.is_update_step(step):
      while (step + 1) % period:
        step += 1
      expected.add(step)
  assert moved == sorted(expected)


def test_no_update_steps_where_no_mask_changes():
  layer = _layer(_WEIGHT, _MASK, algorithms.Static())
  sparse = _optimizer([layer], period=2, interval=3)
  assert sparse.update_steps().tolist() == []


@pytest.mark.parametrize('graph', [False, True])
def test_delayed_update_takes_the_gradient_of_its_own_step(graph):
  layer = _layer(_WEIGHT, _MASK)
  # Train step 1 is due; steps 3, 7, 11, ... are this optimizer's.
  sparse = _optimizer([layer], period=4, begin=0.01, interval=50)
  step = lambda g: sparse.apply_gradients([(g, layer.kernel)])  # noqa: E731
  step = tf.function(step) if graph else step
  step(tf.constant([[0.0, 0, 0, 0, 1, 2, 3, 4]]))
  np.testing.assert_array_equal(layer.mask, [[1, 0, 1, 0, 0, 0, 1, 1]])
  layer.mask.assign(_MASK)
  layer.kernel.assign(_WEIGHT)
  step(tf.constant([[0.0, 0, 0, 0, 4, 3, 2, 1]]))
  np.testing.assert_array_equal(layer.mask, _MASK)  # Nothing is due any more.


def test_delayed_update_is_that_of_the_latest_step_due(monkeypatch):
  layer = _layer(_WEIGHT, _MASK, algorithms.DS(0.5))
  sparse = _optimizer([layer], period=4, interval=3, total_steps=20)
  updates = []
  monkeypatch.setattr(
    sparse.mask_updater, 'update', lambda step, *_: updates.append(int(step))
  )
  for _ in range(4):
    sparse.apply_gradients([(tf.ones((1, 8)), layer.kernel)])
  # Due are 0, 3, 6, 9, 12, 15; called at 3, 7, 11, 15: 0 and 12 are passed by.
  assert updates == [3, 6, 9, 15]


@pytest.mark.parametrize('period', [1, 2, 3, 4])
@pytest.mark.parametrize(
  'total_steps, schedule',
  [
    (40, {'begin': 0.3, 'end': 0.8, 'interval': 7}),
    (40, {'end': 0.5, 'interval': 1}),
    (41, {'end': 1.0, 'interval': 1}),
    (41, {'begin': 0.9, 'end': 1.0, 'interval': 100}),
    (43, {'begin': 0.999, 'end': 1.0, 'interval': 3}),
    (43, {'end': 1.0, 'interval': 6, 'steps_before': 5}),
  ],
)
def test_pruning_ends_at_its_sparsity(
  total_steps, schedule, period, no_gin_config
):
  """Though the window ends between two steps, or after the last of them."""
  for name, value in schedule.items():
    gin.bind_parameter(f'UpdateSchedule.{name}', value)
  weight = np.random.default_rng(0).standard_normal((6, 6))
  layer = _layer(weight, np.ones((6, 6)), algorithms.Prune())
  sparse = optimizer.make_sparse_optimizer(
    tf.keras.optimizers.legacy.SGD(0.01),
    [layer],
    total_steps=total_steps,
    seed=0,
    period=period,
  )
  zeros = [0]
  for _, moves in _train_steps(sparse, layer, total_steps):
    zeros.append(36 - np.count_nonzero(layer.mask))
    assert moves == (zeros[-1] > zeros[-2])
  assert zeros[-1] == 18
  assert zeros == sorted(zeros)


def test_last_step_of_the_window_is_one_of_this_optimizers(no_gin_config):
  gin.parse_config('UpdateSchedule.end = 1.0')
  for total_steps, period, end_step in (
    (10, 1, 9),
    (10, 2, 9),
    (11, 2, 9),
    (11, 3, 8),
    (3, 5, 2),  # It takes no step.
  ):
    sparse = optimizer.make_sparse_optimizer(
      tf.keras.optimizers.legacy.SGD(0.1),
      [_layer(_WEIGHT, _MASK)],
      total_steps=total_steps,
      seed=0,
      period=period,
    )
    assert sparse.period == period
    assert sparse.mask_updater.schedule.end_step == end_step


@pytest.mark.parametrize('graph', [False, True])
@pytest.mark.parametrize('replace_gradient_step', [False, True])
def test_replaced_gradient_steps_with_a_period(replace_gradient_step, graph):
  layer = _layer(_WEIGHT, _MASK)
  sparse = _optimizer(
    [layer],
    period=2,
    interval=6,
    offset=2,
    replace_gradient_step=replace_gradient_step,
  )
  step = lambda g: sparse.apply_gradients([(g, layer.kernel)])  # noqa: E731
  step = tf.function(step) if graph else step
  replaced = []
  for call in range(6):  # Train steps 1, 3, 5, ...; due are 2 and 8.
    before, mask = layer.kernel.numpy(), layer.mask.numpy()
    step(tf.constant([[0.5] * 8]))
    lasting = (mask * layer.mask.numpy()) > 0
    unmoved = (before == layer.kernel.numpy())[lasting]
    assert unmoved.all() or not unmoved.any()
    if unmoved.all():
      replaced.append(2 * call + 1)
  assert replaced == ([3, 9] if replace_gradient_step else [])
  assert sparse.update_steps().tolist()[:2] == [3, 9]


def test_dense_slots_follow_all_gradients():
  """As the code of Sokar et al.: the optimizer does not know of the masks."""
  layer = _layer(_WEIGHT, _MASK, algorithms.SET(0.5))
  schedule = schedules.UpdateSchedule(100, begin=0.02, interval=3)
  sparse = optimizer.SparseOptimizer(
    tf.keras.optimizers.legacy.Adam(0.1),
    [layer],
    mask_updater.MaskUpdater([layer], schedule),
    dense_slots=True,
  )
  adam = tf.keras.optimizers.legacy.Adam(0.1)
  unmasked = tf.Variable(_WEIGHT)
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
