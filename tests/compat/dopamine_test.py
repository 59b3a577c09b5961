"""What breaks without a private name of Dopamine."""

import types

import numpy as np
import pytest
from dopamine.discrete_domains import run_experiment

from rigl_rl.compat import dopamine as compat


class _Environment:
  """Whose episodes have five steps, each with the same reward."""

  action_space = types.SimpleNamespace(n=1)

  def __init__(self, reward):
    self._reward = reward

  def reset(self):
    self._steps = 0
    return np.zeros(1)

  def step(self, action):
    del action
    self._steps += 1
    return np.zeros(1), self._reward, self.game_over, {}

  @property
  def game_over(self):
    return self._steps == 5


class _Agent:
  summary_writer = None
  eval_mode = True

  def begin_episode(self, observation):
    del observation
    return 0

  def step(self, reward, observation):
    del reward, observation
    return 0

  def end_episode(self, reward):
    pass


@pytest.fixture
def runner(tmp_path):
  return run_experiment.Runner(
    str(tmp_path),
    lambda *_, **__: _Agent(),
    lambda: _Environment(1.0),
    evaluation_steps=6,
    use_legacy_logger=False,
    fine_grained_print_to_console=False,
  )


def test_train(runner):
  """Without it DQN does not train."""
  statistics = compat.train(runner, 11)
  assert statistics['train_episode_lengths'] == [5, 5, 5]
  assert statistics['train_episode_returns'] == [5.0, 5.0, 5.0]


def test_evaluate(runner):
  """Without it Atari agents are not evaluated by steps, as in the paper."""
  statistics = compat.evaluate(runner, _Environment(2.0))
  assert statistics['eval_episode_returns'] == [10.0, 10.0]
  # Training continues in its own environment.
  assert compat.train(runner, 1)['train_episode_returns'] == [5.0]


def test_episode_limit(runner):
  """Without it a run takes more gradient steps than its schedules count."""
  with compat.episode_limit(runner, 3):
    assert compat.train(runner, 1)['train_episode_lengths'] == [3]
  assert compat.train(runner, 1)['train_episode_lengths'] == [5]
