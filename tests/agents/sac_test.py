"""Tests of SparseSacAgent: TF-Agents' train step, on sparse networks."""

import gin
import numpy as np
import pytest
import tensorflow as tf

from helpers import small, small_sac, summaries
from rigl_rl import errors
from rigl_rl.agents import optimizers, targets
from rigl_rl.runtime import traced
from rigl_rl.sparsity import wrappers

pytestmark = pytest.mark.usefixtures('small_sac')

_ALGORITHMS = ('Dense', 'Prune', 'Static', 'SET', 'RigL', 'DS')


@pytest.mark.parametrize('algorithm', _ALGORITHMS)
def test_counts_and_zeros_are_exact(algorithm):
  agent = small_sac.make_agent(algorithm)
  first = {
    id(layer): layer.mask.numpy()
    for layers in agent.networks.layers.values()
    for layer in layers
  }
  for step in range(10):
    small.train(agent, 1, seed=step)
    for layers in agent.networks.layers.values():
      for layer in layers:
        mask, kernel = layer.mask.numpy(), layer.kernel.numpy()
        assert set(np.unique(mask)) <= {0.0, 1.0}
        assert not kernel[mask == 0].any()
        if algorithm in ('Static', 'SET', 'RigL'):
          zeros = int(layer.sparsity * mask.size * (1 + 1e-12))
          assert (mask == 0).sum() == zeros
        if algorithm in ('Dense', 'Static'):
          np.testing.assert_array_equal(mask, first[id(layer)])
    for online, target in small.online_and_target(agent):
      mask = online.mask.numpy()
      np.testing.assert_array_equal(target.mask.numpy(), mask)
      assert not target.kernel.numpy()[mask == 0].any()
  moved = [
    (layer.mask.numpy() != first[id(layer)]).any()
    for layers in agent.networks.layers.values()
    for layer in layers
    if layer.sparsity
  ]
  assert any(moved) == (algorithm not in ('Dense', 'Static'))
  if algorithm == 'Prune':
    for layers in agent.networks.layers.values():
      for layer in layers:
        zeros = (layer.mask.numpy() == 0).sum()
        assert zeros == int(layer.sparsity * layer.mask.numpy().size + 1e-9)


def test_target_lags_behind_by_tau():
  agent = small_sac.make_agent('Static', target_update_tau=0.25)
  (online, target), *_ = small.online_and_target(agent)
  before = target.kernel.numpy()
  np.testing.assert_array_equal(before, online.kernel.numpy())
  small.train(agent, 1)
  expected = 0.75 * before + 0.25 * online.kernel.numpy()
  np.testing.assert_allclose(target.kernel.numpy(), expected, rtol=1e-6)


def test_hard_target_is_a_copy():
  agent = small_sac.make_agent(
    'RigL', target_update_tau=1.0, target_update_period=3
  )
  pairs = small.online_and_target(agent)
  small.train(agent, 2)
  for _, target in pairs:  # Far from the online weights, where sums round.
    noise = tf.random.stateless_normal(target.kernel.shape, (1, 2))
    target.kernel.assign(noise * target.mask)
  small.train(agent, 1, seed=2)
  for online, target in pairs:
    np.testing.assert_array_equal(online.kernel.numpy(), target.kernel.numpy())
    np.testing.assert_array_equal(online.mask.numpy(), target.mask.numpy())


def test_no_twin_critics():
  agent = small_sac.make_agent('RigL')
  one, two = (agent.networks.layers[name] for name in ('critic_1', 'critic_2'))
  assert (one[0].kernel.numpy() != two[0].kernel.numpy()).any()
  assert (one[0].mask.numpy() != two[0].mask.numpy()).any()
  targets_ = agent._targets['critic_1'], agent._targets['critic_2']
  kernels = [
    list(wrappers.named_layers(net).values())[0].kernel.numpy()
    for net in targets_
  ]
  np.testing.assert_array_equal(kernels[0], one[0].kernel.numpy())
  np.testing.assert_array_equal(kernels[1], two[0].kernel.numpy())


@pytest.mark.parametrize('period', [1, 3])
def test_masks_of_targets_follow_at_each_target_update(period):
  agent = small_sac.make_agent(
    'RigL', target_update_period=period, target_update_tau=0.5
  )
  for step in range(1, 7):
    small.train(agent, 1, seed=step)
    if step % period == 0:
      for online, target in small.online_and_target(agent):
        mask = online.mask.numpy()
        np.testing.assert_array_equal(target.mask.numpy(), mask)
        assert not target.kernel.numpy()[mask == 0].any()


def test_targets_that_keep_their_largest_weights():
  agent = small_sac.make_agent(
    'RigL', target_sparsity=targets.keep_largest, target_update_tau=0.5
  )
  small.train(agent, 5)
  differ = []
  for online, target in small.online_and_target(agent):
    kernel = target.kernel.numpy()
    if online.sparsity:
      count = np.count_nonzero(online.kernel.numpy())
      assert np.count_nonzero(kernel) == count
      np.testing.assert_array_equal(target.mask.numpy(), kernel != 0)
      differ.append((target.mask.numpy() != online.mask.numpy()).any())
  assert any(differ)


def test_sparsity_zero_trains_as_dense_bit_for_bit():
  gin.bind_parameter('sparsify.sparsity', 0.0)
  sparse, dense = small_sac.make_agent('RigL'), small_sac.make_agent('Dense')
  for agent in (sparse, dense):
    small.train(agent, 4)
  for name in dense.networks:
    for one, other in zip(
      sparse.networks[name].variables, dense.networks[name].variables
    ):
      np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_restored_agent_continues_bit_for_bit():
  agent = small_sac.make_agent('RigL')
  small.train(agent, 3)
  state = agent.get_state()
  observation = small.make_batch(9).observation[0]
  actions, after = small.go_on(agent, observation)
  restored = small_sac.make_agent('RigL', seed=0)
  restored.set_state(state)
  restored_actions, restored_after = small.go_on(restored, observation)
  np.testing.assert_array_equal(actions, restored_actions)
  small.assert_equal_states(after, restored_after)
  # The state holds all of this: an agent without it acts differently.
  other_actions, _ = small.go_on(
    small_sac.make_agent('RigL', seed=0), observation
  )
  assert (other_actions != actions).any()


def test_steps_that_change_no_mask_are_the_same_without_looking(monkeypatch):
  # What runs in turn is not optimized, and differs by rounding.
  monkeypatch.setattr(traced, '_SMALL_STEP', 0)
  gin.bind_parameter('UpdateSchedule.interval', 3)
  agent, looking = small_sac.make_agent('RigL'), small_sac.make_agent('RigL')
  trace = small.without_a_plan(looking)
  for each in (agent, looking):
    small.train(each, 8)
  # Masks change in steps 0, 3 and 6.
  assert agent._traced.cache_info().misses == 2
  assert trace.cache_info().misses == 1
  small.assert_equal_states(agent.get_state(), looking.get_state())


def test_seed_decides_everything():
  one, same, other = (
    small_sac.make_agent(seed=1),
    small_sac.make_agent(seed=1),
    small_sac.make_agent(seed=2),
  )
  for agent in (one, same, other):
    small.train(agent, 3)
  states = [
    tf.nest.flatten(agent.networks.get_state()) for agent in (one, same, other)
  ]
  for left, right in zip(states[0], states[1]):
    np.testing.assert_array_equal(left, right)
  assert any((a != b).any() for a, b in zip(states[0], states[2]))


@pytest.mark.parametrize('bound', [None, 2.0])
def test_not_finite_loss_of_large_observations(bound, user_error):
  """As Humanoid's real contact forces: σ, if not bounded, overflows."""
  gin.bind_parameter('SquashedGaussianActor.log_std_max', bound)
  batch = small.make_batch()
  batch = batch._replace(observation=1e4 * batch.observation)
  agent = small_sac.make_agent()
  if bound is None:
    with user_error('not finite', 'log_std_max=2.0', 'adam.learning_rate'):
      agent.train_step(batch, batch.observation[0])
  else:
    agent.train_step(batch, batch.observation[0])


def test_not_finite_loss_is_one_line():
  agent = small_sac.make_agent(optimizer=lambda: optimizers.adam(1e30))
  with pytest.raises(errors.UserError, match='adam.learning_rate'):
    small.train(agent, 10)


@pytest.mark.parametrize(
  'arguments, words',
  [
    ({'gamma': 1.5}, ('SparseSacAgent.gamma', '1.5', '[0, 1]')),
    ({'target_update_tau': -1}, ('SparseSacAgent.target_update_tau', '-1')),
    ({'target_update_period': 0}, ('target_update_period', '0', 'whole')),
    ({'initial_alpha': 0.0}, ('SparseSacAgent.initial_alpha', '0.0')),
    ({'reward_scale_factor': 'a'}, ('reward_scale_factor', "'a'")),
  ],
)
def test_bad_bindings(arguments, words):
  with pytest.raises(errors.UserError) as info:
    small_sac.make_agent(**arguments)
  # gin adds lines that say where it was called from.
  line = str(info.value).splitlines()[0]
  assert all(word in line for word in words)


def test_scopes_bind_actor_and_critic_apart():
  gin.parse_config("""
      actor/sparsify.sparsity = 0.25
      critic/sparsify.sparsity = 0.75
      critic/UpdateSchedule.interval = 5
  """)
  agent = small_sac.make_agent('Static')
  described = agent.describe()
  sparsities = {
    name: part['sparsity'] for name, part in described['networks'].items()
  }
  assert sparsities['actor'] == pytest.approx(0.25, abs=0.01)
  assert sparsities['critic_1'] == pytest.approx(0.75, abs=0.01)
  schedules = {
    scope: optimizer.mask_updater.schedule.interval
    for scope, optimizer in agent.networks.optimizers.items()
  }
  assert schedules == {'actor': 2, 'critic': 5}
  actor = described['networks']['actor']['parameters']
  assert described['actor_share'] == pytest.approx(
    actor / described['parameters']
  )


def test_pruning_honors_both_sparsities():
  gin.parse_config("""
      actor/sparsify.sparsity = 0.25
      critic/sparsify.sparsity = 0.75
      UpdateSchedule.begin = 0.2
      UpdateSchedule.interval = 1
  """)
  agent = small_sac.make_agent('Prune')
  small.train(agent, 9)
  networks = agent.describe()['networks']
  assert networks['actor']['sparsity'] == pytest.approx(0.25, abs=0.01)
  assert networks['critic_2']['sparsity'] == pytest.approx(0.75, abs=0.01)


def test_summaries(tmp_path):
  agent = small_sac.make_agent(summarize_gradient_snr=True)
  small.train(agent, 1)
  with tf.summary.create_file_writer(str(tmp_path)).as_default(step=1):
    agent.write_summaries()
  assert {
    'train/loss/critic',
    'train/alpha',
    'masks/actor/dense1/sparsity',
    'masks/critic_2/dense2/sparsity',
    'masks/actor/drop_fraction',
    'networks/actor_share',
    'gradients/snr/actor',
    'gradients/snr/critic',
  } <= summaries.scalars(tmp_path).keys()
