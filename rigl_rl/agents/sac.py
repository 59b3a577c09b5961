"""SparseSacAgent: TF-Agents' SAC, unmodified, with sparse networks."""

from __future__ import annotations

import contextlib
from typing import Any, Callable

import gin
import numpy as np
import tensorflow as tf
from tf_agents.agents.sac import sac_agent
from tf_agents.trajectories import policy_step, trajectory
from tf_agents.trajectories import time_step as ts
from tf_agents.utils import common

from rigl_rl import seeding
from rigl_rl.agents import optimizers, sparse_networks, targets
from rigl_rl.agents import variables as variables_lib
from rigl_rl.checks import check_number
from rigl_rl.errors import UserError
from rigl_rl.networks import actor_critic, numpy_mlp
from rigl_rl.replay import transition_buffer
from rigl_rl.sparsity import diagnostics, wrappers

# Samples of actions in one train step: for the critics', the actor's and the
# temperature's loss.
_DRAWS = 3


@gin.configurable(
  denylist=['time_step_spec', 'action_spec', 'seed', 'gradient_steps']
)
class SparseSacAgent(sac_agent.SacAgent):
  """SAC (Haarnoja et al., 2018) whose actor and critics are sparse.

  The train step is TF-Agents' own: sparsity lies in the networks, made from
  sparse layers, and in the optimizers. Three things are added: actions are
  sampled by stateless seeds, so that a restarted run draws the same ones; the
  target critics keep to their online critics' masks; and each critic starts
  from weights and a mask of its own.

  Attributes:
    networks: the trained networks: 'actor', 'critic_1' and 'critic_2', bound
      in the gin scopes `actor` and `critic`.
  """

  def __init__(
    self,
    time_step_spec: ts.TimeStep,
    action_spec,
    seed: int,
    gradient_steps: int,
    actor: Callable[..., Any] = actor_critic.SquashedGaussianActor,
    critic: Callable[..., Any] = actor_critic.Critic,
    optimizer: Callable[
      [], tf.keras.optimizers.legacy.Optimizer
    ] = optimizers.adam,
    gamma: float = 0.99,
    reward_scale_factor: float = 0.1,
    target_update_tau: float = 0.005,
    target_update_period: int = 1,
    target_sparsity: Callable[..., None] = targets.copy_masks,
    initial_alpha: float = 1.0,
    learn_alpha: bool = True,
    target_entropy: float | None = None,
    gradient_clipping: float | None = None,
    summarize_gradient_snr: bool = False,
  ):
    """Builds the networks and the optimizers.

    Args:
      time_step_spec: of the environment, as tensors.
      action_spec: of the environment, as tensors.
      seed: the run's SEED.
      gradient_steps: of the whole training; decides where the window of mask
        updates lies.
      actor: makes the actor, from (observation spec, action spec, seed, name).
      critic: makes a critic, from ((observation spec, action spec), seed,
        name).
      optimizer: makes an inner optimizer; called in the gin scopes `actor`,
        `critic` and `alpha`.
      gamma: discount per step, in [0, 1].
      reward_scale_factor: factor on rewards, > 0.
      target_update_tau: share by which the target critics move, in (0, 1].
      target_update_period: gradient steps between target updates.
      target_sparsity: keeps the target critics sparse; see
        `rigl_rl.agents.targets`.
      initial_alpha: temperature at the start, > 0.
      learn_alpha: whether the temperature is learned.
      target_entropy: what a learned temperature aims at, in nats; None for
        half of minus the action's dimensions, as TF-Agents has it.
      gradient_clipping: norm to which each gradient is clipped, > 0; None for
        none.
      summarize_gradient_snr: whether summaries hold the signal-to-noise ratio
        of the gradients (figure 5), which costs about a gradient step each.

    Raises:
      UserError: on a value outside its range.
    """
    check_number('SparseSacAgent.gamma', gamma, 0, 1)
    check_number(
      'SparseSacAgent.target_update_tau',
      target_update_tau,
      0,
      1,
      exclusive=True,
    )
    check_number(
      'SparseSacAgent.target_update_period', target_update_period, 1, whole=True
    )
    for name, value in (
      ('reward_scale_factor', reward_scale_factor),
      ('initial_alpha', initial_alpha),
    ):
      check_number(f'SparseSacAgent.{name}', value, 0, exclusive=True)
    check_number(
      'SparseSacAgent.target_entropy', target_entropy, -np.inf, or_none=True
    )
    check_number(
      'SparseSacAgent.gradient_clipping',
      gradient_clipping,
      0,
      exclusive=True,
      or_none=True,
    )
    observation_spec = time_step_spec.observation
    critic_spec = (observation_spec, action_spec)

    def make_actor(network_seed):
      network = actor(
        observation_spec, action_spec, seed=network_seed, name='Actor'
      )
      network.create_variables(observation_spec)
      return network

    def make_critic(network_seed):
      network = critic(critic_spec, seed=network_seed, name='Critic')
      network.create_variables(critic_spec)
      return network

    self.networks = sparse_networks.SparseNetworks(seed, gradient_steps)
    actor_optimizer = self.networks.build(
      {'actor': make_actor}, optimizer, 'actor'
    )
    critic_optimizer = self.networks.build(
      {'critic_1': make_critic, 'critic_2': make_critic}, optimizer, 'critic'
    )
    with gin.config_scope('alpha'):
      alpha_optimizer = optimizer()
    self._target_sparsity = target_sparsity
    self._noise_seed = seeding.stream_seed(seed, 'policy noise')
    self._next_draw = 0
    super().__init__(
      time_step_spec,
      action_spec,
      critic_network=self.networks['critic_1'],
      critic_network_2=self.networks['critic_2'],
      actor_network=self.networks['actor'],
      actor_optimizer=actor_optimizer,
      critic_optimizer=critic_optimizer,
      alpha_optimizer=alpha_optimizer,
      alpha_loss_weight=1.0 if learn_alpha else 0.0,
      target_update_tau=target_update_tau,
      target_update_period=target_update_period,
      td_errors_loss_fn=tf.math.squared_difference,
      gamma=gamma,
      reward_scale_factor=reward_scale_factor,
      initial_log_alpha=float(np.log(initial_alpha)),
      target_entropy=target_entropy,
      gradient_clipping=gradient_clipping,
      train_step_counter=tf.Variable(0, dtype=tf.int64, trainable=False),
    )
    self.initialize()
    self.networks.create_slots()
    alpha_optimizer._create_all_weights([self._log_alpha])
    self._summarize_gradient_snr = summarize_gradient_snr
    self._numpy_actor = numpy_mlp.NumpySquashedGaussianActor(
      self._actor_network
    )
    self._rng = seeding.generator(seed, 'exploration')
    # An observation, and mean and log std of the action for it, where the train
    # step computed them.
    self._parameters = None
    self._batch = None
    self._losses = None
    # By whether a step changes masks: one that does not need not look.
    self._train_functions = {}
    self._update_steps = self.networks.update_steps()
    self._steps_done = 0

  def _actions_and_log_probs(self, time_steps, training=False):
    """As the parent does, but for the seed of the sample."""
    policy = self._train_policy if training else self._policy
    distribution = policy.distribution(time_steps, policy_state=()).action
    seed = tf.stack(
      [
        self._noise_seed,
        tf.cast(self.train_step_counter, tf.int32) * _DRAWS + self._next_draw,
      ]
    )
    self._next_draw += 1
    actions = distribution.sample(seed=seed)
    return actions, common.log_probability(
      distribution, actions, self.action_spec
    )

  def _get_target_updater(self, tau=1.0, period=1):
    """As the parent has it, but for masks, which `target_sparsity` updates."""
    copies = {
      'critic_1': self._target_critic_network_1,
      'critic_2': self._target_critic_network_2,
    }
    variables = [
      pair
      for name, copy in copies.items()
      for pair in zip(
        self.networks[name].trainable_variables, copy.trainable_variables
      )
    ]
    layers = [
      (online, target)
      for name, copy in copies.items()
      for online, target in zip(
        self.networks.layers[name], self.networks.matching_layers(name, copy)
      )
      if online.sparsity > 0
    ]

    def update():
      for online, target in variables:
        if tau == 1:  # The sum below would round.
          target.assign(online)
          continue
        # (1 - τ) target + τ online, in one pass and in place.
        tf.raw_ops.ResourceApplyGradientDescent(
          var=target.handle, alpha=tau, delta=target - online
        )
      if layers:
        masks_moved = self._critic_optimizer.masks_moved(period)
        self._target_sparsity(*zip(*layers), masks_moved)
      return tf.no_op()

    return common.Periodically(update, period, 'update_targets')

  def _train_and_act(
    self, observation, action, reward, discount, next_observation, current
  ):
    """One gradient step; then the next action's distribution, to act by."""
    self._next_draw = 0
    # TF-Agents reads nothing else of a transition: neither step types nor the
    # reward of the first step.
    step_type = tf.fill(tf.shape(reward), ts.StepType.MID)
    transition = trajectory.Transition(
      ts.TimeStep(step_type, reward, discount, observation),
      policy_step.PolicyStep(action),
      ts.TimeStep(step_type, reward, discount, next_observation),
    )
    losses = self._train(transition, weights=None).extra
    # Acting in the same call spares a second one, or reading all weights.
    return losses, self._actor_network.mean_and_log_std(current)

  def train_step(
    self, batch: transition_buffer.Transitions, observation: np.ndarray
  ) -> None:
    """Takes one gradient step.

    Args:
      batch: a minibatch of transitions.
      observation: what the next action will be for, of shape (n,).

    Raises:
      UserError: if a loss is not finite.
    """
    arguments = [tf.constant(array) for array in batch]
    current = tf.constant(observation[None])
    updates_masks = self._steps_done in self._update_steps
    train = self._train_functions.get(updates_masks)
    if train is None:
      train = self._trace(updates_masks, [*arguments, current])
      self._train_functions[updates_masks] = train
    try:
      self._losses, parameters = train(*arguments, current)
    except tf.errors.InvalidArgumentError as error:
      if 'inf or nan' not in str(error):
        raise
      raise UserError(
        f'A loss is not finite after {self._steps_done} gradient steps, but '
        'must be; try a lower adam.learning_rate.'
      ) from error
    self._steps_done += 1
    self._parameters = (observation, *parameters)
    self._batch = arguments

  def _trace(self, updates_masks: bool, arguments: list[tf.Tensor]):
    """Traces a train step for arguments like these."""
    with contextlib.ExitStack() as stack:
      if not updates_masks:
        stack.enter_context(self.networks.fixed_masks())
      # A concrete function: dispatch by argument types takes its time.
      return tf.function(
        self._train_and_act, autograph=False
      ).get_concrete_function(
        *(tf.TensorSpec(array.shape, array.dtype) for array in arguments)
      )

  def random_action(self) -> np.ndarray:
    """Returns an action, of shape (m,), drawn uniformly from its range."""
    spec = self.action_spec
    action = self._rng.uniform(spec.minimum, spec.maximum, spec.shape)
    return action.astype(np.float32)

  def explore(self, observation: np.ndarray) -> np.ndarray:
    """Samples an action, of shape (m,), for an observation of shape (n,)."""
    computed, self._parameters = self._parameters, None
    if computed is not None and np.array_equal(computed[0], observation):
      parameters = computed[1:]
    else:
      self._numpy_actor.refresh()
      parameters = self._numpy_actor.mean_and_log_std(observation[None])
    mean, log_std = (np.asarray(parameter) for parameter in parameters)
    noise = self._rng.standard_normal(mean.shape, np.float32)
    return self._numpy_actor.sample_from(mean, log_std, noise)[0]

  def greedy_policy(self) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what maps observations (batch, n) to actions (batch, m).

    The mode of the policy before squashing, by the weights of this moment.
    """
    self._numpy_actor.refresh()
    return self._numpy_actor.greedy

  def write_summaries(self) -> None:
    """Writes losses, temperature, masks and, when asked, SNR to TensorBoard."""
    if self._losses is None:
      return
    for name, value in self._losses._asdict().items():
      tf.summary.scalar(f'train/{name}', value)
    tf.summary.scalar('train/alpha', tf.exp(self._log_alpha))
    self.networks.write_summaries()
    if self._summarize_gradient_snr:
      for name, ratio in self.gradient_snr().items():
        tf.summary.scalar(f'gradients/snr/{name}', ratio)

  def gradient_snr(self) -> dict[str, tf.Tensor]:
    """Signal-to-noise ratios of the gradients on the last minibatch.

    Returns:
      Of 'actor' and 'critic' (both critics together), float32 scalars.
    """
    observation, action, reward, discount, next_observation = self._batch
    step_type = tf.fill(tf.shape(reward), ts.StepType.MID)
    time_step = ts.TimeStep(step_type, reward, discount, observation)
    next_time_step = ts.TimeStep(step_type, reward, discount, next_observation)
    # The losses are means over the minibatch; their sum is what is asked for.
    # Weight decay among them reaches no layer's output, and so plays no part.
    batch_size = tf.cast(tf.size(reward), tf.float32)
    self._next_draw = _DRAWS  # Not the noise of any train step.

    def critic_loss():
      return batch_size * self.critic_loss(
        time_step,
        action,
        next_time_step,
        td_errors_loss_fn=self._td_errors_loss_fn,
        gamma=self._gamma,
        reward_scale_factor=self._reward_scale_factor,
        training=True,
      )

    def actor_loss():
      return batch_size * self.actor_loss(time_step, training=True)

    def layers(*names):
      return [
        layer
        for name in names
        for layer in wrappers.named_layers(self.networks[name]).values()
      ]

    return {
      'actor': diagnostics.gradient_snr(actor_loss, layers('actor')),
      'critic': diagnostics.gradient_snr(
        critic_loss, layers('critic_1', 'critic_2')
      ),
    }

  @property
  def title(self) -> str:
    """The method in words: 'RigL at 90 % sparsity'."""
    return self.networks.title

  def describe(self) -> dict[str, Any]:
    """Returns the networks' sizes and costs, for summary.json."""
    return self.networks.describe()

  @property
  def _other_variables(self) -> list[tf.Variable]:
    """The variables that are not of a network that is trained."""
    return [
      *self._target_critic_network_1.variables,
      *self._target_critic_network_2.variables,
      self._log_alpha,
      *self._alpha_optimizer.variables(),
      *self._update_target.variables,
      self.train_step_counter,
    ]

  def get_state(self) -> dict[str, Any]:
    """Returns all that training goes on from, as arrays and JSON values."""
    parameters = None
    if self._parameters is not None:
      parameters = [np.array(parameter) for parameter in self._parameters]
    return {
      'networks': self.networks.get_state(),
      'others': variables_lib.read(self._other_variables),
      'exploration': seeding.generator_state(self._rng),
      'parameters': parameters,
    }

  def set_state(self, state: dict[str, Any]) -> None:
    """Goes on from what `get_state` returned, bit for bit."""
    self.networks.set_state(state['networks'])
    variables_lib.assign(self._other_variables, state['others'])
    seeding.restore_generator(self._rng, state['exploration'])
    self._steps_done = int(self.train_step_counter)
    self._parameters = state['parameters']
