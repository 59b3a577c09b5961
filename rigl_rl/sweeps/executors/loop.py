"""Works through the runs of a sweep, with any executor."""

from __future__ import annotations

import collections
import contextlib
import signal
import sys
import threading
import time
from typing import Any, Callable, Iterator, Mapping, Sequence

import tqdm

from rigl_rl import wording
from rigl_rl.sweeps import costs
from rigl_rl.sweeps.executors import jobs

# Between looks at how far the runs are, in seconds.
_INTERVAL = 1.0
# Steps per second by which a run of unknown speed is weighted.
_ANY_SPEED = 200.0


class Loop:
  """One pass over the runs: each is started at most once."""

  def __init__(
    self,
    all_jobs: Sequence[jobs.Job],
    executor: jobs.Executor,
    speeds: Mapping[str, float] = costs.STEPS_PER_SECOND,
  ):
    """Sees what is finished already, and weighs runs by speeds of a core."""
    self._executor = executor
    self._jobs = all_jobs
    # In estimated seconds of a core, by directory.
    self._work = {
      job.directory: costs.core_seconds(job.run, speeds)
      or job.run.train_steps / _ANY_SPEED
      for job in all_jobs
    }
    self.before: list[jobs.Job] = []  # The runs that were finished before.
    self.finished: list[jobs.Job] = []  # Those that have finished since.
    self.failed: list[tuple[jobs.Job, str]] = []  # With the reason.
    self.stopped: int | None = None  # Number of the signal that ended it all.
    self._pending: collections.deque[jobs.Job] = collections.deque()
    # Directories, in the base directory, of the runs that have ended.
    self._good: set[str] = set()
    self._bad: set[str] = set()
    self._steps: dict[str, int] = {}
    for job in all_jobs:
      if job.summary() is None:
        self._pending.append(job)
        self._steps[job.directory] = job.steps_done()
      else:
        self.before.append(job)
        self._count_as_done(job)

  def run(self) -> None:
    """Works until nothing is left, or a signal comes."""
    begin = shown = time.monotonic()
    begin_steps, begin_work = sum(self._steps.values()), self._work_done()
    # Only one thread, since processes are started.
    tqdm.tqdm.monitor_interval = 0
    bar = tqdm.tqdm(
      total=max(sum(self._work.values()), 1e-9),
      bar_format='{percentage:3.0f} % |{bar:20}| {desc}',
      dynamic_ncols=True,
      file=sys.stderr,
      disable=not sys.stderr.isatty(),
    )
    with _signals(self._on_signal):
      try:
        while self.stopped is None and self._start():
          for job, code in self._executor.wait():
            self._end(job, code)
          now = time.monotonic()
          if not bar.disable and now > shown + _INTERVAL:
            self._show(bar, now - begin, begin_steps, begin_work)
            shown = now
      finally:
        # No run may continue unseen, after any error.
        for job, code in self._executor.stop():
          self._end(job, code)
        bar.close()

  def _on_signal(self, number: int, frame: Any) -> None:
    del frame
    self.stopped = number

  def _start(self) -> bool:
    """Starts what can be; returns whether anything is left.

    Runs wait for those that they need.
    """
    waiting = []
    while (
      self._pending and self._executor.capacity > 0 and self.stopped is None
    ):
      job = self._pending.popleft()
      lost = [need for need in job.run.needs if need in self._bad]
      if lost:
        self._fail(job, f'needs {lost[0]}, which failed')
      elif not self._good.issuperset(job.run.needs):
        waiting.append(job)
      else:
        try:
          self._executor.start(job)
        except OSError as error:
          self._fail(job, f'cannot be started: {error}')
    self._pending.extendleft(reversed(waiting))
    return bool(self._pending or self._executor.running)

  def _end(self, job: jobs.Job, code: int) -> None:
    reason = job.failure(code)
    if reason is None:
      self.finished.append(job)
      self._count_as_done(job)
      self._say(job, _result(job))
    elif self.stopped is None:
      self._fail(job, reason)

  def _count_as_done(self, job: jobs.Job) -> None:
    self._good.add(job.run.directory)
    self._steps[job.directory] = job.run.train_steps

  def _fail(self, job: jobs.Job, reason: str) -> None:
    self.failed.append((job, reason))
    self._bad.add(job.run.directory)
    self._say(job, f'failed: {reason}')

  def _say(self, job: jobs.Job, what: str) -> None:
    """Prints a line above the live one."""
    number = len(self._good) + len(self._bad)
    with tqdm.tqdm.external_write_mode(sys.stdout):
      line = f'[{number}/{len(self._jobs)}] {job.run.name}: {what}'
      print(line, flush=True)

  def _work_done(self) -> float:
    return sum(
      self._work[job.directory]
      * self._steps[job.directory]
      / job.run.train_steps
      for job in self._jobs
    )

  def _show(
    self, bar: Any, elapsed: float, begin_steps: int, begin_work: float
  ) -> None:
    """Shows how far the runs are; they tell with each evaluation."""
    running = self._executor.running
    for job in running.values():
      steps = max(self._steps[job.directory], job.steps_done())
      self._steps[job.directory] = steps
    done = self._work_done()
    work = done - begin_work
    # Before the first evaluation only the estimate is known.
    rate = work / elapsed if work else self._executor.workers
    left = wording.duration((bar.total - done) / rate)
    speed = (sum(self._steps.values()) - begin_steps) / elapsed
    bar.n = min(done, bar.total)
    bar.set_description_str(
      f'{len(self._good)} of {len(self._jobs)} done, {len(running)} running, '
      f'{len(self._bad)} failed, {speed:,.0f} steps/s, '
      f'{"" if work else "about "}{left} left'
    )


def _result(job: jobs.Job) -> str:
  summary = job.summary() or {}
  score, seconds = summary.get('final_score'), summary.get('seconds')
  text = 'final score '
  text += f'{score:.1f}' if isinstance(score, (int, float)) else 'unknown'
  if isinstance(seconds, (int, float)):
    text += f', {wording.duration(seconds)}'
  return text


@contextlib.contextmanager
def _signals(handler: Callable[[int, Any], None]) -> Iterator[None]:
  """Handles signals that ask this process to end."""
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
  before = {number: signal.signal(number, handler) for number in numbers}
  try:
    yield
  finally:
    for number, old in before.items():
      signal.signal(number, old)
