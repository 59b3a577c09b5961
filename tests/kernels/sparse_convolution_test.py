"""Tests of convolutions by active weights, against TensorFlow's dense ones.

Most numbers are small integers, whose sums are exact in any order: so values
and gradients must be equal.
"""

import numpy as np
import pytest
import tensorflow as tf

from helpers import sparse_layers


class Convolution:
  """A convolution, stored both ways."""

  def __init__(self, operations, mask, kernel, biased=True, room=0, **named):
    self.operations = operations
    *window, channels, filters = mask.shape
    self.mask, self.kernel = mask, np.float32(kernel * mask)
    self.bias = tf.range(float(filters if biased else 0))
    capacity = int(mask.sum()) + room
    self.structure = operations.rigl_sparse_structure(
      mask=mask, capacity=capacity
    )
    self.values = operations.rigl_sparse_gather(
      kernel=self.kernel, structure=self.structure, capacity=capacity
    )
    self.named = {
      'window': window,
      'filters': filters,
      'strides': [1, 1],
      'padding': 'SAME',
      'activation': 'linear',
      **named,
    }

  def sparse(self, x, values, bias):
    return self.operations.rigl_sparse_convolution(
      x=x,
      values=values,
      structure=self.structure,
      bias=bias,
      image=list(x.shape[1:]),
      **self.named,
    ).y

  def dense(self, x, kernel, bias):
    y = tf.nn.conv2d(x, kernel, self.named['strides'], self.named['padding'])
    y = tf.nn.bias_add(y, bias) if bias.shape[0] else y
    return getattr(tf.keras.activations, self.named['activation'])(y)

  def scattered(self, values):
    return self.operations.rigl_sparse_scatter(
      values=values, structure=self.structure, shape=list(self.mask.shape)
    )


def _value_and_gradients(call, rng, x, weights, bias):
  x, weights = tf.constant(x), tf.convert_to_tensor(weights)
  with tf.GradientTape() as tape:
    tape.watch([x, weights, bias])
    y = call(x, weights, bias)
  dy = sparse_layers.integers(rng, y.shape, 2)
  return y, *tape.gradient(
    y, (x, weights, bias), dy, tf.UnconnectedGradients.ZERO
  )


def _assert_as_dense(convolution, x, tolerance=0.0):
  y, dx, dvalues, dbias = _value_and_gradients(
    convolution.sparse,
    np.random.default_rng(1),
    x,
    convolution.values,
    convolution.bias,
  )
  expected = _value_and_gradients(
    convolution.dense,
    np.random.default_rng(1),
    x,
    convolution.kernel,
    convolution.bias,
  )
  found = y, dx, convolution.scattered(dvalues), dbias
  for one, other, mask in zip(found, expected, (1, 1, convolution.mask, 1)):
    sparse_layers.assert_alike(one, other * mask, tolerance)


def test_one_weight_shifts_the_image(operations):
  """Of a 3x3 window it reads the pixel to the right, doubled."""
  mask = np.zeros((3, 3, 1, 1), np.float32)
  mask[1, 2] = 1
  convolution = Convolution(operations, mask, 2 * mask, biased=False)
  x = np.float32([[1, 2, 3], [4, 5, 6]]).reshape(1, 2, 3, 1)
  x = tf.constant(x)
  with tf.GradientTape() as tape:
    tape.watch([x, convolution.values])
    y = convolution.sparse(x, convolution.values, convolution.bias)
  dy = np.float32([[1, 10, 0], [100, 0, 0]]).reshape(y.shape)
  dx, dvalues = tape.gradient(y, (x, convolution.values), dy)
  np.testing.assert_array_equal(y[0, ..., 0], [[4, 6, 0], [10, 12, 0]])
  np.testing.assert_array_equal(dx[0, ..., 0], [[0, 2, 20], [0, 200, 0]])
  # The pixels to the right, 2, 3 and 5.
  assert dvalues.numpy().tolist() == [1 * 2 + 10 * 3 + 100 * 5]


# Height, width, channels, window, filters, strides.
SHAPES = [
  (1, 1, 1, (1, 1), 1, (1, 1)),
  (7, 9, 3, (3, 2), 5, (2, 3)),
  (11, 11, 17, (3, 3), 20, (1, 1)),
  (20, 31, 2, (8, 8), 3, (4, 4)),  # Three tiles of columns.
  (9, 10, 2, (1, 1), 3, (2, 2)),  # Some pixels are not read.
  (5, 18, 1, (4, 4), 2, (3, 3)),
]


@pytest.mark.parametrize('padding', ['SAME', 'VALID'])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('density', [0.0, 0.3, 1.0])
def test_values_and_gradients(operations, shape, padding, density):
  height, width, channels, window, filters, strides = shape
  if padding == 'VALID' and height < window[0]:
    pytest.skip('the window does not fit')
  rng = np.random.default_rng(0)
  kernel_shape = (*window, channels, filters)
  for examples, activation in ((3, 'relu'), (17, 'linear'), (32, 'relu')):
    convolution = Convolution(
      operations,
      np.float32(rng.random(kernel_shape) < density),
      sparse_layers.integers(rng, kernel_shape, 2),
      biased=examples != 17,
      room=examples % 3,
      padding=padding,
      strides=list(strides),
      activation=activation,
    )
    x = sparse_layers.integers(rng, (examples, height, width, channels), 3)
    _assert_as_dense(convolution, x)


def test_real_numbers(operations):
  rng = np.random.default_rng(0)
  shape = (4, 4, 8, 12)
  convolution = Convolution(
    operations,
    np.float32(rng.random(shape) < 0.2),
    rng.standard_normal(shape) / 10,
    strides=[2, 2],
    activation='tanh',
  )
  x = rng.standard_normal((20, 21, 21, 8)).astype(np.float32)
  _assert_as_dense(convolution, x, 1e-5)


def test_no_examples(operations):
  mask = np.ones((2, 2, 1, 3), np.float32)
  convolution = Convolution(operations, mask, mask, room=2)
  y, dx, dvalues, dbias = _value_and_gradients(
    convolution.sparse,
    np.random.default_rng(0),
    np.zeros((0, 4, 5, 1), np.float32),
    convolution.values,
    convolution.bias,
  )
  assert y.shape == (0, 4, 5, 3) and dx.shape == (0, 4, 5, 1)
  assert (
    dvalues.numpy().tolist() == [0] * 14 and dbias.numpy().tolist() == [0] * 3
  )


def test_shapes_are_known_to_graphs(operations):
  mask = np.ones((2, 3, 4, 5), np.float32)
  convolution = Convolution(operations, mask, mask, strides=[2, 1])

  @tf.function(
    input_signature=[tf.TensorSpec((None, 9, 8, 4))], autograph=False
  )
  def gradients(x):
    with tf.GradientTape() as tape:
      tape.watch([x, convolution.values])
      y = convolution.sparse(x, convolution.values, convolution.bias)
    return y, *tape.gradient(y, (x, convolution.values))

  shapes = [tuple(t.shape) for t in gradients.get_concrete_function().outputs]
  assert shapes == [(None, 5, 8, 5), (None, 9, 8, 4), (120,)]


def test_what_does_not_fit_is_refused(operations):
  mask = np.ones((2, 2, 1, 3), np.float32)
  convolution = Convolution(operations, mask, mask)
  x = tf.ones((2, 4, 5, 1))
  arguments = {
    'x': x,
    'values': convolution.values,
    'structure': convolution.structure,
    'bias': convolution.bias,
    'image': [4, 5, 1],
    **convolution.named,
  }
  errors = (tf.errors.InvalidArgumentError, ValueError)
  for wrong, message in (
    ({'x': tf.ones((2, 4, 4, 1))}, 'must have the shape'),
    ({'x': tf.ones((20,))}, 'must have the shape'),
    ({'values': tf.ones(13)}, 'structure must have'),
    ({'bias': tf.ones(2)}, 'bias must have'),
    ({'image': [4, 5]}, 'image must hold three'),
    ({'strides': [0, 1]}, 'must be positive'),
    ({'padding': 'VALID', 'image': [1, 5, 1]}, 'smaller than the window'),
  ):
    with pytest.raises(errors, match=message):
      operations.rigl_sparse_convolution(**{**arguments, **wrong})
  y, saved = operations.rigl_sparse_convolution(**arguments)
  named = {'image': [4, 5, 1], **convolution.named}
  with pytest.raises(errors, match='differ in shape'):
    operations.rigl_sparse_convolution_delta(dy=y[:1], y=y, **named)
  delta = operations.rigl_sparse_convolution_delta(dy=y, y=y, **named)
  layer = {'values': convolution.values, 'structure': convolution.structure}
  with pytest.raises(errors, match='delta must have'):
    operations.rigl_sparse_convolution_input_gradient(
      dy=y, delta=delta[:, 1:], **layer, **named
    )
  for wrong, message in (
    ({'delta': delta[:, 1:]}, 'delta must have'),
    ({'saved': saved[:, 1:]}, 'saved must have'),
  ):
    with pytest.raises(errors, match=message):
      operations.rigl_sparse_convolution_weight_gradient(
        **{
          'delta': delta,
          'saved': saved,
          'bias': convolution.bias,
          **layer,
          **wrong,
        },
        **named,
      )
