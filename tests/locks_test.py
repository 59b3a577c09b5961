"""Tests of locks: held by one process, and by none that was killed."""

import errno
import fcntl
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from rigl_rl import locks

_ROOT = pathlib.Path(__file__).parents[1]


def test_one_holder_at_a_time(tmp_path):
  path = str(tmp_path / 'lock')
  descriptor = locks.acquire(path)
  with pytest.raises(locks.Locked, match=rf'process {os.getpid()} on \S+$'):
    locks.acquire(path)
  os.close(descriptor)
  os.close(locks.acquire(path))


def test_a_killed_holder_is_no_obstacle(tmp_path):
  path = str(tmp_path / 'lock')
  code = 'import sys; from rigl_rl import locks; locks.acquire(sys.argv[1]);'
  process = subprocess.Popen(
    [sys.executable, '-c', f'{code} print(1, flush=True); input()', path],
    cwd=_ROOT,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
  )
  assert process.stdout.readline() == b'1\n'
  with pytest.raises(locks.Locked, match=f'process {process.pid} on '):
    locks.acquire(path)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  os.close(locks.acquire(path))


def test_a_removed_lock_is_held_by_nobody(tmp_path):
  path = tmp_path / 'lock'
  first = locks.acquire(str(path))
  path.unlink()
  second = locks.acquire(str(path))
  with pytest.raises(locks.Locked):
    locks.acquire(str(path))
  os.close(first)
  os.close(second)


def test_a_file_system_without_locks(tmp_path, monkeypatch):
  def flock(descriptor, operation):
    raise OSError(errno.ENOLCK, 'No locks available')

  monkeypatch.setattr(fcntl, 'flock', flock)
  for _ in range(2):
    os.close(locks.acquire(str(tmp_path / 'lock')))
