"""Finds, reads and writes files, on this machine without TensorFlow.

TensorFlow takes seconds to import, and is only needed where a path is a URL.
"""

from __future__ import annotations

import contextlib
import os
from typing import Callable, Iterator

from rigl_rl.errors import UserError


def _is_url(path: str) -> bool:
  return '://' in path


def walk(
  directory: str, is_leaf: Callable[[set[str]], bool]
) -> Iterator[tuple[str, set[str]]]:
  """Goes through a directory and all below it, in order of names.

  Links are followed, no directory is visited twice.

  Args:
    directory: where to begin; a path, or a URL that tf.io.gfile knows.
    is_leaf: tells from the names of a directory's files whether to go no
      deeper.

  Yields:
    A directory, and the names of its files.

  Raises:
    UserError: there is no such directory.
  """
  directory = os.path.expanduser(os.fspath(directory))
  if _is_url(directory):
    yield from _walk_url(directory, is_leaf)
    return
  if not os.path.isdir(directory):
    raise UserError(
      f'--results is {directory!r}, but must be a directory that holds runs.'
    )
  seen = set()
  for path, directories, names in os.walk(directory, followlinks=True):
    real = os.path.realpath(path)
    if real in seen:
      directories[:] = []
      continue
    seen.add(real)
    directories.sort()
    names = set(names)
    if is_leaf(names):
      directories[:] = []
    yield path, names


def _walk_url(directory, is_leaf):
  import tensorflow as tf

  if not tf.io.gfile.isdir(directory):
    raise UserError(
      f'--results is {directory!r}, but must be a directory that holds runs.'
    )
  waiting = [directory]
  while waiting:
    path = waiting.pop()
    below, names = [], set()
    for name in tf.io.gfile.listdir(path):
      name = name.rstrip('/')
      if tf.io.gfile.isdir(f'{path}/{name}'):
        below.append(f'{path}/{name}')
      else:
        names.add(name)
    if not is_leaf(names):
      waiting += sorted(below, reverse=True)
    yield path, names


def list_files(directory: str) -> list[str]:
  """Returns the paths of what lies in a directory, sorted; none if it is not.

  Args:
    directory: a path, or a URL that tf.io.gfile knows.
  """
  if _is_url(directory):
    import tensorflow as tf

    if not tf.io.gfile.isdir(directory):
      return []
    names = tf.io.gfile.listdir(directory)
  elif os.path.isdir(directory):
    names = os.listdir(directory)
  else:
    return []
  return sorted(os.path.join(directory, name) for name in names)


def read(path: str) -> bytes:
  """Returns the content of a file, by path or URL."""
  if _is_url(path):
    import tensorflow as tf

    with tf.io.gfile.GFile(path, 'rb') as file:
      return file.read()
  with open(path, 'rb') as file:
    return file.read()


def write(path: str, data: bytes, flag: str = '--out') -> None:
  """Writes a file whole: beside its name first, then renamed.

  Args:
    path: a path, whose directory is made if need be, or a URL that tf.io.gfile
      knows.
    data: the content.
    flag: of the command, which the path comes from.

  Raises:
    UserError: it cannot be written.
  """
  try:
    if _is_url(path):
      _write_url(path, data)
    else:
      _write_here(path, data)
  except OSError as error:
    raise UserError(
      f'{flag} needs {path!r}, which cannot be written '
      f'({error.strerror or error}); it must be in a directory that can be '
      'written to.'
    ) from error


def _write_here(path, data):
  os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
  temporary = f'{path}.tmp-{os.getpid()}'
  try:
    # A link of this name may be there, and lead out of the directory.
    with contextlib.suppress(FileNotFoundError):
      os.remove(temporary)
    with open(temporary, 'xb') as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())  # A power cut leaves the old file or the new one.
    os.replace(temporary, path)
  finally:
    with contextlib.suppress(OSError):
      os.remove(temporary)


def _write_url(path, data):
  import tensorflow as tf

  from rigl_rl.training import files

  try:
    files.write_file(path, data)
  except tf.errors.OpError as error:
    raise OSError(' '.join(str(error).split())) from error
