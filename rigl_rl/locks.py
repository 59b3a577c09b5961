"""File locks, which end with the process that holds them.

The operating system releases a lock however its process ends: a killed process
leaves a file without a lock. A file system without locks refuses no process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time

# In a run directory: locked while any process trains there.
RUN = 'train.lock'
# Between attempts, in seconds.
_INTERVAL = 0.1


class Locked(Exception):
  """Another process holds the lock; the message is 'process 7 on HOST'."""


def acquire(path: str, patience: float = 0.0) -> int:
  """Locks a file, which is made if needed, and says who holds the lock.

  Args:
    path: of the file.
    patience: how long to wait for another process, in seconds.

  Returns:
    A descriptor; the lock lasts until it is closed or the process ends.

  Raises:
    Locked: another process holds it.
    OSError: the file cannot be made.
  """
  deadline = time.monotonic() + patience
  while True:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
      holder = f'process {os.getpid()} on {socket.gethostname()}\n'
      with contextlib.suppress(OSError):  # A full disk; the lock holds.
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode('utf-8'), 0)
      return descriptor
    os.close(descriptor)


def _is_at(descriptor: int, path: str) -> bool:
  """Whether a descriptor is that of the file at a path."""
  try:
    return os.path.samestat(os.fstat(descriptor), os.stat(path))
  except OSError:
    return False
