"""Tests of the check of a number: nothing, or one line that names it."""

import math

import numpy as np
import pytest

from rigl_rl import checks


@pytest.mark.parametrize(
  'value, arguments',
  [
    (0, {'low': 0}),
    (1e300, {'low': 0}),
    (10**400, {'low': 0}),
    (0.5, {'low': 0, 'high': 1}),
    (1, {'low': 0, 'high': 1}),
    (np.float32(0.5), {'low': 0, 'high': 1}),
    (-1e9, {'low': -math.inf}),
    (1, {'low': 1, 'whole': True}),
    (np.int64(3), {'low': 1, 'whole': True}),
    (1e-30, {'low': 0, 'exclusive': True}),
    (1, {'low': 0, 'high': 1, 'exclusive': True}),
    (None, {'low': 0, 'or_none': True}),
  ],
)
def test_allowed(value, arguments):
  checks.check_number('thing.size', value, **arguments)


@pytest.mark.parametrize(
  'value, arguments, allowed',
  [
    (-1, {'low': 0}, 'a number of at least 0'),
    (math.inf, {'low': 0}, 'a number of at least 0'),
    (-math.inf, {'low': -math.inf}, 'a number'),
    (math.nan, {'low': -math.inf}, 'a number'),
    (math.nan, {'low': 0, 'high': 1}, 'a number in [0, 1]'),
    (1.5, {'low': 0, 'high': 1}, 'a number in [0, 1]'),
    ('1', {'low': 0, 'high': 1}, 'a number in [0, 1]'),
    (None, {'low': 0}, 'a number of at least 0'),
    (True, {'low': 0}, 'a number of at least 0'),
    (np.ones(1), {'low': 0}, 'a number of at least 0'),
    (1.0, {'low': 1, 'whole': True}, 'a whole number of at least 1'),
    (0, {'low': 1, 'whole': True}, 'a whole number of at least 1'),
    (3, {'low': 0, 'high': 2, 'whole': True}, 'a whole number in [0, 2]'),
    (0.0, {'low': 0, 'exclusive': True}, 'a number above 0'),
    (0, {'low': 0, 'high': 1, 'exclusive': True}, 'a number in (0, 1]'),
    (
      0,
      {'low': 0, 'exclusive': True, 'or_none': True},
      'a number above 0, or None',
    ),
  ],
)
def test_not_allowed(value, arguments, allowed, user_error):
  with user_error(f'thing.size is {value!r}, but must be {allowed}.'):
    checks.check_number('thing.size', value, **arguments)
