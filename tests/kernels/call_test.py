"""Tests of functions that run in the thread that calls them."""

import threading

import numpy as np
import pytest
import tensorflow as tf


def _call(operations, function, *arguments):
  """Calls a concrete function with tensors."""
  return operations.rigl_call(
    captures=operations.rigl_captures(tensors=function.captured_inputs),
    arguments=arguments,
    Tout=[output.dtype for output in function.outputs],
    f=function,
  )


def _trace(function, *shapes):
  return tf.function(function, autograph=False).get_concrete_function(
    *map(tf.TensorSpec, shapes)
  )


def test_results(operations):
  function = _trace(lambda x, y: (x + y, tf.reduce_sum(x * y)), (3,), (3,))
  for scale in (1.0, 2.0):
    total, product = _call(
      operations, function, tf.constant([1.0, 2, 3]), tf.fill((3,), scale)
    )
    np.testing.assert_array_equal(total, np.arange(1, 4) + scale)
    assert product == 6 * scale


def test_it_runs_in_the_thread_that_calls(operations):
  seen = []

  def look(x):
    seen.append(threading.get_ident())
    return x

  function = _trace(lambda x: tf.numpy_function(look, [x], tf.float32), ())
  _call(operations, function, tf.constant(0.0))
  assert seen == [threading.get_ident()]


def test_variables_are_read_and_written(operations):
  count = tf.Variable(1.0)
  matrix = tf.Variable(tf.ones((2, 3)))

  def step(x):
    matrix.assign_add(x)
    return count.assign_add(tf.reduce_sum(matrix)), matrix.read_value()

  function = _trace(step, (2, 3))
  for expected in (13.0, 31.0):
    total, read = _call(operations, function, tf.ones((2, 3)))
    assert total == count == expected
    np.testing.assert_array_equal(read, matrix)


def test_what_nobody_asks_for_is_still_written(operations):
  count = tf.Variable(0)

  def step(x):
    count.assign_add(1)
    return x

  _call(operations, _trace(step, ()), tf.constant(0.0))
  assert count == 1


def test_functions_are_told_apart(operations):
  functions = [_trace(lambda x, i=i: x + i, ()) for i in range(3)]
  for _ in range(2):
    for i, function in enumerate(functions):
      assert _call(operations, function, tf.constant(0.0))[0] == i


def test_errors_come_through(operations):
  function = _trace(lambda x: tf.debugging.check_numerics(x, 'wrong'), ())
  (result,) = _call(operations, function, tf.constant(1.0))
  assert result == 1
  with pytest.raises(tf.errors.InvalidArgumentError, match='wrong.*NaN'):
    _call(operations, function, tf.constant(np.nan))
  (result,) = _call(operations, function, tf.constant(2.0))
  assert result == 2


def test_from_several_threads(operations):
  function = _trace(lambda x: tf.linalg.matvec(tf.ones((50, 50)), x), (50,))
  wrong = []

  def work(value):
    for _ in range(50):
      (result,) = _call(operations, function, tf.fill((50,), value))
      if not np.all(result == 50 * value):
        wrong.append(value)

  threads = [threading.Thread(target=work, args=(float(i),)) for i in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not wrong
