"""How messages write numbers of things."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
  """Writes a number of things: '1 run', '1,200 runs'.

  Args:
    number: how many.
    noun: of one of them; its plural ends in an s.
  """
  return f'{number:,} {noun}{"" if number == 1 else "s"}'
