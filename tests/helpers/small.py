"""Specs, minibatches and steps for small actor-critic agents."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf
from tf_agents.specs import array_spec, tensor_spec
from tf_agents.trajectories import time_step as ts

from rigl_rl.replay import transition_buffer

OBSERVATION, ACTION, BATCH = 5, 2, 8
LOW, HIGH = np.float32([-1, -2]), np.float32([1, 4])
CENTER, MAGNITUDE = np.float32([0, 1]), np.float32([1, 3])


def specs(low=LOW, high=HIGH):
  """Of time steps and actions."""
  return (
    tensor_spec.from_spec(
      ts.time_step_spec(array_spec.ArraySpec((OBSERVATION,), np.float32, 'obs'))
    ),
    tensor_spec.from_spec(
      array_spec.BoundedArraySpec((ACTION,), np.float32, low, high, 'action')
    ),
  )


def make_batch(seed=0):
  rng = np.random.default_rng(seed)

  def draw(*shape):
    return rng.standard_normal((BATCH, *shape)).astype(np.float32)

  return transition_buffer.Transitions(
    draw(OBSERVATION),
    CENTER + MAGNITUDE * np.tanh(draw(ACTION)),
    draw(),
    np.float32(rng.random(BATCH) > 0.2),
    draw(OBSERVATION),
  )


def train(agent, steps, seed=0):
  for step in range(seed, seed + steps):
    batch = make_batch(step)
    agent.train_step(batch, batch.observation[0])


def online_and_target(agent):
  """Pairs of sparse layers of all networks that have targets."""
  return [
    pair
    for name, copy in agent._targets.items()
    for pair in zip(
      agent.networks.layers[name], agent.networks.matching_layers(name, copy)
    )
  ]


def go_on(agent, observation):
  """Acts and trains: what an agent in the same state does bit for bit.

  Returns:
    Actions, and the state afterwards.
  """
  actions = [agent.explore(observation), agent.explore(observation)]
  train(agent, 4, seed=20)
  actions += [agent.explore(observation), agent.random_action()]
  return np.stack(actions), agent.get_state()


def assert_equal_states(one, other):
  tf.nest.map_structure(np.testing.assert_array_equal, one, other)


class _NoPlan:
  """Leaves to the graph what a step does."""

  bind = staticmethod(lambda function: function)


def without_a_plan(agent):
  """Makes each step of an agent look in the graph at what it has to do.

  Returns:
    The function that traces, whose `cache_info` counts traces.
  """
  trace = functools.lru_cache(lambda shapes: agent._trace(_NoPlan, shapes))
  agent._traced = lambda _, shapes: trace(shapes)
  return trace


def mean_snr(gradients):
  """The mean of |mean| / standard deviation of (examples, weights)."""
  mean, mean_square = gradients.mean(0), (gradients**2).mean(0)
  variance = np.maximum(mean_square - mean**2, 1e-6 * mean_square)
  return np.divide(
    np.abs(mean), np.sqrt(variance), out=np.zeros_like(mean), where=mean != 0
  ).mean()
