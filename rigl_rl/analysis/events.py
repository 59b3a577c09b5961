"""Reads scalars from the event files that TensorBoard shows."""

from __future__ import annotations

import math
import os

import pandas as pd

from rigl_rl import files, quiet, readers

# Names that earlier versions wrote and figures read, and the names of today.
_RENAMED = {'gradients/snr': 'gradients/snr/online'}


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
  rows: dict[tuple[str, int], float] = {}
  directory = os.path.join(run, 'events')
  # The names begin with the time at which a file was begun.
  for name in files.list_names(directory):
    if '.tfevents.' in name:
      path = os.path.join(directory, name)
      with readers.contents_of(path):
        readers.check_file(path)
        start, found = _read(path, prefix)
      rows = {key: value for key, value in rows.items() if key[1] < start}
      rows.update(found)
  return pd.DataFrame(
    [(name, step, rows[name, step]) for name, step in sorted(rows)],
    columns=['name', 'step', 'value'],
  )


def _read(path: str, prefix: str) -> tuple[float, dict[tuple[str, int], float]]:
  """Returns the first step of a process, and its {(name, step): value}."""
  # TensorBoard reads records by TensorFlow, which other figures do without.
  with quiet.import_quietly():
    import tensorflow  # noqa: F401
  from tensorboard.backend.event_processing import event_file_loader
  from tensorboard.compat.proto import event_pb2
  from tensorboard.util import tensor_util

  start, found = None, {}
  for event in event_file_loader.EventFileLoader(path).Load():
    if event.session_log.status == event_pb2.SessionLog.START:
      start = event.step
    for value in event.summary.value:
      name = _RENAMED.get(value.tag, value.tag)
      is_scalar = not value.tensor.tensor_shape.dim  # Hyper-parameters are not.
      if is_scalar and name.startswith(prefix):
        number = tensor_util.make_ndarray(value.tensor).item()
        found[name, event.step] = float(number)
  if start is None:
    start = min((step for _, step in found), default=math.inf)
  return start, found
