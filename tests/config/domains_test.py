"""Tests of the check of a value: nothing, or one line that names it."""

import math

import numpy as np
import pytest

from rigl_rl.config import domains


@pytest.mark.parametrize('value', [1, np.int64(3), 2**63 - 1])
def test_allowed(value):
  domains.check('thing.size', value, domains.COUNT)


@pytest.mark.parametrize(
  'value',
  [0, -1, 1.0, True, None, '1', math.inf, math.nan, 10**400, np.ones(1)],
)
def test_not_allowed(value, user_error):
  allowed = 'a whole number of at least 1'
  with user_error(f'thing.size is {value!r}, but must be {allowed}.'):
    domains.check('thing.size', value, domains.COUNT)


@pytest.mark.parametrize(
  'text', ['0..1', '[0 1]', '[0, 1', '0, 1', '[, 1]', '']
)
def test_a_malformed_range_is_refused(text):
  with pytest.raises(ValueError, match='is no range such as'):
    domains.Range(text)
