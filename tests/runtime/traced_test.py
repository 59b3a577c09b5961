"""Tests of functions that are traced once."""

import gc
import os
import pathlib
import threading

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl import errors
from rigl_rl.runtime import traced

# The memory of this process, in pages.
_STATM = pathlib.Path('/proc/self/statm')
_SPECS = (tf.TensorSpec((2, 3)), tf.TensorSpec((3,)), tf.TensorSpec(()))


def _function(matrix, vector, number):
  return {'product': tf.linalg.matvec(matrix, vector)}, number + 1


@pytest.mark.parametrize('packed', [False, True])
@pytest.mark.parametrize('takes_part', [False, True])
@pytest.mark.parametrize('in_turn', [False, True])
@pytest.mark.parametrize('last_part', traced._PARTS)
def test_call(packed, takes_part, in_turn, last_part, monkeypatch):
  monkeypatch.setenv('RIGL_RL_RUNTIME', last_part)
  function = traced.Traced(
    _function, *_SPECS, packed=packed, in_turn=in_turn, takes_part=takes_part
  )
  for scale in (1.0, 2.0):
    matrix = np.float32([[1, 2, 3], [4, 5, 6]]) * scale
    result, number = function(matrix, np.float32([1, 0, -1]), np.float32(scale))
    np.testing.assert_array_equal(result['product'], [-2 * scale, -2 * scale])
    assert number == scale + 1


@pytest.mark.parametrize('last_part,used', zip(traced._PARTS, range(4)))
def test_each_part_can_be_switched_off(
  operations, monkeypatch, last_part, used
):
  seen = set()

  def watch(owner, name, part):
    original = getattr(owner, name)

    def watched(*arguments):
      seen.add(part)
      return original(*arguments)

    monkeypatch.setattr(owner, name, watched)

  watch(traced, '_of_one_vector', 'traced')
  watch(traced.Traced, '_by_operation', 'call')
  watch(traced, '_threads', 'team')
  monkeypatch.setenv('RIGL_RL_RUNTIME', last_part)
  function = traced.Traced(_function, *_SPECS, packed=True)
  # As they come from an environment.
  _, number = function(np.ones((2, 3)), np.ones(3), np.float64(1))
  assert number == 2
  assert seen == set(traced._PARTS[1 : used + 1])


def test_an_unknown_part(monkeypatch):
  monkeypatch.setenv('RIGL_RL_RUNTIME', 'teams')
  with pytest.raises(errors.UserError) as error:
    traced.Traced(_function, *_SPECS)
  assert str(error.value) == (
    "RIGL_RL_RUNTIME is 'teams', but must be tensorflow, traced, call or team."
  )


@pytest.mark.parametrize('how', [{'in_turn': True}, {'has_helpers': False}])
def test_all_is_in_the_thread_that_calls(operations, monkeypatch, how):
  monkeypatch.setattr(traced, '_threads', lambda: 2)
  seen = []

  def look(x):
    seen.append(threading.get_ident())
    return x

  function = traced.Traced(
    lambda x: [tf.numpy_function(look, [x], tf.float32) for _ in range(9)],
    tf.TensorSpec(()),
    **how,
  )
  function(np.float32(0))
  assert set(seen) == {threading.get_ident()}


def test_it_may_take_no_part(operations, monkeypatch):
  # Alone, it would run everything itself.
  monkeypatch.setattr(traced, '_threads', lambda: 1)
  seen = []

  def look(x):
    seen.append(threading.get_ident())
    return x

  function = traced.Traced(
    lambda x: tf.numpy_function(look, [x], tf.float32),
    tf.TensorSpec(()),
    takes_part=False,
  )
  function(np.float32(0))
  assert len(seen) == 1
  assert threading.get_ident() not in seen


def test_not_in_turn_the_thread_that_calls_takes_part(operations, monkeypatch):
  monkeypatch.setattr(traced, '_threads', lambda: 2)
  seen = set()
  barrier = threading.Barrier(2, timeout=30)

  def look(x):
    seen.add(threading.get_ident())
    barrier.wait()
    return x

  function = traced.Traced(
    lambda x: [
      tf.numpy_function(look, [x + i], tf.float32, stateful=False)
      for i in (0, 1)
    ],
    tf.TensorSpec(()),
  )
  function(np.float32(0))
  assert len(seen) == 2
  assert threading.get_ident() in seen


@pytest.mark.parametrize(
  'intra,inter,cores,expected',
  [(1, 2, 8, 2), (3, 1, 8, 3), (0, 1, 3, 3), (1, 0, 2, 2), (0, 0, 64, 4)],
)
def test_threads(monkeypatch, intra, inter, cores, expected):
  class Threading:
    get_intra_op_parallelism_threads = staticmethod(lambda: intra)
    get_inter_op_parallelism_threads = staticmethod(lambda: inter)

  monkeypatch.setattr(traced.tf.config, 'threading', Threading)
  monkeypatch.setattr(traced.os, 'cpu_count', lambda: cores)
  assert traced._threads() == expected


def test_of_another_tensorflow(monkeypatch):
  """Whose functions have neither `_call_flat` nor a type that packs."""

  class Function:
    def __init__(self, function):
      self._function = function
      self.captured_inputs = function.captured_inputs
      self.graph = function.graph
      self.outputs = function.outputs
      self.structured_outputs = function.structured_outputs
      self.variables = function.variables

    def __call__(self, *arguments):
      return self._function(*arguments)

  class Polymorphic:
    def __init__(self, function, **_):
      self._function = function

    def get_concrete_function(self, *specs):
      return Function(
        original(self._function, autograph=False).get_concrete_function(*specs)
      )

  original = tf.function
  monkeypatch.setattr(traced.tf, 'function', Polymorphic)
  monkeypatch.setenv('RIGL_RL_KERNELS', '0')
  function = traced.Traced(_function, *_SPECS)
  result, number = function(
    np.ones((2, 3), np.float32), np.ones(3, np.float32), np.float32(1)
  )
  np.testing.assert_array_equal(result['product'], [3, 3])
  assert number == 2


def test_without_kernels(monkeypatch):
  monkeypatch.setenv('RIGL_RL_KERNELS', '0')
  function = traced.Traced(_function, *_SPECS, packed=True, in_turn=True)
  _, number = function(np.ones((2, 3)), np.ones(3), np.float32(1))
  assert number == 2


def test_variables_that_are_not_on_a_cpu(monkeypatch):
  def missing():
    raise AssertionError

  monkeypatch.setattr(traced.loader, 'load', missing)
  monkeypatch.setattr(traced.loader, 'is_on_cpu', lambda variable: False)
  variable = tf.Variable(1.0)
  function = traced.Traced(
    lambda x: variable * x, tf.TensorSpec(()), in_turn=True
  )
  assert function(np.float32(3)) == 3


def test_tensors_are_taken_too():
  function = traced.Traced(_function, *_SPECS)
  result, _ = function(
    tf.ones((2, 3)), np.ones(3, np.float32), tf.constant(0.0)
  )
  np.testing.assert_array_equal(result['product'], [3, 3])


def test_packed_numbers_become_float32():
  function = traced.Traced(_function, *_SPECS, packed=True)
  result, number = function(np.ones((2, 3), int), np.ones(3), np.bool_(True))
  np.testing.assert_array_equal(result['product'], [3, 3])
  assert number.dtype == tf.float32
  assert number == 2


@pytest.mark.parametrize('shapes', [[(16,)], [(4, 16), (16,)]], ids=str)
def test_what_a_call_keeps_of_packed_numbers_stays(shapes):
  variables = [tf.Variable(tf.zeros(shape)) for shape in shapes]

  def keep(*arguments):
    for variable, argument in zip(variables, arguments):
      variable.assign(argument)
    return arguments

  function = traced.Traced(
    keep, *map(tf.TensorSpec, shapes), packed=True, in_turn=True
  )
  outputs = function(*map(np.ones, shapes))
  kept = [variable.read_value() for variable in variables]
  function(*map(np.zeros, shapes))
  for shape, values in zip(2 * shapes, [*outputs, *kept]):
    np.testing.assert_array_equal(values, np.ones(shape))


def test_outputs_and_variables_of_a_traced_function():
  variable = tf.Variable(1.0)
  function = traced.Traced(lambda x: (variable * x, x), tf.TensorSpec((5,)))
  assert [output.shape for output in function.outputs] == [(5,), (5,)]
  assert len(function.variables) == 1
  assert function.variables[0] is variable


@pytest.mark.skipif(not _STATM.exists(), reason='needs the memory in use')
@pytest.mark.parametrize('in_turn', [False, True])
def test_memory_goes_with_the_function(operations, in_turn):
  megabyte = 250_000  # float32 numbers

  def make_and_call():
    # TensorFlow computes what is constant once, and keeps it.
    function = traced.Traced(
      lambda x: x + tf.fill((8 * megabyte,), 1.0),
      tf.TensorSpec(()),
      in_turn=in_turn,
    )
    assert function(1.0)[-1] == 2.0
    gc.collect()

  def used():
    return int(_STATM.read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1e6

  make_and_call()
  before = used()
  for _ in range(10):
    make_and_call()
  assert used() - before < 40


@pytest.mark.parametrize('in_turn', [False, True])
def test_control_flow(in_turn):
  def halve_until_small(x):
    return tf.while_loop(lambda x: x > 1.0, lambda x: x / 2.0, [x])

  function = traced.Traced(
    halve_until_small, tf.TensorSpec(()), in_turn=in_turn
  )
  assert function(np.float32(12))[0] == 0.75


@pytest.mark.parametrize('batch_size,expected', [(100, True), (101, False)])
def test_small_steps_run_in_turn(batch_size, expected):
  networks = [
    tf.keras.Sequential([tf.keras.layers.Dense(200, use_bias=False)])
    for _ in range(2)
  ]
  for network in networks:
    network.build((None, 300))
  # Two networks of 60,000 weights: 12 million products of 100 examples.
  assert traced.is_small_step(networks, batch_size) == expected


@pytest.mark.parametrize('offset,is_shared', [(0, True), (4, False)])
def test_an_aligned_array_is_shared(offset, is_shared):
  memory = np.zeros(256, np.uint8)
  begin = -memory.ctypes.data % 64 + offset
  array = memory[begin : begin + 64].reshape(8, 8)
  tensor = traced.share(array)
  assert tensor.shape == (8, 8) and tensor.dtype == tf.uint8
  array[3, 4] = 5
  assert tensor[3, 4] == (5 if is_shared else 0)
