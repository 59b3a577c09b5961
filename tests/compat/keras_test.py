"""What breaks without a private name of Keras."""

import numpy as np
import tensorflow as tf

from rigl_rl.compat import keras as compat


class _Block(tf.keras.layers.Layer):
  """A layer with layers, which is no model."""

  def __init__(self):
    super().__init__()
    self.second = tf.keras.layers.Dense(2)
    self.first = [tf.keras.layers.Dense(3), tf.keras.layers.Dense(2)]


def test_layers_of():
  """Without it `sparsify` finds no layer within another one."""
  block = _Block()
  assert list(compat.layers_of(block)) == [block.second, *block.first]
  model = tf.keras.Sequential([block, tf.keras.layers.ReLU()])
  assert list(compat.layers_of(model)) == model.layers
  assert not list(compat.layers_of(block.second))


def test_clear_callable_losses():
  """Without it a sparsely stored layer's weight decay reads a dense kernel.

  That kernel is no longer there.
  """
  layer = tf.keras.layers.Dense(2, kernel_regularizer='l2')
  layer.build((None, 3))
  assert len(layer.losses) == 1
  compat.clear_callable_losses(layer)
  assert not layer.losses


def test_create_slots():
  """Without it a checkpoint before the first step lacks Adam's moments."""
  optimizer = tf.keras.optimizers.legacy.Adam()
  variable = tf.Variable([1.0, 2.0])
  compat.create_slots(optimizer, [variable])
  assert optimizer.get_slot(variable, 'm').shape == (2,)
  assert len(optimizer.variables()) == 3


def test_move_slots():
  """Without it a pruned layer stays masked, and so as slow as a dense one."""
  optimizer = tf.keras.optimizers.legacy.Adam()
  old, other = tf.Variable([1.0, 2.0]), tf.Variable([3.0])
  new = tf.Variable([1.0])
  optimizer.apply_gradients([(tf.ones(2), old), (tf.ones(1), other)])
  before = [variable.numpy() for variable in optimizer.variables()]
  moved = compat.move_slots(optimizer, old, new, lambda slot: slot[:1])
  assert moved == [optimizer.get_slot(new, name) for name in ('m', 'v')]
  after = optimizer.variables()
  # As if `new` had been there from the start.
  assert len(after) == len(before)
  for variable, values in zip(after, before):
    if values.shape == (2,):
      values = values[:1]
    np.testing.assert_array_equal(variable, values)
  optimizer.apply_gradients([(tf.ones(1), new), (tf.ones(1), other)])
  assert len(optimizer.variables()) == len(before)


def test_slots_of_what_was_never_trained():
  optimizer = tf.keras.optimizers.legacy.Adam()
  assert not compat.move_slots(
    optimizer, tf.Variable(1.0), tf.Variable(1.0), tf.identity
  )
