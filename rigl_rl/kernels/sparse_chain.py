"""Layers that hold their active weights only, as differentiable operations."""

from __future__ import annotations

from typing import Any, Sequence

import tensorflow as tf

from rigl_rl.kernels import loader


def chain(
  operations: Any,
  x: tf.Tensor,
  values: Sequence[tf.Tensor],
  structures: Sequence[tf.Tensor],
  biases: Sequence[tf.Tensor],
  units: Sequence[int],
  activations: Sequence[str],
) -> tf.Tensor:
  """Sends examples through sparse layers, one after the other.

  Args:
    operations: what `loader.load` returned.
    x: `(batch, units[0])`.
    values: of each layer, its active weights.
    structures: of each layer, where they lie.
    biases: of each layer, its bias, or an empty vector.
    units: the inputs, and the outputs of each layer.
    activations: of each layer, 'linear', 'relu' or 'tanh'.

  Returns:
    float32 `(batch, units[-1])`.
  """
  return operations.rigl_sparse_chain(
    x=x,
    values=values,
    structure=structures,
    bias=biases,
    units=list(units),
    activations=list(activations),
  ).y


@tf.RegisterGradient('RiglSparseChain')
def _chain_gradient(op, dy, _):
  operations = loader.load()
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
  # Two operations, of which a train step nearly always needs one alone: the
  # other is never run.
  dx = operations.rigl_sparse_chain_input_gradient(**arguments)
  gradients = operations.rigl_sparse_chain_weight_gradient(**arguments)
  return [dx, *gradients.dvalues, *[None] * count, *gradients.dbias]


@tf.RegisterGradient('RiglSparseScatter')
def _scatter_gradient(op, dkernel):
  """The gradient of all weights, inactive ones too.

  As that of a kernel that is stored masked: masks are updated by it. It has the
  kernel's shape, not that of the values; `SparseOptimizer` knows what to do.
  """
  del op
  return dkernel, None
