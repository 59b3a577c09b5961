"""Measurements to understand sparse training; none of them changes it."""

from __future__ import annotations

import contextlib
from typing import Callable, Iterator, NamedTuple, Sequence

import tensorflow as tf

from rigl_rl.sparsity import step_plan

# The least σ, as a share of the gradients' root mean square: float32 sums over
# a minibatch cannot tell a smaller one from 0.
_SIGMA_FLOOR = 1e-3


class Call(NamedTuple):
  """One call of a layer, as `record_layers` saw it."""

  layer: tf.keras.layers.Layer
  inputs: tf.Tensor  # `(batch, ..., in)`
  pre_activation: tf.Tensor  # `(batch, ..., out)`
  affine: Callable[[tf.Tensor], tf.Tensor]  # Without the activation function.


@contextlib.contextmanager
def record_layers(
  layers: Sequence[tf.keras.layers.Layer],
) -> Iterator[list[Call]]:
  """Yields a list that grows by a `Call` with each call of some layers.

  In a tf.function, enter it inside the function: it acts during tracing.
  """
  calls: list[Call] = []
  with contextlib.ExitStack() as stack:
    for layer in layers:
      layer.call = _recorded_call(layer, calls)
      stack.callback(delattr, layer, 'call')
    yield calls


def _recorded_call(layer, calls):
  """Returns a layer's `call` that appends to `calls`."""
  keras_layer = getattr(layer, 'layer', layer)
  original = layer.call
  activation = keras_layer.activation

  def affine(inputs):
    keras_layer.activation = None
    try:
      return original(inputs)
    finally:
      keras_layer.activation = activation

  def call(inputs):
    pre_activation = affine(inputs)
    calls.append(Call(layer, inputs, pre_activation, affine))
    return pre_activation if activation is None else activation(pre_activation)

  return call


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

  A parameter whose gradient is 0 in every example counts as 0. σ is at least
  0.001 of the gradients' root mean square, so that a ratio is at most 1000: the
  paper's is infinite where all examples have the same gradient.

  Args:
    loss_fn: returns the loss of each example, `(batch,)`, without weight decay.
      It calls each layer once on the whole batch; calls through which no
      gradient flows do not count.
    layers: SparseWrappers, or bare Dense, Conv1D or Conv2D layers, whose
      parameters count.

  Returns:
    float32 scalar, >= 0.

  Raises:
    ValueError: if no gradient reaches a layer, or more than one call does.
  """
  plan = step_plan.StepPlan(computes_densely=True)
  # Not persistent, and closed before the gradients of single examples.
  with record_layers(layers) as calls, tf.GradientTape() as tape:
    loss = tf.reduce_sum(plan.bind(loss_fn)())
  deltas = tape.gradient(loss, [call.pre_activation for call in calls])

  total, count = tf.constant(0.0), 0
  for layer in layers:
    reached = [
      (call, delta)
      for call, delta in zip(calls, deltas)
      if call.layer is layer and delta is not None
    ]
    if len(reached) != 1:
      problem = (
        'calls it more than once' if reached else 'has no gradient in it'
      )
      raise ValueError(
        f'gradient_snr needs one call of layer {layer.name}, but the loss '
        f'{problem}.'
      )
    [(call, delta)] = reached
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


def _gradient_moments(call: Call, delta: tf.Tensor):
  """Returns (Σ_b g_b, Σ_b g_b²) of a layer's kernel, and of its bias if any."""
  layer = getattr(call.layer, 'layer', call.layer)
  if isinstance(layer, tf.keras.layers.Dense) and delta.shape.rank == 2:
    inputs = call.inputs
    moments = [
      [tf.matmul(inputs**n, delta**n, transpose_a=True) for n in (1, 2)]
    ]
    if layer.use_bias:
      moments.append([tf.reduce_sum(delta**n, axis=0) for n in (1, 2)])
    return moments

  # A convolution's gradients are sums over positions, squared afterwards. One
  # example at a time: all gradients at once would not fit into memory.
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
