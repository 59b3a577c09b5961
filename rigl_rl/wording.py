"""How messages write numbers of things, and guess what was meant."""

from __future__ import annotations

import difflib
from typing import Collection


def count(number: int, noun: str) -> str:
  """Writes a number of things: '1 run', '1,200 runs'.

  Args:
    number: how many.
    noun: of one of them; its plural ends in an s.
  """
  return f'{number:,} {noun}{"" if number == 1 else "s"}'


def did_you_mean(name: str, known: Collection[str]) -> str:
  """Returns ' Did you mean …?' by the known names that look like one, or ''."""
  matches = difflib.get_close_matches(name, known, 3, 0.7)
  return f' Did you mean {" or ".join(matches)}?' if matches else ''
