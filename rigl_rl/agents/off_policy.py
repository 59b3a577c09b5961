"""OffPolicyAgent: what sparse SAC and TD3 add to TF-Agents' agents."""

from __future__ import annotations

import functools
import types
from typing import Any, Callable, Mapping

import numpy as np
import tensorflow as tf
from tf_agents.trajectories import policy_step, trajectory
from tf_agents.trajectories import time_step as ts
from tf_agents.utils import common

from rigl_rl import seeding, wording
from rigl_rl.agents import actor_critic_agent, sparse_networks, targets
from rigl_rl.agents import losses as losses_lib
from rigl_rl.kernels import loader
from rigl_rl.replay import transition_buffer
from rigl_rl.runtime import traced
from rigl_rl.sparsity import compression, step_plan


class OffPolicyAgent(actor_critic_agent.ActorCriticAgent):
  """A mixin for TF-Agents' actor-critic agents, before the stock class.

  The subclass's constructor calls this one. It gives

    explore(observation): samples an action (m,) for an observation (n,).
    _act(observations): what `explore` needs of the actor for (batch, n), in a
      train step; `_act_in_numpy` is the same outside of it.
    _losses_of(transition): functions that compute the actor's and the critics'
      mean loss.

  All such agents have the arguments

    time_step_spec: of the environment, as tensors.
    action_spec: of the environment, as tensors.
    seed: the run's SEED.
    gradient_steps: of the whole training; decides where the window of mask
      updates lies.
    actor: makes the actor, from (observation spec, action spec, seed, name).
    critic: makes a critic, from ((observation spec, action spec), seed, name).
    optimizer: makes an inner optimizer; called in the gin scopes `actor` and
      `critic` (and `alpha` for SAC).
    gamma: discount per step, in [0, 1].
    reward_scale_factor: factor on rewards, > 0.
    target_update_tau: share by which the target networks move, in (0, 1].
    target_update_period: gradient steps between target updates.
    target_sparsity: keeps the target networks sparse; see
      `rigl_rl.agents.targets`.
    gradient_clipping: norm to which each gradient is clipped, > 0; None for
      none.
    summarize_gradient_snr: whether summaries hold the signal-to-noise ratio of
      the gradients (figure 5), which costs about a gradient step each.

  Attributes:
    networks: the trained networks: 'actor', 'critic_1' and 'critic_2', bound
      in the gin scopes `actor` and `critic`.
  """

  # Seeds of a train step: its own draws, and those of the gradients' SNR.
  _SEEDS_PER_STEP = 8
  # Arguments of the stock constructor for target networks, by the names of
  # their online networks.
  TARGET_ARGUMENTS = {
    'critic_1': 'target_critic_network',
    'critic_2': 'target_critic_network_2',
  }

  def __init__(
    self,
    given: Mapping[str, Any],
    make_numpy_actor: Callable[..., Any],
    **arguments: Any,
  ):
    """Builds networks and optimizers, and with them the stock agent.

    Args:
      given: the arguments of the subclass's constructor, its `locals()`.
      make_numpy_actor: makes the actor in NumPy, with `refresh` and `greedy`,
        from the actor.
      **arguments: further arguments of the stock constructor.
    """
    seed, critic, optimizer = given['seed'], given['critic'], given['optimizer']
    actor_update_period = given.get('actor_update_period', 1)
    specs = (given['time_step_spec'].observation, given['action_spec'])
    self.networks = sparse_networks.SparseNetworks(
      seed, given['gradient_steps']
    )
    self._target_sparsity = given['target_sparsity']
    self._noise_seed = seeding.stream_seed(seed, 'policy noise')
    self._rng = seeding.generator(seed, 'exploration')
    optimizers = {
      'actor_optimizer': self.networks.build(
        {'actor': (given['actor'], specs)},
        optimizer,
        'actor',
        period=actor_update_period,
      ),
      'critic_optimizer': self.networks.build(
        {'critic_1': (critic, (specs,)), 'critic_2': (critic, (specs,))},
        optimizer,
        'critic',
      ),
    }
    self._targets = {
      name: common.maybe_copy_target_network_with_checks(
        self.networks[name], name=argument
      )
      for name, argument in self.TARGET_ARGUMENTS.items()
    }
    self._planner = step_plan.StepPlanner(
      optimizers.values(), actor_update_period, given['target_update_period']
    )
    self._discount = given['gamma']
    self._reward_scale = given['reward_scale_factor']
    super().__init__(
      given['time_step_spec'],
      given['action_spec'],
      actor_network=self.networks['actor'],
      critic_network=self.networks['critic_1'],
      critic_network_2=self.networks['critic_2'],
      td_errors_loss_fn=tf.math.squared_difference,
      train_step_counter=tf.Variable(0, dtype=tf.int64, trainable=False),
      gamma=self._discount,
      reward_scale_factor=self._reward_scale,
      target_update_tau=given['target_update_tau'],
      target_update_period=given['target_update_period'],
      gradient_clipping=given['gradient_clipping'],
      **optimizers,
      **dict(zip(self.TARGET_ARGUMENTS.values(), self._targets.values())),
      **arguments,
    )
    self.initialize()
    self._numpy_actor = make_numpy_actor(self.networks['actor'])
    # By plan, and by the shapes of the arguments.
    self._traced = functools.lru_cache(maxsize=None)(self._trace)
    obstacle = None
    if self._target_sparsity is not targets.copy_masks:
      obstacle = 'target_sparsity must be @copy_masks for that'
    self._compressors = [
      compression.Compressor(
        network,
        [self._targets[name]] if name in self._targets else [],
        self.networks.optimizer_of(name),
        obstacle,
      )
      for name, network in self.networks.items()
    ]
    self._compress()
    self.networks.create_slots()
    self._summarize_gradient_snr = given['summarize_gradient_snr']
    # What the last train step left: losses by name, the minibatch, and an
    # observation with what the actor gave for it, until that is used. Apart
    # from the agent, which as a tf.Module wraps all that is set on it.
    self._last = types.SimpleNamespace(losses={}, batch=None, computed=None)
    self._steps_done = 0

  def _compress(self) -> None:
    """Compresses layers that have been pruned enough, before a train step."""
    # A list: with a generator, `any` would stop at the first of them.
    if any([compressor.compress() for compressor in self._compressors]):
      self._traced.cache_clear()

  def _note_new_masks(self) -> None:
    for compressor in self._compressors:
      compressor.note_new_masks()

  def _draw_seed(self, draw: int) -> tf.Tensor:
    """Returns a stateless seed of this train step: a restart draws the same."""
    number = tf.cast(self.train_step_counter, tf.int32)
    number = number * self._SEEDS_PER_STEP + draw
    return tf.stack([self._noise_seed, number])

  def _plan(self, steps_counted: int) -> step_plan.StepPlan:
    """Returns the plan of the train step that is being traced.

    Args:
      steps_counted: how many steps train_step_counter is ahead of it.
    """
    return step_plan.current() or self._planner.in_graph(
      self.train_step_counter - steps_counted
    )

  def _get_target_updater(self, tau=1.0, period=1):
    """As the parent has it, but `target_sparsity` updates the masks."""
    del period  # The plan's.
    loader.load()  # So that its messages come before training.
    copies_masks = self._target_sparsity is targets.copy_masks

    def update(moved):
      # By network: so the critics' are updated while the actor still trains.
      for name, copy in self._targets.items():
        twins = zip(
          self.networks.layers[name], self.networks.matching_layers(name, copy)
        )
        layers = [(layer, twin) for layer, twin in twins if layer.sparsity > 0]
        if layers and copies_masks:
          targets.copy_masks(*zip(*layers), moved)
        online = self.networks[name].trainable_variables
        targets.move(online, copy.trainable_variables, tau)
        if layers and not copies_masks:
          self._target_sparsity(*zip(*layers), moved)
      return tf.no_op()

    def update_if_due():
      plan = self._plan(steps_counted=1)
      return step_plan.when(
        plan.updates_targets, lambda: update(plan.masks_moved), tf.no_op
      )

    self._update_targets = update_if_due
    return update_if_due

  def _transition(
    self, observation, action, reward, discount, next_observation
  ) -> trajectory.Transition:
    # TF-Agents reads nothing else of a transition: neither step types nor the
    # reward of the first step.
    step_type = tf.fill(tf.shape(reward), ts.StepType.MID)
    return trajectory.Transition(
      ts.TimeStep(step_type, reward, discount, observation),
      policy_step.PolicyStep(action),
      ts.TimeStep(step_type, reward, discount, next_observation),
    )

  def _train_and_act(self, *batch_and_observation: tf.Tensor):
    """One gradient step; then the actor, for the next action."""
    *batch, observation = batch_and_observation
    losses = self._train(self._transition(*batch), weights=None).extra
    # Acting in the same call avoids a second one, and reading all weights.
    return losses._asdict(), self._act(observation)

  def train_step(
    self, batch: transition_buffer.Transitions, observation: np.ndarray
  ) -> None:
    """Takes one gradient step.

    Args:
      batch: a minibatch of transitions.
      observation: the one to act on next, of shape (n,).

    Raises:
      UserError: if a loss is not finite.
    """
    self._compress()
    arrays = [*batch, observation[np.newaxis]]
    plan = self._planner.plan(self._steps_done)
    train = self._traced(plan, tuple(array.shape for array in arrays))
    try:
      losses, outputs = train(*arrays)
    except tf.errors.InvalidArgumentError as error:
      if 'inf or nan' not in str(error):
        raise
      raise losses_lib.not_finite(
        wording.count(self._steps_done, 'gradient step'),
        batch._replace(
          observation=np.concatenate([batch.observation, arrays[-1]])
        )._asdict(),
        self._remedy,
      ) from error
    self._steps_done += 1
    if plan.mask_updates or plan.masks_moved:
      self._note_new_masks()
    if not plan.trains_actor:
      del losses['actor_loss']
    self._last.losses.update(losses)
    self._last.computed = (observation, *outputs)
    self._last.batch = batch

  def _trace(
    self, plan: step_plan.StepPlan, shapes: tuple[tuple[int, ...], ...]
  ) -> traced.Traced:
    """Traces a train step, for a minibatch and observation of these shapes."""
    return traced.Traced(
      plan.bind(self._train_and_act),
      *map(tf.TensorSpec, shapes),
      packed=True,
      in_turn=traced.is_small_step(
        self.networks.values(), batch_size=shapes[0][0]
      ),
    )

  def _actor_outputs(self, observation: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns what `_act` gives for an observation of shape (n,)."""
    computed, self._last.computed = self._last.computed, None
    # After a restart, the observation is an equal one.
    if computed is not None and (
      computed[0] is observation or np.array_equal(computed[0], observation)
    ):
      return tuple(np.asarray(output) for output in computed[1:])
    self._numpy_actor.refresh()
    return self._act_in_numpy(observation[None])

  def random_action(self) -> np.ndarray:
    """Returns an action, of shape (m,), drawn uniformly from its range."""
    spec = self.action_spec
    action = self._rng.uniform(spec.minimum, spec.maximum, spec.shape)
    return action.astype(np.float32)

  def policy_by(self, actor: Any) -> Callable[[np.ndarray], np.ndarray]:
    """As `greedy_policy`, by another network that is built like the actor."""
    return type(self._numpy_actor)(actor)

  def _last_losses(self):
    losses = {
      name.removesuffix('_loss'): loss
      for name, loss in self._last.losses.items()
    }
    return {'total': sum(losses.values()), **losses} if losses else {}

  def _train_scalars(self):
    batch = self._last.batch
    inputs = (tf.constant(batch.observation), tf.constant(batch.action))
    values, _ = self.networks['critic_1'](inputs)
    return {'q_mean': tf.reduce_mean(values)}

  def _mean_losses(self):
    batch = [tf.constant(array, tf.float32) for array in self._last.batch]
    actor_loss, critic_loss = self._losses_of(self._transition(*batch))
    return len(self._last.batch.reward), {
      'actor': (actor_loss, ['actor']),
      'critic': (critic_loss, ['critic_1', 'critic_2']),
    }

  @property
  def _other_variables(self):
    copies = self._targets.values()
    variables = [variable for copy in copies for variable in copy.variables]
    return [*variables, self.train_step_counter]

  def get_state(self):
    computed = self._last.computed
    if computed is not None:
      computed = [np.array(output) for output in computed]
    return {**super().get_state(), 'computed': computed}

  def set_state(self, state):
    super().set_state(state)
    self._note_new_masks()
    self._steps_done = int(self.train_step_counter)
    self._last.computed = state['computed']
