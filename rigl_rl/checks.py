"""Checks of what a user bound: one line that names the binding, or nothing."""

from __future__ import annotations

import math
import numbers
from typing import Any

from rigl_rl.errors import UserError


def check_number(
  binding: str,
  value: Any,
  low: float,
  high: float = math.inf,
  whole: bool = False,
) -> None:
  """Raises UserError unless `value` is a number in [low, high].

  Args:
    binding: name of the binding, for the message.
    value: what the user bound; a bool is no number.
    low: least value allowed.
    high: greatest value allowed.
    whole: whether only whole numbers are allowed.
  """
  kind = numbers.Integral if whole else numbers.Real
  is_number = isinstance(value, kind) and not isinstance(value, bool)
  if not is_number or not low <= value <= high:
    noun = 'a whole number' if whole else 'a number'
    allowed = (
      f'of at least {low}' if high == math.inf else f'in [{low}, {high}]'
    )
    raise UserError(f'{binding} is {value!r}, but must be {noun} {allowed}.')
