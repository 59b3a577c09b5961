"""Tests of the check of arguments by their annotations."""

import pytest

from rigl_rl.agents import optimizers


@pytest.mark.parametrize(
  'arguments, words',
  [
    ({'learning_rate': 0}, ('adam.learning_rate', '0', 'above 0')),
    ({'epsilon': 'small'}, ('adam.epsilon', "'small'", 'a number above 0')),
    ({'weight_decay': -1e-3}, ('adam.weight_decay', '-0.001', 'at least 0')),
    ({'weight_decay': float('nan')}, ('adam.weight_decay', 'nan')),
    ({'learning_rate': True}, ('adam.learning_rate', 'True')),
  ],
)
def test_an_argument_outside_its_range(arguments, words, user_error):
  with user_error(*words):
    optimizers.adam(**arguments)


def test_arguments_within_their_ranges():
  optimizers.adam(learning_rate=1, epsilon=1e-3, weight_decay=0)
