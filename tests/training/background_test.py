"""Tests of calls beside training, and of the evaluations that use them."""

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


@pytest.mark.parametrize('is_beside', [False, True])
def test_result(is_beside):
  call = background.Call(lambda: np.array([os.getpid(), 7]), is_beside)
  process, result = call.result()
  assert result == 7
  assert (process == os.getpid()) != is_beside


def test_a_call_sees_what_was_there_when_it_began():
  values = [1]
  call = background.Call(lambda: list(values), True)
  values[0] = 2
  assert call.result() == [1]


def test_calls_run_at_the_same_time():
  begin = time.monotonic()
  calls = [background.Call(lambda: time.sleep(1), True) for _ in range(3)]
  for call in calls:
    call.result()
  assert time.monotonic() - begin < 2.5


@pytest.mark.parametrize('is_beside', [False, True])
def test_error(is_beside):
  call = background.Call(lambda: _fail(UserError('SEED is -1')), is_beside)
  with pytest.raises(UserError, match='^SEED is -1$'):
    call.result()
  call = background.Call(lambda: _fail(KeyError('key')), is_beside)
  with pytest.raises((KeyError, RuntimeError), match="'key'"):
    call.result()


def test_a_process_that_dies():
  call = background.Call(lambda: os.kill(os.getpid(), signal.SIGKILL), True)
  with pytest.raises(RuntimeError, match='code -9'):
    call.result()


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


def test_cancel():
  call = background.Call(lambda: time.sleep(600), True)
  call.cancel()
  assert _ends(call._process.pid)
  background.Call(lambda: None, False).cancel()


def test_a_process_ends_with_its_parent():
  reader, writer = os.pipe()

  def parent():
    call = background.Call(lambda: time.sleep(600), True)
    os.write(writer, str(call._process.pid).encode())
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
