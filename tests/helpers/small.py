"""Specs, minibatches and steps for small actor-critic agents."""

from __future__ import annotations

import numpy as np
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
