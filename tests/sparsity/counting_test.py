"""Tests of counting, by hand and against the papers' numbers."""

import numpy as np
import pytest
import tensorflow as tf

from helpers import small_models
from rigl_rl.networks import q_networks
from rigl_rl.sparsity import (
  algorithms,
  counting,
  distributions,
  schedules,
  wrappers,
)

NETWORKS = {
  'mlp': (q_networks.MLPQNetwork, (4,), 1, 2),
  'nature': (q_networks.NatureQNetwork, (84, 84), 4, 6),
  'impala': (q_networks.ImpalaQNetwork, (84, 84), 4, 9),
}


@pytest.fixture(scope='module')
def counts():
  return {name: counting.count_network(_build(name)) for name in NETWORKS}


def _build(name):
  network, observation_shape, stack_size, num_actions = NETWORKS[name]
  model = network(num_actions=num_actions, seed=0)
  return small_models.built(model, *observation_shape, stack_size)


def _layer(shape=(10, 10), sparsity=0.9, positions=1):
  layer = counting.LayerCount('layer', shape, shape[-1], positions, 0.0, 0)
  return layer.with_sparsity(sparsity)


def _small_conv_net():
  model = tf.keras.Sequential(
    [
      tf.keras.layers.Conv2D(4, 3, strides=2, padding='same', name='conv'),
      tf.keras.layers.Conv2D(3, 2, use_bias=False, name='valid'),
      tf.keras.layers.Flatten(),
      wrappers.SparseWrapper(tf.keras.layers.Dense(2, name='output')),
    ]
  )
  model(tf.zeros((5, 8, 7, 2)))
  return model


def test_counts_by_hand():
  count = counting.count_network(_small_conv_net())
  # 8×7 → 4×4 → 3×3, and 27 numbers into the last layer.
  assert [layer.name for layer in count.layers] == ['conv', 'valid', 'output']
  assert [layer.positions for layer in count.layers] == [16, 9, 1]
  assert [layer.weights for layer in count.layers] == [72, 48, 54]
  assert [layer.biases for layer in count.layers] == [4, 0, 2]
  assert count.weights == count.active_weights == 174
  assert count.parameters == 180
  assert count.sparsity == 0
  expected = 2 * (72 * 16 + 48 * 9 + 54)
  assert count.forward_flops == count.dense_forward_flops == expected


def test_sparse_counts_of_wrapped_and_bare_layers():
  model = _small_conv_net()
  layers = wrappers.sparsify(
    model,
    distribution=distributions.uniform,
    sparsity=0.5,
    algorithm=algorithms.Static(),
    keep_dense=('valid',),
    seed=1,
  )
  count = counting.count_network(model, layers)
  assert [layer.sparsity for layer in count.layers] == [0.5, 0, 0.5]
  assert [layer.active_weights for layer in count.layers] == [36, 48, 27]
  assert count.forward_flops == 2 * (36 * 16 + 48 * 9 + 27)
  assert count.dense_forward_flops == 2 * (72 * 16 + 48 * 9 + 54)
  assert count == counting.count_network(model, layers, current=True)
  dense = count.with_sparsities(dict.fromkeys(count.shapes, 0.0))
  assert dense == counting.count_network(_small_conv_net())


def test_current_masks_of_a_network_that_is_being_pruned():
  model = _build('mlp')
  layers = wrappers.sparsify(
    model, sparsity=0.9, algorithm=algorithms.Prune(), seed=0
  )
  assert counting.count_network(model, layers).active_weights == 26523
  now = counting.count_network(model, layers, current=True)
  assert now.active_weights == 265216
  layers[1].mask.assign(tf.eye(512))
  now = counting.count_network(model, layers, current=True)
  assert now.active_weights == 265216 - 512 * 511


def test_convolution_without_a_fixed_image_size():
  inputs = tf.keras.Input((None, None, 1))
  outputs = tf.keras.layers.Conv2D(3, 3, name='conv')(inputs)
  model = tf.keras.Model(inputs, outputs)
  with pytest.raises(ValueError, match='conv .*without a fixed image size'):
    counting.count_network(model)


@pytest.mark.parametrize(
  'name,weights', [('mlp', 265216), ('nature', 4045824), ('impala', 4357760)]
)
def test_weights_of_the_papers_networks(counts, name, weights):
  assert counts[name].weights == weights


def _erk_over_uniform(count, sparsity):
  shapes = count.shapes
  erk = distributions.erdos_renyi_kernel(shapes, sparsity)
  uniform = distributions.uniform(shapes, sparsity)
  return (
    count.with_sparsities(erk).forward_flops
    / count.with_sparsities(uniform).forward_flops
  )


@pytest.mark.parametrize(
  'name,low,high', [('nature', 1.55, 1.77), ('impala', 1.80, 2.77)]
)
def test_flops_of_erk_over_uniform(counts, name, low, high):
  ratios = [_erk_over_uniform(counts[name], s) for s in (0.5, 0.8, 0.9, 0.95)]
  assert round(min(ratios), 2) == low
  assert round(max(ratios), 2) == high


@pytest.mark.parametrize('sparsity', [0.5, 0.8, 0.9, 0.95])
def test_erk_costs_a_dense_net_no_more_flops(counts, sparsity):
  ratio = _erk_over_uniform(counts['mlp'], sparsity)
  assert ratio == pytest.approx(1, abs=1e-3)


def test_training_flops_by_method():
  # f_S = 20, f_D = 200.
  layer = _layer()
  schedule = schedules.UpdateSchedule(1000, interval=9)

  def flops(algorithm):
    return counting.training_flops(layer, algorithm, schedule, 1000)

  assert flops(algorithms.Dense()) == 600
  assert flops(algorithms.Static()) == 60
  assert flops(algorithms.SET()) == 60
  assert flops(algorithms.DS()) == 60
  # (3 · 20 · 9 + 2 · 20 + 200) / 10
  assert flops(algorithms.RigL()) == pytest.approx(78)
  # Trained every third step, in which ΔT is 3: (3 · 20 · 3 + 2 · 20 + 200) / 4
  delayed = counting.training_flops(
    layer, algorithms.RigL(), schedule, 1000, period=3
  )
  assert delayed == pytest.approx(105)
  dense_layer = _layer(sparsity=0.0)
  for algorithm in (algorithms.RigL(), algorithms.Static()):
    assert (
      counting.training_flops(dense_layer, algorithm, schedule, 1000) == 600
    )


def test_training_flops_add_up_over_layers():
  layers = (_layer(), _layer((3, 3, 2, 4), 0.5, positions=6))
  schedule = schedules.UpdateSchedule(1000, interval=10)
  total = counting.training_flops(
    counting.NetworkCount(layers), algorithms.RigL(), schedule, 1000
  )
  assert total == sum(
    counting.training_flops(layer, algorithms.RigL(), schedule, 1000)
    for layer in layers
  )


@pytest.mark.parametrize('interval,offset', [(1, 0), (7, 3), (50, 0)])
def test_pruning_density_is_the_mean_over_every_step(interval, offset):
  total_steps = 200
  schedule = schedules.UpdateSchedule(
    total_steps, begin=0.2, end=0.8, interval=interval, offset=offset
  )
  algorithm = algorithms.Prune().bind(0.9, schedule)
  density, densities = 1.0, []
  for step in range(total_steps):
    densities.append(density)
    if schedule.is_update_step(step) | schedule.is_last_step(step):
      density = 1 - float(algorithm.sparsity_at(step))
  assert density == pytest.approx(0.1)
  assert counting.mean_density(
    algorithm, schedule, total_steps
  ) == pytest.approx(np.mean(densities))


def test_pruning_to_the_very_end_of_training():
  schedule = schedules.UpdateSchedule(100, begin=0.0, end=1.0, interval=30)
  algorithm = algorithms.Prune().bind(0.5, schedule)
  # Nothing is pruned at step 0; from then on at 30, 60, 90 and 99, the last,
  # which no step follows.
  s = [float(algorithm.sparsity_at(step)) for step in (30, 60, 90)]
  assert float(algorithm.sparsity_at(99)) == 0.5
  expected = 1 - (30 * s[0] + 30 * s[1] + 9 * s[2]) / 100
  assert counting.mean_density(algorithm, schedule, 100) == pytest.approx(
    expected
  )


def _td3_weights(actor_lambdas=None):
  """Weights of actor and critics of TD3 on HalfCheetah."""
  actor = {'1': (17, 256), '2': (256, 256), 'output': (256, 6)}
  critic = {'1': (23, 256), '2': (256, 256), 'output': (256, 1)}
  sums = []
  for shapes in (actor, critic):
    densities = dict.fromkeys(shapes, 1.0)
    if actor_lambdas:
      sparsities = distributions.erdos_renyi_lambda(
        shapes, lambdas=actor_lambdas
      )
      densities = {name: 1 - s for name, s in sparsities.items()}
    sums.append(sum(densities[name] * np.prod(shapes[name]) for name in shapes))
  return sums[0], 2 * sums[1]


def test_training_flops_of_td3():
  actor, critics = _td3_weights()
  assert actor + critics == 214784
  dense = counting.actor_critic_training_flops(actor, critics, 100, 1000000)
  assert dense == pytest.approx(1.0744e14, rel=5e-5)

  actor, critics = _td3_weights((7, 64))
  assert actor + critics == pytest.approx(106169)
  sparse = counting.actor_critic_training_flops(actor, critics, 100, 1000000)
  assert round(sparse / dense, 3) == 0.492


def test_memory():
  # 10 active weights and 10 biases, each with two slots; 100 weights, with
  # slots and mask.
  network = counting.NetworkCount((_layer(),))
  assert counting.memory_bytes(network) == 4 * 3 * 20
  assert counting.memory_bytes(network, simulated=True) == 4 * (400 + 30)
  assert counting.memory_bytes(network, slots=0) == 4 * 20
