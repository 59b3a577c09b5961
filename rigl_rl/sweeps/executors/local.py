"""Executes runs on this machine: one process and one core per run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import Any

from rigl_rl.errors import UserError
from rigl_rl.sweeps.executors import jobs

# Between looks at the processes, in seconds.
_INTERVAL = 0.1
# For a process to end by itself after a SIGTERM, in seconds.
_PATIENCE = 10.0


def cores() -> list[int]:
  """Returns the cores that this process may use."""
  return sorted(os.sched_getaffinity(0))


def gpus() -> list[str]:
  """Returns the GPUs that this process may use, as CUDA names them."""
  visible = os.environ.get('CUDA_VISIBLE_DEVICES')
  if visible is not None:
    return [name.strip() for name in visible.split(',') if name.strip()]
  try:
    listed = subprocess.run(
      ['nvidia-smi', '-L'], capture_output=True, text=True, timeout=30
    )
  except (OSError, subprocess.TimeoutExpired):
    return []
  lines = [line for line in listed.stdout.splitlines() if line[:4] == 'GPU ']
  return [str(index) for index in range(len(lines))]


class LocalExecutor(jobs.Executor):
  """A pool of processes, all started by the thread that uses this."""

  def __init__(
    self,
    workers: int | None = None,
    workers_per_gpu: int | None = None,
    affinity: bool = True,
  ):
    """Looks at the machine.

    Args:
      workers: runs at a time; None for one per core, or, with
        `workers_per_gpu`, for that many per GPU.
      workers_per_gpu: runs that share a GPU; None to share all GPUs evenly.
      affinity: whether each run is kept to a core of its own, where workers are
        as many as cores. Fewer are left to the scheduler: another sweep may be
        at work beside this one, and would keep its runs to the same cores.
    """
    super().__init__()
    available, devices = cores(), gpus()
    if workers_per_gpu is not None:
      if not devices:
        raise UserError(
          f'--workers_per_gpu is {workers_per_gpu}, but there is no GPU here.'
        )
      most = workers_per_gpu * len(devices)
      workers = most if workers is None else min(workers, most)
    self.workers = workers or len(available)
    is_pinned = affinity and self.workers == len(available)
    # What each idle worker has of the machine: cores and environment.
    self._free = []
    for index in reversed(range(self.workers)):
      environment = {**os.environ, **jobs.ENVIRONMENT}
      if devices:
        environment['CUDA_VISIBLE_DEVICES'] = devices[index % len(devices)]
      cpus = (available[index],) if is_pinned else ()
      self._free.append((cpus, environment))
    self._used: dict[subprocess.Popen, Any] = {}

  def start(self, job: jobs.Job) -> None:
    job.prepare()
    cpus, environment = self._free[-1]
    with open(job.log, 'ab') as log:
      process = subprocess.Popen(
        job.child(os.getpid(), cpus),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        # Ctrl-C in the terminal reaches only the sweep, which ends its runs.
        start_new_session=True,
      )
    self._used[process] = self._free.pop()
    self.running[process] = job

  def wait(self) -> list[tuple[jobs.Job, int]]:
    time.sleep(_INTERVAL)
    return self._collect()

  def _collect(self) -> list[tuple[jobs.Job, int]]:
    ended = [p for p in self.running if p.poll() is not None]
    self._free += [self._used.pop(process) for process in ended]
    return [(self.running.pop(p), p.returncode) for p in ended]

  def stop(self) -> list[tuple[jobs.Job, int]]:
    results = self._collect()
    for number in (signal.SIGTERM, signal.SIGKILL):
      for process in self.running:
        with contextlib.suppress(ProcessLookupError, PermissionError):
          os.killpg(process.pid, number)
      deadline = time.monotonic() + _PATIENCE
      while self.running and time.monotonic() < deadline:
        results += self._collect()
        time.sleep(_INTERVAL / 5)
    return results
