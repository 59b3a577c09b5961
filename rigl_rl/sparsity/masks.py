"""Masks as pure functions: exact counts, and one rule for ties.

A mask is a float32 tensor of its kernel's shape, 1 where a weight is active, 0
elsewhere. Ties are always broken in favor of the lower index in row-major
order, on every device and for every size.
"""

from __future__ import annotations

from typing import Sequence

import tensorflow as tf

from rigl_rl.sparsity.distributions import num_zeros

# Bits of the digits of a 32-bit key, most significant first.
_RADIX_BITS = (11, 11, 10)


def random_scores(shape: Sequence[int] | tf.Tensor, seed) -> tf.Tensor:
  """Draws an int32 score for each weight, uniform over all values.

  Float32 draws have only 23 random bits: in a large layer many would be equal,
  and the tie rule would favor low indices. `seed` is a pair of int32.
  """
  return tf.random.stateless_uniform(
    shape, seed=seed, minval=None, maxval=None, dtype=tf.int32
  )


def random_mask(shape: Sequence[int], sparsity: float, seed: int) -> tf.Tensor:
  """Draws a uniformly random mask with exactly floor(sparsity · size) zeros."""
  scores = random_scores(shape, (seed, 0))
  size = scores.shape.num_elements()
  return top_k_mask(scores, size - num_zeros(size, sparsity))


def bernoulli_mask(
  shape: Sequence[int], sparsity: float, seed: int
) -> tf.Tensor:
  """Draws each weight active with probability 1 − sparsity, independently."""
  draws = tf.random.stateless_uniform(shape, seed=(seed, 0), dtype=tf.float64)
  return tf.cast(draws >= sparsity, tf.float32)


def top_k_mask(score: tf.Tensor, k, candidates=None) -> tf.Tensor:
  """Marks the k highest scores.

  A radix search finds the k-th highest score in linear time: to sort a large
  layer's scores takes ten times as long.

  Args:
    score: float or int32 tensor of any shape, without NaN.
    k: integer scalar, 0 <= k <= number of candidates.
    candidates: bool tensor of score's shape, the positions that compete; all
      of them by default.

  Returns:
    float32 tensor of score's shape with exactly k ones.
  """
  keys = tf.reshape(_sort_keys(score), [-1])
  k = tf.cast(k, tf.int32)
  if candidates is None:
    competing = tf.ones_like(keys, tf.bool)
  else:
    competing = tf.reshape(candidates, [-1])

  # After each digit, `above` counts the competitors known to be in the top k,
  # and `competing` holds those that agree with the k-th in all digits so far.
  chosen = tf.zeros_like(competing)
  missing = k
  shift = 32
  for bits in _RADIX_BITS:
    shift -= bits
    base = 2**bits
    digits = tf.bitwise.bitwise_and(
      tf.bitwise.right_shift(keys, tf.constant(shift, tf.uint32)),
      tf.constant(base - 1, tf.uint32),
    )
    digits = tf.cast(digits, tf.int32)
    counts = tf.raw_ops.DenseBincount(
      input=tf.where(competing, digits, base),  # `base` is not counted.
      size=base,
      weights=tf.constant([], tf.int32),
    )
    at_least = tf.cumsum(counts, reverse=True)
    # The k-th's digit: the highest one that enough competitors reach.
    digit = tf.reduce_sum(tf.cast(at_least >= missing, tf.int32)) - 1
    higher = competing & (digits > digit)
    missing -= tf.reduce_sum(tf.where(tf.range(base) > digit, counts, 0))
    chosen |= higher
    competing &= tf.equal(digits, digit)
  # All that compete now are equal: the first `missing` of them are in. Nearly
  # always these are all; counting them takes a third of the time.
  ones = tf.cast(competing, tf.int32)
  chosen |= tf.cond(
    tf.equal(tf.reduce_sum(ones), missing),
    lambda: competing,
    lambda: competing & (tf.cumsum(ones) <= missing),
  )
  return tf.reshape(tf.cast(chosen, tf.float32), tf.shape(score))


def _sort_keys(score: tf.Tensor) -> tf.Tensor:
  """Maps scores to uint32 keys of the same order."""
  score = tf.convert_to_tensor(score)
  if score.dtype == tf.int32:
    bits = score
  else:
    score = tf.cast(score, tf.float32)
    score = tf.where(tf.equal(score, 0), 0.0, score)  # -0 ties with 0.
    bits = tf.bitcast(score, tf.int32)
    # The bits of a negative float are in reverse order: invert them.
    bits = tf.where(bits < 0, tf.bitwise.bitwise_xor(bits, 0x7FFFFFFF), bits)
  return tf.bitwise.bitwise_xor(
    tf.bitcast(bits, tf.uint32), tf.constant(0x80000000, tf.uint32)
  )


def drop_and_grow(
  mask: tf.Tensor, drop_score, grow_score, drop_fraction
) -> tf.Tensor:
  """Moves int(active · drop_fraction) connections; keeps their number.

  Drops the active weights of the lowest drop scores, then grows as many of the
  highest grow scores among all that are inactive then. A weight that was just
  dropped may grow again, as in the released code.

  Args:
    mask: float32 tensor of zeros and ones.
    drop_score: tensor of mask's shape; the lowest active ones are dropped.
    grow_score: tensor of mask's shape; the highest inactive ones are grown.
    drop_fraction: float scalar in [0, 1].
  """
  active = mask > 0
  num_active = tf.math.count_nonzero(active, dtype=tf.int32)
  num_moved = tf.cast(
    tf.cast(num_active, tf.float32) * tf.cast(drop_fraction, tf.float32),
    tf.int32,
  )
  kept = top_k_mask(drop_score, num_active - num_moved, candidates=active)
  grown = top_k_mask(grow_score, num_moved, candidates=tf.equal(kept, 0))
  return kept + grown
