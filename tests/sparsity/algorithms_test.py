"""Each algorithm's update on vectors that a reader can check by eye."""

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.sparsity import algorithms, schedules

# Weights closest to zero among the active: -1 at 1, then 2 at 3.
_WEIGHT = [5.0, -1, -4, 2, 0, 0, 0, 0]
_MASK = '11110000'
_GRAD = [0.0, 0, 0, 0, -7, 5, -8, 6]


def _schedule(total_steps=100, **kwargs):
  return schedules.UpdateSchedule(total_steps, **kwargs)


def _update(algorithm, weight, mask, grad=None, step=0, seed=0, **kwargs):
  """One update of a bound algorithm; masks as strings of 0 and 1."""
  kwargs.setdefault('sparsity', 0.5)
  kwargs.setdefault('schedule', _schedule())
  new = algorithm.bind(**kwargs).update(
    tf.constant(weight, tf.float32),
    tf.constant([float(c) for c in mask]),
    None if grad is None else tf.constant(grad, tf.float32),
    tf.constant(step, tf.int64),
    tf.constant([seed, step], tf.int32),
  )
  assert new.dtype == tf.float32
  return ''.join(str(int(value)) for value in new.numpy())


def _union(mask_strings):
  return ''.join(str(int('1' in column)) for column in zip(*mask_strings))


def test_dense_masks_nothing():
  assert algorithms.Dense().initial_mask((3, 4), 0.9, 0).numpy().all()
  assert not algorithms.Dense.changes_masks


def test_static_is_random_and_fixed():
  mask = algorithms.Static().initial_mask((10, 10), 0.9, 0).numpy()
  assert mask.sum() == 10
  assert not algorithms.Static.changes_masks


def test_prune_starts_dense():
  assert algorithms.Prune().initial_mask((3, 4), 0.9, 0).numpy().all()


@pytest.mark.parametrize('cls', [algorithms.SET, algorithms.RigL])
def test_drop_and_grow_start_with_the_exact_count(cls):
  assert cls().initial_mask((10, 10), 0.29, 3).numpy().sum() == 71


def test_rigl_grows_the_largest_gradients():
  rigl = algorithms.RigL(0.5)
  assert _update(rigl, _WEIGHT, _MASK, _GRAD) == '10101010'
  assert rigl.needs_dense_gradient


def test_rigl_may_regrow_what_it_just_dropped():
  grad = [0.0, -9, 0, 0, -7, 5, -8, 6]
  assert _update(algorithms.RigL(0.5), _WEIGHT, _MASK, grad) == '11100010'


@pytest.mark.parametrize(
  ('step', 'expected'),
  [
    # The window is 0 … 80, so int(4 · f(t)) is 2, 1, 1, 0, 0 moves.
    (0, '10101010'),
    (1, '10110010'),  # .49981: not quite half.
    (40, '10110010'),  # .25
    (41, '11110000'),
    (80, '11110000'),
  ],
)
def test_rigl_decays_its_drop_fraction(step, expected):
  rigl = algorithms.RigL(0.5)
  assert _update(rigl, _WEIGHT, _MASK, _GRAD, step=step) == expected


def test_decay_starts_with_the_window():
  rigl = algorithms.RigL(0.5)
  schedule = _schedule(begin=0.4, end=0.8)
  actual = _update(rigl, _WEIGHT, _MASK, _GRAD, step=40, schedule=schedule)
  assert actual == '10101010'


def test_set_drops_the_smallest_and_grows_at_random():
  updates = [
    _update(algorithms.SET(0.5), _WEIGHT, _MASK, seed=seed)
    for seed in range(60)
  ]
  for mask in updates:
    assert mask[0] == mask[2] == '1'
    assert mask.count('1') == 4
  # Everywhere else it grows, the dropped ones included.
  assert _union(updates) == '11111111'
  # 60 × 2 draws among 6 places: 20 ± 4 each.
  counts = [sum(mask[i] == '1' for mask in updates) for i in (1, 3, 4, 5, 6, 7)]
  assert sum(counts) == 120
  assert min(counts) >= 5
  assert not algorithms.SET.needs_dense_gradient


def test_set_growth_follows_the_seed():
  def grow(seed):
    return _update(algorithms.SET(0.5), _WEIGHT, _MASK, seed=seed)

  assert grow(3) == grow(3)
  assert len({grow(seed) for seed in range(10)}) > 1


@pytest.mark.parametrize(
  ('step', 'expected'),
  [
    (20, '11111111'),  # s = 0.
    (50, '10100111'),  # s = .5 · 7/8, and ⌊8 · .4375⌋ = 3: -1, 2 and 3 go.
    (80, '10100110'),  # s = .5.
    (99, '10100110'),
  ],
)
def test_prune_keeps_the_largest_magnitudes(step, expected):
  weight = [8.0, -1, -7, 2, 3, -6, 5, -4]
  actual = _update(
    algorithms.Prune(), weight, '1' * 8, step=step,
    schedule=_schedule(begin=0.2),
  )  # fmt: skip
  assert actual == expected


def test_pruned_weights_stay_pruned():
  # Two zeros are active at 4 and 5; those at 0 and 1 were pruned before them.
  weight = [0.0, 0, 3, 4, 0, 0, -1, 2]
  # At a sparsity of 3/8 one of the active ones is kept.
  actual = _update(
    algorithms.Prune(), weight, '00111111', step=80, sparsity=0.375
  )
  assert actual == '00111011'


def test_prune_uses_its_layers_sparsity():
  weight = np.arange(1.0, 101.0)
  mask = _update(algorithms.Prune(), weight, '1' * 100, step=80, sparsity=0.29)
  assert mask == '0' * 29 + '1' * 71


# Four of each sign, then four places to grow.
_SIGNED = [1.0, -1, 2, -2, 3, -3, 4, -4, 0, 0, 0, 0]
_SIGNED_MASK = '111111110000'


@pytest.mark.parametrize(
  ('drop_fraction', 'dropped'),
  [
    (0.5, '111100000000'),  # c = 4: two of each sign.
    (0.25, '110000000000'),  # c = 2.
    (0.4, '110000000000'),  # c = ⌊3.2⌋ = 3, and 3 // 2 = 1 of each.
    (0.24, '000000000000'),  # c = 1, half of which is none.
  ],
)
def test_ds_drops_half_of_each_sign(drop_fraction, dropped):
  updates = [
    _update(algorithms.DS(drop_fraction), _SIGNED, _SIGNED_MASK, seed=seed)
    for seed in range(20)
  ]
  kept = ''.join(str(int(a) - int(b)) for a, b in zip(_SIGNED_MASK, dropped))
  for mask in updates:
    # Growth falls on weights that were absent before, never on the dropped.
    assert mask[:8] == kept[:8]
    assert mask.count('1') == 8
  if '1' in dropped:
    assert _union(updates)[8:] == '1111'


def test_ds_does_not_decay():
  for step in (0, 40, 80):
    mask = _update(algorithms.DS(0.5), _SIGNED, _SIGNED_MASK, step=step)
    assert mask == '000011111111'


def test_ds_with_too_few_of_one_sign():
  # c = 4: of two positive ones there is but one; two negative go.
  weight = [1.0, -1, -2, -3, -4, -5, -6, -7, 0, 0, 0, 0]
  mask = _update(algorithms.DS(0.5), weight, _SIGNED_MASK)
  assert mask[:8] == '00011111'
  assert mask.count('1') == 8


def test_ds_in_a_nearly_dense_layer_keeps_the_count():
  weight = [1.0, -1, 2, -2, 3, -3, 4, 0]
  mask = _update(algorithms.DS(0.6), weight, '11111110')
  assert mask == '01111111'  # c = 4, but only one can grow again.
  assert _update(algorithms.DS(1.0), weight[:7], '1111111') == '1111111'


def test_ds_each_sign():
  # ⌊.5 · 2⌋ + 1 = 2 of the positive, ⌈.5 · 5⌉ = 3 of the negative ones.
  weight = [1.0, 9, -2, -3, -4, -5, -6, 0, 0, 0, 0, 0]
  ds = algorithms.DS(0.5, drop_each_sign=True)
  assert _update(ds, weight, '111111100000') == '000001111111'


@pytest.mark.parametrize('positive, negative', [(0, 40), (1, 39), (60, 40)])
def test_ds_each_sign_drops_what_the_authors_code_drops(positive, negative):
  weight = np.zeros(200)
  weight[:positive] = 1 + np.arange(positive)
  weight[positive : positive + negative] = -1 - np.arange(negative)
  # Their code, but for names: what lies beyond these two values stays.
  values, fraction = np.sort(weight), 0.05
  first_zero = np.abs(values).argmin()
  last_zero = len(values) - np.abs(values)[::-1].argmin()
  largest_negative = values[int((1 - fraction) * first_zero)]
  place = last_zero + fraction * (len(values) - last_zero)
  smallest_positive = values[int(min(len(values) - 1, place))]
  kept = (weight > smallest_positive) | (weight < largest_negative)

  active = ''.join('1' if value else '0' for value in weight)
  ds = algorithms.DS(fraction, drop_each_sign=True)
  mask = np.array(list(_update(ds, weight, active))) == '1'
  np.testing.assert_array_equal(mask[weight != 0], kept[weight != 0])
  assert mask.sum() == positive + negative


def test_ds_last_update_only_drops():
  ds = algorithms.DS(0.5, last_update_only_drops=True)
  assert _update(ds, _SIGNED, _SIGNED_MASK, step=79) == '000011111111'
  assert _update(ds, _SIGNED, _SIGNED_MASK, step=80) == '000011110000'


def test_ds_moves_active_weights_that_are_zero():
  # 2 and 3 are active and zero: they have never learned. c = ⌊.5 · 6⌋ = 3, so
  # 1 and -1 go too, and four grow among 2, 3 and the absent four.
  weight = [1.0, -1, 0, -0.0, 3, -3, 4, -4, 0, 0, 0, 0]
  updates = [
    _update(algorithms.DS(0.5), weight, _SIGNED_MASK, seed=seed)
    for seed in range(40)
  ]
  for mask in updates:
    assert mask[:2] == '00'
    assert mask[4:8] == '1111'
    assert mask.count('1') == 8
  assert _union(updates) == '001111111111'
  assert _update(algorithms.DS(0.0), weight, _SIGNED_MASK) == _SIGNED_MASK


def test_ds_does_not_lose_its_connections_to_dead_inputs():
  # Of 8 inputs 6 are always zero: what grows there has no gradient.
  rng = np.random.default_rng(0)
  learned = rng.standard_normal((8, 16)).astype(np.float32)
  learned[2:] = 0
  weight = rng.standard_normal((8, 16)).astype(np.float32)
  weight[2:] *= 1e-3  # Weight decay has long shrunk them.
  ds = algorithms.DS(0.2).bind(0.5, _schedule())
  mask = ds.initial_mask((8, 16), 0.5, 0)
  count = mask.numpy().sum()
  for step in range(40):
    # Training: a live weight leaves zero, a dead one stays what it is.
    weight = np.where(weight == 0, learned, weight) * mask.numpy()
    new = ds.update(
      tf.constant(weight), mask, None, tf.constant(step, tf.int64), (1, step)
    )
    weight, mask = weight * new.numpy(), new
    assert mask.numpy().sum() == count
  assert mask.numpy()[:2].mean() > 0.5


def test_ds_starts_with_independent_weights():
  counts = {
    algorithms.DS().initial_mask((30, 30), 0.5, seed).numpy().sum()
    for seed in range(5)
  }
  assert len(counts) > 1
  assert all(abs(count - 450) < 5 * 15 for count in counts)


@pytest.mark.parametrize(
  'cls', [algorithms.SET, algorithms.RigL, algorithms.DS]
)
@pytest.mark.parametrize('value', [-0.1, 1.1, 30, float('nan'), '0.3', True])
def test_bad_drop_fraction(cls, value, user_error):
  with user_error(f'{cls.__name__}.drop_fraction', repr(value), '[0, 1]'):
    cls(drop_fraction=value)


@pytest.mark.parametrize('cls', [algorithms.SET, algorithms.RigL])
@pytest.mark.parametrize('value', [-1e-5, float('nan'), '1e-5'])
def test_bad_drop_noise(cls, value, user_error):
  with user_error(f'{cls.__name__}.drop_noise is {value!r}', 'at least 0'):
    cls(drop_noise=value)


def test_drop_noise_decides_between_equal_weights():
  weight = [1.0, 1, 1, 1, 0, 0, 0, 0]

  def drop(noise, seed):
    rigl = algorithms.RigL(0.25, drop_noise=noise)
    return _update(rigl, weight, _MASK, _GRAD, seed=seed)[:4]

  # Without it the lower index stays.
  assert {drop(0.0, seed) for seed in range(20)} == {'1110'}
  assert {drop(1e-3, seed) for seed in range(40)} == {
    '0111', '1011', '1101', '1110',
  }  # fmt: skip


def test_bind_leaves_the_original_alone():
  original = algorithms.RigL(0.5)
  first = original.bind(0.9, _schedule())
  second = original.bind(0.5, _schedule(end=0.5))
  assert not vars(original).keys() & {'sparsity', 'schedule'}
  assert (first.sparsity, second.sparsity) == (0.9, 0.5)
  assert first.schedule.end_step == 80
  assert first.drop_fraction == 0.5
