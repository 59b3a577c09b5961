"""Finds run directories, and writes results."""

from __future__ import annotations

import os
from typing import Callable, Iterator

from rigl_rl import files
from rigl_rl.errors import UserError


def walk(
  directory: str, is_leaf: Callable[[set[str]], bool]
) -> Iterator[tuple[str, set[str]]]:
  """Goes through a directory and all below it, in order of names.

  Links are followed, no directory is visited twice.

  Args:
    directory: where to begin; a path, or a URL that tf.io.gfile knows.
    is_leaf: tells from the names in a directory whether to go no deeper.

  Yields:
    A directory, and the names of all that is in it.

  Raises:
    UserError: there is no such directory.
  """
  directory = os.path.expanduser(os.fspath(directory))
  if files.is_url(directory):
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
    # Directories too: one may be in place of a file.
    names = {*names, *directories}
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
      names.add(name)
      if tf.io.gfile.isdir(f'{path}/{name}'):
        below.append(f'{path}/{name}')
    if not is_leaf(names):
      waiting += sorted(below, reverse=True)
    yield path, names


def list_files(directory: str) -> list[str]:
  """Returns the paths of what lies in a directory, sorted; none if it is not.

  Args:
    directory: a path, or a URL that tf.io.gfile knows.
  """
  return [os.path.join(directory, n) for n in files.list_names(directory)]


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
    files.make_directory(os.path.dirname(path) or '.')
    files.write(path, data)
  except OSError as error:
    raise UserError(
      f'{flag} needs {path!r}, which cannot be written '
      f'({error.strerror or error}); it must be in a directory that can be '
      'written to.'
    ) from error
