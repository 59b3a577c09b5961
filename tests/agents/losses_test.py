"""Tests of the losses, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.agents import losses

_TARGETS = tf.constant([0.0, 1.0, -2.0, 3.0])
_PREDICTIONS = tf.constant([0.5, 1.0, 2.0, 1.0])


def test_squared_loss():
  np.testing.assert_allclose(
    losses.squared_loss(_TARGETS, _PREDICTIONS), [0.25, 0, 16, 4]
  )


@pytest.mark.parametrize(
  'delta,expected', [(1.0, [0.125, 0, 3.5, 1.5]), (2.0, [0.125, 0, 6, 2])]
)
def test_huber_loss(delta, expected):
  loss = losses.huber_loss(_TARGETS, _PREDICTIONS, delta)
  np.testing.assert_allclose(loss, expected)


def test_slope_of_huber_loss_is_clipped():
  with tf.GradientTape() as tape:
    tape.watch(_PREDICTIONS)
    loss = losses.huber_loss(_TARGETS, _PREDICTIONS)
  slope = tape.gradient(loss, _PREDICTIONS)
  np.testing.assert_allclose(slope, [0.5, 0, 1, -1])
