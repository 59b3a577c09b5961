"""Private names of gin."""

from __future__ import annotations

from typing import IO, Any, Callable, Mapping

import gin


def note_as_used(
  configurable: Callable[..., Any], values: Mapping[str, Any]
) -> None:
  """Adds arguments to gin's operative config, as if gin had supplied them."""
  scope, selector = gin.config._as_scope_and_selector(configurable)
  with gin.config._OPERATIVE_CONFIG_LOCK:
    gin.config._OPERATIVE_CONFIG.setdefault(
      ('/'.join(scope), selector), {}
    ).update(values)


def used() -> dict[tuple[str, str], set[str]]:
  """Returns the parameters in gin's operative config, by scope and selector."""
  with gin.config._OPERATIVE_CONFIG_LOCK:
    return {
      key: set(values) for key, values in gin.config._OPERATIVE_CONFIG.items()
    }


def read_files_first_by(
  open_file: Callable[[str], IO[str]], can_open: Callable[[str], Any]
) -> None:
  """Gives gin a file reader that it tries before its own.

  `gin.register_file_reader` puts it last. Calling it again changes nothing.

  Args:
    open_file: opens the file of a name in a gin file or command.
    can_open: whether there is such a file.
  """
  readers = gin.config._FILE_READERS
  if (open_file, can_open) not in readers:
    readers.insert(0, (open_file, can_open))
