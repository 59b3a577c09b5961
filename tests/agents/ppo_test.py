"""Tests of SparsePPOAgent: TF-Agents' PPO-Clip, on sparse networks.

Most of them run TensorFlow's functions as Python, since to trace one takes
seconds; `test_graph_does_the_same` is about the rest.
"""

import gin
import numpy as np
import pytest
import tensorflow as tf
from tf_agents.trajectories import time_step as ts

from helpers import small, small_ppo, summaries
from rigl_rl.agents import optimizers

pytestmark = pytest.mark.usefixtures('small_ppo', 'eagerly')

_ALGORITHMS = ('Dense', 'Prune', 'Static', 'SET', 'RigL', 'DS')


def test_python_decides_which_steps_change_masks():
  gin.bind_parameter('UpdateSchedule.interval', 3)
  planned, looking = small_ppo.make_agent(), small_ppo.make_agent()
  runs, planned_function = [], planned._planned

  def record(plan):
    def call(steps, order, begin, end):
      runs.append((bool(plan.mask_updates), int(begin), int(end)))
      return planned_function(plan)(steps, order, begin, end)

    return call

  planned._planned = record
  # Without a plan each step looks at its count.
  looking._planned = lambda plan: looking._train_epochs
  for agent in (planned, looking):
    small_ppo.train(agent, 2)
  # Masks change at 0, 3 and 6, of four gradient steps per rollout.
  assert runs == [
    (True, 0, 1),
    (False, 1, 3),
    (True, 3, 4),
    (False, 0, 2),
    (True, 2, 3),
    (False, 3, 4),
  ]
  for one, other in zip(small_ppo.weights(planned), small_ppo.weights(looking)):
    np.testing.assert_array_equal(one, other)


def test_gradient_steps_of_a_rollout():
  agent = small_ppo.make_agent()
  assert (
    agent.networks.total_steps == small_ppo.ROLLOUTS * small_ppo.PER_ROLLOUT
  )
  for rollouts in (1, 2):
    small_ppo.train(agent, 1)
    optimizer = agent.networks.optimizers['ppo']
    assert int(optimizer.step) == rollouts * small_ppo.PER_ROLLOUT
    assert int(optimizer.inner.iterations) == rollouts * small_ppo.PER_ROLLOUT
    assert int(agent.train_step_counter) == rollouts * small_ppo.PER_ROLLOUT
    assert (
      agent.describe()['gradient_steps'] == rollouts * small_ppo.PER_ROLLOUT
    )


def _check_masks(agent, algorithm, first):
  for layer in small_ppo.layers(agent):
    mask, kernel = layer.mask.numpy(), layer.kernel.numpy()
    assert set(np.unique(mask)) <= {0.0, 1.0}
    assert not kernel[mask == 0].any()
    for name in agent.networks.optimizers['ppo'].inner.get_slot_names():
      slot = agent.networks.optimizers['ppo'].inner.get_slot(layer.kernel, name)
      assert not slot.numpy()[mask == 0].any()
    if algorithm in ('Static', 'SET', 'RigL'):
      assert (mask == 0).sum() == int(layer.sparsity * mask.size * (1 + 1e-12))
    if algorithm == 'DS':
      assert mask.sum() == first[id(layer)].sum()
    if algorithm in ('Dense', 'Static'):
      np.testing.assert_array_equal(mask, first[id(layer)])


@pytest.mark.parametrize('algorithm', _ALGORITHMS)
def test_counts_and_zeros_are_exact(algorithm):
  agent = small_ppo.make_agent(algorithm)
  first = {id(layer): layer.mask.numpy() for layer in small_ppo.layers(agent)}
  for seed in range(small_ppo.ROLLOUTS):
    small_ppo.train(agent, 1, seed)
    _check_masks(agent, algorithm, first)
  for name, layers in agent.networks.layers.items():
    moved = any(
      (layer.mask.numpy() != first[id(layer)]).any()
      for layer in layers
      if layer.sparsity
    )
    assert moved == (algorithm not in ('Dense', 'Static')), name
  if algorithm == 'Prune':
    for layer in small_ppo.layers(agent):
      assert (first[id(layer)] == 1).all()
      zeros = (layer.mask.numpy() == 0).sum()
      assert zeros == int(layer.sparsity * layer.mask.numpy().size + 1e-9)


def test_graph_does_the_same():
  """Traced, with all the masks' conditions inside a loop, as runs have it."""
  eager, graph = small_ppo.make_agent(), small_ppo.make_agent()
  first = {id(layer): layer.mask.numpy() for layer in small_ppo.layers(graph)}
  small_ppo.train(eager, 2)
  tf.config.run_functions_eagerly(False)
  for seed in range(2):
    small_ppo.train(graph, 1, seed)
    _check_masks(graph, 'RigL', first)
  assert small_ppo.step_counts(eager) == small_ppo.step_counts(graph)
  for one, other in zip(small_ppo.weights(eager), small_ppo.weights(graph)):
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_sparsity_zero_trains_as_dense_bit_for_bit():
  gin.bind_parameter('sparsify.sparsity', 0.0)
  sparse, dense = small_ppo.make_agent('RigL'), small_ppo.make_agent('Dense')
  for agent in (sparse, dense):
    small_ppo.train(agent, 2)
  for one, other in zip(small_ppo.weights(sparse), small_ppo.weights(dense)):
    np.testing.assert_array_equal(one, other)


def test_explores_as_the_collect_policy_does():
  agent = small_ppo.make_agent()
  small_ppo.train(agent, 2)
  observations = small_ppo.make_rollout(agent).observation
  agent.refresh_policy()
  step = ts.TimeStep(
    tf.fill([small_ppo.STEPS], ts.StepType.MID),
    tf.zeros([small_ppo.STEPS]),
    tf.ones([small_ppo.STEPS]),
    tf.constant(observations),
  )
  distribution = agent.collect_policy.distribution(step).action
  found = [
    small_ppo.explore(agent, observation) for observation in observations
  ]
  actions, means, stds = (np.stack(arrays) for arrays in zip(*found))
  np.testing.assert_allclose(
    means, distribution.mean().numpy(), rtol=1e-4, atol=1e-5
  )
  np.testing.assert_allclose(stds, distribution.stddev().numpy(), rtol=1e-5)
  assert (stds != 0.35).all()  # Trained.
  noise = (actions - means) / stds
  assert np.unique(noise.round(3)).size == noise.size
  many = [agent.explore(observations[0])[0] for _ in range(4000)]
  np.testing.assert_allclose(np.mean(many, 0), means[0], atol=0.05)
  np.testing.assert_allclose(np.std(many, 0), stds[0], rtol=0.05)
  # Greedy evaluation, of all at once.
  np.testing.assert_allclose(
    agent.greedy_policy()(observations),
    agent.policy.action(step).action.numpy(),
    rtol=1e-4,
    atol=1e-5,
  )


def test_explores_by_the_weights_that_were_read():
  agent = small_ppo.make_agent()
  rollout = small_ppo.make_rollout(agent)
  observation = rollout.observation[0]
  _, before, std = small_ppo.explore(agent, observation)
  agent.train_on(rollout)
  _, unread, unread_std = small_ppo.explore(agent, observation)
  np.testing.assert_array_equal(before, unread)
  np.testing.assert_array_equal(std, unread_std)
  agent.refresh_policy()
  _, read, read_std = small_ppo.explore(agent, observation)
  assert (before != read).all() and (std != read_std).all()


def test_restored_agent_continues_bit_for_bit():
  agent = small_ppo.make_agent('RigL')
  small_ppo.train(agent, 2)
  state = agent.get_state()

  def go_on(agent):
    small_ppo.train(agent, 2, seed=20)
    actions = [agent.explore(np.ones(small.OBSERVATION, np.float32))[0]]
    return np.stack(actions), agent.get_state()

  actions, after = go_on(agent)
  restored = small_ppo.make_agent('RigL')
  restored.set_state(state)
  tf.nest.map_structure(
    np.testing.assert_array_equal, state, restored.get_state()
  )
  restored_actions, restored_after = go_on(restored)
  np.testing.assert_array_equal(actions, restored_actions)
  tf.nest.map_structure(np.testing.assert_array_equal, after, restored_after)
  # The state holds all of this: an agent without it acts differently.
  other_actions, _ = go_on(small_ppo.make_agent('RigL'))
  assert (other_actions != actions).any()


def test_seed_decides_everything():
  one, same, other = (
    small_ppo.make_agent(seed=1),
    small_ppo.make_agent(seed=1),
    small_ppo.make_agent(seed=2),
  )
  for agent in (one, same, other):
    small_ppo.train(agent, 2)
  for left, right in zip(small_ppo.weights(one), small_ppo.weights(same)):
    np.testing.assert_array_equal(left, right)
  kernels = [
    [layer.kernel.numpy() for layer in small_ppo.layers(agent)]
    for agent in (one, other)
  ]
  assert all((a != b).any() for a, b in zip(*kernels))
  # Actor and value network are not the same at their start, either.
  actor, value = (layers[0] for layers in one.networks.layers.values())
  assert (actor.kernel.numpy() != value.kernel.numpy()).any()
  assert (actor.mask.numpy() != value.mask.numpy()).any()


def test_summaries(tmp_path):
  agent = small_ppo.make_agent(summarize_gradient_snr=True)
  small_ppo.train(agent, 1)
  with tf.summary.create_file_writer(str(tmp_path)).as_default(step=1):
    agent.write_summaries()
  scalars = summaries.scalars(tmp_path)
  share = agent.describe()['actor_share']
  assert scalars['networks/actor_share'] == [(1, pytest.approx(share))]
  assert {
    'train/loss/total',
    'train/loss/actor',
    'train/loss/value',
    'train/clip_fraction',
    'train/learning_rate',
    'masks/actor/dense1/sparsity',
    'masks/value/dense2/sparsity',
    'masks/actor/drop_fraction',
    'networks/actor_share',
    'gradients/snr/actor',
    'gradients/snr/value',
  } <= scalars.keys()


def test_scopes_bind_actor_and_value_network_apart():
  gin.parse_config("""
      actor/sparsify.sparsity = 0.25
      value/sparsify.sparsity = 0.75
  """)
  agent = small_ppo.make_agent('Static')
  described = agent.describe()
  sparsities = {
    name: part['sparsity'] for name, part in described['networks'].items()
  }
  assert sparsities['actor'] == pytest.approx(0.25, abs=0.02)
  assert sparsities['value'] == pytest.approx(0.75, abs=0.02)
  actor = described['networks']['actor']['parameters']
  assert described['actor_share'] == pytest.approx(
    actor / described['parameters']
  )
  # As the figures count them: no standard deviations.
  active = sum(
    layer.mask.numpy().sum() + layer.bias.shape[0]
    for layer in agent.networks.layers['actor']
  )
  assert actor == active


def test_pruning_honors_both_sparsities():
  gin.parse_config("""
      actor/sparsify.sparsity = 0.25
      value/sparsify.sparsity = 0.75
      UpdateSchedule.begin = 0.2
      UpdateSchedule.interval = 1
  """)
  agent = small_ppo.make_agent('Prune')
  small_ppo.train(agent, small_ppo.ROLLOUTS)
  networks = agent.describe()['networks']
  assert networks['actor']['sparsity'] == pytest.approx(0.25, abs=0.02)
  assert networks['value']['sparsity'] == pytest.approx(0.75, abs=0.02)


def test_not_finite_loss_is_one_line(user_error):
  agent = small_ppo.make_agent(optimizer=lambda: optimizers.adam(1e30))
  with user_error('A loss is not finite', 'adam.learning_rate'):
    small_ppo.train(agent, 3)


@pytest.mark.parametrize(
  'arguments, words',
  [
    ({'gamma': 1.5}, ('SparsePPOAgent.gamma', '1.5', '[0, 1]')),
    ({'lambda_': 'a'}, ('SparsePPOAgent.lambda_', "'a'", '[0, 1]')),
    ({'clip_ratio': 0}, ('SparsePPOAgent.clip_ratio', '0', '(0, 1]')),
    ({'entropy_coefficient': -1}, ('entropy_coefficient', '-1', 'at least 0')),
    ({'value_coefficient': None}, ('value_coefficient', 'None')),
    ({'gradient_clipping': 0}, ('gradient_clipping', '0', 'above 0, or None')),
    ({'value_clipping': 'x'}, ('value_clipping', "'x'", 'above 0, or None')),
    ({'minibatch_size': 0}, ('minibatch_size', '0', 'whole number')),
    ({'num_epochs': 1.5}, ('num_epochs', '1.5', 'whole number')),
    (
      {'minibatch_size': 5},
      ('SparsePPOAgent.minibatch_size', '5', 'PPOLoop.rollout_steps', '8'),
    ),
  ],
)
def test_bad_bindings(arguments, words, user_error):
  with user_error(*words):
    small_ppo.make_agent(**arguments)


def test_clipping_that_is_off():
  agent = small_ppo.make_agent(gradient_clipping=None, value_clipping=None)
  small_ppo.train(agent, 1)
  assert int(agent.train_step_counter) == small_ppo.PER_ROLLOUT
