"""Tests of SparseNetworks: what it builds of an agent's networks, and where."""

import gin
import numpy as np
import pytest
import tensorflow as tf
from tf_agents.specs import tensor_spec

from helpers import summaries
from rigl_rl.agents import optimizers, sparse_networks
from rigl_rl.networks import actor_critic
from rigl_rl.sparsity import algorithms, optimizer, wrappers

_OBSERVATION = tensor_spec.TensorSpec((5,), tf.float32)
_ACTION = tensor_spec.BoundedTensorSpec((2,), tf.float32, -1, 1)


@pytest.fixture(autouse=True)
def _small_networks(no_gin_config):
  gin.parse_config("""
      DeterministicActor.hidden_units = (16, 16)
      Critic.hidden_units = (16, 16)
      sparsify.sparsity = 0.5
      UpdateSchedule.interval = 4
  """)
  gin.bind_parameter('sparsify.algorithm', algorithms.DS(0.5))


_SPECS = (_OBSERVATION, _ACTION)
_ACTORS = {'actor': (actor_critic.DeterministicActor, _SPECS)}
_CRITICS = {
  name: (actor_critic.Critic, (_SPECS,)) for name in ('critic_1', 'critic_2')
}


def _networks(seed=0, total_steps=20, period=2):
  networks = sparse_networks.SparseNetworks(seed, total_steps)
  networks.build(_ACTORS, optimizers.adam, 'actor', period=period)
  networks.build(_CRITICS, optimizers.adam, 'critic')
  return networks


def _train(networks, scope, step=0):
  """Takes a step of the optimizer of a scope."""
  variables = networks.trained_by(scope)
  gradients = [
    tf.random.stateless_normal(variable.shape, (step, i))
    for i, variable in enumerate(variables)
  ]
  networks.optimizers[scope].apply_gradients(zip(gradients, variables))


def _masks(networks):
  return {
    name: [layer.mask.numpy() for layer in layers]
    for name, layers in networks.layers.items()
  }


def _changed(before, after):
  return {
    name
    for name in before
    if any((b != a).any() for b, a in zip(before[name], after[name]))
  }


def test_is_a_mapping_in_the_order_of_building():
  networks = _networks()
  assert list(networks) == ['actor', 'critic_1', 'critic_2']
  assert len(networks) == 3
  assert isinstance(networks['actor'], actor_critic.DeterministicActor)
  assert list(networks.optimizers) == ['actor', 'critic']
  assert networks.optimizer_of('actor') is networks.optimizers['actor']
  for name in ('critic_1', 'critic_2'):
    assert networks.optimizer_of(name) is networks.optimizers['critic']
    assert networks.layers[name] == list(
      wrappers.named_layers(networks[name]).values()
    )
  assert isinstance(networks.optimizers['actor'], optimizer.SparseOptimizer)


def test_each_scope_trains_its_own_variables():
  networks = _networks()
  actor, critics = (networks.trained_by(s) for s in ('actor', 'critic'))
  assert len(actor) == 6 and len(critics) == 12
  assert {v.ref() for v in critics[:6]} == {
    v.ref() for v in networks['critic_1'].trainable_variables
  }
  before = _masks(networks)
  _train(networks, 'critic')
  assert _changed(before, _masks(networks)) == {'critic_1', 'critic_2'}


def test_seed_and_name_decide_weights_and_masks():
  networks, same, other = _networks(1), _networks(1), _networks(2)
  read = [
    [variable.numpy() for variable in each['critic_1'].variables]
    for each in (networks, same, other)
  ]
  for left, right in zip(read[0], read[1]):
    np.testing.assert_array_equal(left, right)
  one, two = (networks.layers[name][0] for name in ('critic_1', 'critic_2'))
  differing = other.layers['critic_1'][0]
  for layer in (two, differing):
    assert (one.mask.numpy() != layer.mask.numpy()).any()
    assert (one.kernel.numpy() != layer.kernel.numpy()).any()


def test_scopes_bind_networks_and_schedules_apart():
  gin.parse_config("""
      actor/sparsify.sparsity = 0.25
      critic/UpdateSchedule.interval = 5
      critic/adam.learning_rate = 0.125
      other/adam.learning_rate = 0.25
      second/sparsify.sparsity = 0.75
  """)
  networks = sparse_networks.SparseNetworks(0, 20)
  networks.build(_ACTORS, optimizers.adam, 'actor')
  networks.build(_CRITICS, optimizers.adam, 'critic')
  networks.build(
    {'second': (actor_critic.Critic, (_SPECS,))}, optimizers.adam, 'other'
  )
  sparsities = {
    name: part['sparsity']
    for name, part in networks.describe()['networks'].items()
  }
  # DS draws each weight of its first mask by itself.
  for name, expected in (
    ('actor', 0.25),
    ('critic_1', 0.5),
    ('critic_2', 0.5),
    ('second', 0.75),
  ):
    assert sparsities[name] == pytest.approx(expected, abs=0.1)
  actor, critic = networks.optimizers['actor'], networks.optimizers['critic']
  assert actor.mask_updater.schedule.interval == 4
  assert critic.mask_updater.schedule.interval == 5
  assert float(critic.inner.learning_rate) == 0.125
  assert networks.optimizer_of('critic_2') is critic
  assert networks.optimizer_of('second') is networks.optimizers['other']
  assert float(networks.optimizers['other'].inner.learning_rate) == 0.25


def test_period_delays_one_optimizer():
  networks = _networks(total_steps=21, period=3)
  assert networks.optimizer_of('actor').period == 3
  assert networks.optimizer_of('critic_1').period == 1
  assert networks.gradient_steps('actor') == 7
  assert networks.gradient_steps('critic_2') == 21
  # The critics' and, each at the actor's next step, the actor's.
  for scope, steps in (
    ('critic', [0, 4, 8, 12, 16]),
    ('actor', [2, 5, 8, 14, 17]),
  ):
    assert networks.optimizers[scope].update_steps().tolist() == steps


def test_gradient_steps_taken_are_the_critics():
  networks = _networks()
  for step in range(5):
    _train(networks, 'critic', step)
    if step % 2:
      _train(networks, 'actor', step)
  assert networks.describe()['gradient_steps'] == 5
  assert networks.optimizers['actor'].steps_taken == 2


def test_description_counts_active_weights():
  networks = _networks()
  described = networks.describe()
  parameters = {
    name: sum(
      np.count_nonzero(layer.mask) + layer.bias.shape[0]
      for layer in networks.layers[name]
    )
    for name in networks
  }
  for name, count in parameters.items():
    assert described['networks'][name]['parameters'] == count
  assert described['parameters'] == sum(parameters.values())
  share = parameters['actor'] / sum(parameters.values())
  assert described['actor_share'] == pytest.approx(share)
  assert networks.title.startswith('DS at ')


def test_layers_of_a_copy_match():
  networks = _networks()
  copy = networks['critic_1'].copy(name='Target')
  copy.create_variables((_OBSERVATION, _ACTION))
  twins = networks.matching_layers('critic_1', copy)
  assert [layer.kernel.shape for layer in twins] == [
    layer.kernel.shape for layer in networks.layers['critic_1']
  ]
  gin.bind_parameter('sparsify.keep_dense', ('output',))
  networks = _networks()
  copy = networks['critic_1'].copy(name='Target')
  copy.create_variables((_OBSERVATION, _ACTION))
  twins = networks.matching_layers('critic_1', copy)
  assert twins == list(wrappers.named_layers(copy).values())[:2]
  assert len(networks.layers['critic_1']) == 2


def test_state_holds_networks_and_optimizers():
  networks = _networks()
  networks.create_slots()
  for step in range(2):
    _train(networks, 'critic', step)
    _train(networks, 'actor', step)
  state = networks.get_state()
  restored = _networks(seed=5)
  restored.create_slots()
  restored.set_state(state)
  tf.nest.map_structure(
    np.testing.assert_array_equal, restored.get_state(), state
  )
  assert restored.optimizers['critic'].steps_taken == 2
  assert not _changed(_masks(networks), _masks(restored))
  # The arrays are those of this moment.
  _train(networks, 'actor', 2)
  kernel = networks.layers['actor'][0].kernel.numpy()
  restored_kernel = restored.layers['actor'][0].kernel.numpy()
  assert (kernel != restored_kernel).any()
  np.testing.assert_array_equal(
    state['networks']['actor'][0], restored.get_state()['networks']['actor'][0]
  )


def test_state_of_other_networks():
  networks = _networks()
  networks.create_slots()
  state = networks.get_state()
  state['networks']['critic_2'] = state['networks']['critic_2'][:-1]
  with pytest.raises(ValueError, match='8 arrays for 9 variables'):
    networks.set_state(state)


def test_summaries(tmp_path):
  networks = _networks()
  with tf.summary.create_file_writer(str(tmp_path)).as_default(step=1):
    networks.write_summaries()
  share = networks.describe()['actor_share']
  sparsity = (networks.layers['critic_2'][1].mask.numpy() == 0).mean()
  scalars = summaries.scalars(tmp_path)
  for name, value in (
    ('networks/actor_share', pytest.approx(share, rel=1e-5)),
    ('masks/critic_2/dense2/sparsity', pytest.approx(sparsity)),
    ('masks/critic_1/drop_fraction', 0.5),
  ):
    assert scalars[name] == [(1, value)]
