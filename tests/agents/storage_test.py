"""Tests that agents train alike in both storages."""

import gin
import gymnasium
import numpy as np
import pytest

from helpers import small, storages
from rigl_rl import errors
from rigl_rl.agents import ppo, sac, td3
from rigl_rl.sparsity import compression, wrappers

_ALGORITHMS = ('Static', 'SET', 'RigL', 'DS')
_STEPS = 13


@pytest.fixture(autouse=True)
def _small_networks(operations):
  gin.clear_config()
  gin.parse_config(
    [
      *storages.BINDINGS,
      'build_network.network = @MLPQNetwork',
      'DeterministicActor.hidden_units = (24, 16)',
      *(
        f'{network}.{binding}'
        for network in ('SquashedGaussianActor', 'Critic', 'MLPQNetwork')
        for binding in ('hidden_units = (24, 16)', 'weight_decay = 0.01')
      ),
    ]
  )
  yield
  gin.clear_config()


def _actor_critic(agent_class, storage, algorithm, **arguments):
  storages.bind(storage, algorithm)
  return agent_class(*small.specs(), seed=1, gradient_steps=_STEPS, **arguments)


def _train(agent, begin=0, end=_STEPS):
  small.train(agent, end - begin, seed=begin)


def _layers(agent):
  return [
    layer
    for network in (*agent.networks.values(), *agent._targets.values())
    for layer in wrappers.named_layers(network).values()
  ]


@pytest.mark.parametrize(
  'agent_class,algorithm',
  [
    *((sac.SparseSacAgent, algorithm) for algorithm in _ALGORITHMS),
    (td3.SparseTd3Agent, 'RigL'),
  ],
)
def test_actor_critics_train_alike(agent_class, algorithm):
  masked = _actor_critic(agent_class, 'masked', algorithm)
  sparse = _actor_critic(agent_class, 'sparse', algorithm)
  assert all(layer.storage.name == 'masked' for layer in _layers(masked))
  assert all(layer.storage.name == 'sparse' for layer in _layers(sparse))
  storages.assert_alike(masked.get_state(), sparse.get_state(), 0)
  first = [np.array(layer.mask) for layer in _layers(sparse)]
  _train(masked)
  _train(sparse)
  storages.assert_alike(masked.get_state(), sparse.get_state())
  for layer, other in zip(_layers(masked), _layers(sparse)):
    np.testing.assert_array_equal(layer.mask, other.mask)
  moved = [
    not np.array_equal(mask, layer.mask)
    for mask, layer in zip(first, _layers(sparse))
    if not np.all(mask)
  ]
  assert all(moved) if algorithm != 'Static' else not any(moved)
  observations = np.float32(np.random.default_rng(0).normal(size=(4, 5)))
  np.testing.assert_allclose(
    masked.greedy_policy()(observations),
    sparse.greedy_policy()(observations),
    atol=1e-4,
  )


@pytest.mark.parametrize('tau,period', [(1.0, 1), (0.3, 4)])
def test_targets_follow_alike(tau, period):
  agents = [
    _actor_critic(
      sac.SparseSacAgent,
      storage,
      'RigL',
      target_update_tau=tau,
      target_update_period=period,
    )
    for storage in ('masked', 'sparse')
  ]
  for agent in agents:
    _train(agent)
  storages.assert_alike(*(agent.get_state() for agent in agents))


@pytest.mark.parametrize(
  'storage,other', [('masked', 'sparse'), ('sparse', 'masked')]
)
def test_a_checkpoint_of_one_storage_loads_into_the_other(storage, other):
  agent = _actor_critic(sac.SparseSacAgent, storage, 'RigL')
  _train(agent, end=7)
  state = agent.get_state()
  resumed = _actor_critic(sac.SparseSacAgent, other, 'RigL')
  resumed.set_state(state)
  storages.assert_alike(state, resumed.get_state(), 0)
  _train(agent, begin=7)
  _train(resumed, begin=7)
  storages.assert_alike(agent.get_state(), resumed.get_state())


def test_a_restart_is_bit_for_bit():
  agent = _actor_critic(sac.SparseSacAgent, 'sparse', 'RigL')
  _train(agent, end=7)
  resumed = _actor_critic(sac.SparseSacAgent, 'sparse', 'RigL')
  resumed.set_state(agent.get_state())
  _train(agent, begin=7)
  _train(resumed, begin=7)
  storages.assert_alike(agent.get_state(), resumed.get_state(), 0)


def test_gradients_have_one_signal_to_noise_ratio():
  ratios = []
  for storage in ('masked', 'sparse'):
    agent = _actor_critic(sac.SparseSacAgent, storage, 'RigL')
    _train(agent, end=2)
    ratios.append({k: float(v) for k, v in agent.gradient_snr().items()})
  assert ratios[0] == pytest.approx(ratios[1], rel=1e-3)


def test_slots_take_the_memory_of_active_weights():
  agent = _actor_critic(sac.SparseSacAgent, 'sparse', 'RigL')
  for name in agent.networks:
    optimizer = agent.networks.optimizer_of(name).inner
    for layer in agent.networks.layers[name]:
      active = np.count_nonzero(layer.mask)
      assert layer.trained_kernel.shape == (active,)
      for slot in optimizer.get_slot_names():
        assert optimizer.get_slot(layer.trained_kernel, slot).shape == (active,)


def _dqn(storage, algorithm, **arguments):
  space = gymnasium.spaces.Box(-1, 1, (4,), np.float32)
  return storages.make_dqn(
    storage, algorithm, space, train_steps=60, **arguments
  )


def _play(agent, steps):
  def observe(rng):
    return rng.uniform(-1, 1, 4).astype(np.float32)

  storages.play(agent, observe, steps)


@pytest.mark.parametrize(
  'algorithm,overlap',
  [*((algorithm, False) for algorithm in _ALGORITHMS), ('RigL', True)],
)
def test_dqn_trains_alike(algorithm, overlap):
  states = []
  for storage in ('masked', 'sparse'):
    agent = _dqn(storage, algorithm, overlap_training=overlap)
    assert all(layer.storage.name == storage for layer in agent.layers)
    _play(agent, 60)
    states.append(agent.get_state())
  storages.assert_alike(*states)


@pytest.fixture
def cheap_operations(monkeypatch):
  """So that layers as small as those here are worth their compression."""
  monkeypatch.setattr(compression, '_OPERATION', 0)
  gin.parse_config("""
      sparsify.sparsity = 0.9
      sparsify.distribution = @uniform
  """)


def _capacities(layers):
  """The share of weights that sparse kernels have room for; None if masked."""
  return [
    layer.storage.capacity / layer.kernel_shape.num_elements()
    if layer.storage.name == 'sparse'
    else None
    for layer in layers
  ]


@pytest.mark.parametrize('storage', ['sparse', 'auto'])
@pytest.mark.parametrize('overlap', [False, True])
def test_dqn_compresses_what_it_has_pruned(cheap_operations, storage, overlap):
  states = []
  for wanted in ('masked', storage):
    agent = _dqn(wanted, 'Prune', overlap_training=overlap)
    assert _capacities(agent.layers) == [None] * 3
    seen = []
    for _ in range(30):
      _play(agent, 2)
      seen.append(_capacities(agent.layers)[1])
    states.append(agent.get_state())
  # The last agent's: masked, then with ever less room.
  seen = [each for i, each in enumerate(seen) if each not in seen[:i]]
  assert seen == [None, 0.5, 0.25, 0.125]
  for layer in agent.layers:
    assert layer.storage.name == 'sparse'
    active = np.count_nonzero(layer.mask)
    assert active <= layer.trained_kernel.shape[0] < 2 * active + 2
    for name in agent.optimizer.inner.get_slot_names():
      slot = agent.optimizer.inner.get_slot(layer.trained_kernel, name)
      assert slot.shape == layer.trained_kernel.shape
  storages.assert_alike(*states)


@pytest.mark.parametrize(
  'agent_class', [sac.SparseSacAgent, td3.SparseTd3Agent]
)
def test_actor_critics_compress_what_they_have_pruned(
  cheap_operations, agent_class
):
  masked = _actor_critic(agent_class, 'masked', 'Prune')
  sparse = _actor_critic(agent_class, 'auto', 'Prune')
  assert all(layer.storage.name == 'masked' for layer in _layers(sparse))
  _train(masked)
  _train(sparse)
  assert all(layer.storage.name == 'sparse' for layer in _layers(sparse))
  storages.assert_alike(masked.get_state(), sparse.get_state())


def test_a_restart_of_pruning_is_bit_for_bit(cheap_operations):
  agent = _actor_critic(sac.SparseSacAgent, 'auto', 'Prune')
  states = {}
  # Masks change after steps 3, 6, 9, …
  for begin, end in ((0, 4), (4, 7), (7, _STEPS)):
    _train(agent, begin, end)
    states[end] = agent.get_state()
  for begin in (4, 7):
    resumed = _actor_critic(sac.SparseSacAgent, 'auto', 'Prune')
    resumed.set_state(states[begin])
    _train(resumed, begin)
    storages.assert_alike(resumed.get_state(), states[_STEPS], 0)
    assert _capacities(_layers(resumed)) == _capacities(_layers(agent))


def test_a_pruned_checkpoint_of_one_storage_loads_into_the_other(
  cheap_operations,
):
  agents = {
    s: _actor_critic(sac.SparseSacAgent, s, 'Prune') for s in ('masked', 'auto')
  }
  for agent in agents.values():
    _train(agent, end=_STEPS - 1)
  for storage, other in (('masked', 'auto'), ('auto', 'masked')):
    state = agents[storage].get_state()
    resumed = _actor_critic(sac.SparseSacAgent, other, 'Prune')
    resumed.set_state(state)
    storages.assert_alike(state, resumed.get_state(), 0)
    _train(resumed, begin=_STEPS - 1)
    assert all(
      (layer.storage.name == 'masked') == (other == 'masked')
      for layer in _layers(resumed)
    )


def test_auto_compresses_what_is_large_and_sparse():
  gin.bind_parameter('MLPQNetwork.hidden_units', (256, 256))
  gin.bind_parameter('sparsify.sparsity', 0.9)
  agent = _dqn('auto', 'RigL')
  assert all(layer.storage.name == 'sparse' for layer in agent.layers)
  gin.bind_parameter('sparsify.sparsity', 0.3)
  agent = _dqn('auto', 'RigL')
  assert all(layer.storage.name == 'masked' for layer in agent.layers)


@pytest.mark.parametrize(
  'bindings,wrong',
  [
    (['sparsify.storage = "dense"'], "sparsify.storage is 'dense'"),
    (
      ['make_sparse_optimizer.dense_slots = True'],
      'make_sparse_optimizer.dense_slots',
    ),
    (['SparseSacAgent.target_sparsity = @keep_largest'], 'target_sparsity'),
  ],
)
def test_what_cannot_be_stored_sparsely_is_reported(bindings, wrong):
  storages.bind('sparse', 'RigL')
  gin.parse_config(bindings)
  with pytest.raises(errors.UserError, match=wrong):
    sac.SparseSacAgent(*small.specs(), seed=1, gradient_steps=_STEPS)


def test_a_binding_of_copy_masks_is_no_obstacle():
  gin.parse_config('SparseSacAgent.target_sparsity = @copy_masks')
  agent = _actor_critic(sac.SparseSacAgent, 'sparse', 'RigL')
  assert all(layer.storage.name == 'sparse' for layer in _layers(agent))


def test_ppo_stays_masked():
  storages.bind('auto', 'RigL')
  arguments = {
    'seed': 0,
    'rollout_steps': 8,
    'num_rollouts': 2,
    'minibatch_size': 4,
    'num_epochs': 1,
  }
  gin.bind_parameter('sparsify.sparsity', 0.95)
  agent = ppo.SparsePPOAgent(*small.specs(), **arguments)
  for network in agent.networks.values():
    for layer in wrappers.named_layers(network).values():
      assert layer.storage.name == 'masked'
  storages.bind('sparse', 'RigL')
  with pytest.raises(errors.UserError, match='for PPO'):
    ppo.SparsePPOAgent(*small.specs(), **arguments)
