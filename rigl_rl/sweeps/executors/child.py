"""Becomes a command, having tied its life to the process that started it.

  python -m rigl_rl.sweeps.executors.child --parent=PID --lock=FILE -- \\
    COMMAND ...

However a sweep ends, by SIGKILL too, its runs end with it: Linux then sends
them SIGKILL. A run of an earlier sweep may still be ending, on another machine
too, so the command starts once the lock of the run directory is free.

A program of its own rather than a preexec_fn, which may deadlock in a process
that has threads, as Ray's workers have.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import sys

from rigl_rl import locks

_PR_SET_PDEATHSIG = 1
# For an earlier process to end, in seconds; on a cluster it may take a while.
_PATIENCE = 30.0


def main(argv: list[str] | None = None) -> int:
  """Replaces this process by the command; returns only if it cannot."""
  parser = argparse.ArgumentParser(prog='rigl_rl.sweeps.executors.child')
  parser.add_argument('--parent', type=int, required=True)
  parser.add_argument('--lock', required=True)
  parser.add_argument('--cpus', default='')
  parser.add_argument('command', nargs='+')
  arguments = parser.parse_args(argv)

  _die_with(arguments.parent)
  if arguments.cpus:
    with contextlib.suppress(OSError):  # It works on any core.
      os.sched_setaffinity(0, map(int, arguments.cpus.split(',')))
  try:
    os.close(locks.acquire(arguments.lock, _PATIENCE))
  except locks.Locked as holder:
    print(f'error: another process trains here ({holder}): {arguments.lock}')
    return 2
  sys.stdout.flush()
  os.execvp(arguments.command[0], arguments.command)


def _die_with(parent: int) -> None:
  ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
  if os.getppid() != parent:  # It died before.
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == '__main__':
  sys.exit(main())
