"""What a user sees of a run while it trains."""

from __future__ import annotations

import sys
import time
from typing import Callable

import tqdm

from rigl_rl import wording

# Seconds between two updates: of the bar, and of lines where there is none.
_BAR_INTERVAL = 0.5
_LINE_INTERVAL = 60


class Progress:
  """A bar where stderr is a terminal; otherwise lines.

  One line per minute goes to stderr, and one per tenth of the run to stdout.
  """

  def __init__(
    self, total: int, initial: int, loss: Callable[[], float | None]
  ):
    """Shows the bar at `initial` of `total` environment steps.

    `loss` returns the loss of the last train step; None before the first one.
    """
    self._total = total
    self._tenth = 10 * initial // total
    self._loss = loss
    self._return = ''
    self._bar = tqdm.tqdm(
      total=total,
      initial=initial,
      unit=' steps',
      unit_scale=True,
      smoothing=0.05,
      dynamic_ncols=True,
      file=sys.stderr,
      disable=not sys.stderr.isatty(),
      mininterval=_BAR_INTERVAL,
    )
    self._interval = _LINE_INTERVAL if self._bar.disable else _BAR_INTERVAL
    self._step = self._shown_step = initial
    self._shown_time = time.monotonic()

  def step(self) -> None:
    """Counts an environment step."""
    self._step += 1
    self._bar.update()
    now = time.monotonic()
    if now >= self._shown_time + self._interval:
      self._show((self._step - self._shown_step) / (now - self._shown_time))
      self._shown_step, self._shown_time = self._step, now

  def _show(self, rate: float) -> None:
    loss = self._loss()
    texts = [self._return, '' if loss is None else f'loss {loss:.3g}']
    if not self._bar.disable:
      self._bar.set_postfix_str(', '.join(filter(None, texts)), refresh=False)
      return
    left = tqdm.tqdm.format_interval((self._total - self._step) / rate)
    progress = f'{self._step:,} of {wording.count(self._total, "step")}'
    texts = [progress, f'{rate:,.0f} steps/s', f'{left} left', *texts]
    print(', '.join(filter(None, texts)), file=sys.stderr, flush=True)

  def evaluated(self, step: int, return_mean: float) -> None:
    """Shows an evaluation in the next update, and in a line per tenth."""
    self._return = f'return {return_mean:.1f}'
    tenth = 10 * step // self._total
    if self._bar.disable and tenth > self._tenth:
      self._tenth = tenth
      print(f'{wording.count(step, "step")}: {self._return}', flush=True)

  def close(self) -> None:
    self._bar.close()
