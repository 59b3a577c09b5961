"""OffPolicyAgent: what sparse SAC and TD3 add to TF-Agents' agents."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Callable

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


@dataclasses.dataclass
class _LastStep:
  """What the last train step left.

  Held apart from the agent, which as a tf.Module wraps all that is set on it.

  Attributes:
    losses: by name; the actor's from its last step.
    batch: the minibatch, arrays.
    computed: an observation, and what the actor gave for it; None once used.
  """

  losses: dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)
  batch: transition_buffer.Transitions | None = None
  computed: tuple[Any, ...] | None = None


class OffPolicyAgent(actor_critic_agent.ActorCriticAgent):
  """A mixin for TF-Agents' actor-critic agents, before the stock class.

  The subclass's constructor calls `_build_networks`, then the stock
  constructor, then `_finish`. It gives `_act`, `_act_in_numpy`, `_losses_of`
  and `explore`.

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

  def _build_networks(
    self,
    time_step_spec: ts.TimeStep,
    action_spec,
    seed: int,
    gradient_steps: int,
    actor: Callable[..., Any],
    critic: Callable[..., Any],
    optimizer: Callable[[], tf.keras.optimizers.legacy.Optimizer],
    target_sparsity: targets.MaskUpdate,
    target_update_period: int,
    actor_update_period: int = 1,
  ) -> dict[str, Any]:
    """Builds networks and optimizers, from the arguments of the constructor.

    Returns:
      Arguments of the stock constructor.
    """
    specs = (time_step_spec.observation, action_spec)
    self.networks = sparse_networks.SparseNetworks(seed, gradient_steps)
    self._target_sparsity = target_sparsity
    self._noise_seed = seeding.stream_seed(seed, 'policy noise')
    self._rng = seeding.generator(seed, 'exploration')
    optimizers = {
      'actor_optimizer': self.networks.build(
        {'actor': (actor, specs)},
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
      optimizers.values(), actor_update_period, target_update_period
    )
    return {
      'time_step_spec': time_step_spec,
      'action_spec': action_spec,
      'actor_network': self.networks['actor'],
      'critic_network': self.networks['critic_1'],
      'critic_network_2': self.networks['critic_2'],
      'target_update_period': target_update_period,
      'train_step_counter': tf.Variable(0, dtype=tf.int64, trainable=False),
      **optimizers,
      **dict(zip(self.TARGET_ARGUMENTS.values(), self._targets.values())),
    }

  def _finish(self, numpy_actor: Any, summarize_gradient_snr: bool) -> None:
    """Completes the construction, after the stock constructor.

    Args:
      numpy_actor: the actor in NumPy, with `refresh` and `greedy`.
      summarize_gradient_snr: whether summaries hold the signal-to-noise ratio
        of the gradients.
    """
    self.initialize()
    self._numpy_actor = numpy_actor
    # By plan, and by the shapes of the arguments.
    self._traced = functools.lru_cache(maxsize=None)(self._trace)
    self._compressors = self._make_compressors()
    self._compress()
    self.networks.create_slots()
    self._summarize_gradient_snr = summarize_gradient_snr
    self._last = _LastStep()
    self._steps_done = 0

  def _make_compressors(self) -> list[compression.Compressor]:
    obstacle = None
    if self._target_sparsity is not targets.copy_masks:
      obstacle = 'target_sparsity must be @copy_masks for that'
    return [
      compression.Compressor(
        network,
        [self._targets[name]] if name in self._targets else [],
        self.networks.optimizer_of(name),
        obstacle,
      )
      for name, network in self.networks.items()
    ]

  def _compress(self) -> None:
    """Compresses layers that have been pruned enough, before a train step."""
    # All of them: `any` of a generator would end with the first.
    if any([compressor.compress() for compressor in self._compressors]):
      self._traced.cache_clear()

  def _note_new_masks(self) -> None:
    for compressor in self._compressors:
      compressor.note_new_masks()

  def _act(self, observation: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Returns what `explore` needs of the actor, in a train step."""
    raise NotImplementedError

  def _remedy_of_divergence(self) -> str:
    """What to bind where a loss is not finite."""
    return 'a lower adam.learning_rate'

  def _act_in_numpy(self, observation: np.ndarray) -> tuple[np.ndarray, ...]:
    """Does the same outside of it."""
    raise NotImplementedError

  def explore(self, observation: np.ndarray) -> np.ndarray:
    """Samples an action, of shape (m,), for an observation of shape (n,)."""
    raise NotImplementedError

  def _losses_of(
    self, transition: trajectory.Transition
  ) -> tuple[Callable[[], tf.Tensor], Callable[[], tf.Tensor]]:
    """Returns functions to the actor's and the critics' loss, both means."""
    raise NotImplementedError

  @property
  def _more_variables(self) -> list[tf.Variable]:
    """Variables beside those of the networks and their targets."""
    return []

  def _draw_seed(self, draw: int) -> tf.Tensor:
    """Returns a stateless seed of this train step: a restart draws the same."""
    number = tf.cast(self.train_step_counter, tf.int32)
    number = number * self._SEEDS_PER_STEP + draw
    return tf.stack([self._noise_seed, number])

  def _plan(self, steps_counted: int) -> step_plan.StepPlan:
    """Returns the plan of the train step that is being traced.

    Args:
      steps_counted: by how much train_step_counter is ahead of it.
    """
    return step_plan.current() or self._planner.in_graph(
      self.train_step_counter - steps_counted
    )

  def _get_target_updater(self, tau=1.0, period=1):
    """As the parent has it, but for masks, which `target_sparsity` updates."""
    del period  # The plan's.
    loader.load()  # What it says belongs before training.
    # By network: so the critics' are updated while the actor still trains.
    pairs = []
    copies_masks = self._target_sparsity is targets.copy_masks
    for name, copy in self._targets.items():
      twins = zip(
        self.networks.layers[name], self.networks.matching_layers(name, copy)
      )
      sparse = [(layer, twin) for layer, twin in twins if layer.sparsity > 0]
      pairs.append((self.networks[name], copy, sparse))

    def update(moved):
      for online, copy, layers in pairs:
        if layers and copies_masks:
          targets.copy_masks(*zip(*layers), moved)
        targets.move(online.trainable_variables, copy.trainable_variables, tau)
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
    # Acting in the same call spares a second one, or reading all weights.
    return losses._asdict(), self._act(observation)

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
        self._remedy_of_divergence(),
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
    """Traces a train step by its plan.

    Args:
      plan: what the step does.
      shapes: of a minibatch's arrays, and the current observation's.
    """
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
    if computed is not None and np.array_equal(computed[0], observation):
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
    return type(self._numpy_actor)(actor).greedy

  def _last_losses(self):
    return self._last.losses

  def _last_batch_size(self):
    return len(self._last.batch.reward)

  def _mean_losses(self):
    batch = [tf.constant(array, tf.float32) for array in self._last.batch]
    actor_loss, critic_loss = self._losses_of(self._transition(*batch))
    return {
      'actor': (actor_loss, ['actor']),
      'critic': (critic_loss, ['critic_1', 'critic_2']),
    }

  @property
  def _other_variables(self):
    variables = [
      variable for copy in self._targets.values() for variable in copy.variables
    ]
    return [*variables, *self._more_variables, self.train_step_counter]

  def get_state(self) -> dict[str, Any]:
    """Returns what a resumed run needs, as arrays and JSON values."""
    computed = self._last.computed
    if computed is not None:
      computed = [np.array(output) for output in computed]
    return {**super().get_state(), 'computed': computed}

  def set_state(self, state: dict[str, Any]) -> None:
    """Goes on from what `get_state` returned, bit for bit."""
    super().set_state(state)
    self._note_new_masks()
    self._steps_done = int(self.train_step_counter)
    self._last.computed = state['computed']
