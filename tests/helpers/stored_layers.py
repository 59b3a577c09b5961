"""Kernels and inputs of layers that are stored sparsely."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def kernels(request):
  if 'nothing_loaded' not in request.fixturenames:
    request.getfixturevalue('operations')


def examples(*shape):
  return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def assert_close(one, other):
  np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
