"""Tests of the optimizers that gin files name."""

import pytest
import tensorflow as tf

from rigl_rl import errors
from rigl_rl.agents import optimizers


def test_adam():
  adam = optimizers.adam(0.5, epsilon=1e-3)
  variable = tf.Variable(1.0)
  adam.apply_gradients([(tf.constant(2.0), variable)])
  # The first step has about the size of the learning rate, whatever the slope.
  assert float(variable) == pytest.approx(0.5, abs=1e-2)
  assert adam.epsilon == 1e-3


@pytest.mark.parametrize('value', [0, -1.0, 'x', None, float('nan')])
@pytest.mark.parametrize('name', ['learning_rate', 'epsilon'])
def test_value_outside_its_range(name, value):
  with pytest.raises(errors.UserError, match=f'adam.{name} is '):
    optimizers.adam(**{name: value})
