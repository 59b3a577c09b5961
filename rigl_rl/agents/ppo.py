"""SparsePPOAgent: TF-Agents' PPO-Clip, unmodified, with sparse networks."""

from __future__ import annotations

import functools
import itertools
from typing import Annotated, Callable, NamedTuple

import gin
import numpy as np
import tensorflow as tf
from tf_agents.agents.ppo import ppo_clip_agent
from tf_agents.trajectories import time_step as ts
from tf_agents.trajectories import trajectory
from tf_agents.utils import common

from rigl_rl import seeding, wording
from rigl_rl.agents import (
  actor_critic_agent,
  losses,
  optimizers,
  sparse_networks,
)
from rigl_rl.agents import advantages as advantages_lib
from rigl_rl.compat import tf_agents
from rigl_rl.config import domains
from rigl_rl.config.declarations import check_arguments
from rigl_rl.errors import UserError
from rigl_rl.networks import action_distributions, actor_critic, numpy_mlp
from rigl_rl.sparsity import compression, step_plan

# Normalized rewards are clipped to ± this value.
_REWARD_CLIPPING = 10.0


class Rollout(NamedTuple):
  """Consecutive steps of one environment, perhaps over several episodes.

  Attributes:
    observation: float32 (steps, n).
    action: float32 (steps, m), as sampled.
    mean: float32 (steps, m), of the distribution that the action is from.
    std: float32 (steps, m), of the same.
    reward: float32 (steps,).
    discount: float32 (steps,), 0 where the episode terminated.
    next_observation: float32 (steps, n); of an episode's last step, the
      observation that it ended with.
    is_last: bool (steps,), whether the episode ended, or was cut.
  """

  observation: np.ndarray
  action: np.ndarray
  mean: np.ndarray
  std: np.ndarray
  reward: np.ndarray
  discount: np.ndarray
  next_observation: np.ndarray
  is_last: np.ndarray


@gin.configurable(
  denylist=[
    'time_step_spec',
    'action_spec',
    'seed',
    'rollout_steps',
    'num_rollouts',
  ]
)
class SparsePPOAgent(
  actor_critic_agent.ActorCriticAgent, ppo_clip_agent.PPOClipAgent
):
  """PPO (Schulman et al., 2017) whose actor and value network are sparse.

  The train step is TF-Agents' own: sparsity is in the networks, made from
  sparse layers, and in the optimizer. This class estimates returns and
  advantages before it, as TF-Agents' learner does for minibatches; but an
  episode that the time limit cut has the value of its last observation ahead,
  where TF-Agents takes that value for 0 (`bootstrap_time_limits = False`).

  Attributes:
    networks: the trained networks: 'actor' and 'value', bound in the gin
      scopes `actor` and `value`.
  """

  def __init__(
    self,
    time_step_spec: ts.TimeStep,
    action_spec,
    seed: int,
    rollout_steps: int,
    num_rollouts: int,
    actor: Callable[
      ..., actor_critic.GaussianActor
    ] = actor_critic.GaussianActor,
    value: Callable[..., actor_critic.ValueNetwork] = actor_critic.ValueNetwork,
    optimizer: optimizers.MakeOptimizer = optimizers.adam,
    decay_learning_rate: bool = True,
    minibatch_size: domains.BatchSize = 64,
    num_epochs: Annotated[int, domains.Range('[1, 10000]')] = 10,
    gamma: domains.Probability = 0.99,
    lambda_: domains.Probability = 0.95,
    clip_ratio: Annotated[float, domains.Range('(0, 1]')] = 0.2,
    entropy_coefficient: domains.NonNegative = 0.0,
    value_coefficient: domains.NonNegative = 0.5,
    gradient_clipping: domains.Positive | None = 0.5,
    value_clipping: domains.Positive | None = None,
    normalize_observations: bool = True,
    normalize_rewards: bool = True,
    bootstrap_time_limits: bool = True,
    summarize_gradient_snr: bool = False,
  ):
    """Builds the networks and the optimizer.

    Args:
      time_step_spec: of the environment, as tensors.
      action_spec: of the environment, as tensors.
      seed: the run's SEED.
      rollout_steps: environment steps of a rollout.
      num_rollouts: rollouts of the whole training; decides where the window of
        mask updates lies, and how the learning rate decays.
      actor: makes the actor, from (observation spec, action spec, seed, name).
      value: makes the value network, from (observation spec, seed, name).
      optimizer: makes the inner optimizer, of both networks.
      decay_learning_rate: whether the learning rate falls linearly, rollout by
        rollout, down to 0.
      minibatch_size: steps in a minibatch; must divide rollout_steps.
      num_epochs: passes over a rollout.
      gamma: discount per step, in [0, 1].
      lambda_: λ of the advantage estimates, in [0, 1]; returns are TD(λ).
      clip_ratio: ε of the clipped objective, in (0, 1].
      entropy_coefficient: weight of the entropy bonus, >= 0.
      value_coefficient: weight of the value loss, >= 0.
      gradient_clipping: norm to which the whole gradient is clipped, > 0; None
        for none.
      value_clipping: how far a value may move from that of the rollout before
        its gradient vanishes, > 0; None for no limit.
      normalize_observations: by their mean and variance so far, clipped to ±5.
      normalize_rewards: by their variance so far, clipped to ±10.
      bootstrap_time_limits: whether returns of an episode that the time limit
        cut include the value of its last observation; False as released.
      summarize_gradient_snr: whether summaries hold the signal-to-noise ratio
        of the gradients (figure 5).

    Raises:
      UserError: on a value outside its range.
    """
    check_arguments(SparsePPOAgent, locals())
    if rollout_steps % minibatch_size:
      raise UserError(
        f'SparsePPOAgent.minibatch_size is {minibatch_size}, but must divide '
        f'PPOLoop.rollout_steps, {rollout_steps}.'
      )
    observation_spec = time_step_spec.observation
    self.rollout_steps = rollout_steps
    self._minibatch_size = minibatch_size
    self._epochs = num_epochs
    self._num_rollouts = num_rollouts
    self.networks = sparse_networks.SparseNetworks(
      seed, num_rollouts * num_epochs * (rollout_steps // minibatch_size)
    )
    self._sparse_optimizer = self.networks.build(
      {
        'actor': (actor, (observation_spec, action_spec)),
        'value': (value, (observation_spec,)),
      },
      optimizer,
      optimizer_scope='ppo',
    )
    self._planner = step_plan.StepPlanner([self._sparse_optimizer])
    self._discount = gamma
    self._advantage_decay = lambda_
    self._bootstrap_time_limits = bootstrap_time_limits
    super().__init__(
      time_step_spec,
      action_spec,
      optimizer=self._sparse_optimizer,
      actor_net=self.networks['actor'],
      value_net=self.networks['value'],
      greedy_eval=True,
      importance_ratio_clipping=clip_ratio,
      lambda_value=lambda_,
      discount_factor=gamma,
      entropy_regularization=entropy_coefficient,
      policy_l2_reg=self.networks['actor'].l2_coefficient,
      value_function_l2_reg=self.networks['value'].l2_coefficient,
      value_pred_loss_coef=value_coefficient,
      num_epochs=1,  # `train_on` loops over epochs and minibatches.
      use_gae=True,
      use_td_lambda_return=True,
      normalize_rewards=normalize_rewards,
      reward_norm_clipping=_REWARD_CLIPPING,
      normalize_observations=normalize_observations,
      gradient_clipping=gradient_clipping,
      value_clipping=value_clipping,
      compute_value_and_advantage_in_train=False,
      update_normalizers_in_train=False,
      # One device: a mean over the minibatch is all there is to aggregate.
      aggregate_losses_across_replicas=False,
      train_step_counter=tf.Variable(0, dtype=tf.int64, trainable=False),
    )
    self.initialize()
    for each in self.networks.values():
      # The norm by which gradients are clipped counts inactive weights' too.
      compression.Compressor(
        each, obstacle="for PPO it must be 'masked' or 'auto'"
      ).compress()
    self.networks.create_slots()
    self._learning_rate = float(
      tf.convert_to_tensor(self._sparse_optimizer.inner.learning_rate)
    )
    self._decay_learning_rate = decay_learning_rate
    self._rollouts_done = 0
    self._summarize_gradient_snr = summarize_gradient_snr
    self._rng = seeding.generator(seed, 'exploration')
    self._shuffle_rng = seeding.generator(seed, 'minibatches')
    self._numpy_actor = numpy_mlp.NumpyGaussianActor(
      self.networks['actor'], self.collect_policy.observation_normalizer
    )
    self._losses = None
    self._last_minibatch = None
    self._values_function = tf.function(self._values, autograph=False)
    self._normalize_function = tf.function(self._normalize, autograph=False)
    self._planned = functools.lru_cache(maxsize=None)(
      lambda plan: tf.function(plan.bind(self._train_epochs), autograph=False)
    )

  def refresh_policy(self) -> None:
    """Reads the weights that training has changed, for `explore`."""
    self._numpy_actor.refresh()

  def explore(
    self, observation: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples an action, by the weights that `refresh_policy` read.

    For an observation `(n,)`, returns the action, its mean and its std, `(m,)`.
    """
    mean, std = self._numpy_actor.mean_and_std(observation)
    noise = self._rng.standard_normal(std.shape, np.float32)
    return mean + std * noise, mean, std

  def extend(self, num_rollouts: int) -> None:
    """Counts costs over more rollouts; schedules stay unchanged.

    Raises:
      UserError: the learning rate has decayed to 0.
    """
    if self._decay_learning_rate and num_rollouts > self._num_rollouts:
      raise UserError(
        "--extend is 'stay', but must be 'stretch': the learning rate has "
        'decayed to 0 (SparsePPOAgent.decay_learning_rate).'
      )
    steps_per_rollout = self.networks.total_steps // self._num_rollouts
    self.networks.total_steps = num_rollouts * steps_per_rollout

  def train_on(self, rollout: Rollout) -> None:
    """Takes all gradient steps on a rollout of `rollout_steps` steps.

    Raises:
      UserError: if the loss is not finite.
    """
    values, next_values = (
      self._values_function(array).numpy()
      for array in (rollout.observation, rollout.next_observation)
    )
    rewards = np.asarray(
      self._normalize_function(rollout.observation, rollout.reward)
    )
    discounts = self._discount * rollout.discount
    if not self._bootstrap_time_limits:
      discounts = discounts * ~rollout.is_last
    advantages = advantages_lib.generalized_advantages(
      rewards,
      discounts,
      values,
      next_values,
      rollout.is_last,
      self._advantage_decay,
    )
    shuffle = self._shuffle_rng.permutation
    epochs = [shuffle(self.rollout_steps) for _ in range(self._epochs)]
    order = np.reshape(epochs, (-1, self._minibatch_size))
    if self._decay_learning_rate:
      rate = self._learning_rate
      rate *= 1 - self._rollouts_done / self._num_rollouts
      self._sparse_optimizer.inner.learning_rate = rate
    steps = self._as_steps(rollout, values, advantages)
    self._losses = self._take_steps(steps, order)
    self._rollouts_done += 1
    loss = float(self._losses.loss)
    if not np.isfinite(loss):
      raise losses.not_finite(
        wording.count(int(self.train_step_counter), 'gradient step'),
        rollout._asdict(),
        self._remedy,
      )
    self._last_minibatch = tf.nest.map_structure(
      lambda field: tf.constant(field[order[-1]]), steps
    )

  def _values(self, observation):
    step_type = tf.fill(tf.shape(observation)[:1], ts.StepType.MID)
    values, _ = self.collect_policy.apply_value_network(
      observation, step_type, training=False
    )
    return values

  def _normalize(self, observation, reward):
    """Counts a rollout's observations and rewards; normalizes the latter."""
    self.update_observation_normalizer(observation[None])
    self.update_reward_normalizer(reward[None])
    normalizer = tf_agents.reward_normalizer(self)
    if normalizer is None:
      return reward
    return normalizer.normalize(
      reward, center_mean=False, clip_value=_REWARD_CLIPPING
    )

  def _as_steps(self, rollout, values, advantages) -> trajectory.Trajectory:
    """The rollout as the parent's train step takes it, each of length one."""
    step_type = np.full(len(values), ts.StepType.MID)
    steps = trajectory.Trajectory(
      step_type=step_type,
      observation=rollout.observation,
      action=rollout.action,
      policy_info={
        'dist_params': {'loc': rollout.mean, 'scale_diag': rollout.std},
        'value_prediction': values,
        'return': advantages + values,
        'advantage': advantages,
      },
      next_step_type=step_type,
      reward=rollout.reward,
      discount=rollout.discount,
    )
    return tf.nest.map_structure(lambda array: array[:, None], steps)

  def _take_steps(self, steps, order):
    """Trains on the minibatches `order` (n, batch); returns the last losses."""
    steps = tf.nest.map_structure(tf.constant, steps)
    first = int(self._sparse_optimizer.step)
    end = 0
    for plan, run in itertools.groupby(
      range(first, first + len(order)), self._planner.plan
    ):
      begin, end = end, end + len(list(run))
      losses = self._planned(plan)(
        steps, tf.constant(order), tf.constant(begin), tf.constant(end)
      )
    return losses

  def _train_epochs(self, steps, order, begin, end):
    """Trains on the minibatches `order[begin:end]`, at least one."""

    @functools.partial(tf.function, autograph=False)  # Traced once, used twice.
    def train(i):
      minibatch = tf.nest.map_structure(
        lambda field: tf.gather(field, order[i]), steps
      )
      return self._train(minibatch, weights=None)

    _, losses = tf.while_loop(
      lambda i, _: i < end,
      lambda i, _: (i + 1, train(i)),
      (begin + 1, train(begin)),
      parallel_iterations=1,
    )
    return losses

  def _last_losses(self):
    if self._losses is None:
      return {}
    parts = self._losses.extra
    return {
      'total': self._losses.loss,
      'actor': parts.policy_gradient_loss,
      'value': parts.value_estimation_loss,
      'entropy': parts.entropy_regularization_loss,
      'weight_decay': parts.l2_regularization_loss,
    }

  def _train_scalars(self):
    return {
      'clip_fraction': self._losses.extra.clip_fraction,
      'learning_rate': self._sparse_optimizer.inner.learning_rate,
    }

  def _mean_losses(self):
    steps = self._last_minibatch
    info = steps.policy_info
    dist_params, advantage = info['dist_params'], info['advantage']
    old_distribution = action_distributions.DiagonalNormal(**dist_params)
    mean, variance = tf.nn.moments(advantage, axes=(0, 1), keepdims=True)
    advantage = tf.nn.batch_normalization(
      advantage, mean, variance, None, None, variance_epsilon=1e-8
    )

    def loss():
      return self.get_loss(
        ts.TimeStep(
          steps.step_type, steps.reward, steps.discount, steps.observation
        ),
        steps.action,
        common.log_probability(
          old_distribution, steps.action, self.action_spec
        ),
        info['return'],
        advantage,
        dist_params,
        weights=tf.ones_like(steps.reward),
        train_step=self.train_step_counter,
        debug_summaries=False,
        old_value_predictions=info['value_prediction'],
        training=True,
      ).loss

    return self._minibatch_size, {n: (loss, [n]) for n in self.networks}

  @property
  def _other_variables(self):
    normalizers = (
      self.collect_policy.observation_normalizer,
      tf_agents.reward_normalizer(self),
    )
    return [
      self.train_step_counter,
      *tf.nest.flatten([n.variables for n in normalizers if n is not None]),
    ]

  def get_state(self):
    return {
      **super().get_state(),
      'minibatches': self._shuffle_rng.bit_generator.state,
      'rollouts_done': self._rollouts_done,
    }

  def set_state(self, state):
    super().set_state(state)
    self._shuffle_rng.bit_generator.state = state['minibatches']
    self._rollouts_done = state['rollouts_done']
