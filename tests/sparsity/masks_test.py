"""Masks: exact counts, one tie rule, and the released code's drop and grow."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.sparsity import distributions, masks

_ORACLES = json.loads(
  (pathlib.Path(__file__).parent / 'oracles' / 'drop_grow.json').read_text()
)
_INF = np.inf


def _reference_order(score, candidates=None):
  """Places by falling score, by a stable sort: ties go to the lower index."""
  flat = np.asarray(score).ravel().astype(np.float64)
  order = np.argsort(-flat, kind='stable')
  if candidates is not None:
    order = order[np.asarray(candidates).ravel()[order]]
  return order


def _reference_top_k(score, k, candidates=None):
  """The k highest of the reference order."""
  mask = np.zeros(np.size(score), np.float32)
  mask[_reference_order(score, candidates)[:k]] = 1
  return mask.reshape(np.shape(score))


def _bits(mask):
  return ''.join(str(int(value)) for value in np.ravel(mask))


@pytest.mark.parametrize(
  ('score', 'k', 'expected'),
  [
    ([3, 1, 4, 1, 5, 9, 2, 6], 3, '00001101'),
    ([1, 1, 1, 1, 1, 1, 1, 1], 3, '11100000'),
    ([2, 1, 2, 1, 2, 1, 2, 1], 6, '11111010'),
    # -0 equals 0, whichever stands first.
    ([-0.0, 0.0, -0.0, 0.0, -1, -1, -1, -1], 2, '11000000'),
    ([0.0, -0.0, 0.0, -0.0, 1, -1, -1, -1], 3, '11001000'),
    ([-3, -1, -4, -1, -5, -9, -2, -6], 3, '01010010'),
    ([-_INF, _INF, 0, 1e38, -1e38, _INF, -_INF, 1], 2, '01000100'),
    ([-_INF, _INF, 0, 1e38, -1e38, _INF, -_INF, 1], 7, '11111101'),
    ([-1e-3, 1e-3, -1e3, 1e3, -1, 1, 0, -2], 5, '11010110'),
    ([-1e-3, 1e-3, -1e3, 1e3, -1, 1, 0, -2], 4, '01010110'),
  ],
)
def test_top_k_by_hand(score, k, expected):
  score = tf.constant(score, tf.float32)
  assert _bits(masks.top_k_mask(score, k)) == expected
  assert _bits(tf.function(masks.top_k_mask)(score, k)) == expected


@pytest.mark.parametrize(
  ('score', 'candidates', 'k', 'expected'),
  [
    ([9, 8, 7, 6, 5, 4, 3, 2], '00111011', 2, '00110000'),
    ([1, 1, 1, 1, 1, 1, 1, 1], '01010101', 3, '01010100'),
    ([-5, _INF, -5, _INF, -5, -6, -5, 0], '10101110', 3, '10101000'),
    ([-_INF, 1, 1, 1, 1, 1, 1, 1], '10000000', 1, '10000000'),
    ([1, 2, 3, 4, 5, 6, 7, 8], '00000000', 0, '00000000'),
  ],
)
def test_top_k_among_candidates_by_hand(score, candidates, k, expected):
  candidates = tf.constant([c == '1' for c in candidates])
  score = tf.constant(score, tf.float32)
  actual = masks.top_k_mask(score, k, candidates=candidates)
  assert _bits(actual) == expected


def _scores(kind, size, rng):
  if kind == 'float':
    return rng.standard_normal(size).astype(np.float32)
  if kind == 'tied':
    return rng.integers(-3, 4, size).astype(np.float32)
  if kind == 'constant':
    return np.full(size, -0.25, np.float32)
  if kind == 'scales':  # All exponents, signs, zeros and infinities.
    values = rng.standard_normal(size) * 10.0 ** rng.integers(-30, 30, size)
    values[rng.random(size) < 0.1] = 0.0
    values[rng.random(size) < 0.1] = -0.0
    values[rng.random(size) < 0.02] = _INF
    values[rng.random(size) < 0.02] = -_INF
    return values.astype(np.float32)
  if kind == 'neighbors':  # They differ only in the last bits.
    bits = 0x3F800000 + rng.integers(0, 8, size)
    return bits.astype(np.int32).view(np.float32)
  assert kind == 'int32'
  info = np.iinfo(np.int32)
  return rng.integers(info.min, info.max, size, np.int32, endpoint=True)


@pytest.mark.parametrize(
  'kind', ['float', 'tied', 'constant', 'scales', 'neighbors', 'int32']
)
@pytest.mark.parametrize('size', [1, 2, 7, 100, 4099])
def test_top_k_equals_a_stable_sort(kind, size):
  rng = np.random.default_rng(size)
  for share in (0.0, 0.1, 0.5, 0.93, 1.0):
    score = _scores(kind, size, rng)
    k = int(share * size)
    np.testing.assert_array_equal(
      masks.top_k_mask(tf.constant(score), k), _reference_top_k(score, k)
    )
    candidates = rng.random(size) < 0.6
    k = int(share * candidates.sum())
    actual = masks.top_k_mask(
      tf.constant(score), tf.constant(k), candidates=tf.constant(candidates)
    )
    np.testing.assert_array_equal(
      actual, _reference_top_k(score, k, candidates)
    )
    assert float(tf.reduce_sum(actual)) == k


@pytest.mark.parametrize('kind', ['scales', 'tied', 'int32'])
def test_top_k_of_a_million(kind):
  rng = np.random.default_rng(3)
  score = _scores(kind, 1_000_000, rng)
  candidates = rng.random(1_000_000) < 0.7
  order = _reference_order(score, candidates)
  top_k = tf.function(masks.top_k_mask)
  for k in (1, 12_345, 600_000):
    actual = top_k(
      tf.constant(score), tf.constant(k), candidates=tf.constant(candidates)
    )
    chosen = np.zeros(1_000_000, bool)
    chosen[order[:k]] = True
    np.testing.assert_array_equal(actual, chosen)


def test_top_k_keeps_the_shape_and_float32():
  score = np.random.default_rng(0).standard_normal((3, 3, 4, 5))
  actual = masks.top_k_mask(tf.constant(score, tf.float32), 17)
  assert actual.shape == (3, 3, 4, 5)
  assert actual.dtype == tf.float32
  np.testing.assert_array_equal(
    actual, _reference_top_k(score.astype(np.float32), 17)
  )


@pytest.mark.parametrize('case', range(len(_ORACLES)))
def test_drop_and_grow_equals_released_code(case):
  case = _ORACLES[case]
  mask, weight, grad, new_mask, new_weight = (
    np.array(case[key], np.float32).reshape(case['shape'])
    for key in ('mask', 'weight', 'grad', 'new_mask', 'new_weight')
  )
  actual = masks.drop_and_grow(
    tf.constant(mask), np.abs(weight), np.abs(grad), case['drop_fraction']
  )
  np.testing.assert_array_equal(actual, new_mask)
  # The file keeps a dropped weight's stale value, ours is zero off the mask.
  np.testing.assert_array_equal(weight * mask * actual, new_weight * new_mask)


def test_oracle_moves_weights():
  assert len(_ORACLES) == 4
  assert all(case['mask'] != case['new_mask'] for case in _ORACLES)


@pytest.mark.parametrize(
  ('mask', 'drop', 'grow', 'fraction', 'expected'),
  [
    # Active 5, 1, 4, 2 at 0..3: half is 2, so 1 and 2 go; 8 and 7 come.
    ('11110000', [5, 1, 4, 2, 0, 0, 0, 0], [0, 0, 0, 0, 7, 5, 8, 6],
     0.5, '10101010'),
    # What was just dropped may grow again: index 1 has the highest score.
    ('11110000', [5, 1, 4, 2, 0, 0, 0, 0], [0, 9, 0, 0, 7, 5, 8, 6],
     0.5, '11100010'),
    # int(4 · .49) is 1.
    ('11110000', [5, 1, 4, 2, 0, 0, 0, 0], [0, 0, 0, 0, 7, 5, 8, 6],
     0.49, '10110010'),
    # int(4 · .24) is 0.
    ('11110000', [5, 1, 4, 2, 0, 0, 0, 0], [0, 0, 0, 0, 7, 5, 8, 6],
     0.24, '11110000'),
    # All move, as far as scores want.
    ('11110000', [5, 1, 4, 2, 0, 0, 0, 0], [0, 0, 0, 0, 7, 5, 8, 6],
     1.0, '00001111'),
    # A dense layer drops and regrows in place.
    ('11111111', [5, 1, 4, 2, 0, 0, 0, 0], [0, 0, 0, 0, 7, 5, 8, 6],
     0.5, '11111111'),
    # Equal drop scores: the lower index is kept; equal grow: it grows.
    ('10101010', [1, 1, 1, 1, 1, 1, 1, 1], [0, 3, 0, 3, 0, 3, 0, 3],
     0.5, '11110000'),
  ],
)  # fmt: skip
def test_drop_and_grow_by_hand(mask, drop, grow, fraction, expected):
  mask = tf.constant([float(c) for c in mask])
  drop = tf.constant(drop, tf.float32)
  grow = tf.constant(grow, tf.float32)
  assert _bits(masks.drop_and_grow(mask, drop, grow, fraction)) == expected


def test_drop_and_grow_ignores_scores_outside_their_side():
  mask = tf.constant([1.0, 1, 1, 1, 0, 0, 0, 0])
  drop = tf.constant([5.0, 1, 4, 2, -9, -9, -9, -9])  # Off the mask: no matter.
  grow = tf.constant([99.0, 0, 99, 0, 7, 5, 8, 6])  # Kept ones: no matter.
  assert _bits(masks.drop_and_grow(mask, drop, grow, 0.5)) == '10101010'


def test_drop_and_grow_keeps_the_count():
  rng = np.random.default_rng(0)
  for size in (1, 10, 333):
    for fraction in (0.0, 0.1, 0.3, 0.5, 1.0):
      mask = (rng.random(size) < 0.4).astype(np.float32)
      drop, grow = rng.integers(0, 4, (2, size)).astype(np.float32)
      new = masks.drop_and_grow(tf.constant(mask), drop, grow, fraction).numpy()
      assert new.sum() == mask.sum()
      assert set(np.unique(new)) <= {0.0, 1.0}
      num_moved = int(mask.sum() * fraction)
      assert (mask * (1 - new)).sum() <= num_moved


@pytest.mark.parametrize('fraction', [0.05, 0.1, 0.2, 0.3, 0.5, 0.9])
def test_number_moved_is_the_floor_of_the_decimal_product(fraction):
  for active in (10, 100, 999, 1000, 4000):
    mask = np.zeros(2 * active, np.float32)
    mask[:active] = 1
    new = masks.drop_and_grow(tf.constant(mask), 1 - mask, 1 - mask, fraction)
    moved = active - int(new.numpy()[:active].sum())
    assert moved == round(fraction * 100) * active // 100


@pytest.mark.parametrize(
  'shape', [(1,), (7,), (10, 10), (17, 256), (8, 8, 4, 32), (300, 400)]
)
@pytest.mark.parametrize('sparsity', [0.0, 0.1, 0.29, 0.5, 0.9, 0.95, 0.99])
def test_random_mask_has_the_exact_count(shape, sparsity):
  mask = masks.random_mask(shape, sparsity, seed=4).numpy()
  assert mask.shape == shape
  assert mask.dtype == np.float32
  assert set(np.unique(mask)) <= {0.0, 1.0}
  assert (mask == 0).sum() == distributions.num_zeros(mask.size, sparsity)


def test_random_mask_of_29_percent():
  assert (masks.random_mask((100,), 0.29, 0).numpy() == 0).sum() == 29


def test_random_scores():
  scores = masks.random_scores((1000, 1000), (3, 4)).numpy()
  assert scores.dtype == np.int32
  # Of 2^32 values 116 ± 11 come twice; of float32's 2^23, 60,000 do.
  assert scores.size - len(np.unique(scores)) < 116 + 5 * 11
  # A uniform one has its mean at 0, and a deviation of 2^32 / √12.
  assert abs(scores.mean()) < 5 * 2**32 / np.sqrt(12 * scores.size)
  assert scores.std() == pytest.approx(2**32 / np.sqrt(12), rel=0.01)
  np.testing.assert_array_equal(
    scores, masks.random_scores(tf.constant([1000, 1000]), tf.constant([3, 4]))
  )
  assert (scores != masks.random_scores((1000, 1000), (4, 4)).numpy()).any()
  assert (scores != masks.random_scores((1000, 1000), (3, 5)).numpy()).any()


def test_random_mask_seeds():
  first = masks.random_mask((30, 40), 0.8, seed=1).numpy()
  np.testing.assert_array_equal(first, masks.random_mask((30, 40), 0.8, seed=1))
  assert (first != masks.random_mask((30, 40), 0.8, seed=2).numpy()).any()


def test_random_mask_is_uniform():
  draw = tf.function(lambda seed: masks.random_mask((4, 5), 0.75, seed))
  counts = sum(draw(tf.constant(seed)).numpy() for seed in range(400))
  # Each of the 20 weights is active in Binomial(400, 1/4): 100 ± 8.7.
  assert counts.sum() == 400 * 5
  assert (np.abs(counts - 100) < 5 * 8.7).all()


def test_bernoulli_mask():
  mask = masks.bernoulli_mask((400, 250), 0.7, seed=3).numpy()
  assert mask.dtype == np.float32
  assert set(np.unique(mask)) == {0.0, 1.0}
  # 100,000 draws: 30,000 ± 145.
  assert mask.sum() == pytest.approx(30_000, abs=5 * 145)
  np.testing.assert_array_equal(
    mask, masks.bernoulli_mask((400, 250), 0.7, seed=3)
  )
  other = masks.bernoulli_mask((400, 250), 0.7, seed=4).numpy()
  assert (mask != other).any()
  assert mask.sum() != other.sum()  # Not an exact count.
  assert masks.bernoulli_mask((20, 20), 0.0, seed=3).numpy().all()


def test_top_k_of_magnitudes():
  weight = tf.constant([[0.5, -2.0, 0.0, 1.0], [-0.5, 3.0, -0.0, -1.0]])
  assert _bits(masks.top_k_mask(tf.abs(weight), 3)) == '01010100'
  assert _bits(masks.top_k_mask(tf.abs(weight), 4)) == '01010101'
  assert _bits(masks.top_k_mask(tf.abs(weight), 7)) == '11111101'
  assert masks.top_k_mask(tf.abs(weight), 3).shape == (2, 4)
