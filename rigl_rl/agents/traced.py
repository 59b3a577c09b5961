"""TensorFlow functions that are traced once, and called at the least cost."""

from __future__ import annotations

import functools
import os
from typing import Any, Callable, Iterable, Union

import numpy as np
import tensorflow as tf

from rigl_rl.kernels import loader

# Which TensorFlow's executor for one thread cannot run.
_CONTROL_FLOW = {
  'Case',
  'For',
  'If',
  'PartitionedCall',
  'StatefulPartitionedCall',
  'StatelessCase',
  'StatelessIf',
  'StatelessWhile',
  'While',
}
# Products of weights and examples up to which a train step takes less time if
# nothing keeps track of which operations could run at a time.
_SMALL_STEP = 12e6
# Threads that take part, however many there are: there is work for twin
# critics, with a minibatch of two blocks each. More would wait, awake.
_MOST_THREADS = 4
# Where TensorFlow wants arrays to begin: at multiples of as many float32.
_ALIGNMENT = 16

ArrayOrTensor = Union[np.ndarray, tf.Tensor]


class Traced:
  """A function, traced for arguments of certain shapes and types.

  A tf.function looks at its arguments in every call to find what was traced for
  them, and casts them: that takes longer than a small network's arithmetic.
  Here the caller knows.

  Nor does it wait for threads that sleep. The thread that calls takes part, and
  those that help it stay awake for the next call: to wake one takes some
  100 us. Where a variable is on a GPU, or there are no kernels, all is left to
  TensorFlow.

  Attributes:
    outputs: the flat outputs as they were traced, with shapes and types.
    variables: those that it reads or writes.
  """

  def __init__(
    self,
    function: Callable[..., Any],
    *specs: tf.TensorSpec,
    packed: bool = False,
    in_turn: bool = False,
    takes_part: bool = True,
  ):
    """Traces a function.

    Args:
      function: of tensors alone, one by one; returns tensors, nested at will.
      *specs: of each argument.
      packed: whether the arguments, arrays of numbers that TensorFlow takes as
        float32, are passed as one tensor: sooner than each by itself.
      in_turn: whether operations run one after the other, all in the thread
        that calls: small ones then take less time. Others help within the
        larger of this package's own. TensorFlow does not optimize such a graph:
        what has to give the same bits must run in turn as well. Not where there
        is control flow.
      takes_part: whether the thread that calls takes part. Not if another
        thread goes on meanwhile: then there are enough that are awake.
    """
    self._packed = packed
    if packed:
      function, specs = _of_one_vector(function, [s.shape for s in specs])
      (self._size,) = specs[0].shape
    self._function = tf.function(
      function, autograph=False
    ).get_concrete_function(*specs)
    self.outputs = self._function.outputs
    self.variables = self._function.variables
    # Of the pinned TensorFlow's; without them all is the same, but slower.
    self._call_flat = getattr(self._function, '_call_flat', None)
    function_type = getattr(self._function, 'function_type', None)
    self._pack = getattr(function_type, 'pack_output', None)
    if self._pack is None:
      self._pack = functools.partial(
        tf.nest.pack_sequence_as, self._function.structured_outputs
      )
    self._captures = list(self._function.captured_inputs)
    self._operations = None
    if takes_part and all(map(loader.is_on_cpu, self.variables)):
      self._operations = loader.load()
    if self._operations is not None:
      types = {op.type for op in self._function.graph.get_operations()}
      self._prepare_call(in_turn and not types & _CONTROL_FLOW, specs)

  def _prepare_call(self, in_turn, specs):
    """Makes `_call`, which runs the function with the threads that help."""
    called = self._function
    if not in_turn:
      # A call within a function: TensorFlow optimizes the graph of that alone.
      called = tf.function(
        lambda *tensors: self._function(*tensors), autograph=False
      ).get_concrete_function(*specs)
    self._call = functools.partial(
      self._operations.rigl_call,
      captures=self._operations.rigl_captures(tensors=called.captured_inputs),
      Tout=[output.dtype for output in self.outputs],
      f=called,
      in_turn=in_turn,
      threads=_threads(),
    )

  def __call__(self, *arguments: ArrayOrTensor) -> Any:
    """Calls it with what is as the specs say; nothing is checked."""
    if self._packed:
      tensors = [_as_one_tensor(arguments, self._size)]
    else:
      tensors = [
        a if isinstance(a, tf.Tensor) else tf.constant(a) for a in arguments
      ]
    if self._operations is not None:
      return self._pack(self._call(arguments=tensors))
    if self._call_flat is None:
      return self._function(*tensors)
    return self._call_flat(tensors, self._captures)


def _threads():
  """Returns how many threads take part.

  As many as TensorFlow was given, within or for operations.
  """
  threading = tf.config.threading
  numbers = (
    threading.get_intra_op_parallelism_threads(),
    threading.get_inter_op_parallelism_threads(),
  )
  # 0 leaves it to TensorFlow, which takes all processors.
  most = max(number or os.cpu_count() for number in numbers)
  return min(most, _MOST_THREADS)


def _of_one_vector(function, shapes):
  """Returns a function of all arguments in one vector, and its spec."""
  sizes = [shape.num_elements() for shape in shapes]

  def of_one(vector):
    return function(*map(tf.reshape, tf.split(vector, sizes), shapes))

  return of_one, [tf.TensorSpec((sum(sizes),), tf.float32)]


def _as_one_tensor(arrays, size):
  """Returns arrays as one float32 vector.

  It shares its memory with an array, aligned as TensorFlow wants it: sooner
  than by tf.constant, which copies, and runs an operation.
  """
  memory = np.empty(size + _ALIGNMENT, np.float32)
  begin = -memory.ctypes.data % (4 * _ALIGNMENT) // 4
  vector = memory[begin : begin + size]
  np.concatenate(arrays, axis=None, out=vector, casting='unsafe')
  return tf.experimental.dlpack.from_dlpack(vector.__dlpack__())


def is_small_step(
  networks: Iterable[tf.keras.layers.Layer], batch_size: int
) -> bool:
  """Whether a train step of some networks had better run in turn.

  Args:
    networks: those that are trained, built.
    batch_size: examples in a minibatch.
  """
  weights = sum(
    variable.shape.num_elements()
    for network in networks
    for variable in network.trainable_variables
  )
  return weights * batch_size <= _SMALL_STEP
