"""Tests of the diagnostics, against Jacobians and vectors checked by eye."""

import numpy as np
import pytest
import tensorflow as tf

from helpers import small_models
from rigl_rl.networks import q_networks
from rigl_rl.sparsity import diagnostics, wrappers


def _jacobian_snr(loss_fn, variables):
  """The definition, from the gradient of each example's loss."""
  with tf.GradientTape() as tape:
    loss = loss_fn()
  ratios = []
  for jacobian in tape.jacobian(loss, variables):
    gradients = jacobian.numpy().astype(np.float64)
    sigma = gradients.std(axis=0)
    mean = np.abs(gradients.mean(axis=0))
    ratios.append(
      np.divide(mean, sigma, out=np.zeros_like(mean), where=sigma > 0)
    )
  return np.concatenate([r.ravel() for r in ratios]).mean()


def _sparse_mlp():
  model = q_networks.MLPQNetwork(num_actions=3, seed=1, hidden_units=(8, 6))
  small_models.built(model, 5, 1)
  layers = wrappers.sparsify(model, sparsity=0.5, seed=2)
  return model, layers


def _small_conv_net():
  model = tf.keras.Sequential(
    [
      wrappers.SparseWrapper(
        tf.keras.layers.Conv2D(
          4, 3, strides=2, padding='same', activation='relu', name='conv'
        )
      ),
      tf.keras.layers.Conv2D(3, 2, use_bias=False, name='bare'),
      tf.keras.layers.Flatten(),
      tf.keras.layers.Dense(2, name='output'),
    ]
  )
  model(tf.zeros((1, 8, 7, 2)))
  return model


def _losses(model, states):
  rng = np.random.default_rng(3)
  targets = rng.normal(size=(len(states), 1)).astype(np.float32)
  return lambda: tf.reduce_sum((model(states) - targets) ** 2, axis=1)


def _states(*shape):
  return np.random.default_rng(4).normal(size=shape).astype(np.float32)


def test_snr_equals_jacobian_on_sparse_mlp():
  model, layers = _sparse_mlp()
  loss_fn = _losses(model, _states(16, 5, 1))
  snr = diagnostics.gradient_snr(loss_fn, layers)
  expected = _jacobian_snr(loss_fn, model.trainable_variables)
  np.testing.assert_allclose(snr, expected, rtol=1e-4)
  assert expected > 0.05


def test_snr_counts_inactive_weights():
  model, layers = _sparse_mlp()
  # All inactive: no gradient gets past the output layer's kernel, and still
  # that kernel's own gradient is the dense one.
  layers[-1].mask.assign(tf.zeros_like(layers[-1].mask))
  layers[-1].kernel.assign(tf.zeros_like(layers[-1].kernel))
  snr = diagnostics.gradient_snr(_losses(model, _states(16, 5, 1)), layers[-1:])
  assert snr > 0.05


def test_snr_equals_jacobian_on_convolutions_wrapped_and_bare():
  model = _small_conv_net()
  loss_fn = _losses(model, _states(6, 8, 7, 2))
  layers = list(wrappers.named_layers(model).values())
  assert len(layers) == 3
  snr = diagnostics.gradient_snr(loss_fn, layers)
  expected = _jacobian_snr(loss_fn, model.trainable_variables)
  np.testing.assert_allclose(snr, expected, rtol=1e-4)
  graph_snr = tf.function(lambda: diagnostics.gradient_snr(loss_fn, layers))()
  np.testing.assert_allclose(graph_snr, snr, rtol=1e-5)


@pytest.mark.parametrize('padding', ['valid', 'causal'])
def test_snr_equals_jacobian_on_sequences(padding):
  model = tf.keras.Sequential(
    [
      tf.keras.layers.Conv1D(
        4, 3, padding=padding, activation='tanh', name='conv'
      ),
      tf.keras.layers.Dense(3, name='by_position'),
      tf.keras.layers.Flatten(),
      tf.keras.layers.Dense(2, name='output'),
    ]
  )
  loss_fn = _losses(model, _states(5, 6, 2))
  loss_fn()
  layers = list(wrappers.named_layers(model).values())
  np.testing.assert_allclose(
    diagnostics.gradient_snr(loss_fn, layers),
    _jacobian_snr(loss_fn, model.trainable_variables),
    rtol=1e-4,
  )


def test_snr_by_hand():
  # y = w x, loss = y: the gradients of w are the inputs 1, 3, 5: mean 3,
  # population standard deviation √(8/3).
  layer = tf.keras.layers.Dense(1, use_bias=False)
  inputs = tf.constant([[1.0], [3.0], [5.0]])
  layer(inputs)
  snr = diagnostics.gradient_snr(lambda: layer(inputs)[:, 0], [layer])
  np.testing.assert_allclose(snr, 3 / np.sqrt(8 / 3), rtol=1e-6)


def test_snr_of_constant_gradients():
  layer = tf.keras.layers.Dense(1)
  inputs = tf.constant([[0.0], [0.0]])
  layer(inputs)
  # The kernel's gradients are all 0 and count as 0; the bias's are all 1, and
  # their ratio is held at 1000.
  snr = diagnostics.gradient_snr(lambda: layer(inputs)[:, 0], [layer])
  np.testing.assert_allclose(snr, 500, rtol=1e-3)


def test_snr_passes_over_calls_without_gradient():
  model, layers = _sparse_mlp()
  loss_fn = _losses(model, _states(16, 5, 1))

  def loss_with_target():
    tf.stop_gradient(model(_states(4, 5, 1)))
    return loss_fn()

  np.testing.assert_allclose(
    diagnostics.gradient_snr(loss_with_target, layers),
    diagnostics.gradient_snr(loss_fn, layers),
  )


def test_snr_refuses_what_it_cannot_count():
  model, layers = _sparse_mlp()
  loss_fn = _losses(model, _states(4, 5, 1))
  with pytest.raises(ValueError, match='more than once'):
    diagnostics.gradient_snr(lambda: loss_fn() + loss_fn(), layers)
  with pytest.raises(ValueError, match='layer output, .* no gradient'):
    diagnostics.gradient_snr(
      lambda: tf.reduce_sum(layers[0](_states(4, 5)), axis=1),
      [layers[0], layers[2]],
    )


def test_record_layers_leaves_results_and_layers_alone():
  model, layers = _sparse_mlp()
  states = _states(4, 5, 1)
  before = model(states)
  with diagnostics.record_layers(layers) as calls:
    recorded = model(states)
  np.testing.assert_array_equal(before, recorded)
  np.testing.assert_array_equal(before, model(states))
  assert len(calls) == 3
  assert [call.layer for call in calls] == layers
  first = calls[0]
  assert np.min(first.pre_activation) < 0
  np.testing.assert_array_equal(
    np.maximum(first.pre_activation, 0), calls[1].inputs
  )
  assert 'call' not in vars(layers[0].layer)


def test_record_layers_restores_after_an_error():
  model, layers = _sparse_mlp()
  with pytest.raises(RuntimeError):
    with diagnostics.record_layers(layers):
      raise RuntimeError
  assert all('call' not in vars(layer.layer) for layer in layers)
