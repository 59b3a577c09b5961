"""Small PPO agents, and what they train on."""

import gin
import numpy as np
import tensorflow as tf
from tf_agents.agents.tf_agent import LossInfo

from helpers import small
from rigl_rl.agents import ppo
from rigl_rl.sparsity import algorithms

STEPS, MINIBATCH, EPOCHS, ROLLOUTS = 8, 4, 2, 4
PER_ROLLOUT = EPOCHS * STEPS // MINIBATCH  # Gradient steps.
TIME_STEP_SPEC, ACTION_SPEC = small.specs()


def make_agent(algorithm='RigL', seed=0, **arguments):
  gin.bind_parameter('sparsify.algorithm', getattr(algorithms, algorithm)())
  defaults = {
    'rollout_steps': STEPS,
    'num_rollouts': ROLLOUTS,
    'minibatch_size': MINIBATCH,
    'num_epochs': EPOCHS,
  }
  return ppo.SparsePPOAgent(
    TIME_STEP_SPEC, ACTION_SPEC, seed=seed, **{**defaults, **arguments}
  )


def make_rollout(agent, seed=0, last=(), terminal=()):
  """What the agent does on random observations.

  Args:
    agent: acts.
    seed: of the observations and rewards.
    last: steps at which an episode ended.
    terminal: those of them at which it terminated.
  """
  rng = np.random.default_rng(seed)
  steps = agent.rollout_steps
  observations = rng.standard_normal((steps + 1, small.OBSERVATION), np.float32)
  next_observation = observations[1:].copy()
  is_last = np.zeros(steps, bool)
  is_last[list(last)] = True
  next_observation[is_last] += 1  # Not what the next episode begins with.
  discount = np.ones(steps, np.float32)
  discount[list(terminal)] = 0
  agent.refresh_policy()
  actions, means, stds = zip(*(explore(agent, o) for o in observations[:-1]))
  return ppo.Rollout(
    observation=observations[:-1],
    action=np.stack(actions),
    mean=np.stack(means),
    std=np.stack(stds),
    reward=3 * rng.standard_normal(steps, np.float32) + 1,
    discount=discount,
    next_observation=next_observation,
    is_last=is_last,
  )


def explore(agent, observation):
  return [array.copy() for array in agent.explore(observation)]


def train(agent, rollouts, seed=0):
  for i in range(rollouts):
    agent.train_on(make_rollout(agent, seed + i, last=(2, 5), terminal=(5,)))


def prepared(agent, rollout, monkeypatch):
  """Returns (steps, order) as `train_on` hands them on, and trains nothing."""
  found = []
  monkeypatch.setattr(
    agent,
    '_take_steps',
    lambda *arguments: found.append(arguments) or LossInfo(tf.zeros(()), None),
  )
  agent.train_on(rollout)
  ((steps, order),) = found
  return steps, order


def layers(agent):
  return [
    layer for layers in agent.networks.layers.values() for layer in layers
  ]


def weights(agent):
  return [
    variable.numpy()
    for network in agent.networks.values()
    for variable in network.variables
  ]


def step_counts(agent):
  return [
    int(variable)
    for variable in (
      agent.train_step_counter,
      agent.networks.optimizers['ppo'].step,
    )
  ]
