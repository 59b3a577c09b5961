"""TensorBoard's events of a run, which may be killed and started again."""

from __future__ import annotations

import ast
import contextlib
import time
from typing import Mapping

import tensorflow as tf
from tensorboard.compat.proto import event_pb2

from rigl_rl.compat import tensorflow as compat


def create(directory: str, steps_done: int) -> tf.summary.SummaryWriter:
  """Makes a writer that continues where a checkpoint was.

  Its file begins with a record of a start (SessionLog.START), by which
  TensorBoard and `rigl_rl.analysis.events` forget all events of later steps: an
  earlier process wrote them after its last checkpoint. TensorFlow 1 calls that
  `purge_step`.

  Args:
    directory: of the event files.
    steps_done: steps of training at the checkpoint; 0 at the beginning.
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
  writer.flush()
  return writer


def write_settings(directory: str, settings: Mapping[str, str]) -> None:
  """Writes a run's bindings for TensorBoard's HPARAMS tab, to compare runs by.

  Seeds of one setting form a group there.

  Args:
    directory: of the event files.
    settings: what `record.settings` returned.
  """
  from tensorboard.plugins.hparams import api

  values = {name: _as_hparam(text) for name, text in settings.items()}
  with tf.summary.create_file_writer(directory).as_default():
    api.hparams(values)


def _as_hparam(text: str) -> bool | float | str:
  with contextlib.suppress(ValueError, SyntaxError):
    value = ast.literal_eval(text)
    if isinstance(value, (bool, int, float, str)):
      return value
  return text
