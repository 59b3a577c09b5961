"""TF-Agents' agents as published, made sparse after their construction."""

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.agents.ddpg import actor_network, critic_network
from tf_agents.agents.dqn import dqn_agent
from tf_agents.agents.ppo import ppo_clip_agent
from tf_agents.agents.sac import sac_agent, tanh_normal_projection_network
from tf_agents.agents.td3 import td3_agent
from tf_agents.networks import (
  actor_distribution_network,
  q_network,
  value_network,
)
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step, trajectory

from rigl_rl.agents import stock
from rigl_rl.sparsity import algorithms, schedules, wrappers

_OBSERVATION = tensor_spec.TensorSpec((5,), tf.float32)
_ACTION = tensor_spec.BoundedTensorSpec((2,), tf.float32, -1.0, 1.0)
_DISCRETE = tensor_spec.BoundedTensorSpec((), tf.int32, 0, 2)
_STEPS = time_step.time_step_spec(_OBSERVATION)
_UNITS = (16, 12)


def _adam():
  return tf.keras.optimizers.legacy.Adam(1e-2)


def _critic():
  return critic_network.CriticNetwork(
    (_OBSERVATION, _ACTION), joint_fc_layer_params=_UNITS
  )


def _sac():
  return sac_agent.SacAgent(
    _STEPS,
    _ACTION,
    critic_network=_critic(),
    actor_network=actor_distribution_network.ActorDistributionNetwork(
      _OBSERVATION,
      _ACTION,
      fc_layer_params=_UNITS,
      continuous_projection_net=(
        tanh_normal_projection_network.TanhNormalProjectionNetwork
      ),
    ),
    actor_optimizer=_adam(),
    critic_optimizer=_adam(),
    alpha_optimizer=_adam(),
    target_update_tau=0.1,
  )


def _td3():
  return td3_agent.Td3Agent(
    _STEPS,
    _ACTION,
    actor_network.ActorNetwork(_OBSERVATION, _ACTION, _UNITS),
    _critic(),
    _adam(),
    _adam(),
    target_update_tau=0.1,
    actor_update_period=2,
  )


def _dqn():
  return dqn_agent.DqnAgent(
    _STEPS,
    _DISCRETE,
    q_network.QNetwork(_OBSERVATION, _DISCRETE, fc_layer_params=_UNITS),
    tf.keras.optimizers.Adam(1e-2),
    target_update_tau=0.1,
  )


def _ppo():
  return ppo_clip_agent.PPOClipAgent(
    _STEPS,
    _ACTION,
    _adam(),
    actor_net=actor_distribution_network.ActorDistributionNetwork(
      _OBSERVATION, _ACTION, fc_layer_params=_UNITS
    ),
    value_net=value_network.ValueNetwork(_OBSERVATION, fc_layer_params=_UNITS),
    num_epochs=2,
  )


# Makes an agent; its trained networks and their targets.
_AGENTS = {
  'sac': (
    _sac,
    {
      'actor': ('_actor_network', None),
      'critic_1': ('_critic_network_1', '_target_critic_network_1'),
      'critic_2': ('_critic_network_2', '_target_critic_network_2'),
    },
  ),
  'td3': (
    _td3,
    {
      'actor': ('_actor_network', '_target_actor_network'),
      'critic_1': ('_critic_network_1', '_target_critic_network_1'),
      'critic_2': ('_critic_network_2', '_target_critic_network_2'),
    },
  ),
  'dqn': (_dqn, {'q': ('_q_network', '_target_q_network')}),
  'ppo': (_ppo, {'actor': ('_actor_net', None), 'value': ('_value_net', None)}),
}


def _experience(agent, seed):
  """Returns random transitions, of the agent's own collect policy."""
  length = agent.train_sequence_length or 6
  rng = np.random.default_rng(seed)
  observations = rng.normal(size=(8, length, 5)).astype(np.float32)
  states = time_step.TimeStep(
    tf.fill((8, length), time_step.StepType.MID),
    tf.constant(rng.normal(size=(8, length)), tf.float32),
    tf.ones((8, length)),
    tf.constant(observations),
  )
  flat = tf.nest.map_structure(
    lambda x: tf.reshape(x, (-1, *x.shape[2:])), states
  )
  policy = agent.collect_policy
  step = policy.action(flat, policy.get_initial_state(8 * length))
  action, info = tf.nest.map_structure(
    lambda x: tf.reshape(x, (8, length, *x.shape[1:])), (step.action, step.info)
  )
  return trajectory.Trajectory(
    states.step_type, states.observation, action, info,
    states.step_type, states.reward, states.discount,
  )  # fmt: skip


def _zeros(network):
  """Returns the masks of a network whose inactive weights are all zero."""
  masks = [layer.mask.numpy() for layer in wrappers.sparse_layers(network)]
  for layer, mask in zip(wrappers.sparse_layers(network), masks):
    assert not layer.kernel.numpy()[mask == 0].any()
  return masks


@pytest.mark.parametrize('kind', _AGENTS)
def test_a_stock_agent_stays_sparse(kind):
  make, networks = _AGENTS[kind]
  agent = make()
  agent.initialize()
  schedule = schedules.UpdateSchedule(20, interval=4)
  layers = stock.sparsify_agent(
    agent, schedule, sparsity=0.5, algorithm=algorithms.RigL(0.5)
  )
  assert list(layers) == list(networks)
  assert all(len(each) >= 3 for each in layers.values())
  first = {name: _zeros(getattr(agent, networks[name][0])) for name in networks}
  kernels = {name: layers[name][0].kernel.numpy() for name in networks}
  train = tf.function(agent.train)
  for seed in range(6):
    train(_experience(agent, seed))
    for name, (online, target) in networks.items():
      masks = _zeros(getattr(agent, online))
      for mask, before in zip(masks, first[name]):
        assert mask.sum() == before.sum()
      if target is not None:
        for mask, copy in zip(masks, _zeros(getattr(agent, target))):
          np.testing.assert_array_equal(mask, copy)
  for name in networks:
    masks = [layer.mask.numpy() for layer in layers[name]]
    assert any((a != b).any() for a, b in zip(masks, first[name]))
    assert (layers[name][0].kernel.numpy() != kernels[name]).any()
  # Twin critics differ, in their masks too.
  if 'critic_2' in layers:
    one, two = layers['critic_1'][0], layers['critic_2'][0]
    assert (one.mask.numpy() != two.mask.numpy()).any()


def test_sparsities_by_network():
  agent = _sac()
  layers = stock.sparsify_agent(
    agent,
    schedules.UpdateSchedule(20),
    sparsity={'critic_1': 0.5, 'critic_2': 0.75},
    algorithm=algorithms.Static(),
  )
  assert list(layers) == ['critic_1', 'critic_2']
  shares = {
    name: np.concatenate([layer.mask.numpy().ravel() for layer in each]).mean()
    for name, each in layers.items()
  }
  assert shares == pytest.approx({'critic_1': 0.5, 'critic_2': 0.25}, abs=0.01)
  assert not wrappers.sparse_layers(agent._actor_network)


@pytest.mark.parametrize(
  'arguments,words',
  [
    ({'sparsity': 1.0}, ('sparsify.sparsity', '1.0')),
    ({'sparsity': {'critic': 0.5}}, ("'critic'", 'q')),
    ({'storage': 'sparse'}, ('storage', 'SparseWrapper')),
    ({'keep_dense': 'last'}, ('keep_dense', "'last'")),
  ],
)
def test_a_mistake_is_one_line(arguments, words, user_error):
  with user_error(*words):
    stock.sparsify_agent(_dqn(), schedules.UpdateSchedule(20), **arguments)


def test_another_agent_is_one_line(user_error):
  with user_error('sparsify_agent.agent', 'Module', 'SacAgent'):
    stock.sparsify_agent(tf.Module(), schedules.UpdateSchedule(20))
