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
from rigl_rl.config import domains
from rigl_rl.config.declarations import check_arguments
from rigl_rl.kernels import noise as noise_lib
from rigl_rl.networks import actor_critic, numpy_mlp
from rigl_rl.sparsity import step_plan


@gin.configurable(
  denylist=['time_step_spec', 'action_spec', 'seed', 'gradient_steps']
)
class SparseTd3Agent(off_policy.OffPolicyAgent, td3_agent.Td3Agent):
  """TD3 (Fujimoto et al., 2018) whose actor and critics are sparse.

  With DS and `keep_largest` it is DS-TD3 (Sokar et al., 2022, algorithm 1).
  Networks, targets and policies are TF-Agents'; the train step is our own,
  since the stock one

  * trains the actor in train steps 0, 2, 4, ..., but algorithm 1 in multiples
    of d, counted from 1: at the former the actor would never adapt, since
    adaptation comes at multiples of e;
  * draws the target policy's noise from a stateful generator, so that a
    restarted run would draw other noise;
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
    optimizer: optimizers.MakeOptimizer = optimizers.adam,
    gamma: domains.Probability = 0.99,
    reward_scale_factor: domains.Positive = 1.0,
    exploration_noise: domains.NonNegative = 0.1,
    target_noise: domains.NonNegative = 0.2,
    target_noise_clip: domains.NonNegative = 0.5,
    clip_target_actions: bool = True,
    actor_update_period: domains.Count = 2,
    target_update_tau: Annotated[float, domains.Range('(0, 1]')] = 0.005,
    target_update_period: domains.Count = 2,
    target_sparsity: targets.MaskUpdate = targets.copy_masks,
    gradient_clipping: domains.Positive | None = None,
    summarize_gradient_snr: bool = False,
  ):
    """Builds the networks and the optimizers.

    Noise is in units of half the range of actions, as in the code of both TD3's
    and DS-TD3's authors; of the papers' tasks only Humanoid's range is not
    [-1, 1].

    Args, beside those of `OffPolicyAgent`:
      exploration_noise: σ >= 0 of the noise on actions while training.
      target_noise: σ >= 0 of the noise on the target policy's actions.
      target_noise_clip: bound >= 0 of that noise.
      clip_target_actions: whether the target policy's actions, with their
        noise, are clipped to the range of actions, as in the authors' code.
      actor_update_period: d, gradient steps of the critics per step of the
        actor.

    Raises:
      UserError: on a value outside its range.
    """
    given = locals()
    check_arguments(SparseTd3Agent, given)
    self._target_noise = target_noise
    self._target_noise_clip = target_noise_clip
    self._clip_target_actions = clip_target_actions
    _, magnitude = common.spec_means_and_magnitudes(action_spec)
    self._action_magnitude = np.float32(magnitude)
    self._exploration_std = exploration_noise * self._action_magnitude
    super().__init__(
      given,
      numpy_mlp.NumpyActor,
      exploration_noise_std=self._exploration_std,
      actor_update_period=actor_update_period,
      target_policy_noise=target_noise,
      target_policy_noise_clip=target_noise_clip,
    )

  def _train(self, experience, weights=None):
    """Takes a step of the critics, then the rest of algorithm 1."""
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
    self,
    time_steps,
    actions,
    next_time_steps,
    weights=None,
    training=False,
    draw=0,
  ):
    """Equation 3 of Sokar et al. (2022): both critics' mean squared errors.

    As the parent's, but includes weight decay, and `draw` says which noise of
    this train step the target policy's actions get.
    """
    observation = next_time_steps.observation
    next_actions, _ = self._targets['actor'](observation)
    noise = self._target_noise * noise_lib.normal(
      noise_lib.shape_of(next_actions), self._draw_seed(draw)
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

    As the parent's, but includes weight decay.
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
      lambda: self.critic_loss(
        time_step,
        action_step.action,
        next_time_step,
        training=True,
        draw=1,  # Not the noise of a train step.
      ),
    )

  def _act(self, observation):
    return (self.networks['actor'].actions(observation),)

  def _act_in_numpy(self, observation):
    return (self._numpy_actor(observation),)

  def explore(self, observation):
    (action,) = self._actor_outputs(observation)
    noise = self._rng.standard_normal(action.shape[1:], np.float32)
    noise *= self._exploration_std
    spec = self.action_spec
    return np.clip(action[0] + noise, spec.minimum, spec.maximum)
