"""Tests of SparseTd3Agent: algorithm 1 of Sokar et al. (2022)."""

import gin
import numpy as np
import pytest
import tensorflow as tf

from helpers import small, small_td3, summaries
from rigl_rl import errors
from rigl_rl.agents import optimizers, targets
from rigl_rl.runtime import traced
from rigl_rl.sparsity import algorithms

pytestmark = pytest.mark.usefixtures('small_td3')


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
  agent = small_td3.make_agent(
    algorithm, target_sparsity=target_sparsity, target_update_tau=0.3
  )
  first = small_td3.masks(agent)
  for step in range(10):
    before = small_td3.masks(agent)
    small.train(agent, 1, seed=step)
    moved = small_td3.changed(before, small_td3.masks(agent))
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
  assert small_td3.changed(first, small_td3.masks(agent)) == (
    everything if all_move else set()
  )
  if algorithm == 'Prune':
    for layers in agent.networks.layers.values():
      for layer in layers:
        zeros = (layer.mask.numpy() == 0).sum()
        assert zeros == int(layer.sparsity * layer.mask.numpy().size + 1e-9)


def test_targets_that_keep_their_largest_have_masks_of_their_own():
  agent = small_td3.make_agent(
    algorithms.DS(0.5),
    target_sparsity=targets.keep_largest,
    target_update_tau=0.1,
  )
  small.train(agent, 6)
  differ = {
    name
    for name, (_, copy) in small_td3.copies(agent).items()
    for online, target in zip(
      agent.networks.layers[name], agent.networks.matching_layers(name, copy)
    )
    if (online.mask.numpy() != target.mask.numpy()).any()
  }
  assert differ == set(agent.networks)


def test_delayed_actor_and_targets():
  agent = small_td3.make_agent(
    'Static',
    actor_update_period=2,
    target_update_period=3,
    target_update_tau=0.25,
  )
  for online, copy in small_td3.copies(agent).values():
    for one, other in zip(online.variables, copy.variables):
      np.testing.assert_array_equal(one, other)
  for step in range(1, 7):  # Counted from 1, as algorithm 1 does.
    before = {
      name: [small_td3.values(network) for network in pair]
      for name, pair in small_td3.copies(agent).items()
    }
    last_loss = agent._last.losses.get('actor_loss')
    small.train(agent, 1, seed=step)
    after = {
      name: [small_td3.values(network) for network in pair]
      for name, pair in small_td3.copies(agent).items()
    }
    trained = small_td3.changed(
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


def test_seed_decides_everything():
  agents = [small_td3.make_agent(seed=seed) for seed in (1, 1, 2)]
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
  small.assert_equal_states(one, same)
  kernels = [
    state['networks']['networks']['critic_1'][0] for state in (one, other)
  ]
  assert (kernels[0] != kernels[1]).any()


def test_restored_agent_continues_bit_for_bit():
  agent = small_td3.make_agent(target_update_period=3)
  small.train(agent, 3)  # Between two steps of the actor.
  state = agent.get_state()
  # The observation that the last step was given.
  observation = small.make_batch(2).observation[0]
  actions, after = small.go_on(agent, observation)
  restored = small_td3.make_agent(target_update_period=3)
  restored.set_state(state)
  assert restored.describe()['gradient_steps'] == 3
  restored_actions, restored_after = small.go_on(restored, observation)
  np.testing.assert_array_equal(actions, restored_actions)
  small.assert_equal_states(after, restored_after)
  # The state holds all of this: an agent without it acts differently.
  assert (small_td3.make_agent().explore(observation) != actions[0]).any()


def test_steps_are_the_same_without_looking(monkeypatch):
  """What a plan leaves out would have done nothing."""
  # What runs in turn is not optimized, and differs by rounding.
  monkeypatch.setattr(traced, '_SMALL_STEP', 0)
  arguments = {'target_update_period': 3, 'gradient_steps': 20}
  gin.bind_parameter('UpdateSchedule.interval', 5)
  agent, looking = (
    small_td3.make_agent(**arguments),
    small_td3.make_agent(**arguments),
  )
  trace = small.without_a_plan(looking)
  for each in (agent, looking):
    small.train(each, 9)
  # Masks of the critics change in steps 0 and 5, the actor's in 1 and 5; so 0,
  # 1, 2, 3, 4, 5 and 8 each do what no other does.
  assert agent._traced.cache_info().misses == 7
  assert trace.cache_info().misses == 1
  small.assert_equal_states(agent.get_state(), looking.get_state())


@pytest.mark.parametrize('steps_before, interval', [(6, 4), (6, 3), (25, 4)])
def test_masks_change_as_algorithm_1_says(steps_before, interval):
  gin.parse_config(f"""
      UpdateSchedule.interval = {interval}
      UpdateSchedule.end = 1.0
      UpdateSchedule.steps_before = {steps_before}
  """)
  steps = 8
  agent = small_td3.make_agent(
    algorithms.DS(0.5),
    gradient_steps=steps,
    target_sparsity=targets.keep_largest,
    actor_update_period=2,
  )
  moved = {name: [] for name in agent.networks}
  for t in range(steps_before + 1, steps_before + steps + 1):
    before = small_td3.masks(agent)
    small.train(agent, 1, seed=t)  # The one that follows environment step t.
    for name in small_td3.changed(before, small_td3.masks(agent)):
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


def test_sparsity_zero_trains_as_dense_bit_for_bit():
  gin.bind_parameter('sparsify.sparsity', 0.0)
  sparse, dense = small_td3.make_agent('RigL'), small_td3.make_agent('Dense')
  for agent in (sparse, dense):
    small.train(agent, 4)
  small.assert_equal_states(sparse.get_state(), dense.get_state())


def test_summaries(tmp_path):
  agent = small_td3.make_agent(summarize_gradient_snr=True)

  def tags(step):
    directory = tmp_path / str(step)
    with tf.summary.create_file_writer(str(directory)).as_default(step=step):
      agent.write_summaries()
    return set(summaries.scalars(directory))

  assert tags(0) == set()  # There is nothing to tell yet.
  small.train(agent, 1)
  first = tags(1)
  assert {
    'train/loss/critic',
    'masks/actor/dense1/sparsity',
    'masks/critic_2/dense2/sparsity',
    'masks/actor/drop_fraction',
    'masks/critic_1/drop_fraction',
    'networks/actor_share',
    'gradients/snr/actor',
    'gradients/snr/critic',
  } <= first
  assert 'train/loss/actor' not in first  # The actor has not trained yet.
  small.train(agent, 1)
  second = tags(2)
  moved = {tag for tag in second if tag.endswith('/moved')}
  assert 'masks/actor/dense1/moved' in moved
  assert second - moved == first | {'train/loss/actor'}


def test_not_finite_loss_is_one_line(user_error):
  agent = small_td3.make_agent(optimizer=lambda: optimizers.adam(1e30))
  with user_error('not finite', '1 gradient step', 'adam.learning_rate'):
    small.train(agent, 10)


def test_other_errors_of_a_train_step_pass():
  agent = small_td3.make_agent()
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
    small_td3.make_agent(**arguments)


def test_scopes_bind_actor_and_critic_apart():
  gin.parse_config("""
      actor/sparsify.sparsity = 0.25
      critic/sparsify.sparsity = 0.75
      critic/UpdateSchedule.interval = 5
      actor/adam.learning_rate = 0.5
  """)
  agent = small_td3.make_agent('Static')
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
  agent = small_td3.make_agent()
  one, two = (agent.networks.layers[name] for name in ('critic_1', 'critic_2'))
  assert (one[0].kernel.numpy() != two[0].kernel.numpy()).any()
  assert (one[0].mask.numpy() != two[0].mask.numpy()).any()
