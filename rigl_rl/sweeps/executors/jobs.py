"""A run of a sweep as a process: its command, its files, its result."""

from __future__ import annotations

import abc
import dataclasses
import json
import os
import shlex
import signal
import sys
import time
from typing import Any, Sequence

from rigl_rl import files, locks, readers
from rigl_rl.errors import UserError
from rigl_rl.sweeps import Run, settings
from rigl_rl.training import record

_DESCRIPTION = 'sweep.json'
# Between looks at the runs, in seconds.
_INTERVAL = 0.1
# Length of a reason in messages, in characters.
_MAX_REASON = 300
# Threads of a run, by launch.train's flags, and of libraries with threads of
# their own: N workers use N cores, and the numbers do not depend on N.
ONE_THREAD_FLAGS = ('--inter_op_threads=1', '--intra_op_threads=1')
ENVIRONMENT = {
  'OMP_NUM_THREADS': '1',
  'OPENBLAS_NUM_THREADS': '1',
  'MKL_NUM_THREADS': '1',
  'TF_FORCE_GPU_ALLOW_GROWTH': 'true',
}


@dataclasses.dataclass(frozen=True)
class Job:
  """A run, and the process that trains it."""

  run: Run
  directory: str  # Of the run, absolute.
  command: tuple[str, ...]

  def path(self, name: str) -> str:
    return os.path.join(self.directory, name)

  @property
  def log(self) -> str:
    """The file that receives all that the process prints."""
    return self.path('train.log')

  def child(self, parent: int, cpus: Sequence[int] = ()) -> list[str]:
    """Returns the command with what ties it to its parent, and to some cores.

    It ends with the process `parent`. Without `cpus` it runs on any core.
    """
    return [
      *(sys.executable, '-m', 'rigl_rl.sweeps.executors.child'),
      f'--parent={parent}',
      f'--lock={self.path(locks.RUN)}',
      f'--cpus={",".join(map(str, cpus))}',
      '--',
      *self.command,
    ]

  def prepare(self) -> None:
    """Makes the directory, and begins another part of the log."""
    os.makedirs(self.directory, exist_ok=True)
    path = self.path(_DESCRIPTION)
    if not os.path.exists(path):
      text = json.dumps(self.run.description(), indent=2, ensure_ascii=False)
      files.write(path, text + '\n')
    with open(self.log, 'a', encoding='utf-8') as file:
      file.write(f'$ {shlex.join(self.command)}\n')

  def summary(self) -> dict[str, Any] | None:
    """Returns summary.json of a finished run, else None."""
    path = self.path(record.SUMMARY)
    try:
      summary = readers.read_json(path) if os.path.exists(path) else {}
    except readers.FileError:
      return None  # The run says so, and writes another.
    return summary if summary.get('finished') is True else None

  @property
  def is_started(self) -> bool:
    return os.path.exists(self.path(record.CONFIG))

  def steps_done(self) -> int:
    """Returns the environment steps until the last evaluation."""
    try:
      last = self._last_lines(record.EVALUATIONS)[-1]
      return max(0, min(int(last.split(',')[0]), self.run.train_steps))
    except (ValueError, IndexError):
      return 0

  def check(self) -> None:
    """Raises UserError if the directory holds the run with other settings."""
    path = self.path(_DESCRIPTION)
    if not os.path.exists(path):
      return
    existing = readers.read_json(path)
    # Through JSON, which turns tuples into lists.
    wanted = json.loads(json.dumps(self.run.description()))
    for name, value in wanted.items():
      if existing.get(name) != value:
        raise UserError(
          f'--base_dir holds {self.directory!r} with {name} '
          f'{_difference(existing.get(name), value)}, but a run keeps the '
          'settings that it began with: give another --base_dir.'
        )

  def failure(self, code: int) -> str | None:
    """Says why the process failed, by subprocess' code; None if it did not."""
    if self.summary() is not None:
      return None
    if code < 0:
      try:
        return f'killed by {signal.Signals(-code).name}'
      except ValueError:
        return f'killed by signal {-code}'
    lines = [line.strip() for line in self._last_lines('train.log')]
    last = next(filter(None, reversed(lines)), '')
    last = '' if last.startswith('$ ') else last[:_MAX_REASON]
    if code == 0:
      return f'ended without a result ({last})'
    return last or f'ended with exit code {code}'

  def _last_lines(self, name: str) -> list[str]:
    """Returns the last lines of a file, the first of them perhaps torn."""
    try:
      with open(self.path(name), 'rb') as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 8192))
        return file.read().decode('utf-8', 'replace').splitlines()
    except OSError:
      return []


class Executor(abc.ABC):
  """Starts runs, and tells which of them have ended."""

  workers: int  # How many runs there may be at a time.

  def __init__(self):
    # By the handles of their processes.
    self.running: dict[Any, Job] = {}

  @property
  def capacity(self) -> int:
    """How many more runs can be started."""
    return self.workers - len(self.running)

  def start(self, job: Job) -> None:
    """Starts a run; raises OSError if it cannot be started."""
    job.prepare()
    self.running[self._submit(job)] = job

  def wait(self) -> list[tuple[Job, int]]:
    """Waits a moment; returns runs that have ended, with exit codes."""
    time.sleep(_INTERVAL)
    return self.collect()

  def collect(self) -> list[tuple[Job, int]]:
    """Returns runs that have ended, with exit codes, without waiting."""
    codes = {handle: self._poll(handle) for handle in self.running}
    return [
      (self.running.pop(handle), code)
      for handle, code in codes.items()
      if code is not None
    ]

  @abc.abstractmethod
  def stop(self) -> list[tuple[Job, int]]:
    """Ends all runs; returns those that had ended just before."""

  @abc.abstractmethod
  def _submit(self, job: Job) -> Any:
    """Starts a run; returns the handle of its process."""

  @abc.abstractmethod
  def _poll(self, handle: Any) -> int | None:
    """Returns the exit code of a process that has ended, else None."""


def as_recorded(run: Run, directory: str) -> Run:
  """Returns a planned run with what the run.json of its directory says it is.

  Its length differs from the plan's if the run was extended.
  """
  if not os.path.exists(os.path.join(directory, record.RECORD)):
    return run
  try:
    found = record.read(directory)
  except readers.FileError:
    return run  # The run says so, and writes another.
  return dataclasses.replace(
    run,
    train_steps=max(1, found['train_steps']),
    family=settings.recorded_family(found),
  )


def _difference(existing: Any, wanted: Any) -> str:
  """Shows two values; of two lists, the items that only one has."""
  if isinstance(existing, list) and isinstance(wanted, list):
    one = [item for item in existing if item not in wanted]
    other = [item for item in wanted if item not in existing]
    if one or other:
      existing, wanted = one, other
  return f'{existing!r}, not {wanted!r}'
