"""Fixtures of the tests of sparsity."""

import pytest


@pytest.fixture
def kernels(request):
  """Skips a test without kernels, unless it is about having none."""
  if 'nothing_loaded' not in request.fixturenames:
    request.getfixturevalue('operations')
