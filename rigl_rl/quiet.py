"""Imports that say nothing, and the threads of TensorFlow.

TensorFlow, Gym, Gymnasium, pygame, JAX and ALE print pages at import that a
user can do nothing about. `silence` turns that off before TensorFlow is
imported, so this module imports nothing heavy.

RIGL_RL_VERBOSE=1 in the environment leaves all output unchanged.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

from rigl_rl.errors import UserError

# Packages whose warnings at import and at `make` are not about the user's
# code.
_NOISY = (
  *('absl', 'ale_py', 'dopamine', 'flax', 'gin', 'google', 'gym', 'gymnasium'),
  *('jax', 'jaxlib', 'keras', 'pkg_resources', 'pygame', 'rliable'),
  *('setuptools', 'tensorflow', 'tensorflow_probability', 'tf_agents'),
  *('tf_keras', 'tree'),
)

_ENVIRONMENT = {
  # Only fatal messages of TensorFlow's C++ side.
  'TF_CPP_MIN_LOG_LEVEL': '3',
  'GRPC_VERBOSITY': 'ERROR',
  'GLOG_minloglevel': '2',
  'PYGAME_HIDE_SUPPORT_PROMPT': 'hide',
  # Dopamine's runner imports JAX, which is never used to compute: it must
  # not take the GPU's memory, nor warn that a GPU is missing.
  'JAX_PLATFORMS': 'cpu',
}


def is_verbose() -> bool:
  """Whether RIGL_RL_VERBOSE asks to leave all output unchanged."""
  return os.environ.get('RIGL_RL_VERBOSE', '') not in ('', '0')


def silence() -> None:
  """Makes the libraries print errors only. Call it before TensorFlow loads.

  TensorFlow still writes some lines while it is imported, before it reads any
  setting; `import_quietly` hides those too.

  It sets environment variables that are not set yet, which child processes
  inherit, log levels and warning filters. This package's own warnings stay
  visible. Libraries put filters of their own in front when they are imported:
  call it again after the imports, as `import_quietly` does.
  """
  if is_verbose():
    return
  for name, value in _ENVIRONMENT.items():
    os.environ.setdefault(name, value)

  for name in _NOISY:
    # `module` matches the beginning of the name of the module that warns.
    warnings.filterwarnings('ignore', module=rf'{name}(\.|$)')
  # These warn with a stack level that names the importing module instead.
  warnings.filterwarnings('ignore', message=r'.*pkg_resources')
  warnings.filterwarnings('ignore', message=r'.*distutils')

  for name in ('absl', 'tensorflow', 'jax', 'flax', 'gym'):
    logging.getLogger(name).setLevel(logging.ERROR)
  # absl sets the level of the root logger, too; ours does not follow it.
  logging.getLogger('rigl_rl').setLevel(logging.WARNING)
  with contextlib.suppress(ImportError):
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.ERROR)
  with contextlib.suppress(ImportError, AttributeError):
    # Gym, which TF-Agents and Dopamine import, prints its notice to stderr.
    from gym_notices import notices

    notices.notices.clear()


def open_streams() -> None:
  """Opens /dev/null for each of stdin, stdout and stderr that is closed.

  Otherwise the next file that is opened, perhaps a checkpoint, becomes stdout.
  """
  for descriptor, name in enumerate(('stdin', 'stdout', 'stderr')):
    try:
      os.fstat(descriptor)
    except OSError:
      # It gets the lowest free number, which is this one.
      os.open(os.devnull, os.O_RDWR)
    if getattr(sys, name) is None:
      setattr(sys, name, open(os.devnull, 'w' if descriptor else 'r'))


@contextlib.contextmanager
def import_quietly() -> Iterator[None]:
  """Hides everything that imports print, unless one of them fails.

  Catches stdout and stderr at the level of file descriptors, where C++
  libraries write. If the block raises anything but a UserError, the caught
  output goes to stderr.
  """
  silence()
  if is_verbose():
    yield
    return
  with _output_caught():
    try:
      yield
    finally:
      silence()


@contextlib.contextmanager
def start_tensorflow_quietly() -> Iterator[None]:
  """Hides what TensorFlow's C++ side prints at import and at start.

  For imports in a user's own process: warnings and log levels of Python do
  not change. Nothing is hidden where TensorFlow is imported already, or the
  user has set TF_CPP_MIN_LOG_LEVEL.
  """
  name = 'TF_CPP_MIN_LOG_LEVEL'
  if is_verbose() or name in os.environ or 'tensorflow' in sys.modules:
    yield
    return
  os.environ[name] = _ENVIRONMENT[name]
  with _output_caught():
    yield


@contextlib.contextmanager
def _output_caught() -> Iterator[None]:
  saved = {}
  failed = False
  with tempfile.TemporaryFile() as caught:
    _flush()
    for descriptor in (1, 2):
      with contextlib.suppress(OSError):  # A daemon may have closed them.
        saved[descriptor] = os.dup(descriptor)
        os.dup2(caught.fileno(), descriptor)
    try:
      yield
    except BaseException as error:
      failed = not isinstance(error, UserError)
      raise
    finally:
      _flush()
      for descriptor, copy in saved.items():
        os.dup2(copy, descriptor)
        os.close(copy)
      if failed and 2 in saved:
        caught.seek(0)
        while block := caught.read(1 << 16):
          os.write(2, block)


def _flush() -> None:
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError, ValueError, AttributeError):
      stream.flush()


def configure_threads(intra: int = 1, inter: int = 2) -> None:
  """Sets TensorFlow's threads; of a GPU's memory it takes what it needs.

  Call it before the first op. Networks of this size are too small to split one
  operation over threads, but actor, critics and optimizer run side by side: one
  thread per operation and two operations at a time are fastest on two cores.
  The training thread is one of them, and the others stay awake between train
  steps: do not give a run more threads than processors. A sweep that runs one
  process per core uses 1 and 1.

  Args:
    intra: threads within one operation, >= 0; 0 lets TensorFlow choose.
    inter: operations at a time, >= 0; 0 lets TensorFlow choose.

  Raises:
    UserError: a number is not an integer >= 0.
    RuntimeError: TensorFlow has started with other numbers.
  """
  for name, value in (('intra', intra), ('inter', inter)):
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
      raise UserError(
        f'{name}-op threads is {value!r}; it must be an integer >= 0'
      )
  with import_quietly():
    import tensorflow as tf
  threading = tf.config.threading
  threading.set_intra_op_parallelism_threads(intra)
  threading.set_inter_op_parallelism_threads(inter)
  # A run needs a small part of a GPU, which others may share.
  for gpu in tf.config.list_physical_devices('GPU'):
    tf.config.experimental.set_memory_growth(gpu, True)
