"""Who may change a file: a library that others can write runs their code."""

from __future__ import annotations

import os
import pathlib
import stat

_ROOT = 0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def threat(path: pathlib.Path) -> str | None:
  """Says how another user could replace a file; None if none can.

  They can unless it and all directories above it belong to the user or to root,
  and only they may write to them. Above `path`, which has no symbolic links, a
  directory for everybody is allowed if it is sticky, as /tmp is: others can
  then neither rename nor delete what it holds.
  """
  for place in (path, *path.parents):
    status = place.lstat()
    if status.st_uid not in (_ROOT, os.geteuid()):
      return f'{place} belongs to user {status.st_uid}'
    is_sticky = place != path and status.st_mode & stat.S_ISVTX
    if status.st_mode & _OTHERS_WRITE and not is_sticky:
      return f'others may write to {place} (chmod go-w forbids it)'
  return None


def make_directory(path: pathlib.Path) -> None:
  """Makes a directory, and those above it, that only the user may enter."""
  missing = [p for p in (path, *path.parents) if not p.exists()]
  for place in reversed(missing):
    place.mkdir(mode=0o700, exist_ok=True)
