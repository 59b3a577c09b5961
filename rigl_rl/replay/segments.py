"""A ring of rows, of which a checkpoint writes only those that are new.

A ring is a few arrays with as many rows each. Row number i, counted from the
first ever written, is in slot i modulo the number of slots. `Segments` writes
ranges of rows into files that are never changed again, each under a name that
holds a checksum of its contents; a list of such files is a checkpoint.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rigl_rl import files, npz, readers

# Rows per file. 20,000 Atari frames are 141 MB, which bounds the memory that
# saving and loading take.
SEGMENT_SIZE = 20_000

# replay-<first row>-<end, exclusive>-<crc32>.npz. With the checksum of the
# contents in its name, a file is never overwritten by another one's.
_NAME = 'replay-{start:012d}-{stop:012d}-{crc32:08x}.npz'
_PATTERN = re.compile(r'replay-\d{12}-\d{12}-[0-9a-f]{8}\.npz')


def delete_unused(directory: str, is_needed: Callable[[str], bool]) -> None:
  """Removes segments that no checkpoint needs, and what a killed write left.

  Args:
    directory: where `Segments` save; other files in it are not touched.
    is_needed: tells from its name whether a segment is needed.
  """
  for name in files.list_names(directory):
    # Without the suffix of a write that was cut off.
    is_own = _PATTERN.fullmatch(name.partition('.tmp')[0])
    if is_own and not is_needed(name):
      files.remove(os.path.join(directory, name))


class Segments:
  """The files of one ring in one directory.

  An entry of the lists below describes a file, in JSON values: its name
  `file`, its rows `start` to `stop` (exclusive), and its `crc32`.
  """

  def __init__(self, columns: Mapping[str, np.ndarray]):
    """Keeps the ring's arrays by name, each of shape (slots, ...).

    Raises:
      ValueError: if they differ in the number of slots, or there are none.
    """
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1:
      raise ValueError(f'The columns of a ring have {sorted(lengths)} slots.')
    (self._num_slots,) = lengths
    self._columns = dict(columns)
    self.forget()

  def forget(self) -> None:
    """Makes the next save write all of its rows."""
    self._directory = None
    self._saved = []

  def save(self, directory: str, start: int, stop: int) -> list[dict[str, Any]]:
    """Writes those rows of [start, stop) that no earlier save has written.

    Args:
      directory: an existing directory, through tf.io.gfile.
      start: the first row that is needed, not before that of the last save.
      stop: the end, exclusive; at most `slots` rows after `start`.

    Returns:
      The entries of the files that hold the rows, oldest first. The first one
      may also hold rows before `start`.
    """
    if directory != self._directory:
      self.forget()
      self._directory = directory
    # The files of a checkpoint that could not be written are gone.
    segments = list(
      itertools.takewhile(
        lambda s: files.exists(os.path.join(directory, s['file'])),
        [s for s in self._saved if s['stop'] > start],
      )
    )
    if segments:
      start = segments[-1]['stop']
    while start < stop:
      # A segment ends where the arrays do, so that it is one slice of them.
      rest_of_lap = self._num_slots - start % self._num_slots
      end = min(start + min(SEGMENT_SIZE, rest_of_lap), stop)
      segments.append(self._write(directory, start, end))
      start = end
    self._saved = segments
    return [dict(segment) for segment in segments]

  def load(
    self,
    directory: str,
    segments: Sequence[Mapping[str, Any]],
    start: int,
    stop: int,
  ) -> None:
    """Reads the rows [start, stop) into their slots.

    The next save into the same directory builds on these files.

    Args:
      directory: where `save` wrote.
      segments: the entries that `save` returned.
      start: the first row that is needed.
      stop: the end, exclusive.

    Raises:
      ValueError: if a file is missing or damaged, or rows are lacking. The
        contents of the arrays are undefined then.
    """
    self.forget()
    segments = [dict(segment) for segment in segments]
    for segment in segments:
      if segment['start'] > start or segment['stop'] <= segment['start']:
        raise ValueError(f'The replay lacks the rows from {start} on.')
      start = segment['stop']
      if not _PATTERN.fullmatch(segment['file']):
        raise ValueError(f'The replay has no segment {segment["file"]!r}.')
      path = os.path.join(directory, segment['file'])
      # Checks all files before it spends time on reading any.
      if not files.exists(path):
        raise ValueError(f'The replay segment {path} is missing.')
    if start != stop:
      raise ValueError(f'The replay lacks the rows from {start} on.')
    for segment in segments:
      # From the oldest on: where two share a slot, the newer one stays.
      self._read(directory, segment)
    self._directory = directory
    self._saved = segments

  def _rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
    """Views of rows that do not wrap around, by column."""
    first = start % self._num_slots
    slots = slice(first, first + stop - start)
    return {name: column[slots] for name, column in self._columns.items()}

  def _write(self, directory: str, start: int, stop: int) -> dict[str, Any]:
    """Writes the file of rows that do not wrap around; returns its entry."""
    contents = npz.pack(self._rows(start, stop))
    crc32 = zlib.crc32(contents)
    name = _NAME.format(start=start, stop=stop, crc32=crc32)
    # Not flushed to the disk: the checksum would reveal a torn file.
    files.write(os.path.join(directory, name), contents, flush=False)
    return {'file': name, 'start': start, 'stop': stop, 'crc32': crc32}

  def _read(self, directory: str, segment: Mapping[str, Any]) -> None:
    """Reads a file's rows into their slots; ValueError if it is damaged."""
    path = os.path.join(directory, segment['file'])
    contents = readers.read_bytes(path)
    if zlib.crc32(contents) != segment['crc32']:
      raise readers.FileError(
        f'The replay segment {path} is damaged: its checksum is wrong.'
      )
    arrays = readers.read_arrays(io.BytesIO(contents), path)
    with readers.contents_of(path):
      targets = self._rows(segment['start'], segment['stop'])
      for name, target in targets.items():
        rows = arrays[name]
        if rows.shape != target.shape or rows.dtype != target.dtype:
          raise ValueError(
            f'it holds {name} of shape {rows.shape} and {rows.dtype}, not '
            f'{target.shape} and {target.dtype}'
          )
        target[...] = rows
