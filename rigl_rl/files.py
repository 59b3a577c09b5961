"""Files that are either whole or not there, and are removed without harm.

Paths are local, or URLs that tf.io.gfile knows; TensorFlow, which takes seconds
to import, is imported for URLs only. Whatever fails raises OSError. On a local
file system, what was written is flushed to the disk before it gets its final
name: a power cut leaves the old file or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import types
from typing import IO, Any, Iterator

# A name that contains this is an unfinished file's.
TEMPORARY = '.tmp-'


class WriteError(OSError):
  """Something cannot be written: a full disk, a read-only one."""


def is_url(path: str) -> bool:
  """Whether only TensorFlow can open `path`."""
  return '://' in path


# What this module calls of tf.io.gfile, for local paths.
_LOCAL = types.SimpleNamespace(
  GFile=lambda path, mode: open(path, mode),
  exists=os.path.lexists,
  isdir=os.path.isdir,
  listdir=os.listdir,
  makedirs=lambda path: os.makedirs(path, exist_ok=True),
  remove=os.remove,
  rename=lambda source, target, overwrite: os.replace(source, target),
  rmtree=shutil.rmtree,
)


@contextlib.contextmanager
def _system(path: str) -> Iterator[Any]:
  """tf.io.gfile for a URL, its errors turned into OSErrors about `path`."""
  if not is_url(path):
    yield _LOCAL
    return
  import tensorflow as tf

  try:
    yield tf.io.gfile
  except tf.errors.OpError as error:
    # 'path; reason', most often.
    reason = ' '.join((error.message or str(error)).split('; ')[-1].split())
    is_missing = isinstance(error, tf.errors.NotFoundError)
    number = errno.ENOENT if is_missing else errno.EIO
    raise OSError(number, reason, path) from error


@contextlib.contextmanager
def _writing(path: str) -> Iterator[Any]:
  """As `_system`, but an OSError becomes a WriteError that names the path."""
  try:
    with _system(path) as system:
      yield system
  except WriteError:
    raise
  except OSError as error:
    number, reason = error.errno or errno.EIO, error.strerror or str(error)
    raise WriteError(number, reason, path) from error


def exists(path: str) -> bool:
  """Whether there is anything, even a link that leads nowhere."""
  with _system(path) as system:
    return system.exists(path)


def is_directory(path: str) -> bool:
  with _system(path) as system:
    return system.isdir(path)


def list_names(directory: str) -> list[str]:
  """Returns the sorted names in a directory; [] if there is none."""
  if not is_directory(directory):
    return []
  with _system(directory) as system:
    # Some file systems list a directory with a slash behind its name.
    return sorted(name.rstrip('/') for name in system.listdir(directory))


def read(path: str) -> bytes:
  """Returns the content of a file."""
  with _system(path) as system, system.GFile(path, 'rb') as file:
    return file.read()


def make_directory(path: str) -> None:
  """Makes a directory and those above it, unless they are there."""
  with _writing(path) as system:
    if not is_url(path) and exists(path) and not is_directory(path):
      raise NotADirectoryError(errno.ENOTDIR, 'not a directory', path)
    system.makedirs(path)


@contextlib.contextmanager
def made_for_now(path: str) -> Iterator[None]:
  """Makes a directory; removes new directories that are empty afterwards."""
  missing = []
  if not is_url(path):  # Elsewhere a directory is only a name.
    ancestor = os.path.abspath(path)
    while not os.path.lexists(ancestor):
      missing.append(ancestor)
      ancestor = os.path.dirname(ancestor)
  try:
    make_directory(path)
    yield
  finally:
    with contextlib.suppress(OSError):  # Another process uses it.
      for directory in missing:
        os.rmdir(directory)


def remove(path: str) -> None:
  """Removes a file, a directory, or a link, which is not followed, if any."""
  with _writing(path) as system:
    if system.isdir(path) and not os.path.islink(path):
      system.rmtree(path)
    elif system.exists(path):
      system.remove(path)


def rename(source: str, target: str) -> None:
  """Renames a file, replacing another; or a directory."""
  with _writing(target) as system:
    system.rename(source, target, overwrite=True)


@contextlib.contextmanager
def create(path: str, flush: bool = True) -> Iterator[IO[bytes]]:
  """Opens a new file, which may be flushed to the disk at the end."""
  # Locally, a link that somebody put there is not followed.
  mode = 'wb' if is_url(path) else 'xb'
  with _writing(path) as system, system.GFile(path, mode) as file:
    yield file
    if flush and not is_url(path):
      file.flush()
      os.fsync(file.fileno())


def flush_directory(path: str) -> None:
  """Flushes the names in a local directory to the disk."""
  if is_url(path):
    return
  descriptor = os.open(path or '.', os.O_RDONLY)
  with contextlib.suppress(OSError):  # Some network file systems refuse it.
    os.fsync(descriptor)
  os.close(descriptor)


def temporary_name(path: str) -> str:
  """A name beside `path` that no reader looks for."""
  return f'{path}{TEMPORARY}{os.getpid()}'


def write(path: str, content: str | bytes, flush: bool = True) -> None:
  """Writes text (as UTF-8) or bytes to a temporary name, which is renamed.

  Args:
    path: the file; an existing one is replaced.
    content: of the file.
    flush: whether a local file is on the disk before it gets its name.

  Raises:
    WriteError: it cannot be written; what was there before is left.
  """
  data = content.encode('utf-8') if isinstance(content, str) else content
  temporary = temporary_name(path)
  remove(temporary)
  try:
    with create(temporary, flush) as file:
      file.write(data)
    rename(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      remove(temporary)
    raise
  if flush:
    flush_directory(os.path.dirname(path))
