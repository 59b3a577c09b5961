"""Reads scalars from TensorBoard event files, without TensorFlow.

An event file is a row of records, each a length, a checksum of it, an Event
message and a checksum of that. tensorboard, which TensorFlow brings, has the
message.
"""

from __future__ import annotations

import math
import os
import struct
from typing import Iterator

import numpy as np
import pandas as pd

from rigl_rl import readers
from rigl_rl.analysis import paths

_HEADER = struct.Struct('<QI')  # Length of the message, its checksum.
_CHECKSUM_BYTES = 4


def read_scalars(run: str, prefix: str) -> pd.DataFrame:
  """Returns the scalars of a run.

  A run that was killed and continued has a file for each process. What an
  earlier process wrote of steps from the next one's start on does not count, as
  in TensorBoard; that start is where the later file says, or, in files of
  earlier versions, its first step.

  Args:
    run: the run directory.
    prefix: of the scalars' names, such as 'gradients/snr'.

  Returns:
    name, step, value; in order of names and steps. What follows a torn record,
    which a killed process leaves, is not read.

  Raises:
    FileError: a file of events cannot be used.
  """
  rows = {}
  files = paths.list_files(os.path.join(run, 'events'))
  # Their names begin with the time at which they were begun.
  for path in files:
    if '.tfevents.' in os.path.basename(path):
      data = readers.read_bytes(path)
      with readers.contents_of(path):
        start, found = _read(data, prefix)
      rows = {key: value for key, value in rows.items() if key[1] < start}
      rows.update(found)
  return pd.DataFrame(
    [(name, step, rows[name, step]) for name, step in sorted(rows)],
    columns=['name', 'step', 'value'],
  )


def _read(
  data: bytes, prefix: str
) -> tuple[float, dict[tuple[str, int], float]]:
  """Returns the first step of a process, and its {(name, step): value}."""
  from tensorboard.compat.proto import event_pb2

  wanted = prefix.encode('utf-8')
  start, found = None, {}
  for number, record in enumerate(_records(data)):
    # Most records have other names: not worth parsing. The first two say of
    # which version the file is, and where the process started.
    if number > 1 and wanted not in record:
      continue
    event = event_pb2.Event.FromString(record)
    if event.session_log.status == event_pb2.SessionLog.START:
      start = event.step
    for value in event.summary.value:
      if value.tag.startswith(prefix):
        found[value.tag, event.step] = _number(value)
  if start is None:
    start = min((step for _, step in found), default=math.inf)
  return start, found


def _records(data: bytes) -> Iterator[bytes]:
  position = 0
  while position + _HEADER.size <= len(data):
    length, _ = _HEADER.unpack_from(data, position)
    begin = position + _HEADER.size
    position = begin + length + _CHECKSUM_BYTES
    if position > len(data):
      return
    yield data[begin : begin + length]


def _number(value) -> float:
  """The number of a scalar summary, of TensorFlow 2 or 1."""
  if value.WhichOneof('value') == 'simple_value':
    return float(value.simple_value)
  tensor = value.tensor
  if tensor.tensor_content:
    kinds = {1: '<f4', 2: '<f8', 3: '<i4', 9: '<i8'}
    return float(np.frombuffer(tensor.tensor_content, kinds[tensor.dtype])[0])
  for field in (tensor.float_val, tensor.double_val, tensor.int64_val):
    if len(field):
      return float(field[0])
  return float('nan')
