"""The sparsity of each layer: equation 1 of Sokar et al. (2022)."""

import gin
import numpy as np
import pytest
import tensorflow as tf

from helpers.gin_files import TASKS, parse
from helpers.sokar22_tables import (
  COLUMNS,
  LAMBDAS,
  NETWORKS,
  SPARSE,
  all_layers,
  column_file,
  densities_of,
  expected_active,
  shapes_of,
  size_of,
)
from rigl_rl.environments import mujoco

pytestmark = pytest.mark.usefixtures('no_gin_config')


def _sparse_networks(suite):
  """Sparsifies the networks that the parsed config has for its task.

  No agent is built: but for that all is as in a run.
  """
  observation, action = mujoco.find_specs(mujoco.create_mujoco_environment)
  actor = 'DeterministicActor' if suite == 'td3' else 'SquashedGaussianActor'
  layers = {}
  for name in NETWORKS:
    with gin.config_scope('actor' if name == 'actor' else 'critic'):
      if name == 'actor':
        inputs, make = observation, gin.get_configurable(actor)
        network = make(observation, action, seed=1)
      else:
        inputs = (observation, action)
        network = gin.get_configurable('Critic')(inputs, seed=1)
      network.create_variables(inputs)
      seed = NETWORKS.index(name)
      layers[name] = gin.get_configurable('sparsify')(network, seed=seed)
  return layers


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('name', SPARSE)
def test_sparsity_by_task(name, task, capsys):
  suite = COLUMNS[name].suite
  lambdas, sparsity = LAMBDAS[suite][task]
  parse(column_file(name), bindings=[f"ENV_NAME = '{task}-v4'"])
  networks = _sparse_networks(suite)
  for network, layers in networks.items():
    shapes = shapes_of(suite, network, task)
    assert [tuple(layer.mask.shape) for layer in layers] == shapes
    densities = densities_of(shapes, lambdas)
    for layer, density in zip(layers, densities):
      assert 1 - layer.sparsity == pytest.approx(density, abs=1e-12)
      # Counts are binomial: within five σ.
      spread = 5 * np.sqrt(size_of(layer) * density * (1 - density))
      active = float(tf.reduce_sum(layer.mask))
      assert abs(active - density * size_of(layer)) <= spread
  counts = [int(tf.reduce_sum(networks[name][1].mask)) for name in NETWORKS]
  assert len(set(counts)) > 1  # Of 256×256 weights each.
  everything = all_layers(networks)
  size = sum(map(size_of, everything))
  active = expected_active(everything)
  assert 1 - active / size == pytest.approx(sparsity, abs=5e-4)
  if task == 'HalfCheetah' and suite == 'td3':
    assert size == 214784
    assert active == pytest.approx(106169)
  if task == 'Walker2d':  # Whatever the version.
    parse(column_file(name), bindings=["ENV_NAME = 'Walker2d-v5'"])
    again = all_layers(_sparse_networks(suite))
    assert expected_active(again) == pytest.approx(active)
  assert 'density' not in capsys.readouterr().out  # None of them is clipped.


@pytest.mark.parametrize('sparsity', [0.25, 0.5, 0.8])
@pytest.mark.parametrize('name', SPARSE)
def test_another_sparsity_at_a_fixed_ratio(name, sparsity):
  """Figure 2b."""
  suite = COLUMNS[name].suite
  lambdas, _ = LAMBDAS[suite]['HalfCheetah']
  parse(column_file(name), bindings=[f'SPARSITY = {sparsity}'])
  for network, layers in _sparse_networks(suite).items():
    active = expected_active(layers) / sum(map(size_of, layers))
    assert active == pytest.approx(1 - sparsity)
    assert layers[-1].sparsity == 0
    first, second, _ = densities_of(shapes_of(suite, network), lambdas)
    scaled = [1 - layer.sparsity for layer in layers]
    assert scaled[0] / scaled[1] == pytest.approx(first / second)


def test_sparsity_of_actor_and_critic():
  bindings = ['ACTOR_SPARSITY = 0.8', 'CRITIC_SPARSITY = 0.3']
  parse(column_file('ds_td3'), bindings=bindings)
  for network, layers in _sparse_networks('td3').items():
    active = expected_active(layers) / sum(map(size_of, layers))
    assert active == pytest.approx(0.2 if network == 'actor' else 0.7)


def test_sparsity_that_the_output_layer_rules_out(user_error):
  parse(column_file('ds_td3'), bindings=['SPARSITY = 0.99'])
  with user_error('SPARSITY', '0.99', 'below 0.9785'):
    _sparse_networks('td3')
