"""TensorFlow functions that are traced once, and called at the least cost."""

from __future__ import annotations

from typing import Any, Callable

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
    in_one_thread: bool = False,
  ):
    """Traces a function.

    Args:
      function: of tensors alone, one by one; returns tensors, nested at will.
      *specs: of each argument.
      in_one_thread: whether operations run one after the other, in the thread
        that calls, unless there is control flow: no thread has to be woken,
        which takes longer than the operations of small networks. Within an
        operation work is shared in either case.
    """
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

  def __call__(self, *tensors: tf.Tensor) -> Any:
    """Calls it with tensors that are as the specs say; none is checked."""
    # Of the pinned TensorFlow's; without it all is the same, but slower.
    call = getattr(self._function, '_call_flat', None)
    if call is None:
      return self._function(*tensors)
    if self._executor is None:
      return call(list(tensors), self._captures)
    with context.function_executor_type(self._executor):
      return call(list(tensors), self._captures)
