"""TensorFlow functions that are traced once, and called at the least cost."""

from __future__ import annotations

import functools
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
# Products of weights and examples up to which a train step takes less time in
# the thread that calls it: to wake another takes some 100 us.
_ONE_THREAD = 12e6
# Where TensorFlow wants arrays to begin: at multiples of as many float32.
_ALIGNMENT = 16

ArrayOrTensor = Union[np.ndarray, tf.Tensor]


class Traced:
  """A function, traced for arguments of certain shapes and types.

  A tf.function looks at its arguments in every call to find what was traced for
  them, and casts them: that takes longer than a small network's arithmetic.
  Here the caller knows.

  Nor does TensorFlow optimize the graph of what runs in one thread: what has to
  give the same bits as that must do so as well.

  Attributes:
    outputs: the flat outputs as they were traced, with shapes and types.
    variables: those that it reads or writes.
  """

  def __init__(
    self,
    function: Callable[..., Any],
    *specs: tf.TensorSpec,
    packed: bool = False,
    in_one_thread: bool = False,
  ):
    """Traces a function.

    Args:
      function: of tensors alone, one by one; returns tensors, nested at will.
      *specs: of each argument.
      packed: whether the arguments, arrays of numbers that TensorFlow takes as
        float32, are passed as one tensor: sooner than each by itself.
      in_one_thread: whether operations run one after the other, in the thread
        that calls: none has to be woken, which takes longer than the operations
        of small networks. Within an operation work is shared in either case.
        Not where there is control flow, a variable on a GPU, or no kernels.
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
    self._captures = list(self._function.captured_inputs)
    # Of the pinned TensorFlow's; without them all is the same, but slower.
    self._call_flat = getattr(self._function, '_call_flat', None)
    function_type = getattr(self._function, 'function_type', None)
    self._pack = getattr(function_type, 'pack_output', None)
    if self._pack is None:
      self._pack = functools.partial(
        tf.nest.pack_sequence_as, self._function.structured_outputs
      )
    types = {op.type for op in self._function.graph.get_operations()}
    can_be_called = not types & _CONTROL_FLOW and all(
      map(loader.is_on_cpu, self.variables)
    )
    self._operations = None
    if in_one_thread and can_be_called:
      self._operations = loader.load()
    if self._operations is not None:
      self._captures = self._operations.rigl_captures(tensors=self._captures)
      self._types = [output.dtype for output in self.outputs]

  def __call__(self, *arguments: ArrayOrTensor) -> Any:
    """Calls it with what is as the specs say; nothing is checked."""
    if self._packed:
      tensors = [_as_one_tensor(arguments, self._size)]
    else:
      tensors = [
        a if isinstance(a, tf.Tensor) else tf.constant(a) for a in arguments
      ]
    if self._operations is not None:
      return self._call_in_this_thread(tensors)
    if self._call_flat is None:
      return self._function(*tensors)
    return self._call_flat(tensors, self._captures)

  def _call_in_this_thread(self, tensors):
    results = self._operations.rigl_call(
      captures=self._captures,
      arguments=tensors,
      Tout=self._types,
      f=self._function,
    )
    return self._pack(results)


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


def suit_one_thread(
  networks: Iterable[tf.keras.layers.Layer], batch_size: int
) -> bool:
  """Whether a train step of some networks is small enough for one thread.

  Args:
    networks: those that are trained, built.
    batch_size: examples in a minibatch.
  """
  weights = sum(
    variable.shape.num_elements()
    for network in networks
    for variable in network.trainable_variables
  )
  return weights * batch_size <= _ONE_THREAD
