"""Imports that say nothing, and the threads of TensorFlow.

TensorFlow, Gym, Gymnasium, pygame, JAX and ALE print pages at import that a
user can do nothing about. `silence` turns that off; it has to run before
TensorFlow is imported, so this module imports nothing heavy.

RIGL_RL_VERBOSE=1 in the environment leaves everything as it is.
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
  'absl',
  'ale_py',
  'dopamine',
  'flax',
  'gin',
  'google',
  'gym',
  'gymnasium',
  'jax',
  'jaxlib',
  'keras',
  'pkg_resources',
  'pygame',
  'rliable',
  'setuptools',
  'tensorflow',
  'tensorflow_probability',
  'tf_agents',
  'tf_keras',
  'tree',
)

_ENVIRONMENT = {
  # Only fatal messages of TensorFlow's C++ side.
  'TF_CPP_MIN_LOG_LEVEL': '3',
  'GRPC_VERBOSITY': 'ERROR',
  'GLOG_minloglevel': '2',
  'PYGAME_HIDE_SUPPORT_PROMPT': 'hide',
  # Dopamine's runner imports JAX, which is never used to compute: it must
  # not take the GPU's memory, nor warn that there is none.
  'JAX_PLATFORMS': 'cpu',
}


def is_verbose() -> bool:
  """Whether RIGL_RL_VERBOSE asks to leave all output as it is."""
  return os.environ.get('RIGL_RL_VERBOSE', '') not in ('', '0')


def silence() -> None:
  """Makes the libraries print errors only. Call it before TensorFlow loads.

  TensorFlow still writes some lines while it is imported, before it reads any
  setting; `import_quietly` hides those too.

  It sets environment variables (one that is set already is left alone), log
  levels and warning filters; this package's own warnings stay visible. Child
  processes inherit the variables.

  Gymnasium puts a filter of its own in front at its import, and then warns of
  CartPole-v0 when that is made. Called again after the imports, which is what
  `import_quietly` does, this one is in front again.
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
  try:
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.ERROR)
  except ImportError:
    pass
  try:
    # Gym prints its notice to stderr without asking anybody. TF-Agents and
    # Dopamine import it; nothing here plays in it.
    from gym_notices import notices

    notices.notices.clear()
  except (ImportError, AttributeError):
    pass


def open_streams() -> None:
  """Opens what a parent closed of stdin, stdout and stderr, on /dev/null.

  Else the next file that is opened, a checkpoint perhaps, would be stdout.
  """
  for descriptor, name in enumerate(('stdin', 'stdout', 'stderr')):
    try:
      os.fstat(descriptor)
    except OSError:
      # The lowest that is free, which is this one.
      os.open(os.devnull, os.O_RDWR)
    if getattr(sys, name) is None:
      setattr(sys, name, open(os.devnull, 'w' if descriptor else 'r'))


@contextlib.contextmanager
def import_quietly() -> Iterator[None]:
  """Hides everything that imports print, unless one of them fails.

  Catches stdout and stderr at the level of file descriptors, where C++
  libraries write. If the block raises, what was caught goes to stderr, and
  the exception on its way; not with a UserError, which says itself what is
  wrong.
  """
  silence()
  if is_verbose():
    yield
    return
  saved = {}
  with tempfile.TemporaryFile() as caught:
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
      with contextlib.suppress(OSError, ValueError, AttributeError):
        stream.flush()
      # A daemon may have closed them.
      with contextlib.suppress(OSError):
        saved[descriptor] = os.dup(descriptor)
        os.dup2(caught.fileno(), descriptor)
    failed = True
    try:
      yield
      failed = False
    except UserError:
      failed = False
      raise
    finally:
      for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
          stream.flush()
      for descriptor, copy in saved.items():
        os.dup2(copy, descriptor)
        os.close(copy)
      if failed and 2 in saved:
        caught.seek(0)
        while block := caught.read(1 << 16):
          os.write(2, block)
      # Libraries put filters of their own before ours.
      silence()


def configure_threads(intra: int = 1, inter: int = 2) -> None:
  """Sets what TensorFlow takes: threads, and of a GPU's memory what it needs.

  Call it before the first op.

  Networks of this size are too small to split one operation over threads, but
  actor, critics and optimizer run side by side: one thread per operation and
  two operations at a time are the fastest on two cores. The thread that trains
  is one of them, and the others stay awake between train steps: do not give a
  run more of them than there are processors for it. A sweep that runs one
  process per core wants 1 and 1.

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
