"""What Sokar et al. (2022) print of TD3 and SAC, and their runs."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from helpers.gin_files import TASKS, build, parse

# λ of the first and of the second layer, and the sparsity of all three
# networks together that they come to.
LAMBDAS = {
  'td3': {
    'HalfCheetah': ((7, 64), 0.506),
    'Hopper': ((7, 64), 0.494),
    'Walker2d': ((7, 64), 0.506),
    'Ant': ((40, 64), 0.496),
    'Humanoid': ((61, 64), 0.557),
  },
  'sac': {
    'HalfCheetah': ((12, 80), 0.369),
    'Walker2d': ((12, 80), 0.369),
    'Hopper': ((7, 20), 0.816),
    'Ant': ((30, 64), 0.530),
    'Humanoid': ((61, 64), 0.552),
  },
}
# Steps at random, before SAC trains.
SAC_COLLECTS = {
  'HalfCheetah': 10000,
  'Ant': 10000,
  'Hopper': 1000,
  'Walker2d': 1000,
  'Humanoid': 1000,
}
NETWORKS = ('actor', 'critic_1', 'critic_2')


@dataclasses.dataclass(frozen=True)
class Suite:
  """What all columns of an agent have in common.

  Attributes:
    agent: attributes of the agent, those of TF-Agents among them.
    learning_rate: of Adam.
    weight_decay: of Adam, in its gradient.
    batch_size: of the replay buffer.
    actor_outputs: outputs of the actor for each value of an action.
    initial_steps: before training, on HalfCheetah.
    actor_period: gradient steps to one of the actor.
  """

  agent: dict[str, Any]
  learning_rate: float
  weight_decay: float
  batch_size: int
  actor_outputs: int
  initial_steps: int
  actor_period: int


SUITES = {
  'td3': Suite(
    agent={
      '_gamma': 0.99,
      '_reward_scale_factor': 1.0,
      '_target_update_tau': 0.005,
      '_target_update_period': 2,
      '_actor_update_period': 2,
      '_exploration_noise_std': pytest.approx([0.1] * 6),
      '_target_policy_noise': 0.2,
      '_target_policy_noise_clip': 0.5,
      '_clip_target_actions': True,
      '_gradient_clipping': None,
    },
    learning_rate=1e-3,
    weight_decay=2e-4,
    batch_size=100,
    actor_outputs=1,
    initial_steps=25000,
    actor_period=2,
  ),
  'sac': Suite(
    agent={
      '_gamma': 0.99,
      '_reward_scale_factor': 1.0,
      '_learn_alpha': False,
      '_gradient_clipping': None,
    },
    learning_rate=3e-4,
    weight_decay=0.0,
    batch_size=256,
    actor_outputs=2,
    initial_steps=10000,
    actor_period=1,
  ),
}


@dataclasses.dataclass(frozen=True)
class Column:
  """A column of table 1, 2, 4 or 5.

  Attributes:
    suite: 'td3' or 'sac'.
    algorithm: the sparse algorithm.
    drop_fraction: η, if masks change.
    agent: attributes of the agent that are not the suite's.
  """

  suite: str
  algorithm: str
  drop_fraction: float | None = None
  agent: dict[str, Any] = dataclasses.field(default_factory=dict)


SOFT = {'_target_update_tau': 0.005, '_target_update_period': 1}
HARD = {'_target_update_tau': 1.0, '_target_update_period': 1000}
COLUMNS = {
  'td3': Column('td3', 'Dense'),
  'static_td3': Column('td3', 'Static'),
  'ds_td3': Column('td3', 'DS', 0.05),
  'sac': Column('sac', 'Dense', agent=SOFT),
  'sac_hard': Column('sac', 'Dense', agent=HARD),
  'ds_sac': Column('sac', 'DS', 0.1, HARD),
}
DS = ('ds_td3', 'ds_sac')
SPARSE = ('static_td3', *DS)


def column_file(name):
  return ('sokar22', COLUMNS[name].suite, name)


AS_RELEASED = ('sokar22', 'td3', 'as_released')


def build_from(tmp_path, *files, bindings=()):
  """Builds what gin files say, as a run would, with fewer episodes."""
  parse(*files, bindings=bindings)
  return build(tmp_path)


def agent_from(tmp_path, *files, bindings=()):
  return build_from(tmp_path, *files, bindings=bindings).agent


def shapes_of(suite, network, task='HalfCheetah'):
  observation, action = TASKS[task]
  if network == 'actor':
    outputs = SUITES[suite].actor_outputs * action
    return [(observation, 256), (256, 256), (256, outputs)]
  return [(observation + action, 256), (256, 256), (256, 1)]


def densities_of(shapes, lambdas):
  """Equation 1; the output layer is dense."""
  first, second, _ = shapes
  return [
    *(
      factor * sum(shape) / np.prod(shape)
      for factor, shape in zip(lambdas, (first, second))
    ),
    1.0,
  ]


def size_of(layer):
  return layer.mask.shape.num_elements()


def expected_active(layers):
  return sum((1 - layer.sparsity) * size_of(layer) for layer in layers)


def all_layers(networks):
  return [layer for layers in networks.values() for layer in layers]


def update_steps(agent):
  """Gradient steps at which actor and critics adapt, counted from 1."""
  return {
    scope: optimizer.update_steps() + 1
    for scope, optimizer in agent.networks.optimizers.items()
  }
