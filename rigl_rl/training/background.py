"""Calls that run in processes of their own, beside training.

A process is forked: it has everything its call needs, as it was at the fork,
without a copy or a start. What it calls must not use TensorFlow, whose threads
are missing there.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
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


class Call:
  """A call of a function without arguments: of `result`, or in a process."""

  def __init__(self, function: Callable[[], Any], is_beside: bool):
    """Starts a process if `is_beside`; otherwise `result` calls."""
    self._function = function
    self._process = None
    if not is_beside:
      return
    self._reader, writer = _FORK.Pipe(duplex=False)
    self._process = _FORK.Process(
      target=_serve, args=(function, writer, os.getpid()), daemon=True
    )
    with warnings.catch_warnings():
      # Python and JAX warn of a fork of threads: no lock of theirs is taken.
      warnings.simplefilter('ignore')
      self._process.start()
    writer.close()

  def result(self) -> Any:
    """Waits for what the function returns.

    Raises:
      UserError: the function raised it.
      RuntimeError: the process ended without a result.
    """
    if self._process is None:
      return self._function()
    try:
      kind, value = self._reader.recv()
    except EOFError:
      self._process.join()
      code = self._process.exitcode
      raise RuntimeError(f'An evaluation ended with code {code}.') from None
    finally:
      self.cancel()
    if kind is not None:
      raise kind(value)
    return value

  def cancel(self) -> None:
    """Ends the process, if there is one."""
    if self._process is not None:
      self._process.kill()
      self._process.join()
      self._reader.close()


def _serve(
  function: Callable[[], Any], writer: connection.Connection, parent: int
) -> None:
  """Sends an error's class or None, and its message or the result."""
  # The parent decides what a Ctrl-C ends, and nothing may outlive it: not even
  # a killed one, whose lock on the run directory this process has too.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
  # A tensor that were freed here could wait for a thread that is missing.
  gc.disable()
  try:
    if os.getppid() == parent:
      writer.send((None, function()))
  except UserError as error:
    writer.send((UserError, str(error)))
  except Exception:
    writer.send((RuntimeError, traceback.format_exc()))
  finally:
    os._exit(0)
