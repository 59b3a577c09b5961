"""Small models, and what a sparse one must be."""

import numpy as np
import tensorflow as tf
from tf_agents.specs import tensor_spec

from rigl_rl.sparsity import distributions, wrappers


def dense(units, name=None):
  return tf.keras.layers.Dense(units, name=name)


def built(model, *state_shape):
  """Returns a Q-network that is built for states of a shape."""
  model(tf.zeros((1, *state_shape)))
  return model


def assert_sparse(layers, sparsities):
  assert len(layers) == len(sparsities)
  for layer, sparsity in zip(layers, sparsities):
    mask = layer.mask.numpy()
    assert layer.sparsity == sparsity
    assert set(np.unique(mask)) <= {0.0, 1.0}
    assert (mask == 0).sum() == distributions.num_zeros(mask.size, sparsity)
    assert (layer.kernel.numpy()[mask == 0] == 0).all()
    assert (layer.kernel.numpy()[mask == 1] != 0).all()


def sparsify(model, sparsity=0.75, **kwargs):
  kwargs.setdefault('distribution', distributions.uniform)
  return wrappers.sparsify(model, sparsity=sparsity, **kwargs)


OBSERVATION = tensor_spec.TensorSpec((5,), tf.float32)
