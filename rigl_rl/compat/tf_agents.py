"""Private names of TF-Agents."""

from __future__ import annotations

from typing import Any, Sequence

import tensorflow as tf
from tf_agents.agents.ppo import ppo_agent
from tf_agents.agents.sac import sac_agent
from tf_agents.agents.td3 import td3_agent
from tf_agents.utils import tensor_normalizer


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
