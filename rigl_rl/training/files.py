"""Files that are either whole or not there.

Paths go through tf.io.gfile, so a run may lie on any file system TensorFlow
knows. On a local one, what was written is flushed to the disk before it gets
its final name: a power cut leaves the old file or the new one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf

# What carries this in its name was never finished.
TEMPORARY = '.tmp-'


def is_local(path: str) -> bool:
  """Whether `path` is one of the machine's own file system."""
  return '://' not in path


def fsync(path: str) -> None:
  """Flushes a local file or directory to the disk; others are left alone."""
  if not is_local(path):
    return
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  except OSError:
    # Some network file systems refuse it for directories.
    if not os.path.isdir(path):
      raise
  finally:
    os.close(descriptor)


def temporary_name(path: str) -> str:
  """A name beside `path` which nobody reads."""
  return f'{path}{TEMPORARY}{os.getpid()}'


def write_file(path: str, content: str | bytes) -> None:
  """Writes `path` whole: to a temporary name first, then renamed.

  Args:
    path: the file; an existing one is replaced.
    content: text (written as UTF-8) or bytes.
  """
  data = content.encode('utf-8') if isinstance(content, str) else content
  temporary = temporary_name(path)
  with tf.io.gfile.GFile(temporary, 'wb') as file:
    file.write(data)
  fsync(temporary)
  tf.io.gfile.rename(temporary, path, overwrite=True)
  if is_local(path):
    fsync(os.path.dirname(path) or '.')


@contextlib.contextmanager
def made_for_now(path: str) -> Iterator[None]:
  """Makes a directory, and removes what had to be made and is empty after."""
  missing = []
  if is_local(path):  # Elsewhere a directory is no more than a name.
    ancestor = os.path.abspath(path)
    while not os.path.lexists(ancestor):
      missing.append(ancestor)
      ancestor = os.path.dirname(ancestor)
  tf.io.gfile.makedirs(path)
  try:
    yield
  finally:
    with contextlib.suppress(OSError):  # Someone else has use for it.
      for directory in missing:
        os.rmdir(directory)


def read_file(path: str) -> bytes:
  """Returns the content of `path`."""
  with tf.io.gfile.GFile(path, 'rb') as file:
    return file.read()
