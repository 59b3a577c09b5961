"""A multi-layer perceptron's forward pass in NumPy.

One call of a TensorFlow function costs more than all the arithmetic of a small
network on one state, so acting in NumPy is several times as fast.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from rigl_rl.sparsity import wrappers

Weights = Sequence[tuple[np.ndarray, np.ndarray]]


class NumpyMLP:
  """Dense layers with ReLU between them, and none after the last.

  Holds the weights as they were given: give them anew when they have changed.
  """

  def __init__(self, weights: Weights):
    """Initializes the network.

    Args:
      weights: (kernel, bias) of each layer, first layer first; kernels
        `(in, out)`, biases `(out,)`. float32 arrays are used without a copy.

    Raises:
      ValueError: if the shapes do not fit together.
    """
    self._buffers = {}
    self.set_weights(weights)

  def set_weights(self, weights: Weights) -> None:
    """Replaces the weights; their shapes may differ from the ones before."""
    weights = [
      (np.asarray(kernel, np.float32), np.asarray(bias, np.float32))
      for kernel, bias in weights
    ]
    for i, (kernel, bias) in enumerate(weights):
      fan_in = kernel.shape[0] if i == 0 else weights[i - 1][0].shape[-1]
      if kernel.ndim != 2 or kernel.shape != (fan_in, *bias.shape):
        raise ValueError(
          f'Layer {i} has a kernel of shape {kernel.shape} and a bias of '
          f'shape {bias.shape}, after {fan_in} units.'
        )
    units = [kernel.shape[1] for kernel, _ in weights]
    if self._buffers and units != self._units:
      self._buffers = {}
    self._units = units
    self._weights = weights

  def __call__(self, states: np.ndarray) -> np.ndarray:
    """Computes the outputs.

    Args:
      states: `(batch, *state)`, of any number type; flattened.

    Returns:
      float32 array `(batch, outputs)`. The next call with a batch of this size
      overwrites it: copy what is to last.
    """
    batch = len(states)
    buffers = self._buffers.get(batch)
    if buffers is None:
      # One set for each batch size: a few sizes, acting and evaluation, recur.
      buffers = [np.empty((batch, n), np.float32) for n in self._units]
      self._buffers[batch] = buffers
    x = np.asarray(states, np.float32).reshape(batch, -1)
    last = len(buffers) - 1
    for i, ((kernel, bias), out) in enumerate(zip(self._weights, buffers)):
      np.dot(x, kernel, out=out)
      out += bias
      if i < last:
        np.maximum(out, 0.0, out=out)
      x = out
    return x


def read_weights(model) -> list[tuple[np.ndarray, np.ndarray]]:
  """Reads a built Keras MLP's weights, for `NumpyMLP`.

  Args:
    model: a model whose dense layers, all with biases, follow one another, with
      ReLU between them, such as an MLPQNetwork.

  Returns:
    (kernel, bias) of each layer, first layer first.
  """
  layers = wrappers.named_layers(model).values()
  return [(layer.kernel.numpy(), layer.bias.numpy()) for layer in layers]


def numpy_forward(weights: Weights, states: np.ndarray) -> np.ndarray:
  """Computes an MLP's outputs once; see `NumpyMLP`, which is faster in a loop.

  Args:
    weights: (kernel, bias) of each layer, first layer first.
    states: `(batch, *state)`, of any number type.

  Returns:
    float32 array `(batch, outputs)`.
  """
  return NumpyMLP(weights)(states)
