"""TensorFlow functions that are traced once, and called at the least cost.

docs/runtime.md says what each part does, and how to switch it off.
"""

from __future__ import annotations

import functools
import os
from typing import Any, Callable, Iterable, Union

import numpy as np
import tensorflow as tf

from rigl_rl.compat import tensorflow as tensorflow_compat
from rigl_rl.errors import UserError
from rigl_rl.kernels import loader

# What RIGL_RL_RUNTIME in the environment may be: each adds to those before it.
_PARTS = ('tensorflow', 'traced', 'call', 'team')
# Operations that TensorFlow's executor for one thread cannot run.
_CONTROL_FLOW = {
  *('Case', 'StatelessCase', 'If', 'StatelessIf', 'While', 'StatelessWhile'),
  *('For', 'PartitionedCall', 'StatefulPartitionedCall'),
}
# A train step with at most this many products of weights and examples is faster
# if no scheduler tracks which operations could run at the same time.
_SMALL_STEP = 12e6
# The most threads of a team: twin critics, with a minibatch of two blocks each,
# keep four busy. More would wait, awake.
_MOST_THREADS = 4
# TensorFlow wants arrays to begin at multiples of this many float32.
_ALIGNMENT = 16

ArrayOrTensor = Union[np.ndarray, tf.Tensor]


class Traced:
  """A function, traced for arguments of certain shapes and types.

  A tf.function looks at its arguments in every call to find what was traced for
  them, and casts them: that takes longer than a small network's arithmetic.
  Here the caller knows.

  Nor does a call wait for threads that sleep. The thread that calls takes part,
  and those that help it stay awake for the next call: to wake one takes some
  100 us. TensorFlow's threads do the work instead where a variable is on a GPU,
  or there are no kernels.

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
    has_helpers: bool = True,
  ):
    """Traces a function.

    Args:
      function: takes only tensors; returns tensors, nested at will.
      *specs: of each argument.
      packed: whether the arguments, arrays of numbers that TensorFlow takes as
        float32, are passed as one tensor, which is faster. Then only one thread
        may call it at a time: each call writes them into the same memory.
      in_turn: whether operations run one after the other, all in the calling
        thread, which is faster for small ones; helpers share the larger ones of
        this package. TensorFlow does not optimize such a graph, so functions
        that must give the same bits must all run in turn. Not for functions
        with control flow.
      takes_part: whether the calling thread takes part; False if another thread
        works meanwhile, because then enough threads are awake.
      has_helpers: whether other threads help the calling one; False if they
        work on another function meanwhile.

    Raises:
      UserError: if RIGL_RL_RUNTIME names no part of the runtime.
    """
    parts = _parts_in_use()
    self._packed = packed and 'traced' in parts
    if self._packed:
      function, specs = _of_one_vector(function, [s.shape for s in specs])
      self._memory = _aligned(*specs[0].shape)
      self._vector = share(self._memory)
    self._types = [spec.dtype for spec in specs]
    function = tf.function(function, autograph=False)
    self._function = function.get_concrete_function(*specs)
    self.outputs = self._function.outputs
    self.variables = self._function.variables
    takes_part &= 'call' in parts and all(map(loader.is_on_cpu, self.variables))
    operations = loader.load() if takes_part else None
    if operations is not None:
      threads = _threads() if has_helpers and 'team' in parts else 1
      self._call = self._by_operation(operations, specs, in_turn, threads)
    elif 'traced' in parts:
      self._call = tensorflow_compat.unchecked_call(self._function)
    else:
      self._call = lambda tensors: function(*tensors)

  def _by_operation(self, operations, specs, in_turn, threads):
    """Returns a function that calls it in this thread, with helpers."""
    types = {op.type for op in self._function.graph.get_operations()}
    in_turn = in_turn and not types & _CONTROL_FLOW
    called = self._function
    if not in_turn:
      # Wrapped in another function: TensorFlow optimizes only called ones.
      called = tf.function(
        lambda *tensors: self._function(*tensors), autograph=False
      ).get_concrete_function(*specs)
    call = functools.partial(
      operations.rigl_call,
      captures=operations.rigl_captures(tensors=called.captured_inputs),
      # TensorFlow takes numbers sooner than types.
      Tout=[output.dtype.as_datatype_enum for output in self.outputs],
      f=called,
      in_turn=in_turn,
      threads=threads,
    )
    pack = tensorflow_compat.packer(self._function)
    return lambda tensors: pack(call(arguments=tensors))

  def __call__(self, *arguments: ArrayOrTensor) -> Any:
    """Calls it with arguments of its specs, which are not checked."""
    if self._packed:
      np.concatenate(arguments, axis=None, out=self._memory, casting='unsafe')
      return self._call([self._vector])
    return self._call(
      [
        a if isinstance(a, tf.Tensor) else tf.constant(a, dtype)
        for a, dtype in zip(arguments, self._types)
      ]
    )


def _parts_in_use() -> tuple[str, ...]:
  """Returns the parts of the runtime that RIGL_RL_RUNTIME leaves in use."""
  last = os.environ.get('RIGL_RL_RUNTIME') or _PARTS[-1]
  if last not in _PARTS:
    raise UserError(
      f'RIGL_RL_RUNTIME is {last!r}, but must be {", ".join(_PARTS[:-1])} or '
      f'{_PARTS[-1]}.'
    )
  return _PARTS[: _PARTS.index(last) + 1]


def _threads():
  """Returns how many threads take part: TensorFlow's, intra-op or inter-op."""
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
    # Outputs and variables may keep parts of it, and the next call changes it.
    vector = tf.raw_ops.DeepCopy(x=vector)
    return function(*map(tf.reshape, tf.split(vector, sizes), shapes))

  return of_one, [tf.TensorSpec((sum(sizes),), tf.float32)]


def _aligned(size):
  """Returns a new float32 vector that `share` need not copy."""
  memory = np.empty(size + _ALIGNMENT, np.float32)
  begin = -memory.ctypes.data % (4 * _ALIGNMENT) // 4
  return memory[begin : begin + size]


def share(array: np.ndarray) -> tf.Tensor:
  """Returns an array as a tensor in the same memory, if that is aligned.

  The array must not change while the tensor is in use. One that does not begin
  at a multiple of 64 bytes is copied.
  """
  if array.ctypes.data % (4 * _ALIGNMENT):
    return tf.constant(array)
  return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def is_small_step(
  networks: Iterable[tf.keras.layers.Layer], batch_size: int
) -> bool:
  """Whether a train step of some networks should run in turn.

  Args:
    networks: the trained networks, built.
    batch_size: examples in a minibatch.
  """
  weights = sum(
    variable.shape.num_elements()
    for network in networks
    for variable in network.trainable_variables
  )
  return weights * batch_size <= _SMALL_STEP
