"""The NumPy forward pass equals Keras'."""

import numpy as np
import pytest

from rigl_rl.networks import numpy_mlp, q_networks
from rigl_rl.sparsity import wrappers


def _model():
  model = q_networks.build_q_network(
    q_networks.MLPQNetwork,
    num_actions=3,
    observation_shape=(4,),
    stack_size=2,
    seed=0,
  )
  wrappers.sparsify(model, sparsity=0.9, seed=1)
  return model


@pytest.mark.parametrize('batch', [1, 20])
def test_equals_keras(batch):
  model = _model()
  states = np.random.default_rng(0).normal(size=(batch, 4, 2))
  expected = model(states.astype(np.float32))
  q_values = numpy_mlp.numpy_forward(numpy_mlp.read_weights(model), states)
  assert q_values.dtype == np.float32
  np.testing.assert_allclose(q_values, expected, rtol=1e-5, atol=1e-6)


def test_batches_of_different_sizes_do_not_meet():
  network = numpy_mlp.NumpyMLP(numpy_mlp.read_weights(_model()))
  states = np.random.default_rng(0).normal(size=(5, 4, 2))
  together = network(states)
  alone = network(states[:1])
  np.testing.assert_allclose(alone[0], together[0], rtol=1e-5, atol=1e-6)


def test_set_weights():
  network = numpy_mlp.NumpyMLP([(np.eye(2), np.zeros(2)), (np.eye(2), [1, 2])])
  np.testing.assert_array_equal(network([[3, -4]]), [[4, 2]])
  network.set_weights([(np.ones((2, 1)), [0.5])])
  np.testing.assert_array_equal(network([[3, -4]]), [[-0.5]])


def test_refuses_shapes_that_do_not_fit():
  with pytest.raises(ValueError, match='Layer 1'):
    numpy_mlp.NumpyMLP([(np.eye(2), np.zeros(2)), (np.eye(3), np.zeros(3))])
