"""What breaks without a private name of TF-Agents: its stock agents have it."""

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.agents.ppo import ppo_clip_agent
from tf_agents.agents.sac import sac_agent
from tf_agents.agents.td3 import td3_agent
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

from rigl_rl.compat import tf_agents as compat
from rigl_rl.networks import actor_critic

_OBSERVATION = tf.TensorSpec((2,), tf.float32)
_ACTION = tensor_spec.BoundedTensorSpec((1,), tf.float32, -1.0, 1.0)
_TIME_STEP = ts.time_step_spec(_OBSERVATION)


def _off_policy(agent_class, actor, **arguments):
  specs = (_OBSERVATION, _ACTION)
  optimizer = tf.keras.optimizers.legacy.SGD(1.0)
  return agent_class(
    _TIME_STEP,
    _ACTION,
    actor_network=actor(*specs, seed=0, hidden_units=(3,)),
    critic_network=actor_critic.Critic(specs, seed=1, hidden_units=(3,)),
    actor_optimizer=optimizer,
    critic_optimizer=optimizer,
    **arguments,
  )


def test_log_alpha():
  """Without it SAC's temperature is in no checkpoint and no summary."""
  agent = _off_policy(
    sac_agent.SacAgent,
    actor_critic.SquashedGaussianActor,
    alpha_optimizer=tf.keras.optimizers.legacy.SGD(1.0),
    initial_log_alpha=0.25,
  )
  variable = compat.log_alpha(agent)
  assert variable.trainable and variable.numpy() == 0.25


@pytest.mark.parametrize('clipping,moved', [(None, 5.0), (0.5, 0.5)])
def test_apply_gradients(clipping, moved):
  """Without it TD3 does not clip its gradients."""
  agent = _off_policy(
    td3_agent.Td3Agent,
    actor_critic.DeterministicActor,
    gradient_clipping=clipping,
  )
  variable = tf.Variable([0.0, 0.0])
  optimizer = tf.keras.optimizers.legacy.SGD(1.0)
  compat.apply_gradients(
    agent, [tf.constant([3.0, 4.0])], [variable], optimizer
  )
  np.testing.assert_allclose(np.linalg.norm(variable), moved, rtol=1e-6)


@pytest.mark.parametrize('normalizes', [True, False])
def test_reward_normalizer(normalizes):
  """Without it PPO's rewards are not normalized."""
  agent = ppo_clip_agent.PPOClipAgent(
    _TIME_STEP,
    _ACTION,
    optimizer=tf.keras.optimizers.legacy.SGD(1.0),
    actor_net=actor_critic.GaussianActor(
      _OBSERVATION, _ACTION, seed=0, hidden_units=(3,)
    ),
    value_net=actor_critic.ValueNetwork(
      _OBSERVATION, seed=1, hidden_units=(3,)
    ),
    normalize_rewards=normalizes,
  )
  normalizer = compat.reward_normalizer(agent)
  if not normalizes:
    assert normalizer is None
    return
  normalizer.update(tf.constant([[-2.0], [2.0]]), outer_dims=(0, 1))
  reward = normalizer.normalize(
    tf.constant([2.0]), center_mean=False, clip_value=10.0
  )
  np.testing.assert_allclose(reward, [1.0], rtol=1e-2)


def test_trainings():
  """Without them `sparsify_agent` finds nothing to make sparse."""
  agent = _off_policy(
    td3_agent.Td3Agent, actor_critic.DeterministicActor, actor_update_period=3
  )
  actor, critic = compat.trainings_of(agent)
  assert (actor.period, critic.period) == (3, 1)
  assert list(actor.networks) == ['actor']
  assert list(critic.networks) == ['critic_1', 'critic_2']
  for network, target in (*actor.networks.values(), *critic.networks.values()):
    assert network is not target
    assert len(network.variables) == len(target.variables) > 0
  other = tf.keras.optimizers.legacy.SGD(2.0)
  setattr(agent, critic.name, other)
  replaced = compat.trainings_of(agent)
  assert [each.optimizer is other for each in replaced] == [False, True]
