"""Agents whose layers are stored in either way, and how alike they are."""

import gin
import numpy as np
import tensorflow as tf

from rigl_rl.agents import dqn
from rigl_rl.sparsity import algorithms

BINDINGS = (
  'adam.learning_rate = 0.01',
  'sparsify.sparsity = 0.6',
  'UpdateSchedule.begin = 0.0',
  'UpdateSchedule.end = 1.0',
  'UpdateSchedule.interval = 3',
)


def bind(storage, algorithm):
  gin.bind_parameter('sparsify.storage', storage)
  gin.bind_parameter('sparsify.algorithm', getattr(algorithms, algorithm)())


def make_dqn(storage, algorithm, observation_space, **arguments):
  bind(storage, algorithm)
  return dqn.SparseDQNAgent(
    num_actions=3,
    observation_space=observation_space,
    seed=2,
    min_replay_history=10,
    update_period=2,
    target_update_period=6,
    batch_size=8,
    replay_capacity=100,
    **arguments,
  )


def play(agent, observe, steps):
  """Plays steps, whose observations `observe` draws by a generator."""
  rng = np.random.default_rng(3)
  agent.begin_episode(observe(rng))
  for _ in range(steps):
    agent.step(float(rng.normal()), observe(rng))


def assert_alike(state, other, tolerance=2e-4):
  tf.nest.assert_same_structure(state, other)
  for one, two in zip(tf.nest.flatten(state), tf.nest.flatten(other)):
    if isinstance(one, (np.ndarray, np.generic)):
      np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance)
    else:
      assert one == two
