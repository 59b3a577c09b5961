"""Tests of SparseTd3Agent's numbers: its train step, noise and SNR."""

import gin
import numpy as np
import pytest
import tensorflow as tf
from tf_agents.trajectories import time_step as ts
from tf_agents.trajectories import trajectory
from tf_agents.utils import common

from helpers import small, small_td3
from rigl_rl.agents import optimizers, sac, td3
from rigl_rl.sparsity import wrappers

pytestmark = pytest.mark.usefixtures('small_td3')


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
    for name, (network, copy) in small_td3.copies(agent).items():
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
  agent = small_td3.make_agent(
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
    for name, (network, copy) in small_td3.copies(agent).items():
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
  agent = small_td3.make_agent(
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
  other = noise(agent.critic_loss, draw=1)
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


def test_loss_of_an_unknown_number_of_examples():
  agent = small_td3.make_agent()
  observation = tf.constant(small.make_batch().observation)
  n = len(observation)
  step = ts.TimeStep(
    tf.fill([n], ts.StepType.MID), tf.zeros(n), tf.ones(n), observation
  )
  arguments = step, tf.zeros((n, small.ACTION)), step
  specs = tf.nest.map_structure(
    lambda x: tf.TensorSpec((None, *x.shape[1:]), x.dtype), arguments
  )
  traced = tf.function(agent.critic_loss, specs, autograph=False)
  np.testing.assert_allclose(
    traced(*arguments), agent.critic_loss(*arguments), rtol=1e-5
  )


@pytest.mark.parametrize(
  'bounds, magnitude',
  [
    ((small.LOW, small.HIGH), small.MAGNITUDE),
    ((-0.4, 0.4), np.float32([0.4, 0.4])),
  ],
)
def test_exploration(bounds, magnitude):
  # Bounds may be numbers, for all actions at once.
  agent = small_td3.make_agent(exploration_noise=0.1, bounds=bounds)
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
  agent._exploration_std = agent._exploration_std * 100
  samples = np.stack([agent.explore(observation) for _ in range(100)])
  np.testing.assert_array_equal(samples.min(0), np.float32(low) * np.ones(2))
  np.testing.assert_array_equal(samples.max(0), np.float32(high) * np.ones(2))
  drawn = np.stack([agent.random_action() for _ in range(2000)])
  assert (drawn >= low).all() and (drawn <= high).all()
  np.testing.assert_allclose(
    drawn.std(0), 2 * magnitude / np.sqrt(12), rtol=0.05
  )


def test_no_noise():
  agent = small_td3.make_agent(exploration_noise=0.0)
  observations = small.make_batch(4).observation
  np.testing.assert_array_equal(
    agent.explore(observations[0]), agent.greedy_policy()(observations[:1])[0]
  )


def test_acting():
  """By what the train step returned, by NumPy, and greedily."""
  agent, twin = small_td3.make_agent('Static'), small_td3.make_agent('Static')
  for each in (agent, twin):
    small.train(each, 2)
  # The observation that the last step was given.
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
  agent._exploration_std = np.float32([0, 0])
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
  agent, stock = (
    small_td3.make_agent(**arguments),
    small_td3.make_agent(**arguments),
  )
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
    assert not small_td3.changed(small_td3.masks(agent), small_td3.masks(stock))


def test_snr_agrees_with_single_gradients_and_changes_nothing():
  agent = small_td3.make_agent()
  small.train(agent, 2)
  before = agent.get_state()
  ratios = agent.gradient_snr()
  small.assert_equal_states(before, agent.get_state())
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
    found = small.mean_snr(gradients)
    assert float(ratios[name]) == pytest.approx(found, rel=2e-3)
