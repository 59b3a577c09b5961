"""Private names of TF-Agents."""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.agents.ppo import ppo_agent
from tf_agents.agents.sac import sac_agent
from tf_agents.agents.td3 import td3_agent
from tf_agents.networks import network as network_lib
from tf_agents.utils import tensor_normalizer

# Of stock agents: by the attribute of an optimizer, those of the networks that
# it trains. A target's name is that of its network, after '_target'.
_NETWORKS = {
  '_actor_optimizer': ('_actor_network',),
  '_critic_optimizer': (
    '_critic_network',
    '_critic_network_1',
    '_critic_network_2',
  ),
  '_optimizer': ('_q_network', '_actor_net', '_value_net'),
}


def log_alpha(agent: sac_agent.SacAgent) -> tf.Variable:
  """Returns the logarithm of the temperature."""
  return agent._log_alpha


def apply_gradients(
  agent: td3_agent.Td3Agent,
  gradients: Sequence[tf.Tensor],
  variables: Sequence[tf.Variable],
  optimizer: Any,
) -> None:
  """Takes an optimizer's step, with the agent's clipping of gradients."""
  agent._apply_gradients(gradients, variables, optimizer)


def reward_normalizer(
  agent: ppo_agent.PPOAgent,
) -> tensor_normalizer.TensorNormalizer | None:
  """Returns what normalizes rewards; None if nothing does."""
  return agent._reward_normalizer


class Training(NamedTuple):
  """What an optimizer of an agent trains.

  Attributes:
    name: the optimizer's attribute.
    optimizer: the optimizer.
    period: train steps of the agent per step of the optimizer.
    networks: by name, such as 'critic_1', a network and its target or None.
  """

  name: str
  optimizer: Any
  period: int
  networks: dict[str, tuple[network_lib.Network, network_lib.Network | None]]


def trainings_of(agent: tf_agent.TFAgent) -> list[Training]:
  """Returns what each optimizer of an agent trains, if it is a stock agent."""
  return [
    Training(
      optimizer,
      getattr(agent, optimizer),
      getattr(agent, '_actor_update_period', 1) if 'actor' in optimizer else 1,
      {
        name.replace('work', '').replace('_net', '').strip('_'): (
          getattr(agent, name),
          getattr(agent, f'_target{name}', None),
        )
        for name in networks
        if hasattr(agent, name)
      },
    )
    for optimizer, networks in _NETWORKS.items()
    if hasattr(agent, optimizer)
  ]
