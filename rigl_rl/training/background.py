"""Processes that work beside training.

A process is forked: it has everything its function needs, as it was at the
fork, without a copy or a start. What it calls must not use TensorFlow, whose
threads are missing there.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import pickle
import signal
import traceback
import warnings
from multiprocessing import connection
from typing import Any, Callable

import tensorflow as tf

from rigl_rl.errors import UserError

_FORK = multiprocessing.get_context('fork')
_PR_SET_PDEATHSIG = 1  # Of Linux's prctl.


def cores() -> int:
  """Cores that a run may use: the process's, and one per TensorFlow thread."""
  available = len(os.sched_getaffinity(0))
  threads = tf.config.threading.get_inter_op_parallelism_threads()
  return min(available, threads or available)


def can_send(value: Any) -> bool:
  """Whether a worker can be given a value."""
  try:
    pickle.dumps(value)
  except (pickle.PicklingError, AttributeError, TypeError):
    return False
  return True


class Worker:
  """A process that calls a function, again and again."""

  def __init__(self, function: Callable[..., Any]):
    """Starts the process, which ends with `close` or with this one."""
    self._pipe, end = _FORK.Pipe()
    self._process = _FORK.Process(
      target=_serve, args=(function, end, os.getpid()), daemon=True
    )
    with warnings.catch_warnings():
      # Python and JAX warn of a fork of threads: no lock of theirs is taken.
      warnings.simplefilter('ignore')
      self._process.start()
    end.close()

  def begin(self, *arguments: Any) -> None:
    """Begins a call; that of before must have ended, by `result`."""
    with contextlib.suppress(BrokenPipeError):  # `result` says why.
      self._pipe.send(arguments)

  def result(self) -> Any:
    """Waits for what the function returns.

    Raises:
      UserError: the function raised it.
      RuntimeError: it raised another error, or the process ended.
    """
    try:
      kind, value = self._pipe.recv()
    except (EOFError, ConnectionResetError):
      self._process.join()
      code = self._process.exitcode
      raise RuntimeError(f'An evaluation ended with code {code}.') from None
    if kind is not None:
      raise kind(value)
    return value

  def close(self) -> None:
    """Ends the process, even during a call."""
    self._process.kill()
    self._process.join()
    self._pipe.close()


def _serve(
  function: Callable[..., Any], pipe: connection.Connection, parent: int
) -> None:
  """Sends an error's class or None, and its message or the result."""
  # The parent decides what a Ctrl-C ends, and nothing may outlive it: not even
  # a killed one, whose lock on the run directory this process has too.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
  # A tensor that were freed here could wait for a thread that is missing.
  gc.freeze()
  while os.getppid() == parent:
    try:
      answer = (None, function(*pipe.recv()))
    except UserError as error:
      answer = (UserError, str(error))
    except Exception:
      answer = (RuntimeError, traceback.format_exc())
    pipe.send(answer)
