"""Reads the files of run directories: text, JSON, CSV, arrays.

Anybody may have altered them, torn them, or put something else in their place.
Whatever a file holds, reading it ends in its content or in a FileError, whose
one line names the file. Code that interprets the content does so within
`contents_of`, so that a missing key ends in the same way.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import stat
import zipfile
from typing import IO, Any, Collection, Iterator, Mapping

import numpy as np

from rigl_rl import files
from rigl_rl.errors import UserError

# Length of a reason in messages, in characters.
_MAX_REASON = 200
# Deflate makes nothing more than this many times smaller.
_MAX_DEFLATION = 1032
_INT64 = range(-(2**63), 2**63)


class FileError(UserError):
  """A file that cannot be used; its one line names the file and says why."""


def reason(error: BaseException) -> str:
  """Says in a few words what an error is about."""
  if isinstance(error, RecursionError):
    return 'it is nested too deeply'
  if isinstance(error, MemoryError):
    return 'it asks for more memory than there is'
  if isinstance(error, KeyError):
    return f'it lacks {error}'
  text = str(error)
  if isinstance(error, OSError) and error.strerror:
    text = error.strerror
  # gin appends where it was called from.
  text = ' '.join(text.partition('\n  In call to')[0].split())
  if len(text) > _MAX_REASON:
    text = text[: _MAX_REASON - 1] + '…'
  return text or type(error).__name__


@contextlib.contextmanager
def contents_of(path: str) -> Iterator[None]:
  """Turns errors due to the content of a file or directory into FileErrors.

  Raises:
    FileError: in place of any other error, except a WriteError, which is no
      fault of the content.
  """
  try:
    yield
  except (FileError, files.WriteError):
    raise
  # The content may lead to any error, of any library.
  except Exception as error:
    raise FileError(f'{path} cannot be used: {reason(error)}') from error


def check_file(path: str) -> None:
  """Raises ValueError unless a path is that of a file: a pipe never ends."""
  if not files.is_url(path) and not stat.S_ISREG(os.stat(path).st_mode):
    raise ValueError('it is not a file')


def read_bytes(path: str) -> bytes:
  """Returns the content of a file."""
  with contents_of(path):
    check_file(path)
    return files.read(path)


def read_text(path: str) -> str:
  """Returns the content of a file in UTF-8."""
  with contents_of(path):
    return read_bytes(path).decode('utf-8')


def read_json(path: str) -> dict[str, Any]:
  """Returns the object that a JSON file holds."""
  with contents_of(path):
    value = json.loads(read_bytes(path))
    if not isinstance(value, dict):
      raise ValueError('it holds no JSON object')
    return value


def read_table(
  path: str, columns: Mapping[str, type], optional: Collection[str] = ()
) -> list[dict[str, Any]]:
  """Returns the rows of a CSV file.

  Args:
    path: of the file, whose first line names its columns.
    columns: int, float or str by name, of those to read; there may be others.
      Integers are of 64 bits.
    optional: names of further columns, read as text if they are there.
  """
  with contents_of(path):
    reader = csv.DictReader(io.StringIO(read_text(path), newline=''))
    names = reader.fieldnames or ()
    for name in columns:
      if name not in names:
        raise ValueError(f'it has no column {name}')
    columns = {**columns, **{name: str for name in optional if name in names}}
    return [
      {
        name: _parse_cell(row[name], kind, f'{name} in line {reader.line_num}')
        for name, kind in columns.items()
      }
      for row in reader
    ]


def _parse_cell(text: str | None, kind: type, where: str) -> Any:
  with contextlib.suppress(ValueError):
    value = None if text is None else kind(text)
    if value is not None and (kind is not int or value in _INT64):
      return value
  shown = 'missing' if text is None else repr(text[:20])
  raise ValueError(f'{where} is {shown}, not a {kind.__name__}')


def read_arrays(file: IO[bytes], path: str) -> dict[str, np.ndarray]:
  """Returns the arrays of an open npz file by name; none may be a pickle."""
  with contents_of(path), zipfile.ZipFile(file) as archive:
    arrays = {}
    for member in archive.infolist():
      _check_array(archive, member)
      with archive.open(member) as opened:
        array = np.lib.format.read_array(opened, allow_pickle=False)
        arrays[member.filename.removesuffix('.npy')] = array
    return arrays


def _check_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
  """Compares the bytes that an array claims with those that exist."""
  with archive.open(member) as opened:
    version = np.lib.format.read_magic(opened)
    read_header = {
      (1, 0): np.lib.format.read_array_header_1_0,
      (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read_header(opened)
    wanted = opened.tell() + math.prod(shape) * dtype.itemsize
  if dtype.hasobject:
    raise ValueError(f'{member.filename} holds Python objects')
  possible = _MAX_DEFLATION * (member.compress_size + 1)
  if wanted != member.file_size or wanted > possible:
    raise ValueError(
      f'{member.filename} asks for {wanted:,} bytes, but holds '
      f'{min(member.file_size, possible):,}'
    )
