"""Tests of the structure of sparse layers, and of what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from helpers import sparse_layers

REFUSALS = (ValueError, tf.errors.InvalidArgumentError)


def test_structure_by_eye(operations):
  mask = np.float32([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]])
  structure = operations.rigl_sparse_structure(mask=mask, capacity=5)
  # Values lie by output, then by input; one more has room.
  kernel = np.float32([[9, 2, 9, 4], [9, 9, 9, 9], [1, 3, 9, 9]])
  values = operations.rigl_sparse_gather(
    kernel=kernel, structure=structure, capacity=5
  )
  assert values.numpy().tolist() == [1, 2, 3, 4, 0]
  assert structure.numpy().tolist() == [
    *(0, 1, 3, 3, 4),  # Where the weights of each output begin, and end;
    *(0, 2, 2, 4),  # those of each input.
    *(2, 0, 2, 0, 0),  # The inputs of the values;
    *(1, 3, 0, 1, 0),  # by input, the outputs
    *(1, 3, 0, 2, 0),  # and the positions among the values.
  ]
  back = operations.rigl_sparse_scatter(
    values=values, structure=structure, shape=[3, 4]
  )
  np.testing.assert_array_equal(back, kernel * mask)


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (9, 1), (40, 70)], ids=str)
@pytest.mark.parametrize('density', sparse_layers.DENSITIES)
@pytest.mark.parametrize('room', [0, 1, 20])
def test_round_trip(operations, shape, density, room):
  rng = np.random.default_rng(6)
  mask = (rng.random(shape) < density).astype(np.float32)
  kernel = rng.standard_normal(shape).astype(np.float32)
  count = int(mask.sum())
  # Whatever is not zero is active.
  structure = operations.rigl_sparse_structure(
    mask=mask * -3, capacity=count + room
  )
  values = operations.rigl_sparse_gather(
    kernel=kernel, structure=structure, capacity=count + room
  )
  np.testing.assert_array_equal(values[:count], kernel.T[mask.T > 0])
  np.testing.assert_array_equal(values[count:], np.zeros(room))
  junk = tf.concat([values[:count], tf.fill([room], np.nan)], 0)
  back = operations.rigl_sparse_scatter(
    values=junk, structure=structure, shape=list(shape)
  )
  np.testing.assert_array_equal(back, kernel * mask)


@pytest.mark.parametrize('in_function', [True, False])
@pytest.mark.parametrize(
  'sparse,expected',
  [(False, [[1, 10], [2, 20], [3, 30]]), (True, [1, 3, 20, 30])],
)
def test_gradient_of_a_scattered_kernel(
  operations, in_function, sparse, expected
):
  """It is that of all weights, or of the active ones."""
  mask = np.float32([[1, 0], [0, 1], [1, 1]])
  structure = operations.rigl_sparse_structure(mask=mask, capacity=4)
  x = tf.constant([[1.0, 2, 3]])

  def gradient(values):
    with tf.GradientTape() as tape:
      tape.watch(values)
      kernel = operations.rigl_sparse_scatter(
        values=values,
        structure=structure,
        shape=[3, 2],
        sparse_gradient=sparse,
      )
      loss = tf.reduce_sum(tf.matmul(x, kernel) * [[1.0, 10]])
    return tape.gradient(loss, values)

  if in_function:
    gradient = tf.function(gradient, autograph=False)
  found = gradient(tf.constant([1.0, 2, 3, 4]))
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
  'wrong,message',
  [
    ({'structure': [np.zeros(18, np.int32)]}, 'structure must have 19'),
    ({'structure': [np.full(19, -1, np.int32)]}, 'no structure of 4 values'),
    ({'values': [np.zeros(5, np.float32)]}, 'structure must have 22'),
    ({'bias': [np.zeros(3, np.float32)]}, 'bias must have 2'),
    ({'units': [3, 2, 2]}, 'units'),
    ({'activations': ['relu', 'relu']}, 'units'),
    ({'activations': ['elu']}, 'elu'),
    ({'units': [3, 3]}, 'structure must have 20'),
  ],
)
def test_wrong_layers_are_refused(operations, wrong, message):
  forward, backward = sparse_layers.arguments(operations)
  if wrong == {'units': [3, 3]}:
    backward['dy'] = tf.ones((3, 3))
  with pytest.raises(REFUSALS, match=message):
    operations.rigl_sparse_chain(**{**forward, **wrong})
  for operation in (
    operations.rigl_sparse_chain_weight_gradient,
    operations.rigl_sparse_chain_input_gradient,
  ):
    with pytest.raises(REFUSALS, match=message):
      operation(**{**backward, **wrong})


def test_wrong_examples_are_refused(operations):
  forward, backward = sparse_layers.arguments(operations)
  for shape in ((3, 4), (3,), (3, 3, 1)):
    with pytest.raises(REFUSALS, match='x must be|rank 2|imension'):
      operations.rigl_sparse_chain(**{**forward, 'x': tf.ones(shape)})
  for operation in (
    operations.rigl_sparse_chain_weight_gradient,
    operations.rigl_sparse_chain_input_gradient,
  ):
    for shape in ((3, 3), (2,), (3, 2, 1)):
      with pytest.raises(REFUSALS, match='dy must be|rank 2'):
        operation(**{**backward, 'dy': tf.ones(shape)})
    # What is saved of 3 examples has room for 16.
    with pytest.raises(REFUSALS, match='saved must have 160 elements'):
      operation(**{**backward, 'dy': tf.ones((17, 2))})


@pytest.mark.parametrize('where', ['output', 'input'])
@pytest.mark.parametrize(
  'change',
  [
    {0: 1},  # Does not begin at 0,
    {1: 3, 2: 2},  # goes down,
    {1: -1},
    {-1: 5},  # ends beyond the capacity,
    {-1: 2},  # or not where the other one ends.
  ],
)
def test_unsound_structures_are_refused(operations, where, change):
  forward, _ = sparse_layers.arguments(operations)
  structure = forward['structure'][0].numpy()
  begins = structure[:3] if where == 'output' else structure[3:7]
  for place, value in change.items():
    begins[place] = value
  with pytest.raises(REFUSALS, match='no structure'):
    operations.rigl_sparse_chain(**{**forward, 'structure': [structure]})
  with pytest.raises(REFUSALS, match='no structure'):
    operations.rigl_sparse_gather(
      kernel=np.ones((3, 2), np.float32), structure=structure, capacity=4
    )
  with pytest.raises(REFUSALS, match='no structure'):
    operations.rigl_sparse_scatter(
      values=np.ones(4, np.float32), structure=structure, shape=[3, 2]
    )


def test_what_does_not_fit_is_refused(operations):
  mask = np.float32([[1, 0], [0, 1], [1, 1]])
  with pytest.raises(REFUSALS, match='4 active weights, but .* room for 3'):
    operations.rigl_sparse_structure(mask=mask, capacity=3)
  with pytest.raises(REFUSALS, match='mask must be'):
    operations.rigl_sparse_structure(mask=mask[0], capacity=3)
  structure = operations.rigl_sparse_structure(mask=mask, capacity=4)
  with pytest.raises(REFUSALS, match='kernel must be'):
    operations.rigl_sparse_gather(
      kernel=mask[0], structure=structure, capacity=4
    )
  for kernel, capacity in ((mask, 5), (mask.T, 5), (mask[:2], 4)):
    with pytest.raises(REFUSALS, match='structure must have'):
      operations.rigl_sparse_gather(
        kernel=kernel, structure=structure, capacity=capacity
      )
  for values, inputs, outputs in ((5, 3, 2), (4, 4, 2), (4, 3, 4)):
    with pytest.raises(REFUSALS, match='structure must have'):
      operations.rigl_sparse_scatter(
        values=tf.ones(values),
        structure=structure,
        shape=[inputs, outputs],
      )
