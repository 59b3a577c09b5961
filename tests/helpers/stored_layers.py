"""Inputs of layers that are stored sparsely, and what they must give."""

import numpy as np


def examples(*shape):
  return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def assert_close(one, other):
  np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
