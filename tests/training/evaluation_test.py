"""Tests of evaluation, on environments whose returns a reader can add up."""

import types

import numpy as np
from tf_agents.trajectories import time_step as ts

from rigl_rl.environments import mujoco
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


class _Sums:
  """Observes (number, step); rewards the action's sum, in float32."""

  def __init__(self, number, length):
    self.actions = []
    self._number = number
    self._length = length

  def _observation(self):
    return np.array([self._number, len(self.actions)], np.float32)

  def reset(self):
    return ts.restart(self._observation())

  def step(self, action):
    assert len(self.actions) < self._length
    self.actions.append(action.copy())
    reward = np.float32(action.sum())
    if len(self.actions) == self._length:
      # Cut off or terminal: the end is the same.
      end = ts.truncation if self._number % 2 else ts.termination
      return end(self._observation(), reward)
    return ts.transition(self._observation(), reward)


def test_policy_returns():
  seen = []

  def policy(observations):
    seen.append(observations.copy())
    return observations * [1, 10]

  environments = [_Sums(1, 1), _Sums(2, 3), _Sums(3, 2), _Sums(4, 3)]
  returns = evaluation.evaluate_policy(policy, environments)
  # number * steps + 10 * (0 + 1 + 2), (0 + 1) or 0.
  np.testing.assert_array_equal(returns, [1, 6 + 30, 6 + 10, 12 + 30])
  assert returns.dtype == np.float64
  # One call a step, for those that still run.
  np.testing.assert_array_equal(seen[0], [[1, 0], [2, 0], [3, 0], [4, 0]])
  np.testing.assert_array_equal(seen[1], [[2, 1], [3, 1], [4, 1]])
  np.testing.assert_array_equal(seen[2], [[2, 2], [4, 2]])
  assert len(seen) == 3
  assert seen[0].dtype == np.float32
  np.testing.assert_array_equal(
    environments[3].actions, [[4, 0], [4, 10], [4, 20]]
  )


def test_policy_returns_are_added_in_float64():
  (total,) = evaluation.evaluate_policy(
    lambda observations: np.full((len(observations), 1), 0.1),
    [_Sums(0, 20_000)],
  )
  assert abs(total - 20_000 * float(np.float32(0.1))) < 1e-6


def test_policy_on_mujoco_depends_only_on_the_seeds():
  weights = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)

  def policy(observations):
    # Row by row: a product of matrices may round by the number of rows.
    return np.stack([np.tanh(row @ weights) for row in observations])

  environments = [
    mujoco.create_mujoco_environment('Hopper-v4', seed) for seed in range(4)
  ]
  together = evaluation.evaluate_policy(policy, environments)
  alone = []
  for seed in range(4):
    environments[0].seed(seed)
    time_step, total = environments[0].reset(), 0.0
    while not time_step.is_last():
      time_step = environments[0].step(policy(time_step.observation[None])[0])
      total += float(time_step.reward)
    alone.append(total)
  assert together.tolist() == alone
  assert len(set(alone)) == 4
  for seed, environment in enumerate(environments):
    environment.seed(seed)
  again = evaluation.evaluate_policy(policy, environments)
  assert again.tolist() == alone
