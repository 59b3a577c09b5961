"""Tests of how target networks stay sparse, on kernels checked by eye."""

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.agents import targets
from rigl_rl.kernels import loader
from rigl_rl.sparsity import wrappers


@pytest.fixture(params=[False, True], ids=['tensorflow', 'kernels'])
def by_kernels(request, monkeypatch):
  """Whether the compiled operations are used."""
  if not request.param:
    monkeypatch.setenv('RIGL_RL_KERNELS', '0')
  else:
    request.getfixturevalue('operations')
  return request.param


def _layer(kernel, mask):
  """A layer of one output that has this kernel and this mask."""
  layer = wrappers.SparseWrapper(tf.keras.layers.Dense(1))
  layer.build((None, len(kernel)))
  layer.kernel.assign(np.float32(kernel)[:, None])
  layer.mask.assign(np.float32(mask)[:, None])
  return layer


def _contents(layer):
  return layer.kernel.numpy()[:, 0].tolist(), layer.mask.numpy()[:, 0].tolist()


def test_copied_masks():
  online = _layer([0, 2, 0, 4], [0, 1, 1, 1])
  # A soft update has left a residue of the first weight.
  target = _layer([0.5, 1, 0.25, 3], [1, 1, 0, 1])
  targets.copy_masks([online], [target], True)
  assert _contents(target) == ([0, 1, 0.25, 3], [0, 1, 1, 1])
  assert _contents(online) == ([0, 2, 0, 4], [0, 1, 1, 1])


def test_masks_that_have_not_moved_are_not_copied():
  """Then there is no residue, so that the work can be spared."""
  online = _layer([0, 2], [0, 1])
  target = _layer([0.5, 1], [1, 1])
  targets.copy_masks([online], [target], False)
  assert _contents(target) == ([0.5, 1], [1, 1])


def test_largest_weights_are_kept(by_kernels):
  # Two weights of the online layer are not zero; its mask says three.
  online = _layer([0, 2, 0, -4], [0, 1, 1, 1])
  target = _layer([-0.5, 1, 0.25, -3], [1, 1, 1, 1])
  targets.keep_largest([online], [target], False)
  assert _contents(target) == ([0, 1, 0, -3], [0, 1, 0, 1])
  assert _contents(online) == ([0, 2, 0, -4], [0, 1, 1, 1])


def test_layers_are_taken_one_by_one(by_kernels):
  online = [_layer([1, 0, 0], [1, 0, 0]), _layer([1, 1, 0], [1, 1, 0])]
  target = [_layer([9, 8, 7], [1, 1, 1]), _layer([1, 3, 2], [1, 1, 1])]
  targets.keep_largest(online, target, True)
  assert _contents(target[0]) == ([9, 0, 0], [1, 0, 0])
  assert _contents(target[1]) == ([0, 3, 2], [0, 1, 1])


def test_no_layers(by_kernels):
  targets.keep_largest([], [], False)


def test_kernels_are_used_where_they_can_be(by_kernels):
  online, target = _layer([1, 0], [1, 0]), _layer([1, 2], [1, 1])

  def keep():
    targets.keep_largest([online], [target], False)

  graph = tf.function(keep, autograph=False).get_concrete_function().graph
  types = {operation.type for operation in graph.get_operations()}
  assert ('RiglMaintainSparsity' in types) == by_kernels
  assert ('DenseBincount' in types) != by_kernels


def test_only_float32_suits_the_kernels():
  assert loader.suits(tf.Variable(1.0))
  assert not loader.suits(tf.Variable(1.0, dtype=tf.float64))


@pytest.mark.parametrize('in_function', [False, True])
def test_kernels_change_no_bit(operations, in_function, monkeypatch):
  """Over soft updates, of several layers at once."""
  shapes = [(17, 64), (64, 64), (1, 5), (9, 1)]

  def follow(switch):
    monkeypatch.setenv('RIGL_RL_KERNELS', switch)
    rng = np.random.default_rng(0)

    def draw(shape):
      values = rng.standard_normal(shape) * (rng.random(shape) < 0.5)
      return np.float32(values)

    def make():
      layers = []
      for rows, columns in shapes:
        layer = wrappers.SparseWrapper(tf.keras.layers.Dense(columns))
        layer.build((None, rows))
        layer.kernel.assign(draw((rows, columns)))
        layers.append(layer)
      return layers

    online, target = make(), make()

    def update():
      for source, layer in zip(online, target):
        layer.kernel.assign_add(0.3 * (source.kernel - layer.kernel))
      targets.keep_largest(online, target, False)
      return [layer.kernel * 1.0 for layer in target]

    if in_function:
      update = tf.function(update, autograph=False)
    read = []
    for step in range(4):
      read += update()
      if step == 1:
        for layer, shape in zip(online, shapes):
          layer.kernel.assign(draw(shape))
    read += [layer.mask for layer in target]
    read += [layer.kernel for layer in target]
    return [np.asarray(array).view(np.uint32) for array in read]

  for one, other in zip(follow('1'), follow('0')):
    np.testing.assert_array_equal(one, other)
