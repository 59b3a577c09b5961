"""Tests of the check of a count: nothing, or one line that names it."""

import math

import numpy as np
import pytest

from rigl_rl import checks


@pytest.mark.parametrize('value', [1, np.int64(3), 10**400])
def test_allowed(value):
  checks.check_count('thing.size', value)


@pytest.mark.parametrize(
  'value', [0, -1, 1.0, True, None, '1', math.inf, math.nan, np.ones(1)]
)
def test_not_allowed(value, user_error):
  allowed = 'a whole number of at least 1'
  with user_error(f'thing.size is {value!r}, but must be {allowed}.'):
    checks.check_count('thing.size', value)
