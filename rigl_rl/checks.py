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
  exclusive: bool = False,
  or_none: bool = False,
) -> None:
  """Raises UserError unless `value` is a finite number in [low, high].

  Args:
    binding: name of the binding, for the message.
    value: what the user bound; a bool is no number.
    low: least value allowed.
    high: greatest value allowed.
    whole: whether only whole numbers are allowed.
    exclusive: whether `low` itself is not allowed: the range is (low, high].
    or_none: whether None is allowed as well.
  """
  if or_none and value is None:
    return
  kind = numbers.Integral if whole else numbers.Real
  is_number = isinstance(value, kind) and not isinstance(value, bool)
  if (
    not is_number
    or not low <= value <= high
    or abs(value) == math.inf
    or (exclusive and value == low)
  ):
    noun = 'a whole number' if whole else 'a number'
    if high != math.inf:
      noun += f' in {"(" if exclusive else "["}{low}, {high}]'
    elif low != -math.inf:
      noun += f' above {low}' if exclusive else f' of at least {low}'
    if or_none:
      noun += ', or None'
    raise UserError(f'{binding} is {value!r}, but must be {noun}.')
