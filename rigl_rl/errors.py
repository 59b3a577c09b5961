"""The exceptions that a user's mistake raises."""

from __future__ import annotations

import contextlib
from typing import Iterator


class UserError(ValueError):
  """A mistake in the user's input.

  Its message is one line that names the binding or flag, its value, and what
  is allowed. Launch scripts print only that line and exit with code 2.
  """


class UserCodeError(UserError):
  """An exception of a user's own code, such as of an environment.

  Launch scripts print that code's own traceback below the message.

  Attributes:
    original: the exception.
  """

  def __init__(self, message: str, original: Exception):
    reason = ' '.join(str(original).split())
    kind = type(original).__name__
    super().__init__(f'{message} raised {kind}{": " * bool(reason)}{reason}')
    self.original = original


@contextlib.contextmanager
def of_incomplete_config() -> Iterator[None]:
  """Turns gin's error about an incomplete config into a UserError.

  Raises:
    UserError: a binding is missing that has no default.
  """
  try:
    yield
  except RuntimeError as error:
    if not str(error).startswith('Required bindings'):
      raise
    raise UserError(str(error).splitlines()[0]) from error
