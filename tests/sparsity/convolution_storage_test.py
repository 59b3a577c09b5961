"""What convolutions compute that are stored sparsely."""

import numpy as np
import pytest
import tensorflow as tf

from helpers import stored_layers
from rigl_rl.sparsity import step_plan, wrappers

pytestmark = pytest.mark.usefixtures('kernels')


def _twins(**arguments):
  """Two built convolutions that are alike, the second one stored sparsely."""
  twins = []
  for _ in range(2):
    layer = tf.keras.layers.Conv2D(
      **{
        'filters': 5,
        'kernel_size': (3, 2),
        'kernel_initializer': tf.keras.initializers.RandomNormal(seed=3),
        'bias_initializer': tf.keras.initializers.RandomNormal(seed=4),
        **arguments,
      }
    )
    twins.append(wrappers.SparseWrapper(layer, sparsity=0.6, seed=1))
    twins[-1].build((None, 8, 7, 4))
  twins[1].store_sparsely()
  return twins


def _value_and_gradients(layer, x):
  x = tf.constant(x)
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = layer(x)
    loss = tf.add_n([tf.reduce_sum(y * tf.range(1.0, 6.0)), *layer.losses])
  return y, tape.gradient(loss, [x, *layer.trainable_variables])


def test_what_is_stored_stays():
  masked, sparse = _twins()
  np.testing.assert_array_equal(sparse.kernel, masked.kernel)
  np.testing.assert_array_equal(sparse.mask, masked.mask)
  assert sparse.kernel_shape == (3, 2, 4, 5)
  # 40 % of 120, by filter, then by place in the window, then by channel.
  values = np.transpose(masked.kernel, (3, 0, 1, 2))
  np.testing.assert_array_equal(sparse.trained_kernel, values[values != 0])
  assert sparse.trained_kernel.shape == (48,)


@pytest.mark.parametrize(
  'arguments',
  [
    {},
    {'strides': (2, 3), 'padding': 'same', 'activation': 'relu'},
    {'activation': 'tanh', 'use_bias': False},
    {'padding': 'same', 'kernel_regularizer': 'l2', 'bias_regularizer': 'l1'},
  ],
  ids=str,
)
# A single example is computed with the whole kernel.
@pytest.mark.parametrize('examples', [1, 18])
def test_call(arguments, examples):
  masked, sparse = _twins(**arguments)
  x = stored_layers.examples(examples, 8, 7, 4)
  y, (dx, dkernel, *dbias) = _value_and_gradients(masked, x)
  found, (dx_, dvalues, *dbias_) = _value_and_gradients(sparse, x)
  assert dvalues.shape == (48,)
  stored_layers.assert_close(found, y)
  for one, other in zip(
    (dx_, sparse.storage.dense(dvalues), *dbias_),
    (dx, dkernel * masked.mask, *dbias),
  ):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
  assert sparse.compute_output_shape(x.shape) == y.shape


def test_computed_densely_the_gradient_is_that_of_all_weights():
  masked, sparse = _twins(activation='tanh', kernel_regularizer='l2')
  sparse.needs_dense_gradient = True
  x = stored_layers.examples(6, 8, 7, 4)
  _, (_, expected, _) = _value_and_gradients(masked, x)
  _, (_, found, _) = _value_and_gradients(sparse, x)
  assert found.shape == (3, 2, 4, 5) and np.all(found != 0)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  'shape,operation',
  [
    ((None, 8, 7, 4), 'RiglSparseConvolution'),
    ((6, 8, 7, 4), 'RiglSparseConvolution'),
    ((1, 8, 7, 4), 'Conv2D'),
    ((6, None, 7, 4), 'Conv2D'),
  ],
  ids=str,
)
def test_operation(shape, operation):
  masked, sparse = _twins(padding='same')
  call = step_plan.StepPlan().bind(sparse)
  function = tf.function(call, [tf.TensorSpec(shape)], autograph=False)
  types = [
    o.type for o in function.get_concrete_function().graph.get_operations()
  ]
  convolutions = {'RiglSparseConvolution', 'Conv2D'}
  assert convolutions.intersection(types) == {operation}
  x = stored_layers.examples(*(side or 6 for side in shape[:1]), 8, 7, 4)
  stored_layers.assert_close(function(x), masked(x))
