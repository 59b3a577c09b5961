"""Finds run directories, and writes results."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from typing import Iterator

from rigl_rl import files
from rigl_rl.errors import UserError
from rigl_rl.training import record


def find_runs(directory: str, flag: str = '--results') -> Iterator[str]:
  """Yields the run directories in a directory and all below it, in order.

  Links are followed, no directory is visited twice, and none in a run's.

  Args:
    directory: where to begin; a path, or a URL that tf.io.gfile knows.
    flag: of the command, which it comes from.

  Raises:
    UserError: there is no such directory.
  """
  directory = os.path.expanduser(os.fspath(directory))
  if not files.is_directory(directory):
    found = (
      'it is a file'
      if files.exists(directory)
      else 'there is no such directory'
    )
    raise UserError(
      f'{flag} is {directory!r}, but must be a directory that holds runs: '
      f'{found}.'
    )
  seen, waiting = set(), [directory]
  while waiting:
    path = waiting.pop()
    real = path if files.is_url(path) else os.path.realpath(path)
    if real in seen:
      continue
    seen.add(real)
    names = []
    with contextlib.suppress(OSError):  # It may not be ours to look into.
      names = files.list_names(path)
    if record.CONFIG in names:
      yield path
    else:
      below = (os.path.join(path, name) for name in reversed(names))
      waiting += filter(files.is_directory, below)


def check_writable(path: str, flag: str = '--out') -> None:
  """Raises UserError unless `write` can make a local file of this name."""
  if files.is_url(path):
    return
  directory = os.path.dirname(os.path.abspath(path))
  with _named(path, flag), files.made_for_now(directory):
    if os.path.isdir(path):
      raise IsADirectoryError(errno.EISDIR, 'it is a directory', path)
    with tempfile.TemporaryFile(dir=directory):
      pass


def write(path: str, data: str | bytes, flag: str = '--out') -> None:
  """Writes a file whole: beside its name first, then renamed.

  Args:
    path: a path, whose directory is made if missing, or a URL that tf.io.gfile
      knows.
    data: the content; text is written as UTF-8.
    flag: of the command, which the path comes from.

  Raises:
    UserError: it cannot be written.
  """
  with _named(path, flag):
    files.make_directory(os.path.dirname(path) or '.')
    files.write(path, data)


@contextlib.contextmanager
def _named(path: str, flag: str) -> Iterator[None]:
  """Turns an OSError into a UserError that names the flag."""
  try:
    yield
  except OSError as error:
    raise UserError(
      f'{flag} needs {path!r}, which cannot be written '
      f'({error.strerror or error}); it must be in a directory that can be '
      'written to.'
    ) from error
