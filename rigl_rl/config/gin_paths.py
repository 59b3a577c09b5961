"""Finds gin files in the current directory, then in the installed package."""

from __future__ import annotations

import contextlib
import difflib
import glob
import os
from typing import IO

import rigl_rl
from rigl_rl import errors, files
from rigl_rl.compat import gin as gin_compat

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

  A file of that name under the current directory comes first.
  """
  # Not gin.add_config_file_search_path: gin tries all its readers on one prefix
  # before the next prefix, and its second reader takes 'gin_configs/agents' for
  # a Python package, and logs or raises an error.
  gin_compat.read_files_first_by(open_file, _resolve)


def config_path(relative: str) -> str:
  """Returns the path or URL of a gin file that a user names.

  That is `relative` itself if there is such a file; else the file of that name
  in the installed package.

  Raises:
    UserError: there is neither.
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
  pattern = 'gin_configs/**/*.gin'
  known = glob.glob(pattern, root_dir=ROOT, recursive=True)
  if not files.is_url(path):
    beside = os.path.join(glob.escape(os.path.dirname(path)), '*.gin')
    known += glob.iglob(beside)
  ends = [name for name in known if name.endswith(f'/{path.lstrip("./")}')]
  matches = ends or difflib.get_close_matches(path, known, 1, 0.8)
  return f' Did you mean {matches[0]}?' if matches else ''


def _resolve(path: str) -> str | None:
  """Returns where the file of a name is, or None if there is none."""
  if files.is_url(path):
    # Of a kind of URL that TensorFlow does not know.
    with contextlib.suppress(OSError):
      if files.exists(path) and not files.is_directory(path):
        return path
    return None
  if not os.path.isfile(path) and path.startswith('gin_configs/'):
    path = os.path.join(ROOT, path)
  return path if os.path.isfile(path) else None


def open_file(path: str) -> IO[str]:
  path = _resolve(path) or path
  if files.is_url(path):
    # Takes seconds, so it is imported only for a URL.
    import tensorflow as tf

    return tf.io.gfile.GFile(path)
  return open(path, encoding='utf-8')
