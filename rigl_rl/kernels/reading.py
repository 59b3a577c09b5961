"""What operations only read.

TensorFlow takes it that they write each variable that they are given, and lets
what reads one wait for them, unless it is told.
"""

from __future__ import annotations

from typing import Sequence

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.python.framework import auto_control_deps_utils


def only_reads(operation: tf.Operation | None, inputs: Sequence[int]) -> None:
  """Tells TensorFlow which variables an operation does not write.

  Args:
    operation: in a function; None, as it is in eager execution, is left alone.
    inputs: which of its inputs, in order.
  """
  if operation is not None:
    name = auto_control_deps_utils.READ_ONLY_RESOURCE_INPUTS_ATTR
    value = attr_value_pb2.AttrValue()
    value.list.i.extend(inputs)
    operation._set_attr(name, value)
