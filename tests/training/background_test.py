"""Tests of processes that work beside training."""

import os
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.errors import UserError
from rigl_rl.training import background


def _fail(error):
  raise error


@pytest.fixture
def start():
  """Starts workers, which end with the test."""
  workers = []

  def start(function):
    workers.append(background.Worker(function))
    return workers[-1]

  yield start
  for worker in workers:
    worker.close()


def _call(worker, *arguments):
  worker.begin(*arguments)
  return worker.result()


def test_result(start):
  worker = start(lambda *values: np.array([os.getpid(), *values]))
  process, *values = _call(worker, 7, 8)
  assert values == [7, 8]
  assert process != os.getpid()
  # The same one, again.
  np.testing.assert_array_equal(_call(worker, 9), [process, 9])


def test_worker_has_what_was_there_when_it_began(start):
  values = [1]
  worker = start(lambda: list(values))
  values[0] = 2
  assert _call(worker) == [1]


def test_workers_run_at_the_same_time(start):
  begin = time.monotonic()
  workers = [start(time.sleep) for _ in range(3)]
  for worker in workers:
    worker.begin(1)
  for worker in workers:
    worker.result()
  assert time.monotonic() - begin < 2.5


def test_long_messages(start):
  """Longer than what a pipe holds."""
  values = np.arange(10**6)
  for _ in range(2):
    np.testing.assert_array_equal(_call(start(np.negative), values), -values)


def test_error(start):
  worker = start(_fail)
  with pytest.raises(UserError, match='^SEED is -1$'):
    _call(worker, UserError('SEED is -1'))
  with pytest.raises(RuntimeError, match="KeyError: 'key'"):
    _call(worker, KeyError('key'))
  # The process lives on after an error.
  with pytest.raises(UserError, match='^SEED is -2$'):
    _call(worker, UserError('SEED is -2'))


@pytest.mark.parametrize('is_idle', [False, True])
def test_a_process_that_dies(start, is_idle):
  worker = start(lambda: os.kill(os.getpid(), signal.SIGKILL))
  if is_idle:
    worker._process.kill()
    worker._process.join()
  with pytest.raises(RuntimeError, match='code -9'):
    _call(worker)


def _ends(process):
  for _ in range(200):
    try:
      os.kill(process, 0)
    except ProcessLookupError:
      return True
    # A zombie is there until its new parent looks at it.
    with open(f'/proc/{process}/stat') as file:
      if file.read().rpartition(')')[2].split()[0] == 'Z':
        return True
    time.sleep(0.05)
  return False


def test_close():
  worker = background.Worker(time.sleep)
  worker.begin(600)
  worker.close()
  assert _ends(worker._process.pid)


def test_a_process_ends_with_its_parent():
  reader, writer = os.pipe()

  def parent():
    worker = background.Worker(time.sleep)
    worker.begin(600)
    os.write(writer, str(worker._process.pid).encode())
    os.kill(os.getpid(), signal.SIGKILL)

  # A daemon of multiprocessing may have no children.
  if os.fork() == 0:
    parent()
  process = int(os.read(reader, 20))
  os.wait()
  os.close(reader)
  os.close(writer)
  assert _ends(process)


def test_cores(monkeypatch):
  threads = tf.config.threading
  monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 1, 2, 3})
  for inter, expected in ((0, 4), (1, 1), (2, 2), (8, 4)):
    monkeypatch.setattr(
      threads, 'get_inter_op_parallelism_threads', lambda n=inter: n
    )
    assert background.cores() == expected
