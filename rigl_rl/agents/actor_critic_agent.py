"""ActorCriticAgent: what sparse SAC, TD3 and PPO add to TF-Agents' agents."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import tensorflow as tf
from tf_agents.policies import greedy_policy
from tf_agents.trajectories import time_step as ts

from rigl_rl.agents import sparse_networks
from rigl_rl.sparsity import diagnostics, sparse_kernel, wrappers


class ActorCriticAgent:
  """A mixin for TF-Agents' actor-critic agents, before the stock class.

  The subclass sets all attributes, `_numpy_actor` (a
  `numpy_mlp.NumpyActor`), `_rng` (of exploration), and
  `_summarize_gradient_snr` (whether summaries hold the signal-to-noise ratio of
  the gradients). It also gives

    _last_losses(): the losses of the last train step, by name, {} before it:
      'total', and its parts by the network (or temperature) they train.
    _train_scalars(): what TensorBoard shows as train/NAME beside the losses.
    _mean_losses(): the size of the last minibatch; and by name, a function that
      computes the mean loss on it, and the networks whose gradients count.
    _other_variables: those of no trained network, nor of its optimizer.

  Attributes:
    networks: the trained networks, by name.
  """

  networks: sparse_networks.SparseNetworks
  # What to bind where a loss is not finite.
  _remedy = 'a lower adam.learning_rate'

  def greedy_policy(self) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from observations (batch, n) to actions (batch, m).

    Without any noise, by the weights of this moment.
    """
    self._numpy_actor.refresh()
    return self._numpy_actor

  def greedy_actions(self, observations: tf.Tensor) -> tf.Tensor:
    """As `greedy_policy`, in a graph, by TF-Agents' own policy."""
    time_step = ts.transition(
      observations, tf.zeros(tf.shape(observations)[:1])
    )
    return greedy_policy.GreedyPolicy(self.policy).action(time_step).action

  @property
  def state_shape(self) -> tuple[int, ...]:
    """The shape of an observation that `greedy_policy` takes: `(n,)`."""
    return tuple(self.time_step_spec.observation.shape)

  @property
  def observation_dtype(self) -> tf.DType:
    return self.time_step_spec.observation.dtype

  def gradient_snr(self) -> dict[str, tf.Tensor]:
    """Signal-to-noise ratios of the gradients on the last minibatch.

    Returns:
      Float32 scalars by name: 'actor', and 'critic' (both critics together) or
      'value'.
    """
    # The losses are means over the minibatch, and the diagnostics need the sum.
    # Weight decay in them reaches no layer's output, so it has no effect.
    size, losses = self._mean_losses()
    return {
      name: diagnostics.gradient_snr(
        lambda loss=loss: size * loss(),
        [
          layer
          for network in networks
          for layer in wrappers.named_layers(self.networks[network]).values()
        ],
      )
      for name, (loss, networks) in losses.items()
    }

  def write_summaries(self) -> None:
    """Writes losses, masks and, when asked, gradients' SNR to TensorBoard."""
    losses = self._last_losses()
    if not losses:
      return
    for name, value in losses.items():
      tf.summary.scalar(f'train/loss/{name}', value)
    for name, value in self._train_scalars().items():
      tf.summary.scalar(f'train/{name}', value)
    self.networks.write_summaries()
    if self._summarize_gradient_snr:
      for name, ratio in self.gradient_snr().items():
        tf.summary.scalar(f'gradients/snr/{name}', ratio)

  @property
  def last_loss(self) -> float | None:
    """The loss of the last train step: PPO's, or the critics'."""
    losses = self._last_losses()
    name = 'critic' if 'critic' in losses else 'total'
    return float(losses[name]) if losses else None

  @property
  def title(self) -> str:
    """The method in words; see `SparseNetworks.title`."""
    return self.networks.title

  def describe(self) -> dict[str, Any]:
    """Returns the networks' current sizes and costs."""
    return self.networks.describe()

  def get_state(self) -> dict[str, Any]:
    """Returns all that a resumed run needs, as arrays and JSON values."""
    return {
      'networks': self.networks.get_state(),
      'others': list(map(sparse_kernel.read, self._other_variables)),
      'exploration': self._rng.bit_generator.state,
    }

  def set_state(self, state: dict[str, Any]) -> None:
    """Restores what `get_state` returned, bit for bit."""
    self.networks.set_state(state['networks'])
    sparse_kernel.assign(self._other_variables, state['others'])
    self._rng.bit_generator.state = state['exploration']
