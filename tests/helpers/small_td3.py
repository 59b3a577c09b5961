"""Small TD3 agents, and their masks."""

import gin

from helpers import small
from rigl_rl.agents import td3
from rigl_rl.sparsity import algorithms


def make_agent(
  algorithm='RigL',
  seed=0,
  gradient_steps=10,
  bounds=(small.LOW, small.HIGH),
  agent_class=td3.SparseTd3Agent,
  **arguments,
):
  if isinstance(algorithm, str):
    algorithm = getattr(algorithms, algorithm)()
  gin.bind_parameter('sparsify.algorithm', algorithm)
  return agent_class(
    *small.specs(*bounds), seed=seed, gradient_steps=gradient_steps, **arguments
  )


def copies(agent):
  """Pairs of networks, online and target, by name."""
  return {
    name: (agent.networks[name], copy) for name, copy in agent._targets.items()
  }


def values(network):
  return [variable.numpy() for variable in network.trainable_variables]


def masks(agent):
  return {
    name: [layer.mask.numpy() for layer in layers]
    for name, layers in agent.networks.layers.items()
  }


def changed(before, after):
  """Names of the networks some of whose arrays differ."""
  return {
    name
    for name in before
    if any((b != a).any() for b, a in zip(before[name], after[name]))
  }
