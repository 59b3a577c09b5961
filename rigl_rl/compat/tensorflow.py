"""Private names of TensorFlow."""

from __future__ import annotations

import functools
from typing import Any, Callable, Sequence

import tensorflow as tf


def writer_resource(writer: tf.summary.SummaryWriter) -> tf.Tensor:
  """Returns the resource of a writer, which tf.raw_ops.ImportEvent takes."""
  return writer._resource


def only_reads(operation: tf.Operation | None, inputs: Sequence[int]) -> None:
  """Tells TensorFlow which variables a custom operation does not write.

  TensorFlow assumes that custom operations write every variable that they are
  given, and lets what reads such a variable wait for them.

  Args:
    operation: in a function; None, as in eager execution, for none.
    inputs: which of its inputs, in order.
  """
  if operation is not None:
    value = tf.compat.v1.AttrValue()
    value.list.i.extend(inputs)
    operation._set_attr('_read_only_resource_inputs', value)


def not_inlined(function: Callable[..., Any]) -> Callable[..., Any]:
  """Returns a tf.function that stays one call in the graphs that call it."""
  return tf.function(
    function, autograph=False, experimental_attributes={'_noinline': True}
  )


def unchecked_call(function: Any) -> Callable[[Sequence[tf.Tensor]], Any]:
  """Returns a function that calls a concrete function without any checks.

  Where TensorFlow has no such call, it checks the arguments, and takes longer.

  Args:
    function: a concrete function.

  Returns:
    A function of the list of its flat arguments.
  """
  call = getattr(function, '_call_flat', None)
  if call is None:
    return lambda tensors: function(*tensors)
  captures = list(function.captured_inputs)
  return lambda tensors: call(tensors, captures)


def packer(function: Any) -> Callable[[Sequence[tf.Tensor]], Any]:
  """Returns a function that nests flat outputs as a concrete function does.

  By what TensorFlow knows from tracing; where it does not say, by tf.nest,
  which takes longer.
  """
  function_type = getattr(function, 'function_type', None)
  return getattr(function_type, 'pack_output', None) or functools.partial(
    tf.nest.pack_sequence_as, function.structured_outputs
  )


def set_constraint(
  variable: tf.Variable, constraint: Callable[[tf.Tensor], tf.Tensor] | None
) -> None:
  """Gives a variable another constraint, which optimizers of Keras apply."""
  variable._constraint = constraint
