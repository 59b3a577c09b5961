"""Tests of SparseSacAgent's actions, temperature and SNR."""

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.trajectories import time_step as ts

from helpers import small, small_sac
from rigl_rl.agents import sac

pytestmark = pytest.mark.usefixtures('small_sac')


def test_noise_differs_from_draw_to_draw_and_step_to_step():
  agent = small_sac.make_agent()
  time_step = ts.TimeStep(
    tf.fill([small.BATCH], ts.StepType.MID),
    tf.zeros([small.BATCH]),
    tf.ones([small.BATCH]),
    tf.constant(small.make_batch().observation),
  )
  agent._next_draw = 0
  first, _ = agent._actions_and_log_probs(time_step)
  second, _ = agent._actions_and_log_probs(time_step)
  assert (first.numpy() != second.numpy()).all()
  agent._next_draw = 0
  again, _ = agent._actions_and_log_probs(time_step)
  np.testing.assert_array_equal(first.numpy(), again.numpy())
  agent.train_step_counter.assign_add(1)
  agent._next_draw = 0
  later, _ = agent._actions_and_log_probs(time_step)
  assert (first.numpy() != later.numpy()).all()


def test_explores_as_the_policy_does():
  agent = small_sac.make_agent()
  observation = small.make_batch(4).observation[0]
  distribution, _ = agent.networks['actor'](tf.constant(observation[None]))
  samples = np.stack([agent.explore(observation) for _ in range(4000)])
  expected = distribution.sample(4000, seed=(1, 2)).numpy()[:, 0]
  np.testing.assert_allclose(samples.mean(0), expected.mean(0), atol=0.15)
  np.testing.assert_allclose(samples.std(0), expected.std(0), rtol=0.1)
  assert samples[:, 1].max() > 2 and samples.max() <= 4 and samples.min() >= -2


def test_acts_by_what_the_train_step_returned():
  agent, twin = small_sac.make_agent(), small_sac.make_agent()
  for each in (agent, twin):
    small.train(each, 2)
  # The observation that the last step was given.
  observation = small.make_batch(1).observation[0]
  twin._last.computed = None  # So that it asks the NumPy actor.
  np.testing.assert_allclose(
    agent.explore(observation), twin.explore(observation), rtol=1e-4, atol=1e-5
  )


def test_greedy_policy_is_the_mode():
  agent = small_sac.make_agent()
  small.train(agent, 2)
  observations = small.make_batch(3).observation
  distribution, _ = agent.networks['actor'](tf.constant(observations))
  actions = agent.greedy_policy()(observations)
  np.testing.assert_allclose(actions, distribution.mode().numpy(), rtol=1e-4)


def test_fixed_temperature_stays():
  agent = small_sac.make_agent(initial_alpha=0.2, learn_alpha=False)
  small.train(agent, 3)
  assert float(tf.exp(agent.log_alpha)) == pytest.approx(0.2)
  learned = small_sac.make_agent(initial_alpha=0.2)
  small.train(learned, 3)
  assert float(tf.exp(learned.log_alpha)) != pytest.approx(0.2, rel=1e-5)


def _note_draws(agent):
  """Returns a list to which each seed that the agent draws is added."""
  draws, draw_seed = [], agent._draw_seed
  agent._draw_seed = lambda draw: draws.append(draw) or draw_seed(draw)
  return draws


def test_temperature_by_the_sample_of_the_actors_loss():
  own, shared = (
    small_sac.make_agent('Dense', resample_for_alpha=resample)
    for resample in (True, False)
  )
  draws = _note_draws(own), _note_draws(shared)
  for agent in (own, shared):
    small.train(agent, 2)
  assert draws == ([0, 1, 2], [0, 1])
  alphas = [float(agent.log_alpha) for agent in (own, shared)]
  assert 0 not in alphas and alphas[0] != alphas[1]


def test_snr_agrees_with_a_jacobian_and_changes_nothing():
  agent = small_sac.make_agent()
  small.train(agent, 3)
  before = agent.get_state()
  ratios = agent.gradient_snr()
  small.assert_equal_states(before, agent.get_state())
  batch = agent._last.batch

  def gradients_of_examples(variables, loss_of):
    found = []
    for i in range(small.BATCH):
      example = [array[i : i + 1] for array in batch]
      with tf.GradientTape() as tape:
        loss = loss_of(i, *example)
      found.append(
        np.concatenate(
          [g.numpy().ravel() for g in tape.gradient(loss, variables)]
        )
      )
    return np.stack(found)

  # The noise is drawn for a whole minibatch; this takes one example's.
  def sampled(observation, draw):
    agent._next_draw = draw
    step_type = tf.fill([small.BATCH], ts.StepType.MID)
    zeros = tf.zeros([small.BATCH])
    return agent._actions_and_log_probs(
      ts.TimeStep(step_type, zeros, zeros, observation)
    )

  actor, critics = (
    agent.networks['actor'],
    [agent.networks[name] for name in ('critic_1', 'critic_2')],
  )

  def actor_loss(i, observation, *_):
    del observation
    actions, log_probs = sampled(batch[0], sac._FIRST_SNR_DRAW)
    values = [net((batch[0], actions))[0] for net in critics]
    loss = tf.exp(agent.log_alpha) * log_probs - tf.minimum(*values)
    return loss[i]

  def critic_loss(i, observation, action, reward, discount, _):
    next_actions, log_probs = sampled(batch[4], sac._FIRST_SNR_DRAW + 1)
    values = [
      net((batch[4], next_actions))[0]
      for net in (
        agent._targets['critic_1'],
        agent._targets['critic_2'],
      )
    ]
    target = tf.minimum(*values) - tf.exp(agent.log_alpha) * log_probs
    target = tf.stop_gradient(0.1 * reward + 0.99 * discount * target[i])
    return sum((target - net((observation, action))[0]) ** 2 for net in critics)

  expected = {
    'actor': (actor.trainable_variables, actor_loss),
    'critic': (
      critics[0].trainable_variables + critics[1].trainable_variables,
      critic_loss,
    ),
  }
  for name, (variables, loss_of) in expected.items():
    found = small.mean_snr(gradients_of_examples(variables, loss_of))
    assert float(ratios[name]) == pytest.approx(found, rel=2e-3)
