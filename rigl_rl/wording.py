"""How commands write numbers of things and tables, and guess what was meant."""

from __future__ import annotations

import difflib
from typing import Collection, Iterable, Sequence


def count(number: int, noun: str) -> str:
  """Writes a number of things, whose plural ends in an s: '1,200 runs'."""
  return f'{number:,} {noun}{"" if number == 1 else "s"}'


def join(words: Iterable[object], conjunction: str) -> str:
  """Writes distinct words: 'a, b and c', or, with spaces, 'a b, and c'."""
  *most, last = dict.fromkeys(map(str, words)) or ['']
  if not most:
    return last
  comma = ',' if any(' ' in word for word in (*most, last)) else ''
  return f'{", ".join(most)}{comma} {conjunction} {last}'


def did_you_mean(name: str, known: Iterable[str], form: str = '{}') -> str:
  """Returns ' Did you mean …?' by the known names that look like one, or ''.

  The name may be in any case; `form` is how a known one is written.
  """
  by_lower = {each.lower(): each for each in known}
  matches = difflib.get_close_matches(name.lower(), by_lower, 3, 0.7)
  texts = [form.format(by_lower[match]) for match in matches]
  return f' Did you mean {" or ".join(texts)}?' if texts else ''


def columns(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
  """Lays out cells in columns, each as wide as its longest cell.

  Args:
    rows: of as many cells each; at least one row.
    right: numbers of the columns that are aligned to the right, from 0.
  """
  widths = [max(map(len, column)) for column in zip(*rows)]
  lines = (
    '  '.join(
      cell.rjust(width) if number in right else cell.ljust(width)
      for number, (cell, width) in enumerate(zip(row, widths))
    )
    for row in rows
  )
  return '\n'.join(line.rstrip() for line in lines)


def duration(seconds: float) -> str:
  """Writes a time: '45 s', '12 min', '3 h 20 min', '5 d 3 h'."""
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  days, hours = divmod(hours, 24)
  if days:
    return f'{days:,} d {hours} h'
  if hours:
    return f'{hours} h {minutes} min'
  return f'{minutes} min' if minutes else f'{seconds} s'
