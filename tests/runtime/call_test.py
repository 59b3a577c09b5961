"""Tests of functions that the thread which calls them takes part in."""

import threading
import time

import numpy as np
import pytest
import tensorflow as tf

_MODES = pytest.mark.parametrize(
  'how',
  [
    {'in_turn': True},
    {'in_turn': True, 'threads': 3},
    {'in_turn': False},
    {'in_turn': False, 'threads': 3},
  ],
  ids=['in turn', 'in turn, helped', 'single', 'by team'],
)


def _call(operations, function, *arguments, **how):
  """Calls a concrete function with tensors."""
  return operations.rigl_call(
    captures=operations.rigl_captures(tensors=function.captured_inputs),
    arguments=arguments,
    Tout=[output.dtype for output in function.outputs],
    f=function,
    **how,
  )


def _trace(function, *shapes):
  return tf.function(function, autograph=False).get_concrete_function(
    *map(tf.TensorSpec, shapes)
  )


@_MODES
def test_results(operations, how):
  function = _trace(lambda x, y: (x + y, tf.reduce_sum(x * y)), (3,), (3,))
  for scale in (1.0, 2.0):
    total, product = _call(
      operations,
      function,
      tf.constant([1.0, 2, 3]),
      tf.fill((3,), scale),
      **how,
    )
    np.testing.assert_array_equal(total, np.arange(1, 4) + scale)
    assert product == 6 * scale


@pytest.mark.parametrize('how', [{}, {'in_turn': False}], ids=str)
def test_without_help_it_runs_in_the_thread_that_calls(operations, how):
  seen = []

  def look(x):
    seen.append(threading.get_ident())
    return x

  function = _trace(lambda x: tf.numpy_function(look, [x], tf.float32), ())
  _call(operations, function, tf.constant(0.0), **how)
  assert seen == [threading.get_ident()]


def test_a_team_runs_operations_at_a_time(operations):
  barrier = threading.Barrier(3, timeout=30)

  def meet(x):
    barrier.wait()
    return x

  def all_meet(x):
    return [
      tf.numpy_function(meet, [x + i], tf.float32, stateful=False)
      for i in range(3)
    ]

  function = _trace(all_meet, ())
  for _ in range(3):
    results = _call(
      operations, function, tf.constant(0.0), in_turn=False, threads=3
    )
    assert [float(result) for result in results] == [0, 1, 2]
    time.sleep(0.02)  # Meanwhile the helpers fall asleep.


def test_functions_within_a_function(operations):
  @tf.function
  def halve_while_large(x):
    return tf.while_loop(lambda x: x > 1.0, lambda x: x / 2.0, [x])[0]

  function = _trace(
    lambda x: halve_while_large(x) + halve_while_large(2 * x), ()
  )
  (result,) = _call(
    operations, function, tf.constant(12.0), in_turn=False, threads=2
  )
  assert result == 1.5


def test_helpers_fall_asleep(operations):
  function = _trace(lambda x: x + 1, ())
  _call(operations, function, tf.constant(0.0), in_turn=False, threads=3)
  time.sleep(0.05)
  busy = time.process_time()
  time.sleep(0.5)
  # Two that stay awake take up to a second.
  assert time.process_time() - busy < 0.1


@pytest.mark.parametrize('in_turn', [True, False])
def test_shares_do_not_depend_on_the_threads(operations, in_turn):
  size = 100_000
  gradient, *initial = [
    tf.random.stateless_normal((size,), (seed, 0)) for seed in range(4)
  ]

  def step(threads):
    variables = [tf.Variable(x) for x in (*initial[:2], tf.abs(initial[2]))]
    handles = {n: [v.handle] for n, v in zip(('var', 'm', 'v'), variables)}

    def adam(gradient):
      operations.rigl_adam(
        **handles,
        mask=[],
        masked=[],
        gradient=[gradient],
        weight_decay=[0.0],
        learning_rate=0.1,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-7,
        iterations=tf.constant(3, tf.int64),
      )
      return gradient

    function = _trace(adam, (size,))
    _call(operations, function, gradient, in_turn=in_turn, threads=threads)
    return variables

  for one, other in zip(step(1), step(4)):
    np.testing.assert_array_equal(one, other)
  assert not np.array_equal(step(4)[0], initial[0])


@_MODES
def test_variables_are_read_and_written(operations, how):
  count = tf.Variable(1.0)
  matrix = tf.Variable(tf.ones((2, 3)))

  def step(x):
    matrix.assign_add(x)
    return count.assign_add(tf.reduce_sum(matrix)), matrix.read_value()

  function = _trace(step, (2, 3))
  for expected in (13.0, 31.0):
    total, read = _call(operations, function, tf.ones((2, 3)), **how)
    assert total == count == expected
    np.testing.assert_array_equal(read, matrix)


@_MODES
def test_gradients_that_are_not_asked_for(operations, how):
  count = tf.Variable(0)

  def step(x):
    count.assign_add(1)
    return x

  _call(operations, _trace(step, ()), tf.constant(0.0), **how)
  assert count == 1


@_MODES
def test_functions_are_told_apart(operations, how):
  functions = [_trace(lambda x, i=i: x + i, ()) for i in range(3)]
  for _ in range(2):
    for i, function in enumerate(functions):
      assert _call(operations, function, tf.constant(0.0), **how)[0] == i


@_MODES
def test_errors_come_through(operations, how):
  function = _trace(lambda x: tf.debugging.check_numerics(x, 'wrong'), ())
  (result,) = _call(operations, function, tf.constant(1.0), **how)
  assert result == 1
  with pytest.raises(tf.errors.InvalidArgumentError, match='wrong.*NaN'):
    _call(operations, function, tf.constant(np.nan), **how)
  (result,) = _call(operations, function, tf.constant(2.0), **how)
  assert result == 2


@_MODES
def test_from_several_threads(operations, how):
  function = _trace(lambda x: tf.linalg.matvec(tf.ones((50, 50)), x), (50,))
  wrong = []

  def work(value):
    for _ in range(50):
      (result,) = _call(operations, function, tf.fill((50,), value), **how)
      if not np.all(result == 50 * value):
        wrong.append(value)

  threads = [threading.Thread(target=work, args=(float(i),)) for i in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not wrong
