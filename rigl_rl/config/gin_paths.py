"""Finds gin files: in the current directory, else in the installed package."""

from __future__ import annotations

import difflib
import os
from typing import IO

import gin

import rigl_rl
from rigl_rl import errors

_PACKAGE = os.path.dirname(os.path.abspath(rigl_rl.__file__))
PACKAGE_PARENT = os.path.dirname(_PACKAGE)
# The directory that holds `gin_configs`: the installed package, or a checkout.
ROOT = next(
  directory
  for directory in (_PACKAGE, PACKAGE_PARENT)
  if os.path.isdir(os.path.join(directory, 'gin_configs'))
)


def add_search_path() -> None:
  """Lets gin resolve `include 'gin_configs/...'` from any directory.

  A file of that name under the current directory goes first, so a user can
  shadow one. Calling it again changes nothing.
  """
  # Not gin.add_config_file_search_path: gin tries all its readers on one prefix
  # before the next prefix, and its second reader takes 'gin_configs/agents' for
  # a Python package, which it logs as an error or stumbles over.
  readers = gin.config._FILE_READERS
  if (open_file, _is_readable) not in readers:
    readers.insert(0, (open_file, _is_readable))


def config_path(relative: str) -> str:
  """Resolves the name of a gin file.

  Args:
    relative: A path as a user gives it to `--gin_files`, such as
      'gin_configs/graesser22/dqn_classic/rigl.gin'; relative, absolute, or a
      URL that `tf.io.gfile` knows.

  Returns:
    `relative` itself if there is such a file; else the path of the file of
    that name in the installed package.

  Raises:
    UserError: If there is neither.
  """
  path = _resolve(relative)
  if path is None:
    raise errors.UserError(
      f'--gin_files={relative!r}: no such file, neither from the current '
      'directory nor among the installed gin_configs/.'
      f'{_near(relative)}'
    )
  return path


def _near(path: str) -> str:
  """Suggests shipped files, and files beside it, of a name like a path's."""
  known = [
    os.path.relpath(os.path.join(directory, name), ROOT)
    for directory, _, names in os.walk(os.path.join(ROOT, 'gin_configs'))
    for name in names
    if name.endswith('.gin')
  ]
  directory = os.path.dirname(path)
  if not is_url(path) and os.path.isdir(directory or '.'):
    beside = (
      os.path.join(directory, name) for name in os.listdir(directory or '.')
    )
    known += [name for name in beside if name.endswith('.gin')]
  ends = [name for name in known if name.endswith(f'/{path.lstrip("./")}')]
  matches = ends or difflib.get_close_matches(path, known, 1, 0.8)
  return f' Did you mean {matches[0]}?' if matches else ''


def _resolve(path: str) -> str | None:
  """Returns where the file of a name is, or None if there is none."""
  if is_url(path):
    # Imported here, since only a URL is worth the seconds it takes.
    import tensorflow as tf

    try:
      found = tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path)
    except tf.errors.OpError:  # Of a kind that TensorFlow does not know.
      found = False
    return path if found else None
  if os.path.isfile(path):
    return path
  installed = os.path.join(ROOT, path)
  if path.startswith('gin_configs/') and os.path.isfile(installed):
    return installed
  return None


def is_url(path: str) -> bool:
  """Whether only `tf.io.gfile` can read a path."""
  return '://' in path


def _is_readable(path: str) -> bool:
  return _resolve(path) is not None


def open_file(path: str) -> IO[str]:
  path = _resolve(path) or path
  if is_url(path):
    import tensorflow as tf

    return tf.io.gfile.GFile(path)
  return open(path, encoding='utf-8')
