"""Manifests: what a replay buffer's `save` returns and its `load` reads.

A manifest is a dict that lies in the checkpoint; the transitions lie in files
beside it, which the manifest names. `signature` says what has to be equal for
a load to make sense.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rigl_rl import files

# Of `Segments`, with what a write adds that was cut off.
_FILE = re.compile(r'replay-\d{12}-\d{12}-[0-9a-f]{8}\.npz(\.tmp.*)?')


def delete_unused(directory: str, is_needed: Callable[[str], bool]) -> None:
  """Removes replay files that no checkpoint needs any more.

  Args:
    directory: where buffers save; other files in it are left alone.
    is_needed: tells from its name whether a file is.
  """
  for name in files.list_names(directory):
    if _FILE.fullmatch(name) and not is_needed(name):
      files.remove(os.path.join(directory, name))


def check(
  manifest: Mapping[str, Any], version: int, signature: Mapping[str, Any]
) -> None:
  """Refuses the manifest of another kind of buffer.

  Args:
    manifest: what `save` returned, with 'format' and 'signature'.
    version: the format that the buffer reads.
    signature: what describes the buffer, JSON values.

  Raises:
    ValueError: on another format, or at the first entry that differs.
    KeyError: if one is missing.
  """
  if manifest['format'] != version:
    raise ValueError(
      f'The replay was saved in format {manifest["format"]}; this version'
      f' reads format {version}.'
    )
  for key, value in signature.items():
    if manifest['signature'][key] != value:
      raise ValueError(
        f'The replay was saved with {key} = {manifest["signature"][key]},'
        f' but this buffer has {value}.'
      )


@contextlib.contextmanager
def loading(clear: Callable[[], None]) -> Iterator[None]:
  """Surrounds a load, which leaves the buffer as saved, or empty.

  Args:
    clear: empties the buffer. Called before the load, and if that fails.

  Raises:
    ValueError: in place of the errors that a malformed manifest leads to.
  """
  clear()
  try:
    yield
  except (LookupError, TypeError, AttributeError, ArithmeticError) as e:
    clear()
    raise ValueError(f'The manifest of the replay is damaged: {e!r}') from e
  except BaseException:
    clear()
    raise
