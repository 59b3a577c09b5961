"""Speed of mask updates: drop and grow in a layer of 7744×512, in updates/s.

`sort` is RigL with full sorts (tf.math.top_k), as the released code has them.
"""

from __future__ import annotations

import argparse
from typing import Callable

from rigl_rl.benchmarks import contenders

CONTENDERS = ('sort', 'set', 'rigl', 'prune')
REFERENCES = ('sort',)
WARM_UP_STEPS = 2
PROBE_STEPS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--shape',
    default='7744,512',
    help='of the kernel (default: 7744,512: the dense layer of the Nature CNN)',
  )
  parser.add_argument(
    '--sparsity', type=float, default=0.95, help='(default: 0.95)'
  )


def make(contender: str, arguments: argparse.Namespace) -> Callable[[int], int]:
  """Builds a contender; see the package."""
  shape = contenders.parse_shape(arguments.shape)
  import tensorflow as tf

  from rigl_rl.sparsity import algorithms, masks, schedules

  schedule = schedules.UpdateSchedule(1000000)
  algorithm = {
    'sort': algorithms.RigL,
    'rigl': algorithms.RigL,
    'set': algorithms.SET,
    'prune': algorithms.Prune,
  }[contender]().bind(arguments.sparsity, schedule)
  mask = tf.Variable(masks.random_mask(shape, arguments.sparsity, seed=0))
  weight = tf.random.stateless_normal(shape, (1, 2)) * mask
  gradient = tf.random.stateless_normal(shape, (3, 4))

  @tf.function
  def update(step):
    if contender == 'sort':
      new_mask = _sorting_drop_and_grow(
        mask, tf.abs(weight), tf.abs(gradient), algorithm.drop_fraction_at(step)
      )
    else:
      seed = tf.stack([0, tf.cast(step, tf.int32)])
      new_mask = algorithm.update(weight, mask, gradient, step, seed)
    mask.assign(new_mask)

  def run(steps):
    for step in range(steps):
      update(tf.constant(step, tf.int64))
    return steps

  return run


def _sorting_drop_and_grow(mask, drop_score, grow_score, drop_fraction):
  """What `masks.drop_and_grow` does, by two sorts."""
  import tensorflow as tf

  def top_k(score, k):
    _, order = tf.math.top_k(tf.reshape(score, [-1]), tf.size(score))
    ranks = tf.scatter_nd(
      order[:, None], tf.range(tf.size(score)), [tf.size(score)]
    )
    return tf.reshape(tf.cast(ranks < k, tf.float32), tf.shape(score))

  active = tf.cast(tf.reduce_sum(mask), tf.int32)
  moved = tf.cast(tf.cast(active, tf.float32) * drop_fraction, tf.int32)
  kept = top_k(tf.where(mask > 0, drop_score, -1.0), active - moved)
  return kept + top_k(tf.where(kept > 0, -1.0, grow_score), moved)
