"""What tables 2, 3, 8 and 9 of Graesser et al. (2022) say of SAC and PPO."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from helpers.gin_files import ALGORITHMS, TASKS
from rigl_rl.agents import targets
from rigl_rl.sparsity import wrappers


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of table 2 or 3."""

  weight_decay: float
  interval: int | None = None
  drop_fraction: float | None = None
  initializer: str | None = None


ROWS = {
  'sac_mujoco': {
    'dense': Row(1e-4),
    'prune': Row(1e-4, 1000, None, 'sparsity_aware'),
    'static': Row(1e-4, None, None, 'layer_default'),
    'rigl': Row(1e-6, 1000, 0.5, 'sparsity_aware'),
    'set': Row(1e-4, 250, 0.3, 'sparsity_aware'),
  },
  'ppo_mujoco': {
    'dense': Row(1e-6),
    'prune': Row(1e-6, 500, None, 'layer_default'),
    'static': Row(0.0, None, None, 'sparsity_aware'),
    'rigl': Row(1e-4, 250, 0.3, 'sparsity_aware'),
    'set': Row(1e-6, 100, 0.0, 'sparsity_aware'),
  },
}


@dataclasses.dataclass(frozen=True)
class Suite:
  """What table 8 or 9 prints for all methods alike."""

  runner: str
  # Its bindings.
  loop: dict[str, Any]
  # Attributes of the agent, those of TF-Agents among them.
  agent: dict[str, Any]
  adam_epsilon: float
  activation: str
  hidden_units: int
  # Network to (gin scope of its optimizer, outputs as a factor on actions).
  networks: dict[str, tuple[str, int]]
  gradient_steps: int


SUITES = {
  'sac_mujoco': Suite(
    runner='ActorCriticLoop',
    loop={'evaluation_period': 10000, 'evaluation_episodes': 30},
    agent={
      '_gamma': 0.99,
      '_reward_scale_factor': 0.1,
      '_target_update_tau': 0.005,
      '_target_update_period': 1,
      '_target_sparsity': targets.copy_masks,
      '_alpha_loss_weight': 1.0,
      '_target_entropy': -3.0,
      '_gradient_clipping': None,
    },
    adam_epsilon=1e-7,
    activation='relu',
    hidden_units=256,
    networks={
      'actor': ('actor', 2),
      'critic_1': ('critic', 0),
      'critic_2': ('critic', 0),
    },
    gradient_steps=990000,
  ),
  'ppo_mujoco': Suite(
    runner='PPOLoop',
    loop={
      'rollout_steps': 2048,
      'evaluation_period': 1,
      'evaluation_episodes': 20,
    },
    agent={
      '_minibatch_size': 64,
      '_epochs': 10,
      '_num_epochs': 1,  # TF-Agents' own: ours come on top.
      '_num_rollouts': 489,
      '_discount_factor': 0.99,
      '_lambda': 0.95,
      '_importance_ratio_clipping': 0.2,
      '_entropy_regularization': 0.0,
      '_value_pred_loss_coef': 0.5,
      '_gradient_clipping': 0.5,
      '_value_clipping': 0.0,
      '_decay_learning_rate': True,
      '_bootstrap_time_limits': True,
      '_use_gae': True,
      '_use_td_lambda_return': True,
    },
    adam_epsilon=1e-5,
    activation='tanh',
    hidden_units=64,
    networks={'actor': ('ppo', 1), 'value': ('ppo', 0)},
    gradient_steps=156480,
  ),
}


def shapes_of(suite, name, task='HalfCheetah-v4', units=None):
  observation, action = TASKS[task.removesuffix('-v4')]
  _, outputs = suite.networks[name]
  inputs = observation + (action if name.startswith('critic') else 0)
  units = units or suite.hidden_units
  return [(inputs, units), (units, units), (units, outputs * action or 1)]


def kernel_shapes(agent, name):
  return [tuple(layer.kernel.shape) for layer in agent.networks.layers[name]]


def check_masks(agent, method, sparsities=None):
  for name, network in agent.networks.items():
    layers = agent.networks.layers[name]
    # All of them are sparse, the last one too.
    assert layers == list(wrappers.named_layers(network).values())
    for layer in layers:
      assert type(layer.algorithm).__name__ == ALGORITHMS[method]
    sizes = [layer.mask.shape.num_elements() for layer in layers]
    target = sum(n * layer.sparsity for n, layer in zip(sizes, layers))
    zeros = sum(np.sum(layer.mask.numpy() == 0) for layer in layers)
    goal = (sparsities or {}).get(name, 0.9) if method != 'dense' else 0.0
    # Layers have whole numbers of zeros, which shows in PPO's few weights.
    assert target / sum(sizes) == pytest.approx(goal, abs=5e-4)
    if method in ('dense', 'prune'):
      assert zeros == 0
    elif method == 'ds':
      assert zeros / sum(sizes) == pytest.approx(goal, abs=0.03)
    else:
      assert zeros / sum(sizes) == pytest.approx(goal, abs=2e-3)
