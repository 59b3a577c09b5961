"""Private names of TensorFlow."""

from __future__ import annotations

import tensorflow as tf


def writer_resource(writer: tf.summary.SummaryWriter) -> tf.Tensor:
  """Returns the resource of a writer, which tf.raw_ops.ImportEvent takes."""
  return writer._resource
