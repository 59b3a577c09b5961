"""A check of what a user bound: one line that names the binding, or nothing."""

from __future__ import annotations

import numbers
from typing import Any

from rigl_rl.errors import UserError


def check_count(binding: str, value: Any) -> None:
  """Raises UserError unless `value` is a whole number of at least 1.

  Args:
    binding: name of the binding, for the message.
    value: what the user bound; a bool is no number.
  """
  is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
  if not is_whole or value < 1:
    raise UserError(
      f'{binding} is {value!r}, but must be a whole number of at least 1.'
    )
