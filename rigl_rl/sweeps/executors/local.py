"""Executes runs on this machine: one process and one core per run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

from rigl_rl.errors import UserError
from rigl_rl.sweeps.executors import jobs

# Between looks at processes that are to end, in seconds.
_INTERVAL = 0.02
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
    self._cores, self._gpus = cores(), gpus()
    if workers_per_gpu is not None:
      if not self._gpus:
        raise UserError(
          f'--workers_per_gpu is {workers_per_gpu}, but there is no GPU here.'
        )
      most = workers_per_gpu * len(self._gpus)
      workers = most if workers is None else min(workers, most)
    self.workers = workers or len(self._cores)
    self._is_pinned = affinity and self.workers == len(self._cores)

  def part(self, worker: int) -> tuple[list[int], dict[str, str]]:
    """Returns what a worker has of the machine: its cores and environment."""
    environment = {**os.environ, **jobs.ENVIRONMENT}
    if self._gpus:
      gpu = self._gpus[worker % len(self._gpus)]
      environment['CUDA_VISIBLE_DEVICES'] = gpu
    return [self._cores[worker]] if self._is_pinned else [], environment

  def _submit(self, job: jobs.Job) -> tuple[subprocess.Popen, int]:
    busy = {worker for _, worker in self.running}
    worker = min(set(range(self.workers)) - busy)
    cpus, environment = self.part(worker)
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
    return process, worker

  def _poll(self, handle: tuple[subprocess.Popen, int]) -> int | None:
    return handle[0].poll()

  def stop(self) -> list[tuple[jobs.Job, int]]:
    results = self.collect()
    for number in (signal.SIGTERM, signal.SIGKILL):
      for process, _ in self.running:
        with contextlib.suppress(ProcessLookupError, PermissionError):
          os.killpg(process.pid, number)
      deadline = time.monotonic() + _PATIENCE
      while self.running and time.monotonic() < deadline:
        results += self.collect()
        time.sleep(_INTERVAL)
    return results
