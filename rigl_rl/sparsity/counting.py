"""What a sparse network costs: parameters, FLOPs and memory.

FLOPs are counted as in Evci et al. (2020, appendix H): two, a multiplication
and an addition, for each active weight, in a convolution times the positions of
its output. Biases, activation functions, pooling, the loss, the optimizer and a
target network's forward pass are not counted.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Mapping, Sequence

import numpy as np
import tensorflow as tf

from rigl_rl.sparsity import algorithms, distributions, schedules, wrappers

_BYTES = 4  # of a float32 number


@dataclasses.dataclass(frozen=True)
class LayerCount:
  """The size of one layer.

  `positions` is at how many of the output each weight is used: 1 in a dense
  layer, height × width of the output in a convolution. `sparsity`, in [0, 1),
  is the target, which pruning reaches at the end.
  """

  name: str  # Path of the layer.
  kernel_shape: tuple[int, ...]  # `(*window, in, out)`
  biases: int
  positions: int
  sparsity: float
  active_weights: int

  @property
  def weights(self) -> int:
    """Weights, inactive ones too."""
    return math.prod(self.kernel_shape)

  @property
  def parameters(self) -> int:
    return self.active_weights + self.biases

  @property
  def forward_flops(self) -> int:
    """FLOPs of one example's forward pass; f_S of Evci et al."""
    return 2 * self.active_weights * self.positions

  @property
  def dense_forward_flops(self) -> int:
    """FLOPs of the forward pass if nothing were masked; f_D of Evci et al."""
    return 2 * self.weights * self.positions

  def with_sparsity(self, sparsity: float) -> LayerCount:
    """Returns the same layer at another sparsity, in [0, 1)."""
    zeros = distributions.num_zeros(self.weights, sparsity)
    return dataclasses.replace(
      self, sparsity=sparsity, active_weights=self.weights - zeros
    )


def _total(name: str) -> Any:
  """Makes a property: the sum of a LayerCount's property over the layers."""
  return property(
    lambda network: sum(getattr(layer, name) for layer in network.layers)
  )


@dataclasses.dataclass(frozen=True)
class NetworkCount:
  """The size of a network: its layers, first layer first, and sums over them.

  `parameters`, active weights and biases, is what the figures show.
  """

  layers: tuple[LayerCount, ...]

  weights = _total('weights')
  active_weights = _total('active_weights')
  biases = _total('biases')
  parameters = _total('parameters')
  forward_flops = _total('forward_flops')
  dense_forward_flops = _total('dense_forward_flops')

  @property
  def sparsity(self) -> float:
    """Share of zeros among all weights."""
    return 1 - self.active_weights / self.weights

  @property
  def shapes(self) -> dict[str, tuple[int, ...]]:
    """Kernel shape of each layer, by name, as distributions take them."""
    return {layer.name: layer.kernel_shape for layer in self.layers}

  def with_sparsities(self, sparsities: Mapping[str, float]) -> NetworkCount:
    """Returns the same network with other sparsities of the named layers."""
    return NetworkCount(
      tuple(
        layer.with_sparsity(sparsities.get(layer.name, layer.sparsity))
        for layer in self.layers
      )
    )


def count_network(
  model: tf.keras.layers.Layer,
  layers: Sequence[wrappers.SparseWrapper] = (),
  current: bool = False,
) -> NetworkCount:
  """Counts a built network.

  Args:
    model: a built Keras model or TF-Agents network.
    layers: what `sparsify` returned; needed only if the model was not built
      from wrapped layers.
    current: whether to count the present masks, rather than by the target
      sparsity, floor(sparsity · weights) being zero: with pruning, the
      end of training; with random counts, their expectation.

  Returns:
    The sizes of all Dense, Conv1D and Conv2D layers.

  Raises:
    ValueError: if a convolution was built without a fixed image size.
  """
  wrapper_of = {id(wrapper.layer): wrapper for wrapper in layers}
  counts = []
  for name, layer in wrappers.named_layers(model).items():
    wrapper = wrapper_of.get(id(layer), layer)
    count = LayerCount(
      name,
      tuple(wrapper.kernel.shape),
      biases=0 if wrapper.bias is None else int(wrapper.bias.shape[0]),
      positions=_positions(name, layer),
      sparsity=0.0,
      active_weights=wrapper.kernel.shape.num_elements(),
    )
    if isinstance(wrapper, wrappers.SparseWrapper):
      count = count.with_sparsity(wrapper.sparsity)
      if current:
        active = int(np.count_nonzero(wrapper.mask))
        count = dataclasses.replace(count, active_weights=active)
    counts.append(count)
  return NetworkCount(tuple(counts))


def _positions(name: str, layer: tf.keras.layers.Layer) -> int:
  """Positions of a layer's output at which each of its weights is used."""
  if len(layer.kernel.shape) == 2:
    return 1
  input_shape = layer.get_build_config()['input_shape']
  output_shape = tuple(layer.compute_output_shape(input_shape))
  if None in output_shape[1:-1]:
    raise ValueError(
      f'Layer {name} was built without a fixed image size: its output has '
      f'the shape {output_shape}.'
    )
  return math.prod(output_shape[1:-1])


def training_flops(
  size: LayerCount | NetworkCount,
  algorithm: algorithms.SparseAlgorithm,
  schedule: schedules.UpdateSchedule,
  total_steps: int,
  period: int = 1,
) -> float:
  """FLOPs per example of one gradient step, a mean over training.

  The whole training costs this times the batch size and the gradient steps,
  `total_steps / period`.

  A backward pass costs twice a forward pass, f_S sparse or f_D dense (Evci et
  al., 2020, appendix H), so that the mean is

  * dense: 3 f_D
  * static, SET, DS and others that need no dense gradient: 3 f_S
  * RigL and others that need a dense gradient every ΔT steps:
    (3 f_S ΔT + 2 f_S + f_D) / (ΔT + 1)
  * pruning and others that have a `sparsity_at`: 3 f_D, times the mean over all
    steps of the density in force.

  Args:
    size: a layer or network at its target sparsity.
    algorithm: what trains it.
    schedule: when masks change, in train steps of the agent.
    total_steps: train steps of the whole training.
    period: train steps per gradient step, >= 1; more than 1 in TD3's actor. ΔT,
      in gradient steps, is shorter by as much.
  """
  if isinstance(size, NetworkCount):
    return sum(
      training_flops(layer, algorithm, schedule, total_steps, period)
      for layer in size.layers
    )
  sparse, dense = size.forward_flops, size.dense_forward_flops
  if size.sparsity == 0 or isinstance(algorithm, algorithms.Dense):
    return 3.0 * dense
  if hasattr(algorithm, 'sparsity_at'):
    bound = algorithm.bind(size.sparsity, schedule)
    return 3.0 * dense * mean_density(bound, schedule, total_steps)
  if algorithm.needs_dense_gradient:
    interval = max(schedule.interval / period, 1)
    return (3.0 * sparse * interval + 2 * sparse + dense) / (interval + 1)
  return 3.0 * sparse


def mean_density(
  algorithm: Any, schedule: schedules.UpdateSchedule, total_steps: int
) -> float:
  """Mean density, in (0, 1], of a pruned layer over all gradient steps.

  Args:
    algorithm: bound to a layer's sparsity and the schedule; `sparsity_at` gives
      the sparsity after an update at a gradient step.
    schedule: when masks change; a mask is in force from the next step.
    total_steps: gradient steps of the whole training.
  """
  updates = schedule.update_steps(algorithm.updates_at_window_end)
  densities = 1 - np.asarray(algorithm.sparsity_at(updates))
  # Dense in the steps 0 to updates[0]; then until the next update's step.
  starts = np.concatenate([[0], updates + 1, [total_steps]])
  return float(
    np.diff(starts) @ np.concatenate([[1.0], densities]) / total_steps
  )


def actor_critic_training_flops(
  actor_weights: int,
  critic_weights: int,
  batch_size: int,
  steps: int,
  actor_period: int = 2,
) -> float:
  """FLOPs of a whole training as Sokar et al. (2022) count them.

    3 · 2 · (critic weights + actor weights / actor period) · batch · steps

  Their dense TD3 on HalfCheetah comes to 1.0744e14: they count all 1 M
  environment steps, including the 25,000 random ones before training.

  Args:
    actor_weights: active weights of the actor, without biases.
    critic_weights: active weights of all online critics together.
    batch_size: examples in a minibatch.
    steps: environment steps, with one critic step each.
    actor_period: critic steps per actor step.
  """
  weights = critic_weights + actor_weights / actor_period
  return 6.0 * weights * batch_size * steps


def memory_bytes(
  network: NetworkCount, slots: int = 2, simulated: bool = False
) -> int:
  """Bytes of parameters and optimizer slots, as float32.

  Args:
    network: its size.
    slots: of the optimizer per parameter; 2 in Adam.
    simulated: whether every weight is stored, and a mask; by default only
      active weights are, and their indices are not counted.
  """
  stored = network.parameters * (1 + slots)
  if simulated:
    stored = network.weights * (2 + slots) + network.biases * (1 + slots)
  return _BYTES * stored
