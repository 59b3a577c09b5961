"""Tests of evaluation, on an environment whose returns a reader can add up."""

import types

import numpy as np

from rigl_rl.training import evaluation


class _Counter:
  """Observes (number, step); gives `10 ** number * (1 + action)` a step."""

  def __init__(self, number, length):
    self.action_space = types.SimpleNamespace(n=3)
    self.game_over = False
    self.actions = []
    self._number = number
    self._length = length

  def reset(self):
    return np.array([self._number, 0], np.float32)

  def step(self, action):
    assert not self.game_over
    self.actions.append(action)
    self.game_over = len(self.actions) == self._length
    observation = np.array([self._number, len(self.actions)], np.float32)
    reward = 10.0**self._number * (1 + action)
    return observation, reward, False, {}


def _evaluate(environments, policy, epsilon=0.0, max_steps=100, stack=1):
  return evaluation.evaluate_episodes(
    policy,
    environments,
    (2, stack),
    epsilon,
    np.random.default_rng(0),
    max_steps,
  )


def _number_as_action(states):
  return states[:, 0, -1].astype(int)


def test_undiscounted_returns():
  returns = _evaluate([_Counter(0, 3), _Counter(1, 2)], _number_as_action)
  # Three steps of 1; two of 10 * 2.
  np.testing.assert_array_equal(returns, [3, 40])
  assert returns.dtype == np.float64


def test_policy_sees_only_running_episodes_and_their_stacks():
  seen = []

  def policy(states):
    seen.append(states.copy())
    return np.zeros(len(states), int)

  _evaluate([_Counter(1, 1), _Counter(2, 3)], policy, stack=2)
  # Each state is (number, step) by stack; it begins as zeros.
  np.testing.assert_array_equal(seen[0], [[[0, 1], [0, 0]], [[0, 2], [0, 0]]])
  np.testing.assert_array_equal(seen[1], [[[2, 2], [0, 1]]])
  np.testing.assert_array_equal(seen[2], [[[2, 2], [1, 2]]])
  assert len(seen) == 3


def test_end_of_one_episode_changes_no_other():
  actions = []
  for length in (1, 30):
    long = _Counter(0, 30)
    _evaluate([_Counter(1, length), long], _number_as_action, epsilon=0.5)
    actions.append(long.actions)
  assert actions[0] == actions[1]
  assert len(set(actions[0])) == 3  # Random ones are among them.


def test_epsilon_1_never_asks_the_policy():
  environment = _Counter(0, 300)
  _evaluate(
    [environment], lambda states: np.full(len(states), 7), 1.0, max_steps=300
  )
  counts = np.bincount(environment.actions)
  assert counts.shape == (3,) and (counts > 70).all()


def test_epsilon_0_never_explores():
  environment = _Counter(2, 50)
  _evaluate([environment], _number_as_action)
  assert set(environment.actions) == {2}


def test_long_episodes_are_cut():
  environments = [_Counter(0, 1000), _Counter(0, 2)]
  np.testing.assert_array_equal(
    _evaluate(environments, _number_as_action, max_steps=5), [5, 2]
  )
