"""Executes runs on this machine: a process each, a core each."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from typing import Mapping

from rigl_rl.errors import UserError
from rigl_rl.sweeps.executors import jobs

# Between looks at the processes, in seconds.
_INTERVAL = 0.1
# For a process to end by itself when it is told to.
_PATIENCE = 10.0

# Of a run, by launch.train's flags, and of libraries that bring threads of
# their own: N workers use N cores, whatever N is, and give the same numbers.
ONE_THREAD_FLAGS = ('--inter_op_threads=1', '--intra_op_threads=1')
ONE_THREAD = {
  'OMP_NUM_THREADS': '1',
  'OPENBLAS_NUM_THREADS': '1',
  'MKL_NUM_THREADS': '1',
}


@dataclasses.dataclass(frozen=True)
class _Slot:
  """What a worker has of the machine."""

  cpus: tuple[int, ...]
  environment: Mapping[str, str]


def cores() -> list[int]:
  """Returns the cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))


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


class LocalExecutor:
  """A pool of processes. All are started by the thread that uses this.

  Attributes:
    workers: how many runs there may be at a time.
    threads_per_run: flags of launch.train.
  """

  threads_per_run = ONE_THREAD_FLAGS

  def __init__(
    self,
    workers: int | None = None,
    workers_per_gpu: int | None = None,
    affinity: bool = True,
  ):
    """Looks at the machine.

    Args:
      workers: runs at a time; None for one a core, or, with `workers_per_gpu`,
        for that many a GPU.
      workers_per_gpu: runs that share a GPU; None to share all GPUs evenly.
      affinity: whether each run is kept to a core of its own, where workers are
        as many as cores. Fewer are left to the scheduler: another sweep may be
        at work beside this one, and would keep its runs to the same cores.

    Raises:
      UserError: `workers_per_gpu` is given, and there is no GPU.
    """
    available, devices = cores(), gpus()
    if workers_per_gpu is not None:
      if not devices:
        raise UserError(
          f'--workers_per_gpu is {workers_per_gpu}, but there is no GPU here.'
        )
      most = workers_per_gpu * len(devices)
      workers = most if workers is None else min(workers, most)
    self.workers = workers or len(available)
    environment = {**os.environ, **ONE_THREAD}
    environment['TF_FORCE_GPU_ALLOW_GROWTH'] = 'true'
    is_pinned = affinity and self.workers == len(available)
    self._free = []
    for index in reversed(range(self.workers)):
      own = dict(environment)
      if devices:
        own['CUDA_VISIBLE_DEVICES'] = devices[index % len(devices)]
      cpus = (available[index],) if is_pinned else ()
      self._free.append(_Slot(cpus, own))
    self._running: dict[subprocess.Popen, tuple[jobs.Job, _Slot]] = {}

  @property
  def capacity(self) -> int:
    """How many more runs can be started."""
    return len(self._free)

  def start(self, job: jobs.Job) -> None:
    """Starts a run.

    Raises:
      OSError: it cannot be started.
    """
    job.prepare()
    slot = self._free[-1]
    with open(job.log, 'ab') as log:
      process = subprocess.Popen(
        job.child(sys.executable, os.getpid(), slot.cpus),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=slot.environment,
        # The terminal's Ctrl-C is for the sweep, which ends its runs.
        start_new_session=True,
      )
    self._free.pop()
    self._running[process] = (job, slot)

  def wait(self) -> list[tuple[jobs.Job, int]]:
    """Waits a moment; returns runs that have ended, with exit codes."""
    time.sleep(_INTERVAL)
    return self._collect()

  def _collect(self) -> list[tuple[jobs.Job, int]]:
    ended = [p for p in self._running if p.poll() is not None]
    results = []
    for process in ended:
      job, slot = self._running.pop(process)
      self._free.append(slot)
      results.append((job, process.returncode))
    return results

  def stop(self) -> list[tuple[jobs.Job, int]]:
    """Ends all runs; returns those that had ended just before."""
    results = self._collect()
    for number in (signal.SIGTERM, signal.SIGKILL):
      for process in self._running:
        _signal(process, number)
      deadline = time.monotonic() + _PATIENCE
      while self._running and time.monotonic() < deadline:
        results += self._collect()
        time.sleep(_INTERVAL / 5)
    return results


def _signal(process: subprocess.Popen, number: signal.Signals) -> None:
  try:
    os.killpg(process.pid, number)
  except (ProcessLookupError, PermissionError):
    pass
