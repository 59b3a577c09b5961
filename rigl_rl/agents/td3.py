"""SparseTd3Agent: TF-Agents' TD3 with sparse networks."""

from __future__ import annotations

from typing import Annotated, Callable

import gin
import numpy as np
import tensorflow as tf
from tf_agents.agents import data_converter, tf_agent
from tf_agents.agents.td3 import td3_agent
from tf_agents.trajectories import time_step as ts
from tf_agents.utils import common

from rigl_rl.agents import off_policy, optimizers, targets
from rigl_rl.compat import tf_agents
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import (
  Count,
  NonNegative,
  Positive,
  Probability,
  Range,
)
from rigl_rl.networks import actor_critic, numpy_mlp
from rigl_rl.sparsity import step_plan


@gin.configurable(
  denylist=['time_step_spec', 'action_spec', 'seed', 'gradient_steps']
)
class SparseTd3Agent(off_policy.OffPolicyAgent, td3_agent.Td3Agent):
  """TD3 (Fujimoto et al., 2018) whose actor and critics are sparse.

  With DS and `keep_largest` it is DS-TD3 (Sokar et al., 2022, algorithm 1).
  Networks, targets and policies are TF-Agents'; the train step is written anew,
  since the stock one

  * trains the actor in train steps 0, 2, 4, ..., and algorithm 1 in those that
    are multiples of d, counted from 1: by the former it would never adapt, as
    adaptation comes with multiples of e;
  * draws the target policy's noise from a stateful generator, so that a
    restarted run would draw another;
  * computes the actor's loss in steps that do not train it;
  * leaves the weight decay of the networks out of its losses.
  """

  TARGET_ARGUMENTS = {
    'actor': 'target_actor_network',
    **off_policy.OffPolicyAgent.TARGET_ARGUMENTS,
  }

  def __init__(
    self,
    time_step_spec: ts.TimeStep,
    action_spec,
    seed: int,
    gradient_steps: int,
    actor: Callable[
      ..., actor_critic.DeterministicActor
    ] = actor_critic.DeterministicActor,
    critic: Callable[..., actor_critic.Critic] = actor_critic.Critic,
    optimizer: Callable[
      [], tf.keras.optimizers.legacy.Optimizer
    ] = optimizers.adam,
    gamma: Probability = 0.99,
    reward_scale_factor: Positive = 1.0,
    exploration_noise: NonNegative = 0.1,
    target_noise: NonNegative = 0.2,
    target_noise_clip: NonNegative = 0.5,
    clip_target_actions: bool = True,
    actor_update_period: Count = 2,
    target_update_tau: Annotated[float, Range('(0, 1]')] = 0.005,
    target_update_period: Count = 2,
    target_sparsity: targets.MaskUpdate = targets.copy_masks,
    gradient_clipping: Positive | None = None,
    summarize_gradient_snr: bool = False,
  ):
    """Builds the networks and the optimizers.

    Noise is in units of half the range of actions, as in the code of both TD3's
    and DS-TD3's authors; of the papers' tasks only Humanoid's range is not
    [-1, 1].

    Args:
      time_step_spec: of the environment, as tensors.
      action_spec: of the environment, as tensors.
      seed: the run's SEED.
      gradient_steps: of the whole training; decides where the window of mask
        updates lies.
      actor: makes the actor, from (observation spec, action spec, seed, name).
      critic: makes a critic, from ((observation spec, action spec), seed,
        name).
      optimizer: makes an inner optimizer; called in the gin scopes `actor` and
        `critic`.
      gamma: discount per step, in [0, 1].
      reward_scale_factor: factor on rewards, > 0.
      exploration_noise: σ >= 0 of the noise on actions while training.
      target_noise: σ >= 0 of the noise on the target policy's actions.
      target_noise_clip: bound >= 0 of that noise.
      clip_target_actions: whether the target policy's actions, with their
        noise, are clipped to the range of actions, as in the authors' code.
      actor_update_period: d, gradient steps of the critics to one of the actor.
      target_update_tau: share by which the target networks move, in (0, 1].
      target_update_period: gradient steps between target updates.
      target_sparsity: keeps the target networks sparse; see
        `rigl_rl.agents.targets`.
      gradient_clipping: norm to which each gradient is clipped, > 0; None for
        none.
      summarize_gradient_snr: whether summaries hold the signal-to-noise ratio
        of the gradients, which costs about a gradient step each.

    Raises:
      UserError: on a value outside its range.
    """
    check_arguments(SparseTd3Agent, locals())
    arguments = self._build_networks(
      time_step_spec,
      action_spec,
      seed,
      gradient_steps,
      actor,
      critic,
      optimizer,
      target_sparsity,
      target_update_period,
      actor_update_period,
    )
    self._discount = gamma
    self._reward_scale = reward_scale_factor
    self._target_noise = target_noise
    self._target_noise_clip = target_noise_clip
    self._clip_target_actions = clip_target_actions
    _, magnitude = common.spec_means_and_magnitudes(action_spec)
    self._action_magnitude = np.float32(magnitude)
    self._exploration_std = exploration_noise * self._action_magnitude
    super().__init__(
      **arguments,
      exploration_noise_std=self._exploration_std,
      target_update_tau=target_update_tau,
      actor_update_period=actor_update_period,
      gamma=gamma,
      reward_scale_factor=reward_scale_factor,
      target_policy_noise=target_noise,
      target_policy_noise_clip=target_noise_clip,
      gradient_clipping=gradient_clipping,
    )
    self._finish(
      numpy_mlp.NumpyDeterministicActor(self.networks['actor']),
      summarize_gradient_snr,
    )

  def _train(self, experience, weights=None):
    """One gradient step of the critics, and what algorithm 1 has after it."""
    as_transition = data_converter.AsTransition(
      self.data_context, squeeze_time_dim=True
    )
    time_steps, policy_steps, next_time_steps = as_transition(experience)

    def train(name, compute_loss):
      variables = self.networks.trained_by(name)
      with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(variables)
        loss = compute_loss()
      tf.debugging.check_numerics(loss, f'{name} loss is inf or nan.')
      gradients = tape.gradient(loss, variables)
      tf_agents.apply_gradients(
        self, gradients, variables, self.networks.optimizers[name]
      )
      return loss

    critic_loss = train(
      'critic',
      lambda: self.critic_loss(
        time_steps, policy_steps.action, next_time_steps, weights, training=True
      ),
    )
    actor_loss = step_plan.when(
      self._plan(steps_counted=0).trains_actor,
      lambda: train(
        'actor', lambda: self.actor_loss(time_steps, weights, training=True)
      ),
      lambda: tf.zeros(()),
    )
    self.train_step_counter.assign_add(1)
    self._update_targets()
    return tf_agent.LossInfo(
      actor_loss + critic_loss, td3_agent.Td3Info(actor_loss, critic_loss)
    )

  def critic_loss(
    self, time_steps, actions, next_time_steps, weights=None, training=False
  ):
    """Equation 3 of Sokar et al. (2022): both critics' mean squared errors.

    Args:
      time_steps: a batch of time steps.
      actions: `(batch, m)`.
      next_time_steps: those that followed.
      weights: of each example, `(batch,)`; None for 1.
      training: whether it is to train by.

    Returns:
      float32 scalar, weight decay included.
    """
    return self._critic_loss(
      time_steps, actions, next_time_steps, weights, training, draw=0
    )

  def _critic_loss(
    self, time_steps, actions, next_time_steps, weights, training, draw
  ):
    observation = next_time_steps.observation
    next_actions, _ = self._targets['actor'](observation)
    noise = self._target_noise * tf.random.stateless_normal(
      tf.shape(next_actions), self._draw_seed(draw)
    )
    bound = self._target_noise_clip
    noise = tf.clip_by_value(noise, -bound, bound)
    next_actions += self._action_magnitude * noise
    if self._clip_target_actions:
      next_actions = common.clip_to_spec(next_actions, self.action_spec)
    next_values = [
      self._targets[name]((observation, next_actions))[0]
      for name in ('critic_1', 'critic_2')
    ]
    value_targets = tf.stop_gradient(
      self._reward_scale * next_time_steps.reward
      + self._discount * next_time_steps.discount * tf.minimum(*next_values)
    )
    critics = self.networks['critic_1'], self.networks['critic_2']
    losses = [
      tf.math.squared_difference(
        value_targets,
        critic((time_steps.observation, actions), training=training)[0],
      )
      for critic in critics
    ]
    return common.aggregate_losses(
      per_example_loss=tf.add(*losses),
      sample_weight=weights,
      regularization_loss=critics[0].losses + critics[1].losses,
    ).total_loss

  def actor_loss(self, time_steps, weights=None, training=False):
    """Minus the mean value of the actor's actions, by the first critic.

    Args:
      time_steps: a batch of time steps.
      weights: of each example, `(batch,)`; None for 1.
      training: whether it is to train by.

    Returns:
      float32 scalar, weight decay included.
    """
    observation = time_steps.observation
    actor = self.networks['actor']
    actions, _ = actor(observation, training=training)
    values, _ = self.networks['critic_1']((observation, actions))
    return common.aggregate_losses(
      per_example_loss=-values,
      sample_weight=weights,
      regularization_loss=actor.losses,
    ).total_loss

  def _losses_of(self, transition):
    time_step, action_step, next_time_step = transition
    return (
      lambda: self.actor_loss(time_step, training=True),
      lambda: self._critic_loss(
        time_step,
        action_step.action,
        next_time_step,
        None,
        training=True,
        draw=1,  # Not the noise of a train step.
      ),
    )

  def _act(self, observation):
    return (self.networks['actor'].actions(observation),)

  def _act_in_numpy(self, observation):
    return (self._numpy_actor.greedy(observation),)

  def explore(self, observation):
    (action,) = self._actor_outputs(observation)
    noise = self._rng.standard_normal(action.shape[1:], np.float32)
    noise *= self._exploration_std
    spec = self.action_spec
    return np.clip(action[0] + noise, spec.minimum, spec.maximum)
