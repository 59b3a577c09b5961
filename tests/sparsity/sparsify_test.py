"""sparsify, on Keras models and TF-Agents networks."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.networks import actor_distribution_network, q_network
from tf_agents.specs import tensor_spec

from helpers import small_models
from rigl_rl.sparsity import algorithms, distributions, initializers, wrappers


def _shapes(model):
  return {
    path: tuple(layer.kernel.shape)
    for path, layer in wrappers.named_layers(model).items()
  }


def test_sparsify_a_sequential_model():
  model = tf.keras.Sequential(
    [
      tf.keras.layers.Conv2D(4, 3, name='conv', input_shape=(8, 8, 2)),
      tf.keras.layers.Flatten(),
      wrappers.SparseWrapper(small_models.dense(8), name='hidden'),
      small_models.dense(3, 'out'),
    ]
  )
  assert _shapes(model) == {
    'conv': (3, 3, 2, 4),
    'hidden': (144, 8),
    'out': (8, 3),
  }
  layers = small_models.sparsify(model)
  small_models.assert_sparse(layers, [0.75] * 3)
  assert layers[1] is model.layers[2]
  assert all(isinstance(l.algorithm, algorithms.RigL) for l in layers)  # noqa: E741
  assert len(model.trainable_weights) == 6
  assert len(model.non_trainable_weights) == 3


def test_sparsify_a_functional_model_in_the_order_of_its_layers():
  inputs = tf.keras.Input((6,))
  left = small_models.dense(4, 'left')(inputs)
  right = wrappers.SparseWrapper(small_models.dense(5), name='right')(inputs)
  outputs = small_models.dense(2, 'out')(
    tf.keras.layers.concatenate([left, right])
  )
  model = tf.keras.Model(inputs, outputs)
  shapes = {'left': (6, 4), 'right': (6, 5), 'out': (9, 2)}
  assert _shapes(model) == shapes
  assert list(_shapes(model)) == list(shapes)
  sparsities = distributions.erdos_renyi_kernel(shapes, 0.75)
  layers = wrappers.sparsify(model, sparsity=0.75)
  small_models.assert_sparse(layers, list(sparsities.values()))
  assert len(set(sparsities.values())) > 1


def test_functional_model_of_wrappers_with_their_own_sparsity():
  inputs = tf.keras.Input((6,))
  hidden = wrappers.SparseWrapper(
    small_models.dense(5), sparsity=0.5, name='a'
  )(inputs)
  outputs = wrappers.SparseWrapper(
    small_models.dense(4), sparsity=0.4, name='b'
  )(hidden)
  model = tf.keras.Model(inputs, outputs)
  small_models.assert_sparse(
    list(wrappers.named_layers(model).values()), [0.5, 0.4]
  )


class _Colliding(tf.keras.Model):
  """Three layers of one name, one of them called twice, and a nested model."""

  def __init__(self):
    super().__init__(name='colliding')
    self.first = small_models.dense(4, 'same')
    self.others = [small_models.dense(4, 'same'), small_models.dense(4, 'same')]
    self.alias = self.first
    self.body = tf.keras.Sequential(
      [small_models.dense(3, 'same')], name='body'
    )

  def call(self, inputs):
    hidden = self.alias(inputs)
    for layer in self.others:
      hidden = layer(hidden)
    return self.body(self.first(hidden))


def test_sparsify_a_subclassed_model_with_colliding_names():
  model = _Colliding()
  model(tf.ones((1, 4)))
  assert _shapes(model) == {
    'same': (4, 4),
    'same_1': (4, 4),
    'same_2': (4, 4),
    'body/same': (4, 3),
  }
  layers = small_models.sparsify(model)
  small_models.assert_sparse(layers, [0.75] * 4)
  masks = [layer.mask.numpy() for layer in layers[:3]]
  assert (masks[0] != masks[1]).any()
  assert (masks[0] != masks[2]).any()


def test_sparsify_nested_models():
  def block(units, name):
    return tf.keras.Sequential(
      [small_models.dense(units, 'in'), small_models.dense(units, 'out')],
      name=name,
    )

  inner = tf.keras.Sequential([block(4, 'one'), block(5, 'two')], name='inner')
  model = tf.keras.Sequential([inner, small_models.dense(2, 'head')])
  model.build((None, 3))
  assert _shapes(model) == {
    'inner/one/in': (3, 4),
    'inner/one/out': (4, 4),
    'inner/two/in': (4, 5),
    'inner/two/out': (5, 5),
    'head': (5, 2),
  }
  layers = small_models.sparsify(model, keep_dense=['inner/two/*', 'head'])
  small_models.assert_sparse(layers, [0.75] * 2)
  assert inner.layers[1].layers[0].kernel.numpy().all()
  assert len(model.non_trainable_weights) == 2


def _mlp():
  model = tf.keras.Sequential(
    [
      small_models.dense(16, 'hidden0'),
      small_models.dense(16, 'hidden1'),
      small_models.dense(8, 'out'),
    ]
  )
  model.build((None, 8))
  return model


def test_keep_dense_is_left_out_of_the_distribution():
  model = _mlp()
  free = {'hidden0': (8, 16), 'hidden1': (16, 16)}
  expected = distributions.erdos_renyi_kernel(free, 0.75)
  layers = wrappers.sparsify(model, sparsity=0.75, keep_dense=('out',))
  small_models.assert_sparse(layers, list(expected.values()))
  assert model.layers[2].kernel.numpy().all()


def test_keep_dense_takes_one_bare_pattern():
  layers = small_models.sparsify(_mlp(), keep_dense='*out')
  small_models.assert_sparse(layers, [0.75] * 2)


def test_keep_dense_that_matches_nothing(user_error):
  with user_error('sparsify.keep_dense', "'head*'", 'hidden0, hidden1, out'):
    small_models.sparsify(_mlp(), keep_dense=('out', 'head*'))


def test_other_masks_do_not_depend_on_keep_dense():
  whole = small_models.sparsify(_mlp(), seed=5)
  partly = small_models.sparsify(_mlp(), seed=5, keep_dense=('hidden0',))
  for first, second in zip(whole[1:], partly):
    np.testing.assert_array_equal(first.mask, second.mask)


def test_masks_follow_the_seed_and_not_the_numbering_of_names():
  def masks(seed):
    model = tf.keras.Sequential(
      [small_models.dense(16), small_models.dense(16)]
    )  # Named by Keras.
    model.build((None, 16))
    return [
      layer.mask.numpy() for layer in small_models.sparsify(model, seed=seed)
    ]

  first, again, other = masks(1), masks(1), masks(2)
  np.testing.assert_array_equal(first, again)
  assert (first[0] != first[1]).any()
  assert (first[0] != other[0]).any()
  assert (first[1] != other[1]).any()


@pytest.mark.parametrize('name', ['Static', 'SET', 'RigL', 'DS'])
def test_erdos_renyi_lambda_draws_each_weight_on_its_own(name):
  """Sokar et al., equation 1: counts are binomial for any algorithm."""
  counts = set()
  for seed in range(6):
    model = tf.keras.Sequential(
      [tf.keras.layers.Dense(30), tf.keras.layers.Dense(2)]
    )
    model.build((None, 30))
    algorithm = getattr(algorithms, name)()
    first, last = wrappers.sparsify(
      model,
      distribution=functools.partial(
        distributions.erdos_renyi_lambda, lambdas=(7.5,)
      ),
      sparsity=None,
      algorithm=algorithm,
      seed=seed,
    )
    assert first.sparsity == 0.5 and last.mask.numpy().all()
    counts.add(first.mask.numpy().sum())
    assert algorithm.random_count == (name == 'DS')  # It was copied.
  assert len(counts) > 1
  assert all(abs(count - 450) < 5 * 15 for count in counts)


@pytest.mark.parametrize('name', ['Dense', 'Prune'])
def test_erdos_renyi_lambda_masks_nothing_of_what_starts_dense(name):
  model = tf.keras.Sequential([tf.keras.layers.Dense(30)])
  model.build((None, 30))
  (layer,) = wrappers.sparsify(
    model,
    distribution=functools.partial(
      distributions.erdos_renyi_lambda, lambdas=(7.5,)
    ),
    sparsity=None,
    algorithm=getattr(algorithms, name)(),
  )
  assert layer.mask.numpy().all()


def test_sparsify_with_dense_masks_nothing():
  model = _mlp()
  before = model.get_weights()
  layers = wrappers.sparsify(model, sparsity=0.9, algorithm=algorithms.Dense())
  assert [layer.sparsity for layer in layers] == [0.0] * 3
  assert all(layer.mask.numpy().all() for layer in layers)
  for weight, value in zip(model.trainable_weights, before):
    np.testing.assert_array_equal(weight, value)


def test_sparsify_scales_by_the_active_fan_in():
  model = _mlp()
  before = model.layers[0].kernel.numpy()
  mask = small_models.sparsify(model)[0].mask.numpy()
  fan_in = np.maximum(mask.sum(axis=0), 1)
  np.testing.assert_allclose(
    model.layers[0].kernel, before * mask * np.sqrt(8 / fan_in), rtol=1e-6
  )


def test_sparsify_keeps_the_values_when_asked():
  model = _mlp()
  before = model.layers[0].kernel.numpy()
  layers = small_models.sparsify(model, initializer=initializers.layer_default)
  np.testing.assert_array_equal(
    model.layers[0].kernel, before * layers[0].mask.numpy()
  )


def test_sparsify_again_is_refused(user_error):
  model = _mlp()
  layers = small_models.sparsify(model, sparsity=0.5, seed=1)
  with user_error('sparsify.model', model.name, 'sparse already'):
    small_models.sparsify(model, sparsity=0.5, seed=1)
  for layer in layers:
    assert (layer.mask.numpy() == 0).mean() == 0.5
  assert len(model.non_trainable_weights) == 3
  assert model.layers[0].kernel_constraint.mask is layers[0].mask


def test_sparsify_an_unbuilt_model(user_error):
  model = tf.keras.Sequential([small_models.dense(4, 'hidden')], name='later')
  with user_error('sparsify.model', "'later'", 'hidden', 'not built'):
    wrappers.sparsify(model)


def test_sparsify_a_model_without_a_layer_to_mask(user_error):
  model = tf.keras.Sequential(
    [tf.keras.layers.Flatten(input_shape=(2, 3))], name='flat'
  )
  with user_error('sparsify.model', "'flat'", 'Dense, Conv1D or Conv2D'):
    wrappers.sparsify(model)


def _agents_networks():
  return {
    'q': (
      q_network.QNetwork(
        small_models.OBSERVATION,
        tensor_spec.BoundedTensorSpec((), tf.int32, 0, 2),
        fc_layer_params=(16, 8),
      ),
      [(5, 16), (16, 8), (8, 3)],
    ),
    'actor': (
      actor_distribution_network.ActorDistributionNetwork(
        small_models.OBSERVATION,
        tensor_spec.BoundedTensorSpec((2,), tf.float32, -1, 1),
        fc_layer_params=(16, 8),
      ),
      [(5, 16), (16, 8), (8, 2)],
    ),
  }


@pytest.mark.parametrize('kind', ['q', 'actor'])
def test_sparsify_a_tf_agents_network_and_its_copy(kind):
  network, shapes = _agents_networks()[kind]
  network.create_variables()
  paths = _shapes(network)
  assert list(paths.values()) == shapes
  assert [path.count('/') for path in paths][:2] == [1, 1]
  assert list(paths)[0].startswith('EncodingNetwork/')
  layers = small_models.sparsify(network, seed=1)
  small_models.assert_sparse(layers, [0.75] * 3)

  copy = network.copy(name='copy')
  copy.create_variables()
  assert list(_shapes(copy).values()) == shapes
  # The copy is a fresh, dense network of the same architecture.
  assert all(
    layer.kernel.numpy().all() for layer in wrappers.named_layers(copy).values()
  )
  copied = small_models.sparsify(copy, seed=1)
  for first, second in zip(layers, copied):
    np.testing.assert_array_equal(first.mask, second.mask)
    assert first.kernel is not second.kernel
    assert first.mask is not second.mask
