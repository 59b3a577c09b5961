"""TensorFlow functions that are traced once, and called at the least cost."""

from __future__ import annotations

from typing import Any, Callable, Union

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

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


ArrayOrTensor = Union[np.ndarray, tf.Tensor]


class Traced:
  """A function, traced for arguments of certain shapes and types.

  A tf.function looks at its arguments in every call to find what was traced for
  them, and casts them: that takes longer than a small network's arithmetic.
  Here the caller knows.

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
        that calls, unless there is control flow: no thread has to be woken,
        which takes longer than the operations of small networks. Within an
        operation work is shared in either case.
    """
    self._packed = packed
    if packed:
      function, specs = _of_one_vector(function, [s.shape for s in specs])
    self._function = tf.function(
      function, autograph=False
    ).get_concrete_function(*specs)
    self.outputs = self._function.outputs
    self.variables = self._function.variables
    self._captures = list(self._function.captured_inputs)
    types = {op.type for op in self._function.graph.get_operations()}
    self._executor = None
    if in_one_thread and not types & _CONTROL_FLOW:
      self._executor = 'SINGLE_THREADED_EXECUTOR'

  def __call__(self, *arguments: ArrayOrTensor) -> Any:
    """Calls it with what is as the specs say; nothing is checked."""
    if self._packed:
      arguments = [np.concatenate(arguments, axis=None, dtype=np.float32)]
    tensors = [
      a if isinstance(a, tf.Tensor) else tf.constant(a) for a in arguments
    ]
    # Of the pinned TensorFlow's; without it all is the same, but slower.
    call = getattr(self._function, '_call_flat', None)
    if call is None:
      return self._function(*tensors)
    if self._executor is None:
      return call(tensors, self._captures)
    with context.function_executor_type(self._executor):
      return call(tensors, self._captures)


def _of_one_vector(function, shapes):
  """Returns a function of all arguments in one vector, and its spec."""
  sizes = [shape.num_elements() for shape in shapes]

  def of_one(vector):
    return function(*map(tf.reshape, tf.split(vector, sizes), shapes))

  return of_one, [tf.TensorSpec((sum(sizes),), tf.float32)]
