"""What tests of sparse layers share."""

import numpy as np
import tensorflow as tf

DENSITIES = [0.0, 0.05, 0.4, 1.0]


def integers(rng, shape, largest):
  return rng.integers(-largest, largest + 1, shape).astype(np.float32)


class Chain:
  """Layers, stored both ways."""

  def __init__(
    self,
    operations,
    rng,
    units,
    density,
    activation,
    biased,
    room=0,
    is_exact=True,
  ):
    self.operations = operations
    self.units = units
    count = len(units) - 1
    self.activations = [activation] * count
    self.masks, self.kernels = [], []
    for shape in zip(units, units[1:]):
      mask = (rng.random(shape) < density).astype(np.float32)
      if density < 1:  # An input, and an output, without any weight.
        mask[rng.integers(shape[0])] = 0
        mask[:, rng.integers(shape[1])] = 0
      self.masks.append(mask)
      if is_exact:
        kernel = integers(rng, shape, 2)
      else:
        kernel = 0.3 * rng.standard_normal(shape)
      self.kernels.append(np.float32(kernel * mask))
    self.biases = [
      tf.constant(integers(rng, n if biased else 0, 2)) for n in units[1:]
    ]
    capacities = [int(mask.sum()) + room for mask in self.masks]
    self.structures = [
      operations.rigl_sparse_structure(mask=mask, capacity=capacity)
      for mask, capacity in zip(self.masks, capacities)
    ]
    self.values = [
      operations.rigl_sparse_gather(
        kernel=kernel, structure=structure, capacity=capacity
      )
      for kernel, structure, capacity in zip(
        self.kernels, self.structures, capacities
      )
    ]

  def sparse(self, x, values, biases, kernels=()):
    """Passes x through the layers; `kernels` are those given as kernels."""
    return self.operations.rigl_sparse_chain(
      x=x,
      values=values,
      structure=[
        tf.zeros((0,), tf.int32) if i in kernels else structure
        for i, structure in enumerate(self.structures)
      ],
      bias=biases,
      units=list(self.units),
      activations=list(self.activations),
    ).y

  def weights(self, kernels):
    """Returns the values of `sparse`."""
    return [
      self.kernels[i] if i in kernels else values
      for i, values in enumerate(self.values)
    ]

  def dense(self, x, kernels, biases):
    for kernel, bias, name in zip(kernels, biases, self.activations):
      x = tf.matmul(x, kernel)
      if bias.shape[0]:
        x = tf.nn.bias_add(x, bias)
      x = getattr(tf.keras.activations, name)(x)
    return x

  def scattered(self, layer, values):
    return self.operations.rigl_sparse_scatter(
      values=values,
      structure=self.structures[layer],
      shape=list(self.masks[layer].shape),
    )


def assert_alike(one, other, tolerance):
  one, other = np.asarray(one), np.asarray(other)
  assert one.shape == other.shape
  if tolerance and other.size:
    tolerance *= np.abs(other).max() + 0.1
  np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


def arguments(operations, batch=3):
  """Of a chain of one layer, and of its gradients."""
  mask = np.float32([[1, 0], [0, 1], [1, 1]])
  layer = {
    'values': [tf.constant([1.0, 2, 3, 4])],
    'structure': [operations.rigl_sparse_structure(mask=mask, capacity=4)],
    'bias': [tf.constant([1.0, 2])],
    'units': [3, 2],
    'activations': ['relu'],
  }
  forward = {'x': tf.ones((batch, 3)), **layer}
  saved = operations.rigl_sparse_chain(**forward).saved
  return forward, {'dy': tf.ones((batch, 2)), 'saved': saved, **layer}
