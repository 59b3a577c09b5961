"""Tests of sparse layers as operations: against TensorFlow's dense layers.

Most numbers are small integers, whose sums are exact in any order: so values
and gradients must be equal, and no rounding decides where a ReLU is 0.
"""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from helpers import sparse_layers

# Of inputs and of layers' outputs.
UNITS = [
  (1, 1),
  (1, 7),
  (7, 1),
  (33, 17),
  (300, 40),
  (530, 9),  # Wide: in smaller blocks.
  (23, 64, 1),
  (5, 16, 15, 33, 2),
]


# Not only multiples of a vector's 16 examples; up to five blocks of 64,
# two of which are summed in one place.
BATCHES = [0, 1, 3, 16, 17, 127, 128, 129, 257]


def value_and_gradients(call, x, weights, biases, dy):
  x, dy = tf.constant(x), tf.constant(dy)
  weights = [tf.convert_to_tensor(weight) for weight in weights]
  with tf.GradientTape() as tape:
    tape.watch([x, *weights, *biases])
    y = call(x, weights, biases)
  return y, tape.gradient(
    y, (x, weights, biases), dy, tf.UnconnectedGradients.ZERO
  )


def assert_as_dense(chain, rng, batch, tolerance, scale=1.0):
  """Compares values and gradients of both ways."""
  x = sparse_layers.integers(rng, (batch, chain.units[0]), 3) * np.float32(
    scale
  )
  dy = sparse_layers.integers(rng, (batch, chain.units[-1]), 2) * np.float32(
    scale
  )
  y, (dx, dvalues, dbiases) = value_and_gradients(
    chain.sparse, x, chain.values, chain.biases, dy
  )
  expected, (dx_, dkernels, dbiases_) = value_and_gradients(
    chain.dense, x, chain.kernels, chain.biases, dy
  )
  sparse_layers.assert_alike(y, expected, tolerance)
  sparse_layers.assert_alike(dx, dx_, tolerance)
  # The same with all weights, of every second layer or of all.
  some = [i for i in range(len(chain.masks)) if i % 2 or batch % 2]
  y, (dx, dvalues_, dbiases) = value_and_gradients(
    functools.partial(chain.sparse, kernels=some),
    x,
    chain.weights(some),
    chain.biases,
    dy,
  )
  sparse_layers.assert_alike(y, expected, tolerance)
  sparse_layers.assert_alike(dx, dx_, tolerance)
  for i in some:
    sparse_layers.assert_alike(dvalues_[i], dkernels[i], tolerance)
  for i, (dvalue, dkernel, mask) in enumerate(
    zip(dvalues, dkernels, chain.masks)
  ):
    # Values that are not in use have no gradient.
    assert not np.any(dvalue[int(mask.sum()) :])
    sparse_layers.assert_alike(
      chain.scattered(i, dvalue), dkernel * mask, tolerance
    )
  for one, other in zip(dbiases, dbiases_):
    sparse_layers.assert_alike(one, other, tolerance)


@pytest.mark.parametrize('activation', ['linear', 'relu'])
@pytest.mark.parametrize('units', UNITS, ids=str)
def test_as_dense(operations, units, activation):
  rng = np.random.default_rng(0)
  for batch, density in itertools.product(BATCHES, sparse_layers.DENSITIES):
    # Some with a bias, some with more room than there are weights.
    chain = sparse_layers.Chain(
      operations, rng, units, density, activation, batch % 3, batch % 4
    )
    assert_as_dense(chain, rng, batch, 0)


@pytest.mark.parametrize('units', UNITS, ids=str)
def test_as_dense_with_tanh(operations, units):
  rng = np.random.default_rng(1)
  for batch, density in itertools.product(BATCHES, (0.05, 0.4)):
    chain = sparse_layers.Chain(
      operations, rng, units, density, 'tanh', batch % 3
    )
    assert_as_dense(chain, rng, batch, 1e-5, scale=0.1)


@pytest.mark.parametrize('biased', [True, False])
def test_activations_that_differ(operations, biased):
  rng = np.random.default_rng(2)
  units = (9, 20, 20, 20, 3)
  chain = sparse_layers.Chain(
    operations, rng, units, 0.4, 'relu', biased, is_exact=False
  )
  for names in itertools.permutations(['linear', 'relu', 'tanh']):
    chain.activations = ['relu', *names]
    for batch in (5, 130):
      assert_as_dense(chain, rng, batch, 1e-5, scale=0.1)


@pytest.mark.parametrize('batch', [30, 200])
@pytest.mark.parametrize('last', ['linear', 'relu'])
@pytest.mark.parametrize('wanted', ['x', 'biases', 'x and biases'])
def test_in_a_function(operations, batch, last, wanted):
  """Gradients that are not asked for are left out.

  If only one operation reads what the forward pass has saved, it writes the
  gradients in its place.
  """
  rng = np.random.default_rng(3)
  chain = sparse_layers.Chain(
    operations, rng, (6, 40, 30, 4), 0.5, 'relu', True
  )
  chain.activations[-1] = last
  x = sparse_layers.integers(rng, (batch, 6), 3)

  def gradients(call):
    @tf.function(autograph=False)
    def compute(x, weights, biases):
      with tf.GradientTape() as tape:
        tape.watch([x, *weights, *biases])
        y = call(x, weights, biases)
      of = {'x': [x], 'biases': biases, 'x and biases': [x, *biases]}
      return [y, *tape.gradient(y, of[wanted])]

    return compute

  for one, other in zip(
    gradients(chain.sparse)(x, chain.values, chain.biases),
    gradients(chain.dense)(x, chain.kernels, chain.biases),
  ):
    assert one.shape == other.shape
    np.testing.assert_array_equal(one, other)


def test_shapes_are_inferred(operations):
  rng = np.random.default_rng(4)
  chain = sparse_layers.Chain(operations, rng, (6, 40, 4), 0.5, 'relu', True)
  shapes = []

  @tf.function(
    autograph=False, input_signature=[tf.TensorSpec((None, 6), tf.float32)]
  )
  def compute(x):
    with tf.GradientTape() as tape:
      tape.watch([x, *chain.values, *chain.biases])
      y = chain.sparse(x, chain.values, chain.biases)
    dx, dvalues, dbiases = tape.gradient(y, (x, chain.values, chain.biases))
    shapes.extend(t.shape.as_list() for t in (y, dx, *dvalues, *dbiases))
    shapes.append(chain.scattered(0, dvalues[0]).shape.as_list())

  compute.get_concrete_function()
  counts = [int(mask.sum()) for mask in chain.masks]
  assert shapes == [
    [None, 4],
    [None, 6],
    [counts[0]],
    [counts[1]],
    [40],
    [4],
    [6, 40],
  ]


def test_finite_differences(operations):
  rng = np.random.default_rng(5)
  chain = sparse_layers.Chain(operations, rng, (3, 4, 2), 0.6, 'tanh', True)
  chain.activations = ['tanh', 'linear']
  values = [value * 0.3 for value in chain.values]
  x = tf.constant(sparse_layers.integers(rng, (2, 3), 3) * np.float32(0.3))
  biases = chain.biases
  for theory, numbers in (
    tf.test.compute_gradient(lambda x: chain.sparse(x, values, biases), [x]),
    tf.test.compute_gradient(
      lambda *values: chain.sparse(x, values, biases), values
    ),
    tf.test.compute_gradient(
      lambda *biases: chain.sparse(x, values, biases), biases
    ),
  ):
    for one, other in zip(theory, numbers):
      np.testing.assert_allclose(one, other, atol=2e-3)
      assert np.any(one)


def test_what_is_not_finite_is_not_hidden(operations):
  """But that of an input without weights has no effect, as it has none."""
  mask = np.float32([[1, 0], [0, 1], [0, 0]])
  structure = operations.rigl_sparse_structure(mask=mask, capacity=2)
  x = np.float32([[1, np.nan, np.inf], [2, 3, 4]])
  y = operations.rigl_sparse_chain(
    x=x,
    values=[[1.0, 1]],
    structure=[structure],
    bias=[np.float32([])],
    units=[3, 2],
    activations=['linear'],
  ).y
  np.testing.assert_array_equal(y, [[1, np.nan], [2, 3]])
