"""Loads the kernels, once per process, and registers their gradients."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import tensorflow as tf

from rigl_rl.kernels import build

_lock = threading.Lock()
# What `load` found: the module or None. Empty before its first call.
_loaded: list[Any] = []


def load() -> Any | None:
  """Returns the module of the operations, or None where there are none.

  The first call compiles them, if they are not in the cache. If that fails, a
  line on stderr says why.

  RIGL_RL_KERNELS=0 in the environment switches them off. It is no binding: like
  the lack of a compiler, it says what a machine can do, and does not change the
  config of a run. Numbers differ by rounding, only in perceptrons and where
  layers store their active weights only or the steps of a small network run in
  turn.
  """
  if os.environ.get('RIGL_RL_KERNELS') == '0':
    return None
  with _lock:
    if not _loaded:
      _loaded.append(_load())
    return _loaded[0]


def instructions() -> str | None:
  """Returns those that the kernels use: 'avx512', 'avx2' or 'portable'.

  None where there are no kernels.
  """
  operations = load()
  if operations is None:
    return None
  with tf.init_scope():  # A layer that is traced may ask.
    return operations.rigl_instructions().numpy().decode()


def suits(variable: tf.Variable) -> bool:
  """Whether the kernels can work on a variable: float32, on a CPU."""
  return variable.dtype == tf.float32 and is_on_cpu(variable)


def is_on_cpu(variable: tf.Variable) -> bool:
  return tf.DeviceSpec.from_string(variable.device).device_type == 'CPU'


def _load() -> Any | None:
  try:
    path = build.library()
    try:
      return tf.load_op_library(str(path))
    except tf.errors.OpError:
      # It was compiled on a different system.
      return tf.load_op_library(str(build.library(broken=path)))
  except (build.BuildError, tf.errors.OpError) as error:
    reason = str(error).splitlines()[0]
  print(
    f'The kernels cannot be used: {reason}; the slower TensorFlow operations '
    'are used instead.',
    file=sys.stderr,
    flush=True,
  )
  return None


@tf.RegisterGradient('RiglSparseChain')
def _chain_gradient(op, dy, _):
  operations = load()
  count = op.get_attr('L')
  arguments = {
    'dy': dy,
    'saved': op.outputs[1],
    'values': op.inputs[1 : count + 1],
    'structure': op.inputs[count + 1 : 2 * count + 1],
    'bias': op.inputs[2 * count + 1 :],
    'units': op.get_attr('units'),
    'activations': op.get_attr('activations'),
  }
  # Two operations, of which a train step nearly always needs only one: the
  # other is never run.
  dx = operations.rigl_sparse_chain_input_gradient(**arguments)
  gradients = operations.rigl_sparse_chain_weight_gradient(**arguments)
  return [dx, *gradients.dvalues, *[None] * count, *gradients.dbias]


@tf.RegisterGradient('RiglSparseConvolution')
def _convolution_gradient(op, dy, _):
  operations = load()
  x, values, structure, bias = op.inputs
  del x
  y, saved = op.outputs
  names = ('image', 'window', 'strides', 'padding', 'filters', 'activation')
  attributes = {name: op.get_attr(name) for name in names}
  delta = operations.rigl_sparse_convolution_delta(dy=dy, y=y, **attributes)
  # As of a chain: the first layer's is never run.
  dx = operations.rigl_sparse_convolution_input_gradient(
    dy=dy, delta=delta, values=values, structure=structure, **attributes
  )
  gradients = operations.rigl_sparse_convolution_weight_gradient(
    delta=delta,
    saved=saved,
    values=values,
    structure=structure,
    bias=bias,
    **attributes,
  )
  return dx, gradients.dvalues, None, gradients.dbias


@tf.RegisterGradient('RiglSparseScatter')
def _scatter_gradient(op, dkernel):
  """The dense gradient, which mask updates need, as of a masked kernel.

  It has the kernel's shape, not that of the values; `SparseOptimizer` knows.
  With `sparse_gradient` it is the values'.
  """
  if not op.get_attr('sparse_gradient'):
    return dkernel, None
  values, structure = op.inputs
  dvalues = load().rigl_sparse_gather(
    kernel=dkernel, structure=structure, capacity=values.shape[0]
  )
  return dvalues, None
