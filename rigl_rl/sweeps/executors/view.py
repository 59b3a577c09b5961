"""What a user sees of a sweep: one line that changes, and a line a run."""

from __future__ import annotations

import sys

import tqdm


class View:
  """One live line on stderr where that is a terminal."""

  def __init__(self, work: float):
    """Shows the line.

    Args:
      work: of all runs, in estimated seconds of a core.
    """
    # No thread beside the one that starts processes.
    tqdm.tqdm.monitor_interval = 0
    self._bar = tqdm.tqdm(
      total=max(work, 1e-9),
      bar_format='{percentage:3.0f} % |{bar:20}| {desc}',
      dynamic_ncols=True,
      file=sys.stderr,
      disable=not sys.stderr.isatty(),
    )

  @property
  def is_live(self) -> bool:
    return not self._bar.disable

  def say(self, line: str) -> None:
    """Prints a line above the live one."""
    if self._bar.disable:
      print(line, flush=True)
    else:
      tqdm.tqdm.write(line, file=sys.stdout)

  def update(self, work: float, text: str) -> None:
    """Shows how far all is.

    Args:
      work: done, in the unit of the whole.
      text: in words.
    """
    if self._bar.disable:
      return
    self._bar.n = min(work, self._bar.total)
    self._bar.set_description_str(text, refresh=False)
    self._bar.refresh()

  def close(self) -> None:
    self._bar.close()


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
