"""Tests of SparseTd3Agent: algorithm 1 of Sokar et al. (2022)."""

import functools

import gin
import numpy as np
import pytest
import tensorflow as tf
from helpers import small
from tf_agents.trajectories import time_step as ts
from tf_agents.trajectories import trajectory
from tf_agents.utils import common

from rigl_rl import errors
from rigl_rl.agents import optimizers, sac, targets, td3
from rigl_rl.runtime import traced
from rigl_rl.sparsity import algorithms, wrappers


@pytest.fixture(autouse=True)
def _small_networks(no_gin_config):
  gin.parse_config("""
      DeterministicActor.hidden_units = (16, 16)
      SquashedGaussianActor.hidden_units = (16, 16)
      Critic.hidden_units = (16, 16)
      sparsify.sparsity = 0.5
      UpdateSchedule.interval = 3
  """)


def _agent(
  algorithm='RigL',
  seed=0,
  gradient_steps=10,
  bounds=(small.LOW, small.HIGH),
  agent_class=td3.SparseTd3Agent,
  **arguments,
):
  if isinstance(algorithm, str):
    algorithm = getattr(algorithms, algorithm)()
  gin.bind_parameter('sparsify.algorithm', algorithm)
  return agent_class(
    *small.specs(*bounds), seed=seed, gradient_steps=gradient_steps, **arguments
  )


def _copies(agent):
  """Pairs of networks, online and target, by name."""
  return {
    name: (agent.networks[name], copy) for name, copy in agent._targets.items()
  }


def _values(network):
  return [variable.numpy() for variable in network.trainable_variables]


def _masks(agent):
  return {
    name: [layer.mask.numpy() for layer in layers]
    for name, layers in agent.networks.layers.items()
  }


def _changed(before, after):
  """Names of the networks some of whose arrays differ."""
  return {
    name
    for name in before
    if any((b != a).any() for b, a in zip(before[name], after[name]))
  }


def _assert_equal_states(one, other):
  for left, right in zip(tf.nest.flatten(one), tf.nest.flatten(other)):
    np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
  'algorithm, target_sparsity',
  [
    ('Dense', targets.copy_masks),
    ('Static', targets.copy_masks),
    ('SET', targets.copy_masks),
    ('RigL', targets.copy_masks),
    ('Prune', targets.copy_masks),
    ('Prune', targets.keep_largest),
    ('DS', targets.copy_masks),
    ('DS', targets.keep_largest),
  ],
)
def test_counts_and_zeros_are_exact(algorithm, target_sparsity):
  # Masks are due at steps 0, 3, 6 and the actor trains at 1, 3, 5, 7, 9:
  # its own move at 1, 3, 7. Pruning's window ends between two of its steps.
  agent = _agent(
    algorithm, target_sparsity=target_sparsity, target_update_tau=0.3
  )
  first = _masks(agent)
  for step in range(10):
    before = _masks(agent)
    small.train(agent, 1, seed=step)
    moved = _changed(before, _masks(agent))
    if algorithm in ('SET', 'RigL', 'DS'):
      due = {'critic_1', 'critic_2'} if step in (0, 3, 6) else set()
      due |= {'actor'} if step in (1, 3, 7) else set()
      # Of few weights the last drop fraction moves none.
      assert moved <= due
      assert step >= 6 or moved == due
    for layers, masks in zip(agent.networks.layers.values(), first.values()):
      for layer, first_mask in zip(layers, masks):
        mask, kernel = layer.mask.numpy(), layer.kernel.numpy()
        assert set(np.unique(mask)) <= {0.0, 1.0}
        assert not kernel[mask == 0].any()
        if algorithm == 'DS':  # The first mask has no exact count.
          assert mask.sum() == first_mask.sum()
        if algorithm in ('Static', 'SET', 'RigL'):
          zeros = int(layer.sparsity * mask.size * (1 + 1e-12))
          assert (mask == 0).sum() == zeros
        if algorithm in ('Dense', 'Static'):
          np.testing.assert_array_equal(mask, first_mask)
    updates_targets = step % 2 == 1
    for online, target in small.online_and_target(agent):
      kernel = target.kernel.numpy()
      if updates_targets and target_sparsity is targets.copy_masks:
        np.testing.assert_array_equal(target.mask.numpy(), online.mask.numpy())
      if updates_targets and target_sparsity is targets.keep_largest:
        assert np.count_nonzero(kernel) <= np.count_nonzero(online.kernel)
        if online.sparsity:
          np.testing.assert_array_equal(target.mask.numpy(), kernel != 0)
      assert not kernel[target.mask.numpy() == 0].any()
      if updates_targets or algorithm != 'Prune':
        assert np.count_nonzero(kernel) <= np.count_nonzero(online.mask)
  everything = set(agent.networks)
  all_move = algorithm not in ('Dense', 'Static')
  assert _changed(first, _masks(agent)) == (everything if all_move else set())
  if algorithm == 'Prune':
    for layers in agent.networks.layers.values():
      for layer in layers:
        zeros = (layer.mask.numpy() == 0).sum()
        assert zeros == int(layer.sparsity * layer.mask.numpy().size + 1e-9)


def test_targets_that_keep_their_largest_have_masks_of_their_own():
  agent = _agent(
    algorithms.DS(0.5),
    target_sparsity=targets.keep_largest,
    target_update_tau=0.1,
  )
  small.train(agent, 6)
  differ = {
    name
    for name, (_, copy) in _copies(agent).items()
    for online, target in zip(
      agent.networks.layers[name], agent.networks.matching_layers(name, copy)
    )
    if (online.mask.numpy() != target.mask.numpy()).any()
  }
  assert differ == set(agent.networks)


def test_delayed_actor_and_targets():
  agent = _agent(
    'Static',
    actor_update_period=2,
    target_update_period=3,
    target_update_tau=0.25,
  )
  for online, copy in _copies(agent).values():
    for one, other in zip(online.variables, copy.variables):
      np.testing.assert_array_equal(one, other)
  for step in range(1, 7):  # Counted from 1, as algorithm 1 does.
    before = {
      name: [_values(network) for network in pair]
      for name, pair in _copies(agent).items()
    }
    last_loss = agent._last.losses.get('actor_loss')
    small.train(agent, 1, seed=step)
    after = {
      name: [_values(network) for network in pair]
      for name, pair in _copies(agent).items()
    }
    trained = _changed(
      {name: pair[0] for name, pair in before.items()},
      {name: pair[0] for name, pair in after.items()},
    )
    trains_actor = step % 2 == 0
    assert trained == {'critic_1', 'critic_2'} | (
      {'actor'} if trains_actor else set()
    )
    # What is reported of the actor is from its last step.
    assert (agent._last.losses.get('actor_loss') is last_loss) != trains_actor
    for name, (online, target) in after.items():
      for old, current, new in zip(before[name][1], online, target):
        if step % 3:
          np.testing.assert_array_equal(new, old)
        else:
          expected = 0.75 * old + 0.25 * current
          np.testing.assert_allclose(new, expected, rtol=1e-5, atol=1e-7)
          assert (new != old).any()
  assert agent.networks.optimizers['actor'].steps_taken == 3
  assert agent.describe()['gradient_steps'] == 6


class _Adam:
  """torch.optim.Adam(weight_decay) but for where epsilon is, on arrays."""

  def __init__(self, learning_rate, weight_decay):
    self._learning_rate, self._weight_decay = learning_rate, weight_decay
    self._m = self._v = None
    self._t = 0

  def step(self, weights, gradients):
    if self._m is None:
      self._m = [np.zeros_like(w) for w in weights]
      self._v = [np.zeros_like(w) for w in weights]
    self._t += 1
    stepped = []
    for i, (w, gradient) in enumerate(zip(weights, gradients)):
      gradient = gradient + self._weight_decay * w
      self._m[i] = 0.9 * self._m[i] + 0.1 * gradient
      self._v[i] = 0.999 * self._v[i] + 0.001 * gradient**2
      m_hat = self._m[i] / (1 - 0.9**self._t)
      v_hat = self._v[i] / (1 - 0.999**self._t)
      # Keras adds epsilon before it corrects the bias, PyTorch after.
      epsilon = 1e-8 / np.sqrt(1 - 0.999**self._t)
      stepped.append(
        w - self._learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)
      )
    return stepped


def _weights(network):
  """Kernel, bias, kernel, bias, ... as float64, and the mask of each."""
  weights, masks = [], []
  for layer in wrappers.named_layers(network).values():
    weights += [layer.kernel.numpy(), layer.bias.numpy()]
    masks += [layer.mask.numpy(), np.ones(layer.bias.shape)]
  return [each.astype(np.float64) for each in weights], masks


class _PlainTd3:
  """Algorithm 1 with masks that stay, in float64 and without any of the agent.

  From the agent come the weights to start from, and the noise.
  """

  gamma, scale, tau, period = 0.9, 0.5, 0.2, 2
  noise, noise_clip = 1.0, 0.8
  learning_rate, adam_decay = 1e-2, 0.05

  def __init__(self, agent, clips_actions, max_norm, decay):
    self._clips_actions, self._max_norm = clips_actions, max_norm
    self._decay = decay
    self.online, self.target, self._masks = {}, {}, {}
    for name, (network, copy) in _copies(agent).items():
      self.online[name], self._masks[name] = _weights(network)
      self.target[name], _ = _weights(copy)
    self._adams = {
      scope: _Adam(self.learning_rate, self.adam_decay)
      for scope in ('actor', 'critic')
    }
    self.steps = 0
    self.was_clipped = False

  def train(self, batch, normal):
    """Takes a step; returns the critics' loss, and the actor's or None."""
    self.steps += 1
    observation, action, reward, discount, next_observation = (
      tf.constant(each, tf.float64) for each in batch
    )
    noise = self.noise * normal.astype(np.float64)
    noise = np.clip(noise, -self.noise_clip, self.noise_clip)
    next_action = self._policy(self.target['actor'], next_observation)
    next_action = next_action.numpy() + small.MAGNITUDE * noise
    inside = np.clip(next_action, small.LOW, small.HIGH)
    self.was_clipped |= (inside != next_action).any()
    if self._clips_actions:
      next_action = inside
    y = self.scale * reward + self.gamma * discount * tf.minimum(
      self._value(self.target['critic_1'], next_observation, next_action),
      self._value(self.target['critic_2'], next_observation, next_action),
    )

    def squared_error(weights):
      value = self._value(weights, observation, action)
      return tf.reduce_mean((y - value) ** 2)

    one, gradients_1 = self._gradients('critic_1', squared_error)
    two, gradients_2 = self._gradients('critic_2', squared_error)
    both = self._adams['critic'].step(
      self.online['critic_1'] + self.online['critic_2'],
      gradients_1 + gradients_2,
    )
    self.online['critic_1'], self.online['critic_2'] = both[:6], both[6:]
    if self.steps % self.period:
      return one + two, None

    def minus_value(weights):
      actions = self._policy(weights, observation)
      critic = self.online['critic_1']
      return -tf.reduce_mean(self._value(critic, observation, actions))

    actor_loss, gradients = self._gradients('actor', minus_value)
    self.online['actor'] = self._adams['actor'].step(
      self.online['actor'], gradients
    )
    for name, weights in self.online.items():
      self.target[name] = [
        self.tau * new + (1 - self.tau) * old
        for new, old in zip(weights, self.target[name])
      ]
    return one + two, actor_loss

  def _forward(self, weights, x):
    for i in range(0, len(weights), 2):
      x = tf.matmul(x, weights[i]) + weights[i + 1]
      x = tf.nn.relu(x) if i + 2 < len(weights) else x
    return x

  def _policy(self, weights, observation):
    return small.CENTER + small.MAGNITUDE * tf.tanh(
      self._forward(weights, observation)
    )

  def _value(self, weights, observation, action):
    return self._forward(weights, tf.concat([observation, action], 1))[:, 0]

  def _gradients(self, name, loss_of):
    weights = [tf.constant(each) for each in self.online[name]]
    with tf.GradientTape() as tape:
      tape.watch(weights)
      loss = loss_of(weights)
      for kernel in weights[::2]:
        loss += self._decay * tf.reduce_sum(kernel**2)
    gradients = tape.gradient(loss, weights)
    if self._max_norm is not None:
      gradients = [tf.clip_by_norm(each, self._max_norm) for each in gradients]
    masked = [g.numpy() * m for g, m in zip(gradients, self._masks[name])]
    return float(loss), masked


@pytest.mark.parametrize(
  'clips_actions, max_norm, decay', [(True, None, 0.01), (False, 0.05, 0.0)]
)
def test_train_step_is_algorithm_1(clips_actions, max_norm, decay):
  gin.bind_parameter('Critic.weight_decay', decay)
  gin.bind_parameter('DeterministicActor.weight_decay', decay)
  agent = _agent(
    'Static',
    optimizer=lambda: optimizers.adam(
      _PlainTd3.learning_rate, weight_decay=_PlainTd3.adam_decay
    ),
    gamma=_PlainTd3.gamma,
    reward_scale_factor=_PlainTd3.scale,
    target_noise=_PlainTd3.noise,
    target_noise_clip=_PlainTd3.noise_clip,
    clip_target_actions=clips_actions,
    actor_update_period=_PlainTd3.period,
    target_update_period=_PlainTd3.period,
    target_update_tau=_PlainTd3.tau,
    gradient_clipping=max_norm,
  )
  plain = _PlainTd3(agent, clips_actions, max_norm, decay)
  for step in range(5):
    normal = tf.random.stateless_normal(
      (small.BATCH, small.ACTION), agent._draw_seed(0)
    )
    small.train(agent, 1, seed=step)
    critic_loss, actor_loss = plain.train(
      small.make_batch(step), normal.numpy()
    )
    found = agent._last.losses
    assert float(found['critic_loss']) == pytest.approx(critic_loss, rel=1e-4)
    if actor_loss is not None:
      assert float(found['actor_loss']) == pytest.approx(actor_loss, rel=1e-4)
    for name, (network, copy) in _copies(agent).items():
      for expected, actual in (
        (plain.online[name], _weights(network)[0]),
        (plain.target[name], _weights(copy)[0]),
      ):
        for one, other in zip(expected, actual):
          np.testing.assert_allclose(other, one, rtol=1e-3, atol=2e-5)
  assert plain.was_clipped


class _Recorder:
  """A target critic that says what it was asked for."""

  def __call__(self, inputs, **_):
    _, self.actions = inputs
    return tf.zeros(tf.shape(self.actions)[0]), ()


def test_target_noise():
  agent = _agent(
    target_noise=0.4, target_noise_clip=0.5, clip_target_actions=False
  )
  recorder = agent._targets['critic_1'] = _Recorder()
  many = 500
  observation = tf.tile(
    tf.constant(small.make_batch().observation[:1]), (many, 1)
  )
  step = ts.TimeStep(
    tf.fill([many], ts.StepType.MID), tf.zeros(many), tf.ones(many), observation
  )
  actions = tf.zeros((many, small.ACTION))

  def noise(loss=agent.critic_loss, **kwargs):
    loss(step, actions, step, **kwargs)
    mean, _ = agent._targets['actor'](observation)
    return (recorder.actions - mean).numpy() / small.MAGNITUDE

  drawn = noise()
  # N(0, .4²), and what lies beyond ± .5 moved there: in units of half a range.
  assert np.abs(drawn).max() == pytest.approx(0.5, abs=1e-5)
  beyond = (np.abs(drawn) > 0.5 - 1e-5).mean(0)
  np.testing.assert_allclose(beyond, 0.2113, atol=0.06)
  inside = np.abs(drawn) < 0.3
  np.testing.assert_allclose(inside.mean(0), 0.5467, atol=0.08)
  np.testing.assert_allclose(drawn.mean(0), 0, atol=0.06)
  assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.3
  # By the train step, and by the draw.
  np.testing.assert_array_equal(drawn, noise())
  arguments = {'weights': None, 'training': False}
  other = noise(agent._critic_loss, draw=1, **arguments)
  assert (other != drawn).mean() > 0.5
  agent.train_step_counter.assign_add(1)
  assert (noise() != drawn).mean() > 0.5
  agent._clip_target_actions = True
  agent._target_noise_clip = 10.0
  agent._target_noise = 10.0
  noise()
  clipped = recorder.actions.numpy()
  np.testing.assert_array_equal(clipped.min(0), small.LOW)
  np.testing.assert_array_equal(clipped.max(0), small.HIGH)


@pytest.mark.parametrize(
  'bounds, magnitude',
  [
    ((small.LOW, small.HIGH), small.MAGNITUDE),
    ((-0.4, 0.4), np.float32([0.4, 0.4])),
  ],
)
def test_exploration(bounds, magnitude):
  # Bounds may be numbers, for all actions at once.
  agent = _agent(exploration_noise=0.1, bounds=bounds)
  observation = small.make_batch(4).observation[0]
  greedy = agent.greedy_policy()(observation[None])[0]
  # Far enough from the bounds for the noise not to be clipped.
  low, high = bounds
  assert (greedy - low > 0.5 * magnitude).all()
  assert (high - greedy > 0.5 * magnitude).all()
  samples = np.stack([agent.explore(observation) for _ in range(4000)])
  assert samples.shape == (4000, small.ACTION) and samples.dtype == np.float32
  np.testing.assert_allclose(samples.std(0), 0.1 * magnitude, rtol=0.05)
  centered = (samples - greedy) / magnitude
  np.testing.assert_allclose(centered.mean(0), 0, atol=0.01)
  assert abs(np.corrcoef(centered.T)[0, 1]) < 0.1
  agent._exploration_noise_std = agent._exploration_noise_std * 100
  samples = np.stack([agent.explore(observation) for _ in range(100)])
  np.testing.assert_array_equal(samples.min(0), np.float32(low) * np.ones(2))
  np.testing.assert_array_equal(samples.max(0), np.float32(high) * np.ones(2))
  drawn = np.stack([agent.random_action() for _ in range(2000)])
  assert (drawn >= low).all() and (drawn <= high).all()
  np.testing.assert_allclose(
    drawn.std(0), 2 * magnitude / np.sqrt(12), rtol=0.05
  )


def test_no_noise():
  agent = _agent(exploration_noise=0.0)
  observations = small.make_batch(4).observation
  np.testing.assert_array_equal(
    agent.explore(observations[0]), agent.greedy_policy()(observations[:1])[0]
  )


def test_acting():
  """By what the train step returned, by NumPy, and greedily."""
  agent, twin = _agent('Static'), _agent('Static')
  for each in (agent, twin):
    small.train(each, 2)
  # What the last step was told.
  observation = small.make_batch(1).observation[0]
  assert agent._last.computed is not None
  twin._last.computed = None  # So that it asks the NumPy actor.
  np.testing.assert_allclose(
    agent.explore(observation), twin.explore(observation), rtol=1e-4, atol=1e-5
  )
  assert agent._last.computed is None  # Good for one action.
  # Nor is it taken for another observation.
  small.train(agent, 1)
  other = small.make_batch(7).observation[0]
  agent._exploration_noise_std = np.float32([0, 0])
  expected, _ = agent.networks['actor'](tf.constant(other[None]))
  np.testing.assert_allclose(
    agent.explore(other), expected[0], rtol=1e-4, atol=1e-5
  )
  observations = small.make_batch(3).observation
  step = ts.TimeStep(
    tf.fill([small.BATCH], ts.StepType.MID),
    tf.zeros(small.BATCH),
    tf.ones(small.BATCH),
    tf.constant(observations),
  )
  np.testing.assert_allclose(
    agent.greedy_policy()(observations),
    agent.policy.action(step).action,
    rtol=1e-4,
    atol=1e-5,
  )


def test_seed_decides_everything():
  agents = [_agent(seed=seed) for seed in (1, 1, 2)]
  observation = small.make_batch(9).observation[0]
  for agent in agents:
    small.train(agent, 2)
  actions = [
    np.stack([agent.explore(observation), agent.random_action()])
    for agent in agents
  ]
  np.testing.assert_array_equal(actions[0], actions[1])
  assert (actions[0] != actions[2]).any(1).all()
  one, same, other = (agent.get_state() for agent in agents)
  _assert_equal_states(one, same)
  kernels = [
    state['networks']['networks']['critic_1'][0] for state in (one, other)
  ]
  assert (kernels[0] != kernels[1]).any()


def test_restored_agent_goes_on_bit_for_bit():
  agent = _agent(target_update_period=3)
  small.train(agent, 3)  # Between two steps of the actor.
  state = agent.get_state()
  # What the last step was told.
  observation = small.make_batch(2).observation[0]

  def go_on(agent):
    actions = [agent.explore(observation), agent.explore(observation)]
    small.train(agent, 4, seed=20)
    actions += [agent.explore(observation), agent.random_action()]
    return np.stack(actions), agent.get_state()

  actions, after = go_on(agent)
  restored = _agent(target_update_period=3)
  restored.set_state(state)
  assert restored.describe()['gradient_steps'] == 3
  restored_actions, restored_after = go_on(restored)
  np.testing.assert_array_equal(actions, restored_actions)
  tf.nest.map_structure(np.testing.assert_array_equal, after, restored_after)
  # All of this lies in the state: an agent without it goes another way.
  assert (_agent().explore(observation) != actions[0]).any()


class _NoPlan:
  """Leaves to the graph what a step does."""

  bind = staticmethod(lambda function: function)


def test_steps_are_the_same_without_looking(monkeypatch):
  """What a plan leaves out would have done nothing."""
  # What runs in turn is not optimized, and differs by rounding.
  monkeypatch.setattr(traced, '_SMALL_STEP', 0)
  arguments = {'target_update_period': 3, 'gradient_steps': 20}
  gin.bind_parameter('UpdateSchedule.interval', 5)
  agent, looking = _agent(**arguments), _agent(**arguments)
  trace = functools.lru_cache(lambda shapes: looking._trace(_NoPlan, shapes))
  looking._traced = lambda _, shapes: trace(shapes)
  for each in (agent, looking):
    small.train(each, 9)
  # Masks of the critics change in steps 0 and 5, the actor's in 1 and 5; so 0,
  # 1, 2, 3, 4, 5 and 8 each do what no other does.
  assert agent._traced.cache_info().misses == 7
  assert trace.cache_info().misses == 1
  _assert_equal_states(agent.get_state(), looking.get_state())


@pytest.mark.parametrize('steps_before, interval', [(6, 4), (6, 3), (25, 4)])
def test_masks_change_as_algorithm_1_says(steps_before, interval):
  gin.parse_config(f"""
      UpdateSchedule.interval = {interval}
      UpdateSchedule.end = 1.0
      UpdateSchedule.steps_before = {steps_before}
  """)
  steps = 8
  agent = _agent(
    algorithms.DS(0.5),
    gradient_steps=steps,
    target_sparsity=targets.keep_largest,
    actor_update_period=2,
  )
  moved = {name: [] for name in agent.networks}
  for t in range(steps_before + 1, steps_before + steps + 1):
    before = _masks(agent)
    small.train(agent, 1, seed=t)  # The one that follows environment step t.
    for name in _changed(before, _masks(agent)):
      moved[name].append(t)
  expected = [
    t
    for t in range(steps_before + 1, steps_before + steps + 1)
    if t % interval == 0
  ]
  assert len(expected) >= 2
  assert moved['critic_1'] == moved['critic_2'] == expected
  # The actor trains in every second of the steps that train. Where e and the
  # steps before are even, its masks change with the critics'.
  assert moved['actor'] == [t + (t - steps_before) % 2 for t in expected]
  if interval % 2 == steps_before % 2 == 0:
    assert moved['actor'] == expected


@pytest.mark.parametrize(
  'agent_class', [td3.SparseTd3Agent, sac.SparseSacAgent]
)
def test_tf_agents_own_train_takes_the_same_steps(agent_class):
  """Traced once for all steps, it looks what each has to do."""
  arguments = {
    'agent_class': agent_class,
    'target_update_period': 3,
    'target_update_tau': 0.5,
  }
  agent, stock = _agent(**arguments), _agent(**arguments)
  train = common.function(stock.train)
  for step in range(7):
    batch = small.make_batch(step)
    agent.train_step(batch, batch.observation[0])

    def in_time(first, second=None):
      return tf.stack([first, first if second is None else second], axis=1)

    step_types = tf.fill((small.BATCH, 2), ts.StepType.MID)
    info = train(
      trajectory.Trajectory(
        step_type=step_types,
        observation=in_time(batch.observation, batch.next_observation),
        action=in_time(batch.action),
        policy_info=(),
        next_step_type=step_types,
        reward=in_time(batch.reward),
        discount=in_time(batch.discount),
      )
    )
    loss = agent._last.losses['critic_loss']
    assert float(info.extra.critic_loss) == pytest.approx(float(loss), rel=1e-4)
    for one, other in zip(
      tf.nest.flatten(agent.get_state()['networks']),
      tf.nest.flatten(stock.get_state()['networks']),
    ):
      np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    for one, other in zip(
      agent.get_state()['others'], stock.get_state()['others']
    ):
      np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert not _changed(_masks(agent), _masks(stock))


def test_sparsity_zero_trains_as_dense_bit_for_bit():
  gin.bind_parameter('sparsify.sparsity', 0.0)
  sparse, dense = _agent('RigL'), _agent('Dense')
  for agent in (sparse, dense):
    small.train(agent, 4)
  _assert_equal_states(sparse.get_state(), dense.get_state())


def test_snr_agrees_with_single_gradients_and_changes_nothing():
  agent = _agent()
  small.train(agent, 2)
  before = agent.get_state()
  ratios = agent.gradient_snr()
  tf.nest.map_structure(
    np.testing.assert_array_equal, before, agent.get_state()
  )
  observation, action, reward, discount, next_observation = agent._last.batch
  # The noise is drawn for the minibatch: an example's is cut out of it.
  noise = 0.2 * tf.random.stateless_normal(
    (small.BATCH, small.ACTION), agent._draw_seed(1)
  )
  noise = small.MAGNITUDE * tf.clip_by_value(noise, -0.5, 0.5)
  next_action, _ = agent._targets['actor'](next_observation)
  next_action = tf.clip_by_value(next_action + noise, small.LOW, small.HIGH)
  y = reward + 0.99 * discount * tf.minimum(
    *(
      copy((next_observation, next_action))[0]
      for copy in (
        agent._targets['critic_1'],
        agent._targets['critic_2'],
      )
    )
  )
  actor, one, two = agent.networks.values()

  def critic_losses():
    return sum((y - net((observation, action))[0]) ** 2 for net in (one, two))

  def actor_losses():
    return -one((observation, actor(observation)[0]))[0]

  for name, losses in (('actor', actor_losses), ('critic', critic_losses)):
    variables = agent.networks.trained_by(name)
    with tf.GradientTape(persistent=True) as tape:
      values = losses()
    jacobian = tape.jacobian(values, variables, experimental_use_pfor=False)
    gradients = np.concatenate(
      [j.numpy().reshape(small.BATCH, -1) for j in jacobian], axis=1
    )
    mean, mean_square = gradients.mean(0), (gradients**2).mean(0)
    variance = np.maximum(mean_square - mean**2, 1e-6 * mean_square)
    found = np.divide(
      np.abs(mean), np.sqrt(variance), out=np.zeros_like(mean), where=mean != 0
    ).mean()
    assert float(ratios[name]) == pytest.approx(found, rel=2e-3)


def test_summaries(tmp_path):
  agent = _agent(summarize_gradient_snr=True)

  def tags(step):
    directory = tmp_path / str(step)
    with tf.summary.create_file_writer(str(directory)).as_default(step=step):
      agent.write_summaries()
    return {
      value.tag
      for events in directory.iterdir()
      for event in tf.compat.v1.train.summary_iterator(str(events))
      for value in event.summary.value
    }

  assert tags(0) == set()  # There is nothing to tell yet.
  small.train(agent, 1)
  first = tags(1)
  assert {
    'train/critic_loss',
    'actor/sparsity/dense1',
    'critic_2/sparsity/dense2',
    'actor/masks/drop_fraction',
    'critic_1/masks/drop_fraction',
    'actor/share_of_parameters',
    'gradients/snr/actor',
    'gradients/snr/critic',
  } <= first
  assert 'train/actor_loss' not in first  # The actor has not trained yet.
  small.train(agent, 1)
  assert tags(2) == first | {'train/actor_loss'}


def test_not_finite_loss_is_one_line(user_error):
  agent = _agent(optimizer=lambda: optimizers.adam(1e30))
  with user_error('not finite', '1 gradient step', 'adam.learning_rate'):
    small.train(agent, 10)


def test_other_errors_of_a_train_step_pass():
  agent = _agent()
  batch = small.make_batch()
  small.train(agent, 1)
  with pytest.raises(Exception) as info:
    agent.train_step(batch._replace(reward=batch.reward[:3]), batch[0][0])
  assert not isinstance(info.value, errors.UserError)


@pytest.mark.parametrize(
  'arguments, words',
  [
    ({'gamma': 1.5}, ('SparseTd3Agent.gamma', '1.5', '[0, 1]')),
    ({'reward_scale_factor': 0}, ('reward_scale_factor', '0', 'above 0')),
    ({'target_update_tau': 0}, ('SparseTd3Agent.target_update_tau', '(0, 1]')),
    ({'target_update_period': 0}, ('target_update_period', '0', 'whole')),
    ({'gradient_clipping': -1}, ('gradient_clipping', '-1', 'None')),
    ({'exploration_noise': -0.1}, ('exploration_noise', '-0.1', 'at least 0')),
    ({'target_noise': 'a'}, ('SparseTd3Agent.target_noise', "'a'")),
    ({'target_noise': float('nan')}, ('target_noise', 'nan')),
    ({'target_noise_clip': None}, ('target_noise_clip', 'None', 'at least 0')),
    ({'actor_update_period': 0}, ('actor_update_period', '0', 'at least 1')),
    ({'actor_update_period': 1.5}, ('actor_update_period', '1.5', 'whole')),
  ],
)
def test_bad_bindings(arguments, words, user_error):
  with user_error('SparseTd3Agent.', *words):
    _agent(**arguments)


def test_scopes_bind_actor_and_critic_apart():
  gin.parse_config("""
      actor/sparsify.sparsity = 0.25
      critic/sparsify.sparsity = 0.75
      critic/UpdateSchedule.interval = 5
      actor/adam.learning_rate = 0.5
  """)
  agent = _agent('Static')
  described = agent.describe()
  for name, sparsity in (('actor', 0.25), ('critic_1', 0.75)):
    found = described['networks'][name]['sparsity']
    assert found == pytest.approx(sparsity, abs=0.01)
  built = agent.networks.optimizers
  assert built['actor'].mask_updater.schedule.interval == 3
  assert built['critic'].mask_updater.schedule.interval == 5
  assert float(built['actor'].inner.learning_rate) == 0.5
  assert float(built['critic'].inner.learning_rate) == pytest.approx(1e-3)
  assert (built['actor'].period, built['critic'].period) == (2, 1)


def test_no_twin_critics():
  agent = _agent()
  one, two = (agent.networks.layers[name] for name in ('critic_1', 'critic_2'))
  assert (one[0].kernel.numpy() != two[0].kernel.numpy()).any()
  assert (one[0].mask.numpy() != two[0].mask.numpy()).any()
