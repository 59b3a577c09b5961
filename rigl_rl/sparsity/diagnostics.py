"""What is measured to understand sparse training, and changes nothing in it."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Callable, Iterator, Sequence

import tensorflow as tf

from rigl_rl.sparsity import step_plan, wrappers

# σ is held at this share of the gradients' root mean square or above: float32
# sums over a minibatch do not tell smaller ones from 0.
_SIGMA_FLOOR = 1e-3


@dataclasses.dataclass(frozen=True)
class Call:
  """One call of a layer, as `record_layers` saw it.

  Attributes:
    layer: the wrapper or Keras layer.
    inputs: `(batch, ..., in)`.
    pre_activation: `(batch, ..., out)`, before the activation function.
    affine: the layer without its activation function, as it can be called.
  """

  layer: tf.keras.layers.Layer
  inputs: tf.Tensor
  pre_activation: tf.Tensor
  affine: Callable[[tf.Tensor], tf.Tensor]


@contextlib.contextmanager
def record_layers(
  layers: Sequence[tf.keras.layers.Layer],
) -> Iterator[list[Call]]:
  """Records every call of some layers, and leaves their results as they are.

  Inside a tf.function, enter it inside the function too: it acts while the
  function is traced.

  Args:
    layers: SparseWrappers, or bare Dense, Conv1D or Conv2D layers.

  Yields:
    A list that grows by a `Call` with each call.
  """
  calls: list[Call] = []
  with contextlib.ExitStack() as stack:
    for layer in layers:
      stack.enter_context(_record(layer, calls))
    yield calls


@contextlib.contextmanager
def _record(layer, calls):
  """Replaces the `call` of one layer for a while."""
  keras_layer = _keras_layer(layer)
  original = layer.call

  def affine(inputs):
    activation, keras_layer.activation = keras_layer.activation, None
    try:
      return original(inputs)
    finally:
      keras_layer.activation = activation

  def call(inputs):
    pre_activation = affine(inputs)
    activation = keras_layer.activation
    calls.append(Call(layer, inputs, pre_activation, affine))
    return pre_activation if activation is None else activation(pre_activation)

  layer.call = call
  try:
    yield
  finally:
    del layer.call


def gradient_snr(
  loss_fn: Callable[[], tf.Tensor],
  layers: Sequence[tf.keras.layers.Layer],
) -> tf.Tensor:
  """Signal-to-noise ratio of a minibatch's gradients (Graesser et al., §7).

  The mean over all weights and biases, inactive weights too, of

    |μ| / σ,   μ = mean_b g_b,   σ² = mean_b g_b² − μ²,

  g_b the gradient of example b's loss. No Jacobian is made: where a dense layer
  has inputs X and gradients Δ of its pre-activations, Σ_b g_b = XᵀΔ and
  Σ_b g_b² = (X²)ᵀ(Δ²).

  A parameter whose gradient is 0 in every example counts as 0. σ is held at
  0.001 of the gradients' root mean square or above, so that a ratio is at most
  1000: the paper's is infinite where all examples have the same gradient.

  Args:
    loss_fn: returns the loss of each example, `(batch,)`. It calls each layer
      once on the whole batch, first dimension first; calls through which no
      gradient flows do not count. Weight decay is not part of it.
    layers: SparseWrappers, or bare Dense, Conv1D or Conv2D layers; those whose
      parameters count.

  Returns:
    float32 scalar, >= 0.

  Raises:
    ValueError: if a layer is reached by no gradient, or by more than one call.
  """
  layers = list(layers)
  # Not persistent, and closed before the gradients of single examples.
  with record_layers(layers) as calls, tf.GradientTape() as tape:
    loss = tf.reduce_sum(_Dense().bind(loss_fn)())
  deltas = tape.gradient(loss, [call.pre_activation for call in calls])

  reached = {}
  for call, delta in zip(calls, deltas):
    if delta is None:
      continue
    if id(call.layer) in reached:
      raise ValueError(
        f'gradient_snr: the loss calls layer {call.layer.name} more than once.'
      )
    reached[id(call.layer)] = (call, delta)

  total, count = tf.constant(0.0), 0
  for layer in layers:
    if id(layer) not in reached:
      raise ValueError(
        f'gradient_snr: the loss has no gradient in layer {layer.name}.'
      )
    call, delta = reached[id(layer)]
    batch = tf.cast(tf.shape(delta)[0], tf.float32)
    for first, second in _gradient_moments(call, delta):
      mean, mean_square = first / batch, second / batch
      variance = tf.maximum(
        mean_square - mean**2, _SIGMA_FLOOR**2 * mean_square
      )
      ratio = tf.math.divide_no_nan(tf.abs(mean), tf.sqrt(variance))
      total += tf.reduce_sum(ratio)
      count += ratio.shape.num_elements()
  return total / count


class _Dense(step_plan.StepPlan):
  """Lets wrapped layers compute one by one, with dense gradients."""

  def computes_densely(self, layer):
    return True


def _gradient_moments(call: Call, delta: tf.Tensor):
  """Returns (Σ_b g_b, Σ_b g_b²) of a layer's kernel, and of its bias if any."""
  layer = _keras_layer(call.layer)
  if isinstance(layer, tf.keras.layers.Dense) and delta.shape.rank == 2:
    inputs = call.inputs
    moments = [
      (
        tf.matmul(inputs, delta, transpose_a=True),
        tf.matmul(inputs**2, delta**2, transpose_a=True),
      )
    ]
    if layer.use_bias:
      moments.append(
        (tf.reduce_sum(delta, axis=0), tf.reduce_sum(delta**2, axis=0))
      )
    return moments

  # A weight of a convolution adds up over positions before it is squared: one
  # example at a time, as all gradients at once would not fit into memory.
  parameters = [layer.kernel] + ([layer.bias] if layer.use_bias else [])

  def add_example(sums, example):
    inputs, example_delta = example
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(parameters)
      outputs = call.affine(inputs[tf.newaxis])
    gradients = tape.gradient(
      outputs, parameters, output_gradients=example_delta[tf.newaxis]
    )
    return [
      (first + gradient, second + gradient**2)
      for (first, second), gradient in zip(sums, gradients)
    ]

  zeros = [(tf.zeros(p.shape), tf.zeros(p.shape)) for p in parameters]
  return tf.foldl(add_example, (call.inputs, delta), initializer=zeros)


def _keras_layer(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
  return layer.layer if isinstance(layer, wrappers.SparseWrapper) else layer
