"""Tests of how DQN acts: its ε, its greedy policy, and evaluation."""

import types

import gin
import numpy as np
import pytest
from dopamine.agents.dqn import dqn_agent

from helpers import small_dqn
from rigl_rl.networks import q_networks

pytestmark = pytest.mark.usefixtures('no_gin_config')


def test_epsilon_decays_linearly_after_the_collection():
  agent = small_dqn.make_agent(epsilon_eval=0.05)
  values = []
  for agent.training_steps in (0, 5, 15, 25, 100):
    values.append(agent._epsilon())
  # From 1 at step 5 to 0.1 at step 25.
  np.testing.assert_allclose(values, [1, 1, 0.55, 0.1, 0.1])
  agent.eval_mode = True
  assert agent._epsilon() == 0.05


def test_epsilon_is_dopamines_in_any_order():
  agent = small_dqn.make_agent(epsilon_decay_period=3000)
  for step in (0, 999, 1000, 2500, 1001, 0, 5000):
    agent.training_steps = step
    expected = dqn_agent.linearly_decaying_epsilon(3000, step, 5, 0.1)
    assert agent._epsilon() == expected
  agent.epsilon_train = 0.2
  assert agent._epsilon() == 0.2


def test_epsilon_may_be_constant():
  agent = small_dqn.make_agent(epsilon_fn=dqn_agent.identity_epsilon)
  assert agent._epsilon() == 0.1


@gin.configurable
def _halved_epsilon(decay_period, step, warm_up, epsilon, factor=0.5):
  del decay_period, step, warm_up
  return factor * epsilon


def test_an_epsilon_of_ones_own_has_its_bindings():
  agent = small_dqn.make_agent(epsilon_fn=_halved_epsilon)
  assert agent._epsilon() == 0.05
  gin.bind_parameter('_halved_epsilon.factor', 0.25)
  assert agent._epsilon() == 0.025


@pytest.mark.parametrize('update_period', [1, 2])
def test_q_values_to_act_by_are_fresh(update_period):
  agent = small_dqn.make_agent(
    update_period=update_period,
    epsilon_fn=dqn_agent.identity_epsilon,
    epsilon_train=0.0,
  )
  agent._rng = types.SimpleNamespace(random=lambda: 0.5)  # Never explores.

  def check():
    fresh = agent.online(agent.state).numpy()
    np.testing.assert_allclose(agent._q_values, fresh, rtol=1e-5, atol=1e-6)
    assert agent.action == np.argmax(fresh)

  small_dqn.play(agent, 30, after_step=check)


def test_explores_at_random():
  agent = small_dqn.make_agent(
    epsilon_fn=dqn_agent.identity_epsilon, epsilon_train=1.0, num_actions=3
  )
  agent.begin_episode(np.zeros(3, np.float32))
  counts = np.bincount([agent._select_action() for _ in range(300)])
  assert counts.shape == (3,) and (counts > 70).all()


def test_greedy_policy_is_that_of_the_network():
  agent = small_dqn.make_agent(num_actions=5)
  small_dqn.play(agent, 30)
  rng = np.random.default_rng(2)
  for layer in agent.layers:
    layer.kernel.assign(rng.normal(size=layer.kernel.shape) * layer.mask)
  states = rng.normal(size=(20, 3, 1)).astype(np.float32)
  expected = np.argmax(agent.online(states), axis=1)
  policy = agent.greedy_policy()
  np.testing.assert_array_equal(policy(states), expected)
  assert len(set(expected)) > 1


class _Negated(q_networks.MLPQNetwork):
  def call(self, state):
    return -super().call(state)


def test_greedy_policy_of_a_network_of_ones_own():
  agent = small_dqn.make_agent(num_actions=5)
  states = np.random.default_rng(2).normal(size=(20, 3, 1)).astype(np.float32)
  values = agent.online(states).numpy()
  agent.online.__class__ = _Negated
  np.testing.assert_array_equal(
    agent.greedy_policy()(states), values.argmin(axis=1)
  )


def test_evaluation_leaves_training_alone():
  agent = small_dqn.make_agent(epsilon_eval=0.5)
  small_dqn.play(agent, 20)
  before = agent._rng.bit_generator.state
  weights, steps = small_dqn.values(agent, 'online'), agent.training_steps
  count = agent.replay.add_count
  agent.begin_evaluation(seed=3)
  one = small_dqn.play(agent, 20)
  agent.end_evaluation()
  assert agent._rng.bit_generator.state == before
  assert (agent.training_steps, agent.replay.add_count) == (steps, count)
  assert small_dqn.same(small_dqn.values(agent, 'online'), weights)
  assert not agent.eval_mode
  # The seed of an evaluation decides it.
  agent.begin_evaluation(seed=3)
  assert small_dqn.play(agent, 20) == one
  agent.end_evaluation()
