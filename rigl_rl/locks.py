"""Locks of files, which go with the process that holds them.

The kernel releases a lock when its process ends, however it ends: what a killed
one leaves is a file without a lock. On a file system without locks, none is
held and nobody is refused.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time

# In a run directory: locked while a process trains there, whatever started it.
RUN = 'train.lock'
# Names the descriptor of a lock that a process holds for the program that it
# becomes.
_INHERITED = 'RIGL_RL_LOCK'
# Between attempts, in seconds.
_INTERVAL = 0.1


class Locked(Exception):
  """Another process holds the lock; the message is 'process 7 on HOST'."""


def acquire(path: str, patience: float = 0.0) -> int:
  """Locks a file, which is made if need be.

  Args:
    path: of the file, which will say who holds the lock.
    patience: how long to wait for another process, in seconds.

  Returns:
    A descriptor; the lock lasts until it is closed or the process ends.

  Raises:
    Locked: another process holds it.
    OSError: the file cannot be made.
  """
  deadline = time.monotonic() + patience
  while True:
    descriptor = _open(path)
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      holder = os.pread(descriptor, 1000, 0).decode('utf-8', 'replace').strip()
      os.close(descriptor)
      if time.monotonic() >= deadline:
        raise Locked(' '.join(holder.split()) or 'an unknown process') from None
      time.sleep(_INTERVAL)
      continue
    except OSError:
      return descriptor  # A file system without locks.
    # Its last holder may have removed it between the two calls.
    if _is_at(descriptor, path):
      _sign(descriptor)
      return descriptor
    os.close(descriptor)


def hand_over(descriptor: int) -> None:
  """Keeps a lock for the program that this process is about to become."""
  os.set_inheritable(descriptor, True)
  os.environ[_INHERITED] = str(descriptor)


def _open(path: str) -> int:
  """Opens the file; a lock that was handed over is taken up."""
  inherited = os.environ.get(_INHERITED, '')
  if inherited.isdecimal() and _is_at(int(inherited), path):
    del os.environ[_INHERITED]
    os.set_inheritable(int(inherited), False)
    return int(inherited)
  return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _is_at(descriptor: int, path: str) -> bool:
  """Whether a descriptor is that of the file at a path."""
  try:
    return os.path.samestat(os.fstat(descriptor), os.stat(path))
  except OSError:
    return False


def _sign(descriptor: int) -> None:
  text = f'process {os.getpid()} on {socket.gethostname()}\n'
  try:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode('utf-8'), 0)
  except OSError:
    pass  # A full disk; the lock holds all the same.
