"""Works through the runs of a sweep, whoever executes them."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import signal
import threading
import time
from typing import Any, Callable, Iterator, Mapping, Sequence

from rigl_rl.sweeps import costs
from rigl_rl.sweeps.executors import jobs
from rigl_rl.sweeps.executors import view as view_lib

# Between looks at how far the runs are, in seconds.
_INTERVAL = 1.0
# Of a run whose speed is not known, to weigh it by: steps per second.
_ANY_SPEED = 200.0


@dataclasses.dataclass
class Outcome:
  """What became of the runs.

  Attributes:
    before: finished before.
    finished: finished now.
    failed: with the reason.
    stopped: number of the signal that ended it all, or None.
  """

  before: list[jobs.Job] = dataclasses.field(default_factory=list)
  finished: list[jobs.Job] = dataclasses.field(default_factory=list)
  failed: list[tuple[jobs.Job, str]] = dataclasses.field(default_factory=list)
  stopped: int | None = None


class Loop:
  """One pass over the runs: each is started at most once."""

  def __init__(
    self,
    all_jobs: Sequence[jobs.Job],
    executor: Any,
    speeds: Mapping[str, float] = costs.STEPS_PER_SECOND,
  ):
    """Sees what is finished already.

    Args:
      all_jobs: in the order to start them in.
      executor: see `local.LocalExecutor`.
      speeds: steps per second of a core, by family, to weigh runs by.
    """
    self._executor = executor
    self._weights = {
      job.directory: _work(job, speeds) / job.run.train_steps
      for job in all_jobs
    }
    self._count = len(all_jobs)
    self._total = sum(_work(job, speeds) for job in all_jobs)
    self.outcome = Outcome()
    self._pending: collections.deque[jobs.Job] = collections.deque()
    self._running: dict[str, jobs.Job] = {}
    # Directories, in the base directory, of what has come to an end.
    self._good: set[str] = set()
    self._bad: set[str] = set()
    self._steps: dict[str, int] = {}
    for job in all_jobs:
      if job.summary() is None:
        self._pending.append(job)
        self._steps[job.directory] = job.steps_done()
      else:
        self.outcome.before.append(job)
        self._good.add(job.run.directory)
        self._steps[job.directory] = job.run.train_steps
    self._stop_signal: int | None = None

  def run(self) -> Outcome:
    """Works until nothing is left, or a signal comes."""
    view = view_lib.View(self._total)
    begin = time.monotonic()
    begin_steps, begin_work = sum(self._steps.values()), self._work_done()
    shown = 0.0
    try:
      with _signals(self._on_signal):
        while (self._pending or self._running) and self._stop_signal is None:
          self._start(view)
          if not self._running:
            continue
          for job, code in self._executor.wait():
            self._end(job, code, view)
          if view.is_live and time.monotonic() > shown + _INTERVAL:
            self._look()
            elapsed = time.monotonic() - begin
            steps = sum(self._steps.values()) - begin_steps
            work = self._work_done() - begin_work
            view.update(self._work_done(), self._text(elapsed, steps, work))
            shown = time.monotonic()
        self.outcome.stopped = self._stop_signal
        for job, code in self._executor.stop():
          self._end(job, code, view)
    finally:
      # Whatever happened, nothing trains on unseen.
      self._executor.stop()
      view.close()
    return self.outcome

  def _on_signal(self, number: int, frame: Any) -> None:
    del frame
    self._stop_signal = number

  def _start(self, view: view_lib.View) -> None:
    """Starts what can be: runs wait for those they need."""
    waiting = []
    while self._pending and self._executor.capacity > 0:
      job = self._pending.popleft()
      lost = [need for need in job.run.needs if need in self._bad]
      if lost:
        self._fail(job, f'needs {lost[0]}, which failed', view)
      elif not self._good.issuperset(job.run.needs):
        waiting.append(job)
      else:
        try:
          self._executor.start(job)
        except OSError as error:
          self._fail(job, f'cannot be started: {error}', view)
        else:
          self._running[job.directory] = job
      if self._stop_signal is not None:
        break
    self._pending.extendleft(reversed(waiting))

  def _end(self, job: jobs.Job, code: int, view: view_lib.View) -> None:
    self._running.pop(job.directory, None)
    reason = job.failure(code)
    if reason is None:
      self.outcome.finished.append(job)
      self._good.add(job.run.directory)
      self._steps[job.directory] = job.run.train_steps
      view.say(f'{self._number()} {job.run.name}: {_result(job)}')
    elif self._stop_signal is None:
      self._fail(job, reason, view)

  def _fail(self, job: jobs.Job, reason: str, view: view_lib.View) -> None:
    self.outcome.failed.append((job, reason))
    self._bad.add(job.run.directory)
    view.say(f'{self._number()} {job.run.name}: failed: {reason}')

  def _number(self) -> str:
    return f'[{len(self._good) + len(self._bad)}/{self._count}]'

  def _look(self) -> None:
    """Sees how far the runs are; they tell with each evaluation."""
    for directory, job in self._running.items():
      self._steps[directory] = max(self._steps[directory], job.steps_done())

  def _work_done(self) -> float:
    return sum(
      self._weights[directory] * steps
      for directory, steps in self._steps.items()
    )

  def _text(self, elapsed: float, steps: int, work: float) -> str:
    left = self._total - self._work_done()
    # Before the first evaluation the estimate has to do.
    rate = work / elapsed if work else self._executor.workers
    return (
      f'{len(self._good)} of {self._count} done, {len(self._running)} running, '
      f'{len(self._bad)} failed, {steps / max(elapsed, 1e-9):,.0f} steps/s, '
      f'{"" if work else "about "}{view_lib.duration(left / rate)} left'
    )


def _work(job: jobs.Job, speeds: Mapping[str, float]) -> float:
  seconds = costs.core_seconds(job.run, speeds)
  return seconds or job.run.train_steps / _ANY_SPEED


def _result(job: jobs.Job) -> str:
  summary = job.summary() or {}
  score, seconds = summary.get('final_score'), summary.get('seconds')
  text = 'final score '
  text += f'{score:.1f}' if isinstance(score, (int, float)) else 'unknown'
  if isinstance(seconds, (int, float)):
    text += f', {view_lib.duration(seconds)}'
  return text


@contextlib.contextmanager
def _signals(handler: Callable[[int, Any], None]) -> Iterator[None]:
  """Handles what asks this process to end."""
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
