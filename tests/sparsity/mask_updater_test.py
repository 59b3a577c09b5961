"""MaskUpdater: which layers, when, with which seeds."""

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.sparsity import (
  algorithms,
  distributions,
  mask_updater,
  schedules,
  wrappers,
)


def _layer(algorithm, sparsity=0.5, shape=(16, 16), seed=0):
  layer = wrappers.SparseWrapper(tf.keras.layers.Dense(shape[1]))
  layer.build((None, shape[0]))
  layer.initialize(sparsity, algorithm, seed)
  return layer


def _updater(layers, seed=0, **kwargs):
  return mask_updater.MaskUpdater(
    layers, schedules.UpdateSchedule(100, **kwargs), seed
  )


def _update(updater, step=0, gradient=None, slots=()):
  updater.update(
    tf.constant(step, tf.int64),
    [
      tf.zeros(layer.kernel.shape)
      if gradient is None
      else tf.constant(gradient)
      for layer in updater.layers
    ],
    [slots] * len(updater.layers),
  )


def test_passes_over_layers_that_do_not_change():
  changing = _layer(algorithms.SET())
  layers = [
    _layer(algorithms.Static()),
    _layer(algorithms.Dense()),
    _layer(algorithms.RigL(), sparsity=0.0),
    changing,
    wrappers.SparseWrapper(tf.keras.layers.Dense(2)),  # Never initialized.
  ]
  updater = _updater(layers)
  assert len(updater.layers) == 1
  assert updater.layers[0] is changing


def _update_steps(updater, total_steps=100):
  return [
    step for step in range(total_steps) if bool(updater.is_update_step(step))
  ]


@pytest.mark.parametrize(
  ('algorithm', 'steps'),
  [
    (algorithms.SET(), [10, 40, 70]),
    (algorithms.RigL(), [10, 40, 70]),
    (algorithms.DS(), [10, 40, 70]),
    (algorithms.DS(last_update_only_drops=True), [10, 40, 70, 80]),
    (algorithms.Prune(), [10, 40, 70, 80]),
  ],
)
def test_updates_on_the_interval_and_at_the_end_where_asked(algorithm, steps):
  updater = _updater([_layer(algorithm)], begin=0.1, interval=30)
  assert _update_steps(updater) == steps


@pytest.mark.parametrize('end', [0.75, 0.8, 1.0])
@pytest.mark.parametrize('interval', [1, 7, 1000])
def test_pruning_ends_at_its_sparsity_by_a_step_that_is_taken(end, interval):
  layer = _layer(algorithms.Prune(), sparsity=0.9)
  layer.kernel.assign(tf.random.stateless_normal((16, 16), seed=(0, 1)))
  updater = _updater([layer], begin=0.7, end=end, interval=interval)
  for step in _update_steps(updater):
    _update(updater, step)
  expected = distributions.num_zeros(16 * 16, 0.9)
  assert (layer.mask.numpy() == 0).sum() == expected


def test_window_end_that_one_layer_asks_for_leaves_others_alone():
  layers = [_layer(algorithms.DS(0.5)), _layer(algorithms.Prune())]
  for layer in layers:
    kernel = layer.mask * tf.random.stateless_normal((16, 16), seed=(0, 1))
    layer.kernel.assign(kernel)
  updater = _updater(layers, begin=0.1, interval=30)
  assert _update_steps(updater) == [10, 40, 70, 80]
  for step in _update_steps(updater):
    before = [layer.mask.numpy() for layer in layers]
    _update(updater, step)
    changed = [
      (mask != layer.mask.numpy()).any() for mask, layer in zip(before, layers)
    ]
    assert changed == [step != 80, step != 10]  # Pruning starts at 0 %.


def test_update_moves_masks_and_zeroes_what_enters_and_leaves():
  layer = _layer(algorithms.RigL(0.5), shape=(4, 2))
  layer.mask.assign([[1, 1], [1, 1], [0, 0], [0, 0]])
  layer.kernel.assign([[5, -1], [-4, 2], [0, 0], [0, 0]])
  slot = tf.Variable(tf.ones((4, 2)))
  gradient = [[0.0, 0], [0, 9], [-7, 5], [6, -8]]
  _update(_updater([layer]), gradient=gradient, slots=[slot])
  # -1 is dropped; so is 2, which grows again at once and keeps its value.
  np.testing.assert_array_equal(layer.mask, [[1, 0], [1, 1], [0, 0], [0, 1]])
  np.testing.assert_array_equal(layer.kernel, [[5, 0], [-4, 2], [0, 0], [0, 0]])
  np.testing.assert_array_equal(slot, [[1, 0], [1, 1], [0, 0], [0, 0]])


def _growth(layer_seed=0, seed=0, step=0, position=0):
  """Where DS grows, in one of two layers of equal weights and masks."""
  # DS rather than SET: its drop fraction is the same at every step.
  layers = [_layer(algorithms.DS(0.5), seed=layer_seed) for _ in range(2)]
  mask = np.zeros((16, 16), np.float32)
  mask[:8] = 1
  for layer in layers:
    layer.mask.assign(mask)
    layer.kernel.assign(mask)
  _update(_updater(layers, seed), step=step)
  new = layers[position].mask.numpy()
  assert new.sum() == mask.sum()
  assert (new != mask).any()
  return new


def test_growth_follows_seed_layer_and_step():
  first = _growth()
  np.testing.assert_array_equal(first, _growth())
  np.testing.assert_array_equal(first, _growth(layer_seed=1))
  assert (first != _growth(seed=1)).any()
  assert (first != _growth(position=1)).any()
  assert (first != _growth(step=1)).any()


def test_each_layer_is_bound_to_its_own_sparsity():
  model = tf.keras.Sequential(
    [tf.keras.layers.Dense(32), tf.keras.layers.Dense(4)]
  )
  model.build((None, 32))
  layers = wrappers.sparsify(
    model, distributions.erdos_renyi, 0.9, algorithms.Prune()
  )
  assert layers[0].sparsity != layers[1].sparsity
  _update(_updater(layers, begin=0.2), step=80)
  for layer in layers:
    mask = layer.mask.numpy()
    zeros = distributions.num_zeros(mask.size, layer.sparsity)
    assert (mask == 0).sum() == zeros
    assert (layer.kernel.numpy() == 0).sum() == zeros


@pytest.mark.parametrize(
  'schedule',
  [
    {'begin': 0.1, 'interval': 3},
    {'begin': 0.1, 'interval': 4},
    {'interval': 5, 'offset': 4},
    {'end': 1.0, 'interval': 6, 'steps_before': 7},
    {'end': 0.5, 'interval': 50, 'steps_before': 0},  # Only the window's end.
  ],
)
@pytest.mark.parametrize(
  'algorithm',
  [
    algorithms.RigL(),
    algorithms.Prune(),
    algorithms.DS(),
    algorithms.DS(last_update_only_drops=True),
  ],
)
def test_update_steps_are_those_of_is_update_step(algorithm, schedule):
  layers = [_layer(algorithm, shape=(3, 4)), _layer(algorithms.Static())]
  updater = mask_updater.MaskUpdater(
    layers, schedules.UpdateSchedule(20, **schedule)
  )
  expected = _update_steps(updater, 20)
  assert updater.update_steps().tolist() == expected
  at_end = updater.schedule.end_step in expected
  assert at_end >= algorithm.updates_at_window_end


def test_no_update_steps_without_a_layer_that_changes():
  layers = [
    _layer(algorithms.Static()),
    _layer(algorithms.Dense(), sparsity=0.0),
    _layer(algorithms.Prune(), sparsity=0.0),
  ]
  for updater in (_updater(layers), _updater([])):
    assert updater.update_steps().tolist() == []
    assert updater.update_steps().dtype.kind == 'i'


@pytest.mark.parametrize('offset', [0, 30])
def test_window_end_that_only_drops(offset):
  """The released code of DS-TD3 ends so; on the interval or not."""
  layer = _layer(algorithms.DS(0.5, last_update_only_drops=True))
  layer.kernel.assign(
    layer.mask * tf.random.stateless_normal((16, 16), seed=(0, 1))
  )
  updater = _updater([layer], interval=50, offset=offset)
  assert _update_steps(updater) == sorted({offset, 50 + offset, 80} - {100})
  counts = [np.count_nonzero(layer.mask)]
  for step in _update_steps(updater):
    _update(updater, step)
    counts.append(np.count_nonzero(layer.mask))
    # Training fills in what has grown.
    layer.kernel.assign(
      layer.mask * tf.random.stateless_normal((16, 16), seed=(step, 2))
    )
  assert len(set(counts[:-1])) == 1
  assert counts[-1] == pytest.approx(counts[0] / 2, abs=2)
