"""Tests that DQN trains convolutions alike in both storages."""

import gin
import gymnasium
import numpy as np
import pytest

from helpers import storages
from rigl_rl.sparsity import compression

_SPACE = gymnasium.spaces.Box(0, 255, (9, 8, 1), np.uint8)


@pytest.fixture(autouse=True)
def _small_network(operations):
  gin.clear_config()
  gin.parse_config(
    [
      *storages.BINDINGS,
      'build_network.network = @NatureQNetwork',
      'build_network.stack_size = 2',
      'NatureQNetwork.width = 0.1',
      'NatureQNetwork.weight_decay = 0.01',
    ]
  )
  yield
  gin.clear_config()


def _agent(storage, algorithm='RigL', **arguments):
  return storages.make_dqn(
    storage, algorithm, _SPACE, train_steps=30, **arguments
  )


def _play(agent, steps=30):
  storages.play(
    agent, lambda rng: rng.integers(0, 256, _SPACE.shape, np.uint8), steps
  )
  agent.end_episode(0.0)


@pytest.mark.parametrize(
  'algorithm,overlap', [('RigL', False), ('RigL', True), ('Prune', False)]
)
def test_dqn_trains_alike(monkeypatch, algorithm, overlap):
  # So that convolutions as small as these are worth storing once pruned.
  monkeypatch.setattr(compression, '_COST_OF_CHANNEL', 0)
  states = []
  for storage in ('masked', 'sparse'):
    agent = _agent(storage, algorithm, overlap_training=overlap)
    first = [np.array(layer.mask) for layer in agent.layers]
    _play(agent)
    states.append(agent.get_state())
    # ERK leaves the first and the last ones dense.
    stored = [layer for layer in agent.layers if layer.storage.name == 'sparse']
    convolutions = [each for each in stored if len(each.kernel_shape) == 4]
    assert bool(convolutions) == (storage == 'sparse')
    assert not all(
      np.array_equal(mask, layer.mask)
      for mask, layer in zip(first, agent.layers)
    )
  storages.assert_alike(*states, 1e-3)


def test_a_restart_is_bit_for_bit_and_loads_the_other_storage():
  agent = _agent('sparse')
  _play(agent, 20)
  state = agent.get_state()
  agents = [agent]
  for storage in ('sparse', 'masked'):
    resumed = _agent(storage)
    resumed.set_state(state)
    storages.assert_alike(resumed.get_state(), state, 0)
    agents.append(resumed)
  batch = agent.learner.batch
  for each in agents:
    for _ in range(4):  # Among them a mask update.
      each.learner.begin(batch)
      each.learner.finish(each.state)
  states = [each.learner.get_state() for each in agents]
  storages.assert_alike(states[0], states[1], 0)
  storages.assert_alike(states[0], states[2], 1e-3)
