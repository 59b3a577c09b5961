"""Ring: rows in a ring of arrays, how they are drawn, and their checkpoints.

Row number i, counted from the first ever added, is in slot i modulo the
number of slots. A save writes ranges of rows, segments, into files that are
never changed again, each under a name that holds a checksum of its contents; a
list of such files is a checkpoint of the rows.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rigl_rl import files, npz, readers

_FORMAT = 1
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
    directory: where rings are saved; other files in it are not touched.
    is_needed: tells from its name whether a segment is needed.
  """
  for name in files.list_names(directory):
    # Without the suffix of a write that was cut off.
    is_own = _PATTERN.fullmatch(name.partition('.tmp')[0])
    if is_own and not is_needed(name):
      files.remove(os.path.join(directory, name))


class Ring:
  """Rows in a ring of arrays: what the replay buffers share.

  The newest `capacity` rows are kept. A checkpoint is a manifest, which the
  caller keeps, and the files that it names. It restores contents and samples to
  the bit, and costs only what was added since the last one. A subclass says
  what state it has beside the arrays (`_get_state`, and `_set_state`, which is
  called when the rows have been loaded) and how to forget it (`_clear`).

  Attributes:
    capacity: rows kept.
    batch_size: transitions in a sample.
  """

  # Name of the number of rows in a manifest.
  _count_name = 'count'

  def __init__(
    self,
    capacity: int,
    batch_size: int,
    columns: Mapping[str, np.ndarray],
    signature: Mapping[str, Any],
    rng: np.random.Generator,
  ):
    """Starts empty.

    Args:
      capacity: rows kept.
      batch_size: transitions in a sample.
      columns: arrays by name, each of shape (slots, ...), slots >= capacity.
      signature: what must be equal in a saved buffer, as JSON values.
      rng: draws the samples.
    """
    self.capacity = capacity
    self.batch_size = batch_size
    (self._num_slots,) = {len(column) for column in columns.values()}
    self._columns = columns
    self._signature = signature
    self._rng = rng
    self._clear()

  def _clear(self) -> None:
    """Empties the ring, but does not change its generator."""
    self._count = 0
    # Where the last save or load was, and the segments that lie there: their
    # name `file`, rows `start` to `stop` (exclusive) and `crc32`, oldest first.
    self._directory = None
    self._saved = []

  @property
  def _oldest(self) -> int:
    """The first row that is kept."""
    return max(0, self._count - self.capacity)

  def _draw_rows(
    self,
    first: int,
    end: int,
    is_excluded: np.ndarray,
    max_attempts: float = math.inf,
  ) -> tuple[np.ndarray, np.ndarray]:
    """Draws `batch_size` rows of [first, end), uniformly with replacement.

    Those in slots that `is_excluded`, bool (slots,), are drawn again, until
    there were `max_attempts` draws in vain.

    Returns:
      Their slots; and the places in which they are excluded still.
    """
    slots = self._rng.integers(first, end, self.batch_size)
    if end > self._num_slots:
      slots %= self._num_slots
    (places,) = is_excluded.take(slots).nonzero()
    attempts = places.size
    while places.size and attempts < max_attempts:
      drawn = self._rng.integers(first, end, places.size)
      drawn %= self._num_slots
      slots[places] = drawn
      places = places[is_excluded.take(drawn)]
      attempts += places.size
    return slots, places

  def save(self, directory: str) -> dict[str, Any]:
    """Writes what has been added since the last save, or load, in `directory`.

    `delete_unused` removes files that no manifest names any more.

    Returns:
      The manifest, a dict of JSON values and NumPy arrays.
    """
    start, stop = self._oldest, self._count
    saved = self._saved if directory == self._directory else []
    # The files of a checkpoint that could not be written are gone.
    segments = list(
      itertools.takewhile(
        lambda s: files.exists(os.path.join(directory, s['file'])),
        [s for s in saved if s['stop'] > start],
      )
    )
    if segments:
      start = segments[-1]['stop']
    while start < stop:
      # A segment ends where the arrays do, so that it is one slice of them.
      rest_of_lap = self._num_slots - start % self._num_slots
      end = min(start + min(SEGMENT_SIZE, rest_of_lap), stop)
      segments.append(self._write_segment(directory, start, end))
      start = end
    self._directory, self._saved = directory, segments
    return {
      'format': _FORMAT,
      'signature': self._signature,
      self._count_name: self._count,
      'rng': self._rng.bit_generator.state,
      'segments': [dict(segment) for segment in segments],
      **self._get_state(),
    }

  def load(self, directory: str, manifest: Mapping[str, Any]) -> None:
    """Restores contents and samples to the bit, from what `save` returned.

    The next save into the same directory builds on the files that are there.

    Raises:
      ValueError: if a file is missing or damaged, or the manifest is that of
        another kind of buffer. The ring is empty then, and an earlier manifest
        can be loaded.
    """
    self._clear()
    try:
      self._check(manifest)
      self._count = int(manifest[self._count_name])
      segments = [dict(segment) for segment in manifest['segments']]
      self._check_segments(directory, segments)
      for segment in segments:
        # From the oldest on: where two share a slot, the newer one stays.
        self._read_segment(directory, segment)
      self._directory, self._saved = directory, segments
      self._set_state(manifest)
      self._rng.bit_generator.state = manifest['rng']
    except BaseException as e:
      self._clear()
      if isinstance(
        e, (LookupError, TypeError, AttributeError, ArithmeticError)
      ):
        raise ValueError(f'The manifest of the replay is damaged: {e!r}') from e
      raise

  def _check(self, manifest: Mapping[str, Any]) -> None:
    """Raises ValueError if the manifest is another kind of buffer's."""
    if manifest['format'] != _FORMAT:
      raise ValueError(
        f'The replay was saved in format {manifest["format"]}; this version'
        f' reads format {_FORMAT}.'
      )
    for key, value in self._signature.items():
      if manifest['signature'][key] != value:
        raise ValueError(
          f'The replay was saved with {key} = {manifest["signature"][key]},'
          f' but this buffer has {value}.'
        )

  def _check_segments(self, directory: str, segments: list[dict]) -> None:
    """Raises ValueError unless there are files of all rows that are kept."""
    start = self._oldest
    for segment in segments:
      if segment['start'] > start or segment['stop'] <= segment['start']:
        raise ValueError(f'The replay lacks the rows from {start} on.')
      start = segment['stop']
      if not _PATTERN.fullmatch(segment['file']):
        raise ValueError(f'The replay has no segment {segment["file"]!r}.')
      path = os.path.join(directory, segment['file'])
      if not files.exists(path):
        raise ValueError(f'The replay segment {path} is missing.')
    if start != self._count:
      raise ValueError(f'The replay lacks the rows from {start} on.')

  def _rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
    """Views of rows that do not wrap around, by column."""
    first = start % self._num_slots
    slots = slice(first, first + stop - start)
    return {name: column[slots] for name, column in self._columns.items()}

  def _write_segment(
    self, directory: str, start: int, stop: int
  ) -> dict[str, Any]:
    """Writes the file of rows that do not wrap around; returns its entry."""
    contents = npz.pack(self._rows(start, stop))
    crc32 = zlib.crc32(contents)
    name = _NAME.format(start=start, stop=stop, crc32=crc32)
    # Not flushed to the disk: the checksum would reveal a torn file.
    files.write(os.path.join(directory, name), contents, flush=False)
    return {'file': name, 'start': start, 'stop': stop, 'crc32': crc32}

  def _read_segment(self, directory: str, segment: Mapping[str, Any]) -> None:
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
