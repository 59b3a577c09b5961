"""SparseSacAgent: TF-Agents' SAC, unmodified, with sparse networks."""

from __future__ import annotations

from typing import Annotated, Callable

import gin
import numpy as np
import tensorflow as tf
from tf_agents.agents.sac import sac_agent
from tf_agents.trajectories import time_step as ts
from tf_agents.utils import common

from rigl_rl.agents import off_policy, optimizers, targets
from rigl_rl.compat import keras, tf_agents
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Count, Positive, Probability, Range
from rigl_rl.networks import actor_critic, numpy_mlp

# A train step samples actions for the critics', the actor's and the
# temperature's loss, in this order.
_ALPHA_DRAW = 2
_FIRST_SNR_DRAW = 3


@gin.configurable(
  denylist=['time_step_spec', 'action_spec', 'seed', 'gradient_steps']
)
class SparseSacAgent(off_policy.OffPolicyAgent, sac_agent.SacAgent):
  """SAC (Haarnoja et al., 2018) whose actor and critics are sparse.

  The train step is TF-Agents' own: sparsity is in the networks, made from
  sparse layers, and in the optimizers. Three things are added: actions are
  sampled by stateless seeds, so that a restarted run draws the same ones; the
  target critics keep to their online critics' masks; and each critic starts
  from weights and a mask of its own.
  """

  def __init__(
    self,
    time_step_spec: ts.TimeStep,
    action_spec,
    seed: int,
    gradient_steps: int,
    actor: Callable[
      ..., actor_critic.SquashedGaussianActor
    ] = actor_critic.SquashedGaussianActor,
    critic: Callable[..., actor_critic.Critic] = actor_critic.Critic,
    optimizer: optimizers.MakeOptimizer = optimizers.adam,
    gamma: Probability = 0.99,
    reward_scale_factor: Positive = 0.1,
    target_update_tau: Annotated[float, Range('(0, 1]')] = 0.005,
    target_update_period: Count = 1,
    target_sparsity: targets.MaskUpdate = targets.copy_masks,
    initial_alpha: Positive = 1.0,
    learn_alpha: bool = True,
    resample_for_alpha: bool = True,
    target_entropy: float | None = None,
    gradient_clipping: Positive | None = None,
    summarize_gradient_snr: bool = False,
  ):
    """Builds the networks and the optimizers.

    Args, beside those of `OffPolicyAgent`:
      initial_alpha: temperature at the start, > 0.
      learn_alpha: whether the temperature is learned.
      resample_for_alpha: whether the temperature's loss draws actions of its
        own, by the actor after its gradient step, as TF-Agents has it. If not,
        it takes those of the actor's loss, as Stable-Baselines3 and SBX do, and
        spares a forward pass.
      target_entropy: what a learned temperature aims at, in nats; None for
        half of minus the action's dimensions, as TF-Agents has it.

    Raises:
      UserError: on a value outside its range.
    """
    given = locals()
    check_arguments(SparseSacAgent, given)
    with gin.config_scope('alpha'):
      self._temperature_optimizer = optimizer()
    self._learn_alpha = learn_alpha
    self._resample_for_alpha = resample_for_alpha
    # The next draw of this train step, and what the last one gave.
    self._next_draw = 0
    self._last_sample = None
    super().__init__(
      given,
      numpy_mlp.NumpySquashedGaussianActor,
      alpha_optimizer=self._temperature_optimizer,
      initial_log_alpha=float(np.log(initial_alpha)),
      target_entropy=target_entropy,
    )
    keras.create_slots(self._temperature_optimizer, [self.log_alpha])
    if self.networks['actor'].log_std_range == (None, None):
      self._remedy = (  # σ overflows first.
        'SquashedGaussianActor.log_std_min=-20.0 and .log_std_max=2.0 if '
        f'observations run into hundreds, or {self._remedy}'
      )

  @property
  def log_alpha(self) -> tf.Variable:
    """The logarithm of the temperature."""
    return tf_agents.log_alpha(self)

  def _actions_and_log_probs(self, time_steps, training=False):
    """As the parent does, but samples by a stateless seed."""
    if self._next_draw == _ALPHA_DRAW and not self._resample_for_alpha:
      return self._last_sample
    distribution, _ = self.networks['actor'](
      time_steps.observation, time_steps.step_type, training=training
    )
    actions = distribution.sample(seed=self._draw_seed(self._next_draw))
    self._next_draw += 1
    self._last_sample = (
      actions,
      common.log_probability(distribution, actions, self.action_spec),
    )
    return self._last_sample

  def _train(self, experience, weights):
    self._next_draw = 0
    return super()._train(experience, weights)

  def alpha_loss(self, time_steps, weights=None, training=False):
    """As the parent does; 0 for a temperature that is not learned."""
    if self._learn_alpha:
      return super().alpha_loss(time_steps, weights, training)
    return 0.0 * self.log_alpha

  def _losses_of(self, transition):
    time_step, action_step, next_time_step = transition
    self._next_draw = _FIRST_SNR_DRAW

    def critic_loss():
      return self.critic_loss(
        time_step,
        action_step.action,
        next_time_step,
        td_errors_loss_fn=tf.math.squared_difference,
        gamma=self._discount,
        reward_scale_factor=self._reward_scale,
        training=True,
      )

    return lambda: self.actor_loss(time_step, training=True), critic_loss

  def _act(self, observation):
    return self.networks['actor'].mean_and_log_std(observation)

  def _act_in_numpy(self, observation):
    return self._numpy_actor.mean_and_log_std(observation)

  def explore(self, observation):
    mean, log_std = self._actor_outputs(observation)
    noise = self._rng.standard_normal(mean.shape, np.float32)
    return self._numpy_actor.sample_from(mean, log_std, noise)[0]

  def _train_scalars(self):
    return {**super()._train_scalars(), 'alpha': tf.exp(self.log_alpha)}

  @property
  def _other_variables(self):
    *variables, counter = super()._other_variables
    temperature = [self.log_alpha, *self._temperature_optimizer.variables()]
    return [*variables, *temperature, counter]
