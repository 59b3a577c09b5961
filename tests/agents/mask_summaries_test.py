"""Tests of what TensorBoard shows of masks."""

import numpy as np
import tensorflow as tf

from helpers import summaries
from rigl_rl.agents import sparse_networks
from rigl_rl.sparsity import algorithms, wrappers
from rigl_rl.sparsity import optimizer as sparse_optimizer


def test_sparsity_and_moves_of_masks_are_written(tmp_path):
  dense = tf.keras.layers.Dense(4)
  model = tf.keras.Sequential([wrappers.SparseWrapper(dense, name='only')])
  model.build((None, 2))
  layers = wrappers.sparsify(model, sparsity=0.5, algorithm=algorithms.SET())
  optimizer = sparse_optimizer.make_sparse_optimizer(
    tf.keras.optimizers.legacy.SGD(), layers, total_steps=100
  )
  networks = sparse_networks.SparseNetworks(seed=0, total_steps=100)
  networks.add('online', model, layers, optimizer)
  for step, mask in enumerate(
    [
      [[1, 1, 1, 1], [0, 0, 0, 0]],
      [[1, 1, 1, 0], [1, 0, 0, 0]],  # One of four has moved.
      [[1, 0, 0, 0], [1, 0, 0, 0]],  # Two are pruned, none moves.
    ]
  ):
    layers[0].mask.assign(np.float32(mask))
    with tf.summary.create_file_writer(str(tmp_path)).as_default(step=step):
      networks.write_summaries()

  found = summaries.scalars(tmp_path)
  sparsity, moved = (
    found.pop(f'masks/online/only/{kind}') for kind in ('sparsity', 'moved')
  )
  assert sparsity == [(0, 0.5), (1, 0.5), (2, 0.75)]
  assert moved == [(1, 0.25), (2, 0.0)]
  assert list(found) == ['masks/online/drop_fraction']
