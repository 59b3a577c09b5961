"""Tests of the plan of DQN's gradient steps; whole runs are in training."""

import itertools

import pytest

from rigl_rl.agents import gradient_steps

# Histories, periods and horizons.
_SETTINGS = list(itertools.product((0, 1, 2, 5, 8), (1, 2, 3, 4), (1, 3)))


def test_by_hand():
  # Steps 6 to 9 have more than 5 transitions behind them.
  every = gradient_steps.GradientSteps(5)
  assert [t for t in range(10) if every.is_due(t)] == [6, 7, 8, 9]
  assert every.count(10) == 4
  assert every.least_train_steps == 7
  fourth = gradient_steps.GradientSteps(5, update_period=4)
  assert [t for t in range(18) if fourth.is_due(t)] == [8, 12, 16]
  assert fourth.have_begun(6) and not fourth.have_begun(5)
  # A 3-step transition is there when three more follow it.
  long = gradient_steps.GradientSteps(0, update_horizon=3)
  assert [t for t in range(6) if long.is_due(t)] == [4, 5]


@pytest.mark.parametrize('setting', _SETTINGS)
def test_counts_the_steps_that_are_due(setting):
  steps = gradient_steps.GradientSteps(*setting)
  for train_steps in range(1, 40):
    due = [t for t in range(train_steps) if steps.is_due(t)]
    assert steps.count(train_steps) == len(due)
    assert all(steps.have_begun(t) for t in due)
    assert bool(due) == (train_steps >= steps.least_train_steps)
