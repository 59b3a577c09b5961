"""SparseDQNAgent: Dopamine's DQN in TensorFlow 2, with sparse networks."""

from __future__ import annotations

import collections
from typing import Annotated, Any, Callable, Sequence

import gin
import numpy as np
import tensorflow as tf
from dopamine.agents.dqn import dqn_agent

from rigl_rl import seeding
from rigl_rl.agents import (
  epsilons,
  gradient_steps,
  losses,
  optimizers,
  q_learner,
  sparse_networks,
)
from rigl_rl.config import domains
from rigl_rl.config.declarations import check_arguments
from rigl_rl.errors import UserError
from rigl_rl.networks import q_networks
from rigl_rl.replay import circular_buffer
from rigl_rl.sparsity import wrappers


@gin.configurable(denylist=['num_actions', 'observation_shape', 'seed'])
def build_network(
  num_actions: int,
  observation_shape: Sequence[int],
  seed: int,
  network: Callable[..., q_networks.QNetwork] = q_networks.NatureQNetwork,
  stack_size: Annotated[int, domains.Range('[1, 100]')] = 4,
) -> tuple[q_networks.QNetwork, list[wrappers.SparseWrapper]]:
  """Builds a Q-network and draws its masks, as gin binds `sparsify`.

  Args:
    num_actions: number of outputs.
    observation_shape: shape of one observation, without the stack.
    seed: the run's SEED.
    network: a class of `rigl_rl.networks.q_networks`, or your own.
    stack_size: observations in a state, >= 1.

  Returns:
    The network, built, and its sparse layers, first layer first.
  """
  network_seed = seeding.stream_seed(seed, 'network')
  model = network(num_actions=num_actions, seed=network_seed, name='online')
  model(tf.zeros((1, *observation_shape, stack_size)))
  layers = wrappers.sparsify(model, seed=seeding.stream_seed(seed, 'masks'))
  return model, layers


@gin.configurable(
  denylist=['num_actions', 'observation_space', 'seed', 'train_steps']
)
class SparseDQNAgent(dqn_agent.DQNAgent):
  """DQN whose network is sparse, for Dopamine's Runner.

  Dopamine's protocol of acting is inherited: `begin_episode` and `step`, which
  order the recording of a state, the storing of a transition, the train step
  and the choice of an action, with `_reset_state` and `_store_transition`. All
  else is overridden, and native to TensorFlow 2. The parent's constructor is
  not called, as it switches TensorFlow 2 off for the whole process.

  A subclass may override `compute_losses`; `DopamineRunner.agent` names it.

  Differs from Dopamine in four points: the target network starts as a copy of
  the online network; a time-limit cut is not stored as a terminal state; only
  the agent steps decide when it trains (see `gradient_steps`); and one seed
  decides all that is random.

  Attributes:
    learner: takes the gradient steps.
    networks: the trained network, by its name 'online'.
    online, target, layers, optimizer: the learner's.
    training_steps: agent steps taken in training.
  """

  def __init__(
    self,
    num_actions: int,
    observation_space,
    seed: int,
    train_steps: int,
    optimizer: optimizers.MakeOptimizer = optimizers.adam,
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = losses.huber_loss,
    gamma: domains.Probability = 0.99,
    update_horizon: Annotated[int, domains.Range('[1, 10000]')] = 1,
    batch_size: domains.BatchSize = 32,
    replay_capacity: domains.Capacity = 1000000,
    min_replay_history: domains.CountOrZero = 20000,
    update_period: domains.Count = 4,
    target_update_period: domains.Count = 8000,
    epsilon_fn: Callable[
      [int, int, int, float], float
    ] = dqn_agent.linearly_decaying_epsilon,
    epsilon_train: domains.Probability = 0.01,
    epsilon_eval: domains.Probability = 0.001,
    epsilon_decay_period: domains.Count = 25000,
    summary_writer: tf.summary.SummaryWriter | None = None,
    summary_writing_frequency: domains.Count = 1000,
    summarize_gradient_snr: bool = False,
    overlap_training: bool = False,
  ):
    """Initializes the agent.

    Args:
      num_actions: number of actions.
      observation_space: the environment's, with `shape` and `dtype`.
      seed: the run's SEED.
      train_steps: agent steps of the whole training; decides where the window
        of mask updates lies.
      optimizer: makes the inner optimizer.
      loss: maps (targets, predictions) to a loss per example.
      gamma: discount per step, in [0, 1].
      update_horizon: n of n-step returns, >= 1; fewer steps where an episode
        terminates before. Those that a time limit cuts are not sampled.
      batch_size: transitions in a minibatch.
      replay_capacity: transitions kept.
      min_replay_history: transitions stored before the first gradient step,
        >= 0; training waits for `update_horizon` of them in any case.
      update_period: agent steps between gradient steps.
      target_update_period: agent steps between copies to the target network.
      epsilon_fn: Dopamine's `linearly_decaying_epsilon`, or `identity_epsilon`.
      epsilon_train: final ε in training.
      epsilon_eval: ε in evaluation.
      epsilon_decay_period: agent steps over which ε decays from 1, after
        `min_replay_history` steps.
      summary_writer: where TensorBoard summaries go; None for nowhere.
      summary_writing_frequency: agent steps between summaries of the loss.
      summarize_gradient_snr: whether summaries hold the signal-to-noise ratio
        of the gradients (figure 5), which costs about a gradient step each.
      overlap_training: whether a thread of its own computes the gradient beside
        the agent steps before it is applied. Weights do not change in these
        steps; but the minibatch is drawn before they are stored, as with
        Dopamine's `use_staging`.

    Raises:
      UserError: on a value outside its range.
    """
    check_arguments(SparseDQNAgent, locals())
    if replay_capacity < min_replay_history:
      raise UserError(
        f'SparseDQNAgent.replay_capacity is {replay_capacity}, but must be at '
        f'least SparseDQNAgent.min_replay_history, {min_replay_history}.'
      )
    self.num_actions = int(num_actions)
    self.observation_shape = tuple(observation_space.shape)
    self.observation_dtype = tf.as_dtype(observation_space.dtype)
    self._schedule = gradient_steps.GradientSteps(
      min_replay_history, update_period, update_horizon
    )
    least = self._schedule.least_train_steps
    if train_steps < least:
      raise UserError(
        f'TRAIN_STEPS is {train_steps:,}, but must be at least {least:,}: '
        f'{min_replay_history:,} steps come before training '
        '(SparseDQNAgent.min_replay_history).'
      )
    total_steps = self._schedule.count(train_steps)
    self.gamma = gamma
    self.update_horizon = update_horizon
    self.cumulative_gamma = gamma**update_horizon
    self._loss = loss
    self.learner = q_learner.QLearner(
      lambda: build_network(num_actions, self.observation_shape, seed),
      optimizer(),
      total_steps,
      seed,
      self.compute_losses,
      batch_size,
      self.observation_dtype,
      overlap_training,
    )
    self.online, self.layers = self.learner.online, self.learner.layers
    self.target, self.optimizer = self.learner.target, self.learner.optimizer
    self.networks = sparse_networks.SparseNetworks(seed, total_steps)
    self.networks.add('online', self.online, self.layers, self.optimizer)
    self.stack_size = self.state_shape[-1]
    # The last observations of the episode.
    self._frames = collections.deque(maxlen=self.stack_size)
    self._reset_state()
    self._replay = circular_buffer.ReplayBuffer(
      observation_shape=self.observation_shape,
      stack_size=self.stack_size,
      replay_capacity=replay_capacity,
      batch_size=batch_size,
      update_horizon=update_horizon,
      gamma=gamma,
      observation_dtype=observation_space.dtype,
      seed=seeding.stream_seed(seed, 'replay'),
    )

    self.min_replay_history = min_replay_history
    self.update_period = update_period
    self.target_update_period = target_update_period
    self.epsilon_fn = epsilons.in_advance(epsilon_fn)
    self.epsilon_train = epsilon_train
    self.epsilon_eval = epsilon_eval
    self.epsilon_decay_period = epsilon_decay_period
    self.eval_mode = False
    self.training_steps = 0
    self.summary_writer = summary_writer
    self.summary_writing_frequency = summary_writing_frequency
    self._summarize_gradient_snr = summarize_gradient_snr
    self._rng = seeding.generator(seed, 'exploration')
    # Q-values of `state`, where the train step has just computed them.
    self._q_values = None

  def compute_losses(
    self,
    online: q_networks.QNetwork,
    target: q_networks.QNetwork,
    states: tf.Tensor,
    actions: tf.Tensor,
    rewards: tf.Tensor,
    terminals: tf.Tensor,
    next_states: tf.Tensor,
  ) -> tf.Tensor:
    """Computes the loss of each example, (batch,), from which gradients flow.

    This is DQN's; override it for an agent with another loss.

    Args:
      online: the network that is trained.
      target: the target network.
      states: `(batch, *state)`.
      actions: int32 (batch,).
      rewards: float32 (batch,), the discounted sum over `update_horizon` steps.
      terminals: float32 (batch,), 1 where the next state is terminal.
      next_states: `(batch, *state)`, after `update_horizon` steps, so that
        their values count times `cumulative_gamma`.
    """
    next_values = tf.reduce_max(target(next_states), axis=1)
    targets = rewards + self.cumulative_gamma * next_values * (1.0 - terminals)
    q_values = online(states)
    chosen = tf.one_hot(actions, q_values.shape[-1])
    values = tf.reduce_sum(q_values * chosen, axis=1)
    return self._loss(tf.stop_gradient(targets), values)

  def _train_step(self):
    """Trains and synchronizes on Dopamine's schedule; after each new state."""
    if self._schedule.have_begun(self.training_steps):
      is_update = self._schedule.is_due(self.training_steps)
      if is_update:
        if not self.learner.has_begun:
          self.learner.begin(self._sample_batch())
        if self.learner.overlaps:
          # Drawn while the thread still computes.
          next_batch = self._sample_batch()
        self._q_values = self.learner.finish(self.state)
      if self.training_steps % self.target_update_period == 0:
        self.learner.sync_target()
      if self.training_steps % self.summary_writing_frequency == 0:
        self._write_summaries()
      if is_update and self.learner.overlaps:
        self.learner.begin(next_batch)
    self.training_steps += 1

  def _sample_batch(self) -> q_learner.Batch:
    batch = self._replay.sample()
    scalars = np.array([batch.action, batch.reward, batch.terminal], np.float32)
    return batch.state, scalars, batch.next_state

  def _reset_state(self):
    dtype = self.observation_dtype.as_numpy_dtype
    self._frames.extend(
      [np.zeros(self.observation_shape, dtype)] * self.stack_size
    )

  def _record_observation(self, observation):
    self._observation = np.reshape(observation, self.observation_shape)
    self._frames.append(self._observation)
    self._q_values = None

  @property
  def state(self) -> np.ndarray:
    """The last observations of the episode, `(1, *state_shape)`."""
    state = circular_buffer.interleave([f.reshape(1, -1) for f in self._frames])
    dtype = self.observation_dtype.as_numpy_dtype
    return state.reshape(1, *self.state_shape).astype(dtype, copy=False)

  def _select_action(self) -> int:
    """ε-greedy, by the Q-values of the train step if there was one."""
    if self._rng.random() <= self._epsilon():
      return int(self._rng.integers(self.num_actions))
    if self._q_values is None:
      self._q_values = self.learner.q_values(self.state)
    return int(self._q_values.numpy().argmax())

  def _epsilon(self) -> float:
    if self.eval_mode:
      return self.epsilon_eval
    return self.epsilon_fn(
      self.epsilon_decay_period,
      self.training_steps,
      self.min_replay_history,
      self.epsilon_train,
    )

  def greedy_policy(self) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from states (batch, *state_shape) to actions (batch,).

    It holds the weights of this moment.
    """
    return q_learner.GreedyPolicy(self.learner.snapshot())

  def greedy_actions(self, states: tf.Tensor) -> tf.Tensor:
    """As `greedy_policy`, in a graph."""
    return tf.argmax(self.online(states), axis=1)

  @property
  def state_shape(self) -> tuple[int, ...]:
    """The shape of a state for `greedy_policy`: `(*observation, stack)`."""
    return self.online.state_shape

  def end_episode(self, reward: float, terminal: bool = True) -> None:
    """Stores the last transition of an episode.

    `terminal` is False where a time limit cut the episode: the value of the
    last state is not 0 then.
    """
    if not self.eval_mode:
      self._replay.add(
        self._observation, self.action, reward, terminal, episode_end=True
      )

  def begin_evaluation(self, seed: int) -> None:
    """Begins an evaluation, with random numbers of its own."""
    self.eval_mode = True
    self._training_rng, self._rng = self._rng, seeding.generator(seed, 'act')

  def end_evaluation(self) -> None:
    """Continues training as if there had been no evaluation."""
    self.eval_mode = False
    self._rng = self._training_rng

  @property
  def last_loss(self) -> float | None:
    """The loss of the last train step; None before the first one."""
    return None if self.learner.loss is None else float(self.learner.loss)

  def extend(self, train_steps: int) -> None:
    """Counts costs over a longer training; schedules stay unchanged."""
    self.networks.total_steps = self._schedule.count(train_steps)

  def check_loss(self) -> None:
    """Raises UserError if the last loss is not finite."""
    if self.learner.loss is not None and not np.isfinite(self.learner.loss):
      rate = float(tf.convert_to_tensor(self.optimizer.inner.learning_rate))
      raise losses.not_finite(
        f'{self.training_steps:,} agent steps',
        self._replay.stored('observation', 'reward'),
        f'a lower adam.learning_rate than {rate:g}',
      )

  def _write_summaries(self) -> None:
    """Writes the loss, masks and, when asked, gradient SNR to TensorBoard."""
    self.check_loss()
    if self.summary_writer is None or self.learner.loss is None:
      return
    with self.summary_writer.as_default(step=self.training_steps):
      tf.summary.scalar('train/loss/total', self.learner.loss)
      tf.summary.scalar('train/epsilon', self._epsilon())
      tf.summary.scalar('train/q_mean', self.learner.q_mean())
      self.networks.write_summaries()
      if self._summarize_gradient_snr:
        tf.summary.scalar('gradients/snr/online', self.learner.gradient_snr())

  def describe(self) -> dict[str, Any]:
    """Returns the network's size and cost, for run.json and summary.json."""
    return self.networks.describe()

  @property
  def replay(self) -> circular_buffer.ReplayBuffer:
    return self._replay

  @property
  def title(self) -> str:
    """The method in words; see `SparseNetworks.title`."""
    return self.networks.title

  def get_state(self) -> dict[str, Any]:
    """Returns what a resumed run needs, except the replay buffer."""
    return {
      **self.learner.get_state(),
      'training_steps': self.training_steps,
      'exploration': self._rng.bit_generator.state,
    }

  def set_state(self, state: dict[str, Any]) -> None:
    """Restores what `get_state` returned."""
    self.learner.set_state(state)
    self.training_steps = state['training_steps']
    self._rng.bit_generator.state = state['exploration']

  def bundle_and_checkpoint(self, checkpoint_dir, iteration_number):
    """Returns all that a resumed run needs, for Dopamine's own Runner."""
    del iteration_number
    return {**self.get_state(), 'replay': self._replay.save(checkpoint_dir)}

  def unbundle(self, checkpoint_dir, iteration_number, bundle_dictionary):
    """Restores what `bundle_and_checkpoint` returned; returns True."""
    del iteration_number
    self.set_state(bundle_dictionary)
    # Last: it empties the buffer if it fails.
    self._replay.load(checkpoint_dir, bundle_dictionary['replay'])
    return True
