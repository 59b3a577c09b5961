"""SparseOptimizer, where it takes part in every n-th train step only."""

import gin
import numpy as np
import pytest
import tensorflow as tf

from helpers.one_layer import MASK, WEIGHT, make_layer, make_optimizer
from rigl_rl.sparsity import algorithms, optimizer


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
  layer = make_layer(WEIGHT, MASK)
  sparse = make_optimizer([layer], period=3, interval=50)
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
  layer = make_layer(WEIGHT, MASK, algorithms.DS(0.5))
  sparse = make_optimizer([layer], period=period, total_steps=24, **schedule)
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
  layer = make_layer(WEIGHT, MASK, algorithms.Static())
  sparse = make_optimizer([layer], period=2, interval=3)
  assert sparse.update_steps().tolist() == []


@pytest.mark.parametrize('graph', [False, True])
def test_delayed_update_takes_the_gradient_of_its_own_step(graph):
  layer = make_layer(WEIGHT, MASK)
  # Train step 1 is due; steps 3, 7, 11, ... are this optimizer's.
  sparse = make_optimizer([layer], period=4, begin=0.01, interval=50)
  step = lambda g: sparse.apply_gradients([(g, layer.kernel)])  # noqa: E731
  step = tf.function(step) if graph else step
  step(tf.constant([[0.0, 0, 0, 0, 1, 2, 3, 4]]))
  np.testing.assert_array_equal(layer.mask, [[1, 0, 1, 0, 0, 0, 1, 1]])
  layer.mask.assign(MASK)
  layer.kernel.assign(WEIGHT)
  step(tf.constant([[0.0, 0, 0, 0, 4, 3, 2, 1]]))
  np.testing.assert_array_equal(layer.mask, MASK)  # Nothing is due any more.


def test_delayed_update_is_that_of_the_latest_step_due(monkeypatch):
  layer = make_layer(WEIGHT, MASK, algorithms.DS(0.5))
  sparse = make_optimizer([layer], period=4, interval=3, total_steps=20)
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
  layer = make_layer(weight, np.ones((6, 6)), algorithms.Prune())
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
      [make_layer(WEIGHT, MASK)],
      total_steps=total_steps,
      seed=0,
      period=period,
    )
    assert sparse.period == period
    assert sparse.mask_updater.schedule.end_step == end_step


@pytest.mark.parametrize('graph', [False, True])
@pytest.mark.parametrize('replace_gradient_step', [False, True])
def test_replaced_gradient_steps_with_a_period(replace_gradient_step, graph):
  layer = make_layer(WEIGHT, MASK)
  sparse = make_optimizer(
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
