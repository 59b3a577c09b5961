"""QLearner: the Q-networks of DQN, and the gradient steps that train them."""

from __future__ import annotations

import functools
import os
import threading
from concurrent import futures
from typing import Any, Callable

import numpy as np
import tensorflow as tf

from rigl_rl import seeding
from rigl_rl.networks import numpy_mlp, q_networks
from rigl_rl.runtime import traced
from rigl_rl.sparsity import (
  compression,
  diagnostics,
  sparse_kernel,
  step_plan,
  wrappers,
)
from rigl_rl.sparsity import optimizer as sparse_optimizer

# Of transitions: states `(batch, *state)`; actions, rewards, and 1 where the
# next state is terminal, `(3, batch)`, since one tensor is faster to pass than
# three; next states.
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


class GreedyPolicy:
  """Maps states (batch, *state) to the actions of the largest Q-values.

  Attributes:
    q_values: maps states to Q-values (batch, num_actions); a `NumpyMLP` where
      the network is an MLP.
  """

  def __init__(self, q_values: Callable[[np.ndarray], Any]):
    self.q_values = q_values

  def __call__(self, states: np.ndarray) -> np.ndarray:
    return np.argmax(np.asarray(self.q_values(states)), axis=1)


def _has_core_left() -> bool:
  """Whether a thread has a core to itself while TensorFlow's all work."""
  threads = tf.config.threading.get_inter_op_parallelism_threads()
  return 0 < threads < len(os.sched_getaffinity(0))


class QLearner:
  """Trains a Q-network by the Bellman equation (Mnih et al., 2015).

  A gradient step has two parts: `begin` takes a minibatch, and `finish` changes
  the weights. With `overlaps`, a thread computes the gradient in between, while
  the caller does something else. All tracing happens in the caller's thread.

  Attributes:
    online, target: the Q-networks; the target starts as a copy.
    layers: the online network's sparse layers.
    optimizer: the online network's.
    overlaps: whether a thread computes gradients.
    batch: the last minibatch that a step began with.
    loss: of the last step that was finished, a scalar; None before.
  """

  def __init__(
    self,
    build: Callable[
      [], tuple[q_networks.QNetwork, list[wrappers.SparseWrapper]]
    ],
    optimizer: tf.keras.optimizers.legacy.Optimizer,
    total_steps: int,
    seed: int,
    losses: Callable[..., tf.Tensor],
    batch_size: int,
    observation_dtype: tf.DType,
    overlaps: bool,
  ):
    """Builds the networks, and traces a gradient step; see `SparseDQNAgent`.

    Args:
      build: returns a network and its sparse layers, the same at each call.
      optimizer: the inner optimizer.
      total_steps: gradient steps of the whole training.
      seed: the run's SEED.
      losses: `SparseDQNAgent.compute_losses`.
      batch_size: transitions in a minibatch.
      observation_dtype: of states.
      overlaps: see the class.
    """
    self.online, self.layers = build()
    self.target, _ = build()
    self.optimizer = sparse_optimizer.make_sparse_optimizer(
      optimizer,
      self.layers,
      total_steps,
      seed=seeding.stream_seed(seed, 'growth'),
    )
    self._compressor = compression.Compressor(
      self.online, [self.target], self.optimizer
    )
    self._compressor.compress()
    self.optimizer.create_slots(self.online.trainable_variables)
    self._losses = losses
    self._batch_size = batch_size
    self._observation_dtype = observation_dtype
    self.overlaps = overlaps
    self._thread = futures.ThreadPoolExecutor(1) if overlaps else None
    self._planner = step_plan.StepPlanner([self.optimizer])
    self._steps_done = 0
    # Of the gradient step that has begun: its plan, what it calls (see
    # `_trace`), and the loss and the gradients if a thread computes them.
    self._begun = None
    self._has_loss = threading.Event()
    self._waits_for_loss = overlaps and not _has_core_left()
    self.batch = None
    self.loss = None
    self._begin_tracing()

  def _begin_tracing(self) -> None:
    """Traces again, with the current variables."""
    # One trace per plan. The most common one now, to find mistakes early.
    self._traced = functools.lru_cache(maxsize=None)(self._trace)
    self._traced(step_plan.StepPlan())
    self.q_values = self._trace_function(self._act, self._states(1))
    # For any number of states.
    self._batch_q_values = tf.function(self._act)

  def _states(self, count: int) -> tf.TensorSpec:
    return tf.TensorSpec(
      (count, *self.online.state_shape), self._observation_dtype
    )

  def _trace_function(self, function, *specs, **how: bool) -> traced.Traced:
    is_small = traced.is_small_step([self.online], self._batch_size)
    return traced.Traced(
      function,
      *specs,
      in_turn=is_small and not self.overlaps,
      has_helpers=not self.overlaps,
      **how,
    )

  def _trace(self, plan: step_plan.StepPlan) -> tuple[traced.Traced, ...]:
    """Returns `_train`; or, if it overlaps, gradients' and step's function."""
    states = self._states(self._batch_size)
    batch = (states, tf.TensorSpec((3, self._batch_size), tf.float32), states)
    if not self.overlaps:
      train = self._trace_function(
        plan.bind(self._train),
        *batch,
        self._states(1),
        packed=self._observation_dtype == tf.float32,
      )
      return (train,)
    gradients = self._trace_function(
      plan.bind(self._compute_gradients), *batch, takes_part=False
    )
    step = self._trace_function(
      plan.bind(self._apply_gradients),
      *(tf.TensorSpec(each.shape) for each in gradients.outputs[1:]),
    )
    return gradients, step

  def _example_losses(self, states, scalars, next_states):
    """Loss per example of a `Batch`, (batch,)."""
    actions, rewards, terminals = tf.unstack(scalars)
    return self._losses(
      self.online,
      self.target,
      states,
      tf.cast(actions, tf.int32),
      rewards,
      terminals,
      next_states,
    )

  def _compute_gradients(self, *batch):
    """The loss on a minibatch, and its gradients."""
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(self._example_losses(*batch))
      weight_decay = self.online.losses  # Each access computes it.
      if weight_decay:
        loss += tf.add_n(weight_decay)
    if self._waits_for_loss:
      has_loss = self._has_loss  # TensorFlow keeps the function for ever.
      tf.numpy_function(lambda _: has_loss.set(), [loss], [])
    return loss, tape.gradient(loss, self.online.trainable_variables)

  def _apply_gradients(self, *gradients):
    self.optimizer.apply_gradients(
      zip(gradients, self.online.trainable_variables)
    )

  def _train(self, *batch_and_state):
    """Takes a whole step; returns the loss, and Q-values to act on."""
    *batch, state = batch_and_state
    loss, gradients = self._compute_gradients(*batch)
    self._apply_gradients(*gradients)
    # Acting in the same call avoids a second one, and reading all weights.
    return loss, self._act(state)

  def _act(self, states):
    """Q-values of states, to act on: the same bits wherever it is traced."""
    return step_plan.StepPlan().bind(self.online)(states)

  @property
  def has_begun(self) -> bool:
    """Whether a gradient step has begun, and is not finished."""
    return self._begun is not None

  def begin(self, batch: Batch) -> None:
    """Begins a gradient step on a minibatch, not to change until its end.

    Where it overlaps and no core is left to the caller, waits for the loss.
    Both networks' forward passes keep two cores busy, and a third thread would
    delay one of them, and so the rest; the way back leaves a core free at
    times.
    """
    if self._compressor.compress():
      self._begin_tracing()
    self.batch = batch
    plan = self._planner.plan(self._steps_done)
    functions = self._traced(plan)
    gradients = None
    if self._thread is not None:
      self._has_loss.clear()
      gradients = self._thread.submit(functions[0], *map(traced.share, batch))
      gradients.add_done_callback(lambda _: self._has_loss.set())
      if self._waits_for_loss:
        self._has_loss.wait()
    self._begun = plan, functions, gradients

  def finish(self, state: np.ndarray) -> tf.Tensor | None:
    """Finishes the step; returns Q-values of `(1, *state)` by new weights.

    Or None if it overlaps: the next gradient step can begin before one acts.
    """
    plan, functions, gradients = self._begun
    q_values = None
    self._begun = None
    if gradients is None:
      self.loss, q_values = functions[0](*self.batch, state)
    else:
      self.loss, values = gradients.result()
      functions[1](*values)
    if plan.mask_updates:
      self._compressor.note_new_masks()
    self._steps_done += 1
    return q_values

  def _wait(self) -> None:
    """Waits for the thread, which reads both networks."""
    if self._begun is not None and self.overlaps:
      futures.wait([self._begun[-1]])

  def sync_target(self) -> None:
    """Copies weights and masks to the target network."""
    self._wait()
    for target, online in zip(self.target.variables, self.online.variables):
      target.assign(online)
    self._compressor.note_new_masks()

  def snapshot(self) -> Callable[[np.ndarray], np.ndarray | tf.Tensor]:
    """Returns a function from states (batch, *state) to Q-values.

    It holds the weights of this moment if the network is an MLP.
    """
    # Not of a user's subclass that computes something else.
    if type(self.online).call is q_networks.MLPQNetwork.call:
      return numpy_mlp.NumpyMLP(numpy_mlp.read_weights(self.online))
    return self._batch_q_values

  def q_mean(self) -> float:
    """Mean Q-value of the actions in the last minibatch."""
    states, (actions, *_), _ = self.batch
    # Called too rarely for a trace; in NumPy, BLAS's threads disturb training.
    values = np.asarray(self._act(states))
    return float(values[np.arange(len(values)), actions.astype(int)].mean())

  def gradient_snr(self) -> tf.Tensor:
    """Mean |μ|/σ of the online network's gradients, on the last minibatch."""
    return diagnostics.gradient_snr(
      lambda: self._example_losses(*self.batch),
      list(wrappers.named_layers(self.online).values()),
    )

  def get_state(self) -> dict[str, Any]:
    """Returns all variables, as arrays.

    A resumed run has no gradients that wait to be applied, so every run drops
    them here.
    """
    self._wait()
    self._begun = None
    return {
      name: list(map(sparse_kernel.read, variables))
      for name, variables in self._variables.items()
    }

  @property
  def _variables(self) -> dict[str, list[tf.Variable]]:
    return {
      'online': self.online.variables,
      'target': self.target.variables,
      'optimizer': self.optimizer.variables(),
    }

  def set_state(self, state: dict[str, Any]) -> None:
    """Restores what `get_state` returned."""
    self._wait()
    self._begun = None
    for name, variables in self._variables.items():
      sparse_kernel.assign(variables, state[name])
    self._compressor.note_new_masks()
    self._steps_done = self.optimizer.steps_taken
