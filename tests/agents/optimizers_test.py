"""Tests of the optimizers that gin files name."""

import gin
import numpy as np
import pytest
import tensorflow as tf

from rigl_rl.agents import optimizers
from rigl_rl.sparsity import algorithms, mask_updater, schedules, wrappers
from rigl_rl.sparsity import optimizer as sparse_optimizer


def _torch_adam(weights, gradients, learning_rate, weight_decay, epsilon=1e-8):
  """torch.optim.Adam's documented update, for each gradient in turn."""
  m = v = np.zeros_like(weights)
  for t, gradient in enumerate(gradients, start=1):
    gradient = gradient + weight_decay * weights
    m = 0.9 * m + 0.1 * gradient
    v = 0.999 * v + 0.001 * gradient**2
    m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
    weights = weights - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)
  return weights


def test_adam():
  adam = optimizers.adam(0.5, epsilon=1e-3)
  variable = tf.Variable(1.0)
  adam.apply_gradients([(tf.constant(2.0), variable)])
  # The first step has about the size of the learning rate, whatever the slope.
  assert float(variable) == pytest.approx(0.5, abs=1e-2)
  assert adam.epsilon == 1e-3


@pytest.mark.parametrize('graph', [False, True])
@pytest.mark.parametrize('weight_decay', [0, 0.3])
def test_weight_decay_is_pytorchs(weight_decay, graph):
  adam = optimizers.adam(0.05, weight_decay=weight_decay)
  rng = np.random.default_rng(0)
  # A kernel and its bias: of either.
  starts = [rng.standard_normal(shape) for shape in ((4, 3), (3,))]
  gradients = [
    rng.standard_normal((6, *start.shape)).astype(np.float32)
    for start in starts
  ]
  variables = [tf.Variable(start, dtype=tf.float32) for start in starts]

  def step(*gradients):
    adam.apply_gradients(zip(gradients, variables))

  step = tf.function(step) if graph else step
  for pair in zip(*gradients):
    step(*map(tf.constant, pair))
  for start, found, slopes in zip(starts, variables, gradients):
    expected = _torch_adam(start, slopes, 0.05, weight_decay)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    # The two decays would be told apart.
    other = _torch_adam(start, slopes, 0.05, 0.3 - weight_decay)
    assert np.abs(found - other).max() > 1e-2


def test_weight_decay_alone_shrinks_weights():
  adam = optimizers.adam(0.1, weight_decay=0.2)
  variable = tf.Variable([1.0, -1.0, 0.0])
  adam.apply_gradients([(tf.zeros(3), variable)])
  np.testing.assert_allclose(variable, [0.9, -0.9, 0.0], rtol=1e-5)


def test_epsilon_and_slots_of_the_decaying_one():
  adam = optimizers.adam(0.5, epsilon=0.25, weight_decay=0.1)
  assert adam.epsilon == 0.25
  adam._create_all_weights([tf.Variable([1.0])])
  assert adam.get_slot_names() == ['m', 'v']
  assert len(adam.variables()) == 3


def test_inactive_weights_stay_zero():
  layer = wrappers.SparseWrapper(tf.keras.layers.Dense(8))
  layer.build((None, 8))
  layer.initialize(0.5, algorithms.DS(0.5), seed=0)
  layer.bias.assign(tf.ones(8))
  inner = optimizers.adam(0.1, weight_decay=0.5)
  sparse = sparse_optimizer.SparseOptimizer(
    inner,
    [layer],
    mask_updater.MaskUpdater(
      [layer], schedules.UpdateSchedule(9, end=1.0, interval=2)
    ),
  )
  masks = []
  for step in range(9):
    gradients = [
      tf.random.stateless_normal(variable.shape, (step, i))
      for i, variable in enumerate((layer.kernel, layer.bias))
    ]
    sparse.apply_gradients(zip(gradients, (layer.kernel, layer.bias)))
    masks.append(layer.mask.numpy())
    off = masks[-1] == 0
    assert off.any() and not layer.kernel.numpy()[off].any()
    for name in inner.get_slot_names():
      assert not inner.get_slot(layer.kernel, name).numpy()[off].any()
  assert (masks[0] != masks[-1]).any()


@pytest.mark.parametrize('value', [0, -1.0, 'x', None, float('nan')])
@pytest.mark.parametrize('name', ['learning_rate', 'epsilon'])
def test_value_outside_its_range(name, value, user_error):
  with user_error(f'adam.{name} is {value!r}', 'a number above 0'):
    optimizers.adam(**{name: value})


@pytest.mark.parametrize(
  'value', [-1e-9, 'x', None, float('nan'), float('inf'), True]
)
def test_weight_decay_outside_its_range(value, user_error):
  with user_error(f'adam.weight_decay is {value!r}', 'a number of at least 0'):
    optimizers.adam(weight_decay=value)


def test_scopes_bind_weight_decay_apart(no_gin_config):
  gin.parse_config('critic/adam.weight_decay = 0.25')
  variable = tf.Variable([1.0])
  for scope, expected in (('actor', 1.0), ('critic', 0.9)):
    with gin.config_scope(scope):
      adam = optimizers.adam(0.1)
    adam.apply_gradients([(tf.zeros(1), variable)])
    assert float(variable[0]) == pytest.approx(expected)
