"""What a user sees of a run while it trains."""

from __future__ import annotations

import sys

import tqdm

from rigl_rl import wording


class Progress:
  """A bar on stderr where that is a terminal, else some lines on stdout."""

  def __init__(self, total: int, initial: int = 0):
    """Shows the bar.

    Args:
      total: environment steps of the whole run.
      initial: environment steps done before.
    """
    self._total = total
    self._tenth = 10 * initial // total
    self._bar = tqdm.tqdm(
      total=total,
      initial=initial,
      unit=' steps',
      unit_scale=True,
      smoothing=0.05,
      dynamic_ncols=True,
      file=sys.stderr,
      disable=not sys.stderr.isatty(),
      mininterval=0.5,
    )
    self.step = self._bar.update

  def evaluated(self, step: int, return_mean: float) -> None:
    """Shows an evaluation behind the bar; without one, a line a tenth."""
    if not self._bar.disable:
      self._bar.set_postfix_str(f'return {return_mean:.1f}')
      return
    tenth = 10 * step // self._total
    if tenth > self._tenth:
      self._tenth = tenth
      print(
        f'{wording.count(step, "step")}: return {return_mean:.1f}', flush=True
      )

  def close(self) -> None:
    self._bar.close()
