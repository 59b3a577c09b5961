"""Small DQN agents, and what plays with them."""

import dataclasses

import gin
import numpy as np

from rigl_rl.agents import dqn, losses, optimizers

_CONFIG = """
build_network.network = @MLPQNetwork
build_network.stack_size = {stack_size}
MLPQNetwork.hidden_units = (8, 8)
MLPQNetwork.weight_decay = {weight_decay}
sparsify.sparsity = 0.5
sparsify.algorithm = @{algorithm}()
RigL.drop_fraction = 0.5
DS.drop_fraction = 0.5
UpdateSchedule.interval = 3
UpdateSchedule.end = 1.0
"""


@dataclasses.dataclass(frozen=True)
class Space:
  shape: tuple
  dtype: type = np.float32


def make_agent(
  algorithm='RigL',
  stack_size=1,
  weight_decay=0.0,
  hidden_units=None,
  decay_output=True,
  **changed,
):
  with gin.unlock_config():
    gin.clear_config()
    gin.parse_config(
      _CONFIG.format(
        algorithm=algorithm, stack_size=stack_size, weight_decay=weight_decay
      )
    )
    gin.bind_parameter('MLPQNetwork.decay_output', decay_output)
    if hidden_units is not None:
      gin.bind_parameter('MLPQNetwork.hidden_units', hidden_units)
  arguments = {
    'num_actions': 2,
    'observation_space': Space((3,)),
    'seed': 0,
    'train_steps': 200,
    'optimizer': lambda: optimizers.adam(0.01),
    'loss': losses.squared_loss,
    'batch_size': 4,
    'replay_capacity': 100,
    'min_replay_history': 5,
    'update_period': 1,
    'target_update_period': 10,
    'epsilon_train': 0.1,
    'epsilon_decay_period': 20,
  }
  return dqn.SparseDQNAgent(**{**arguments, **changed})


def play(agent, num_steps, rng=None, episode=7, after_step=None):
  """Random observations, in episodes of fixed length; returns the actions."""
  rng = np.random.default_rng(0) if rng is None else rng
  actions = []
  for step in range(num_steps):
    observation = rng.normal(size=3).astype(np.float32)
    if step % episode == 0:
      if step:
        agent.end_episode(1.0, terminal=step % (2 * episode) == 0)
      actions.append(agent.begin_episode(observation))
    else:
      actions.append(agent.step(rng.normal(), observation))
    if after_step is not None:
      after_step()
  agent.end_episode(1.0)
  return actions


def values(agent, network):
  return [v.numpy() for v in getattr(agent, network).variables]


def same(one, other):
  return all(np.array_equal(a, b) for a, b in zip(one, other))


def sparse_layers(network):
  """(kernel, mask) of each layer, found by shape among the variables."""
  from rigl_rl.sparsity import wrappers

  return [
    (layer.kernel.numpy(), layer.mask.numpy())
    for layer in wrappers.named_layers(network).values()
  ]


def two_episodes(agent, terminal):
  """Observations 1 to 4 and 11 to 14; `terminal` is of the first episode."""
  for first in (1, 11):
    agent.begin_episode(np.full(3, first, np.float32))
    for number in range(first + 1, first + 4):
      agent.step(0.5, np.full(3, number, np.float32))
    agent.end_episode(9.0, terminal=terminal)


def sampled(agent):
  """All transitions: {first observation: (next, reward, terminal)}."""
  found = {}
  for _ in range(50):
    states, (_, rewards, terminals), next_states = agent._sample_batch()
    for i, state in enumerate(states):
      found[state[0, -1]] = (
        next_states[i, 0, -1],
        rewards[i],
        terminals[i],
      )
  return found


def save(agent, directory):
  """Saves an agent, as a checkpoint does."""
  return agent.get_state(), agent.replay.save(str(directory))


def load(agent, directory, saved):
  state, replay = saved
  agent.set_state(state)
  agent.replay.load(str(directory), replay)
