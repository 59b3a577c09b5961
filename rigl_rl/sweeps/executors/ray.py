"""Executes runs as tasks of a Ray cluster, an existing one or a local one.

All nodes have to see the base directory under the same path, and to have this
package installed, or to see the directory that the sweep is started in.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from rigl_rl.errors import UserError
from rigl_rl.sweeps.executors import jobs, local

# For tasks to end when they are cancelled, in seconds.
_PATIENCE = 10.0


class RayExecutor(jobs.Executor):
  """Runs each job as a one-core Ray task."""

  def __init__(
    self,
    workers: int | None = None,
    workers_per_gpu: int | None = None,
    address: str | None = None,
  ):
    """Connects to a cluster, or starts one on this machine.

    Args:
      workers: runs at a time; None for as many as the cluster has cores.
      workers_per_gpu: runs that share a GPU; None for runs without.
      address: of an existing cluster; 'auto' for the one that this machine
        belongs to, None to start one, unless RAY_ADDRESS names one.

    Raises:
      UserError: Ray is not installed, or there is no such cluster.
    """
    super().__init__()
    try:
      import ray
    except ImportError:
      raise UserError(
        "--executor is 'ray', but Ray is not installed: pip install "
        "'rigl-rl[ray]'."
      ) from None
    self._ray = ray
    options: dict[str, Any] = {}
    if address is None and not os.environ.get('RAY_ADDRESS'):
      count = workers or len(local.cores())
      options = {'num_cpus': count, 'include_dashboard': False}
    try:
      ray.init(
        address=address, log_to_driver=False, logging_level='error', **options
      )
    except Exception as error:  # Where a node is too slow, of no special kind.
      problem = "--executor is 'ray', but Ray cannot be started or reached"
      if address is not None:
        problem = (
          f'--ray_address is {address!r}, but must be a cluster that can be '
          'reached'
        )
      reason = str(error).partition('\n')[0]
      raise UserError(f'{problem}: {reason}') from error
    gpus = {} if workers_per_gpu is None else {'num_gpus': 1 / workers_per_gpu}
    task = ray.remote(num_cpus=1, max_retries=0, max_calls=1, **gpus)
    self._task = task(_make_task())
    self._workers = workers
    self._per_gpu = workers_per_gpu

  @property
  def workers(self) -> int:
    """How many runs there may be at a time; a cluster may grow."""
    total = self._ray.cluster_resources()
    most = int(total.get('CPU', 1))
    if self._per_gpu is not None:
      most = min(most, self._per_gpu * int(total.get('GPU', 0)))
    if self._workers is not None:
      most = min(most, self._workers)
    return max(1, most)

  def _submit(self, job: jobs.Job) -> Any:
    command = job.child(0)
    return self._task.remote(
      command, sys.executable, job.log, os.getcwd(), jobs.ENVIRONMENT
    )

  def _poll(self, handle: Any) -> int | None:
    ended, _ = self._ray.wait([handle], num_returns=1, timeout=0)
    if not ended:
      return None
    try:
      return self._ray.get(handle)
    except self._ray.exceptions.RayError as error:
      # The node went away, or the worker was killed.
      with open(self.running[handle].log, 'a', encoding='utf-8') as log:
        log.write(f'Ray: {" ".join(str(error).split())}\n')
      return 1

  def stop(self) -> list[tuple[jobs.Job, int]]:
    results = self.collect()
    if left := list(self.running):
      for handle in left:
        # Its worker is killed, and with it the process that it started.
        self._ray.cancel(handle, force=True)
      self._ray.wait(left, num_returns=len(left), timeout=_PATIENCE)
      self.running.clear()
    self._ray.shutdown()
    return results


def _make_task():
  """Returns the task; a closure, which Ray sends whole, and not by its name."""

  def train(command, python, log, directory, environment):
    import os
    import subprocess
    import sys

    # A node may have Python elsewhere. The child dies with this worker.
    own = {python: sys.executable, '--parent=0': f'--parent={os.getpid()}'}
    with open(log, 'ab') as file:
      return subprocess.run(
        [own.get(part, part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=file,
        stderr=subprocess.STDOUT,
        cwd=directory if os.path.isdir(directory) else None,
        env={**os.environ, **environment},
      ).returncode

  return train
