"""TensorBoard's events of a run, which may be killed and started again."""

from __future__ import annotations

import time
from typing import Mapping

import tensorflow as tf
from tensorboard.compat.proto import event_pb2

from rigl_rl.compat import tensorflow as compat
from rigl_rl.training import record


def create(
  directory: str, steps_done: int, settings: Mapping[str, str]
) -> tf.summary.SummaryWriter:
  """Makes a writer that continues where a checkpoint was.

  Its file begins with a record of a start (SessionLog.START), by which
  TensorBoard and `rigl_rl.analysis.events` forget all events of later steps: an
  earlier process wrote them after its last checkpoint. TensorFlow 1 calls that
  `purge_step`.

  Args:
    directory: of the event files.
    steps_done: steps of training at the checkpoint; 0 at the beginning.
    settings: of a new run, as `record.settings` returns them, for the tab
      HPARAMS, where runs are compared by binding. Seeds of one setting form a
      group there.
  """
  writer = tf.summary.create_file_writer(directory)
  start = event_pb2.Event(
    wall_time=time.time(),
    step=steps_done + 1,
    session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START),
  )
  tf.raw_ops.ImportEvent(
    writer=compat.writer_resource(writer), event=start.SerializeToString()
  )
  if settings and not steps_done:
    from tensorboard.plugins.hparams import api

    with writer.as_default():
      api.hparams(record.with_numbers(settings))
  writer.flush()
  return writer
