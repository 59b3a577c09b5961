"""OffPolicyAgent: what sparse SAC and TD3 add to TF-Agents' agents."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable

import numpy as np
import tensorflow as tf
from tf_agents.trajectories import policy_step, trajectory
from tf_agents.trajectories import time_step as ts

from rigl_rl import seeding, wording
from rigl_rl.agents import losses as losses_lib
from rigl_rl.agents import sparse_networks, targets
from rigl_rl.agents import variables as variables_lib
from rigl_rl.checks import check_number
from rigl_rl.kernels import loader
from rigl_rl.replay import transition_buffer
from rigl_rl.runtime import traced
from rigl_rl.sparsity import compression, diagnostics, wrappers
from rigl_rl.sparsity.optimizer import SparseOptimizer


@dataclasses.dataclass(frozen=True)
class StepKind:
  """What a train step does beside training the critics.

  Each kind is traced by itself, so that none looks whether it has to do what
  others do.

  Attributes:
    updates_masks: whether a mask may change.
    trains_actor: whether the actor takes a gradient step.
    updates_targets: whether the target networks are updated.
    masks_moved: whether a mask may have changed since they were last updated.
  """

  updates_masks: bool
  trains_actor: bool
  updates_targets: bool
  masks_moved: bool


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


class OffPolicyAgent:
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

  def _check_arguments(
    self,
    gamma: float,
    reward_scale_factor: float,
    target_update_tau: float,
    target_update_period: int,
    gradient_clipping: float | None,
  ) -> None:
    """Raises UserError on a value outside its range."""
    name = type(self).__name__
    check_number(f'{name}.gamma', gamma, 0, 1)
    check_number(
      f'{name}.reward_scale_factor', reward_scale_factor, 0, exclusive=True
    )
    check_number(
      f'{name}.target_update_tau', target_update_tau, 0, 1, exclusive=True
    )
    check_number(
      f'{name}.target_update_period', target_update_period, 1, whole=True
    )
    check_number(
      f'{name}.gradient_clipping',
      gradient_clipping,
      0,
      exclusive=True,
      or_none=True,
    )

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
  ) -> tuple[SparseOptimizer, SparseOptimizer]:
    """Builds networks and optimizers, from the arguments of the constructor.

    Returns:
      The actor's optimizer and the critics'.
    """
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
    self._target_sparsity = target_sparsity
    self._periods = (actor_update_period, target_update_period)
    # None: what is traced has to look at the step count.
    self._kind = None
    self._noise_seed = seeding.stream_seed(seed, 'policy noise')
    self._rng = seeding.generator(seed, 'exploration')
    actor_optimizer = self.networks.build(
      {'actor': make_actor}, optimizer, 'actor', period=actor_update_period
    )
    critic_optimizer = self.networks.build(
      {'critic_1': make_critic, 'critic_2': make_critic}, optimizer, 'critic'
    )
    return actor_optimizer, critic_optimizer

  def _finish(self, numpy_actor: Any, summarize_gradient_snr: bool) -> None:
    """Completes the construction, after the stock constructor.

    Args:
      numpy_actor: the actor in NumPy, with `refresh` and `greedy`.
      summarize_gradient_snr: whether summaries hold the signal-to-noise ratio
        of the gradients.
    """
    self.initialize()
    self._numpy_actor = numpy_actor
    self._train_functions = {}
    self._compressors = self._make_compressors()
    self._compress()
    self.networks.create_slots()
    self._summarize_gradient_snr = summarize_gradient_snr
    self._last = _LastStep()
    self._update_steps = self.networks.update_steps()
    self._steps_done = 0

  def _make_compressors(self) -> list[compression.Compressor]:
    obstacle = None
    if self._target_sparsity is not targets.copy_masks:
      obstacle = 'target_sparsity must be @copy_masks for that'
    copies = self._target_networks
    return [
      compression.Compressor(
        network,
        [copies[name]] if name in copies else [],
        self.networks.optimizer_of(name),
        obstacle,
      )
      for name, network in self.networks.items()
    ]

  def _compress(self) -> None:
    """Compresses layers that have been pruned enough, before a train step."""
    # All of them: `any` of a generator would end with the first.
    if any([compressor.compress() for compressor in self._compressors]):
      self._train_functions.clear()

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

  def _write_more_summaries(self) -> None:
    """Writes what else there is to TensorBoard."""

  @property
  def _target_networks(self) -> dict[str, Any]:
    """The target networks, by their online networks' names."""
    copies = {
      'actor': getattr(self, '_target_actor_network', None),
      'critic_1': self._target_critic_network_1,
      'critic_2': self._target_critic_network_2,
    }
    return {name: copy for name, copy in copies.items() if copy is not None}

  def _draw_seed(self, draw: int) -> tf.Tensor:
    """Returns a stateless seed of this train step: a restart draws the same."""
    number = tf.cast(self.train_step_counter, tf.int32)
    number = number * self._SEEDS_PER_STEP + draw
    return tf.stack([self._noise_seed, number])

  def _periodically(
    self,
    period: int,
    is_due: bool | None,
    body: Callable[[], Any],
    otherwise: Callable[[], Any],
    steps_ahead: int = 0,
  ) -> Any:
    """Calls `body` in each `period`-th train step, else `otherwise`.

    Args:
      period: train steps.
      is_due: whether this step is one of these; None if that is not known yet.
      body: a function without arguments.
      otherwise: another, of the same result.
      steps_ahead: 1 where train_step_counter has not counted this step yet.
    """
    if is_due is None and period > 1:
      step = self.train_step_counter + steps_ahead
      return tf.cond(tf.equal(step % period, 0), body, otherwise)
    return body() if is_due is None or is_due else otherwise()

  def _get_target_updater(self, tau=1.0, period=1):
    """As the parent has it, but for masks, which `target_sparsity` updates."""
    loader.load()  # What it says belongs before training.
    # By network: so the critics' are updated while the actor still trains.
    pairs = []
    copies_masks = self._target_sparsity is targets.copy_masks
    for name, copy in self._target_networks.items():
      twins = zip(
        self.networks.layers[name], self.networks.matching_layers(name, copy)
      )
      sparse = [(layer, twin) for layer, twin in twins if layer.sparsity > 0]
      pairs.append((self.networks[name], copy, sparse, name))

    def update():
      for online, copy, layers, name in pairs:
        moved = False
        if layers:
          if self._kind is None:
            moved = self.networks.optimizer_of(name).masks_moved(period)
          else:
            moved = self._kind.masks_moved
        if layers and copies_masks:
          targets.copy_masks(*zip(*layers), moved)
        targets.move(online.trainable_variables, copy.trainable_variables, tau)
        if layers and not copies_masks:
          self._target_sparsity(*zip(*layers), moved)
      return tf.no_op()

    def update_if_due():
      is_due = None if self._kind is None else self._kind.updates_targets
      return self._periodically(period, is_due, update, tf.no_op)

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
    kind = self._kind_of(self._steps_done)
    train = self._train_functions.get(kind)
    if train is None:
      train = self._trace(kind, [array.shape for array in arrays])
      self._train_functions[kind] = train
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
    if kind.updates_masks or kind.masks_moved:
      self._note_new_masks()
    if not kind.trains_actor:
      del losses['actor_loss']
    self._last.losses.update(losses)
    self._last.computed = (observation, *outputs)
    self._last.batch = batch

  def _kind_of(self, step: int) -> StepKind:
    """Returns what a train step, counted from 0, does."""
    actor_period, target_period = self._periods
    updates_targets = (step + 1) % target_period == 0
    since_target_update = range(step - target_period + 1, step + 1)
    return StepKind(
      updates_masks=step in self._update_steps,
      trains_actor=(step + 1) % actor_period == 0,
      updates_targets=updates_targets,
      masks_moved=updates_targets
      and any(s in self._update_steps for s in since_target_update),
    )

  def _trace(
    self, kind: StepKind, shapes: list[tuple[int, ...]]
  ) -> traced.Traced:
    """Traces a train step.

    Args:
      kind: what it does.
      shapes: of a minibatch's arrays, and the current observation's.
    """
    with self.networks.tracing(masks_are_fixed=not kind.updates_masks):
      self._kind = kind
      try:
        return traced.Traced(
          self._train_and_act,
          *map(tf.TensorSpec, shapes),
          packed=True,
          in_turn=traced.is_small_step(
            self.networks.values(), batch_size=shapes[0][0]
          ),
        )
      finally:
        self._kind = None

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

  def greedy_policy(self) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what maps observations (batch, n) to actions (batch, m).

    Without any noise, by the weights of this moment.
    """
    self._numpy_actor.refresh()
    return self._numpy_actor.greedy

  def policy_by(self, actor: Any) -> Callable[[np.ndarray], np.ndarray]:
    """As `greedy_policy`, by another network that is built like the actor."""
    return type(self._numpy_actor)(actor).greedy

  def write_summaries(self) -> None:
    """Writes losses, masks and, when asked, gradients' SNR to TensorBoard."""
    if not self._last.losses:
      return
    for name, value in self._last.losses.items():
      tf.summary.scalar(f'train/{name}', value)
    self._write_more_summaries()
    self.networks.write_summaries()
    if self._summarize_gradient_snr:
      for name, ratio in self.gradient_snr().items():
        tf.summary.scalar(f'gradients/snr/{name}', ratio)

  def gradient_snr(self) -> dict[str, tf.Tensor]:
    """Signal-to-noise ratios of the gradients on the last minibatch.

    Returns:
      Of 'actor' and 'critic' (both critics together), float32 scalars.
    """
    batch = [tf.constant(array, tf.float32) for array in self._last.batch]
    actor_loss, critic_loss = self._losses_of(self._transition(*batch))
    # The losses are means over the minibatch; their sum is what is asked for.
    # Weight decay among them reaches no layer's output, and so plays no part.
    batch_size = tf.cast(tf.shape(batch[0])[0], tf.float32)

    def layers(*names):
      return [
        layer
        for name in names
        for layer in wrappers.named_layers(self.networks[name]).values()
      ]

    return {
      'actor': diagnostics.gradient_snr(
        lambda: batch_size * actor_loss(), layers('actor')
      ),
      'critic': diagnostics.gradient_snr(
        lambda: batch_size * critic_loss(), layers('critic_1', 'critic_2')
      ),
    }

  @property
  def title(self) -> str:
    """The method in words: 'RigL at 90 % sparsity'."""
    return self.networks.title

  def describe(self) -> dict[str, Any]:
    """Returns the networks' sizes and costs as they are now."""
    return self.networks.describe()

  @property
  def _other_variables(self) -> list[tf.Variable]:
    """The variables that are not of a network that is trained."""
    variables = [
      variable
      for copy in self._target_networks.values()
      for variable in copy.variables
    ]
    return [*variables, *self._more_variables, self.train_step_counter]

  def get_state(self) -> dict[str, Any]:
    """Returns all that training goes on from, as arrays and JSON values."""
    computed = None
    if self._last.computed is not None:
      computed = [np.array(output) for output in self._last.computed]
    return {
      'networks': self.networks.get_state(),
      'others': variables_lib.read(self._other_variables),
      'exploration': seeding.generator_state(self._rng),
      'computed': computed,
    }

  def set_state(self, state: dict[str, Any]) -> None:
    """Goes on from what `get_state` returned, bit for bit."""
    self.networks.set_state(state['networks'])
    variables_lib.assign(self._other_variables, state['others'])
    seeding.restore_generator(self._rng, state['exploration'])
    self._note_new_masks()
    self._steps_done = int(self.train_step_counter)
    self._last.computed = state['computed']
