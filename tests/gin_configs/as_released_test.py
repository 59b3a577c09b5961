"""What each as_released.gin binds, after each method's file.

The values are those of the released code of Graesser et al. (2022) where it
differs from the paper, and of Sokar et al. (2022).
"""

from __future__ import annotations

import pathlib
import re

import gin
import pytest

from helpers.gin_files import METHODS, name_of, parse

pytestmark = pytest.mark.usefixtures('no_gin_config')

_ROOT = pathlib.Path(__file__).parents[2]
# The released initializer, but for static networks: table 2 has it off, and on
# Atari the released configs do, against tables 4 and 5.
_INITIALIZER = {
  **dict.fromkeys(METHODS, 'per_connection_glorot'),
  'static': 'layer_default',
}
_ATARI = {
  'SparseDQNAgent.epsilon_decay_period': 250000,
  'make_sparse_optimizer.replace_gradient_step': True,
  'SET.drop_noise': 1e-5,
  'RigL.drop_noise': 1e-5,
  'sparsify.initializer': _INITIALIZER,
}
# By folder: all that the overlay binds, or what it comes to by method.
_OVERLAYS = {
  'graesser22/dqn_classic': {
    'SparseDQNAgent.epsilon_train': 0.01,
    'SparseDQNAgent.epsilon_decay_period': 1,
    'SparseDQNAgent.epsilon_eval': 0.0,
    'UpdateSchedule.end': 0.75,
    'sparsify.initializer': 'per_connection_glorot',
  },
  'graesser22/dqn_atari_cnn': _ATARI,
  'graesser22/dqn_atari_resnet': {
    **_ATARI,
    'ImpalaQNetwork.dense_units': 256,
  },
  'graesser22/sac_mujoco': {'sparsify.initializer': _INITIALIZER},
  'graesser22/ppo_mujoco': {
    'UpdateSchedule.begin': {
      **dict.fromkeys(METHODS, 0.0),
      'prune': 0.2045,  # 32,000 of 156,480 gradient steps.
    },
    'UpdateSchedule.end': 0.76687,  # 120,000 of them.
    'PPOLoop.evaluation_period': 7,
    'SparsePPOAgent.bootstrap_time_limits': False,
    'sparsify.initializer': 'per_connection_glorot',
  },
  'sokar22/td3': {
    'DS.drop_each_sign': True,
    'UpdateSchedule.steps_before': 0,
    'UpdateSchedule.offset': 2,
    'UpdateSchedule.end': 0.948719,
    'DS.last_update_only_drops': True,
  },
}
_SOKAR = ('td3', 'static_td3', 'ds_td3')


def _value(binding):
  """What a binding comes to; a function by its name."""
  configurable, _, parameter = binding.rpartition('.')
  value = gin.get_bindings(configurable)[parameter]
  return getattr(value, '__name__', value)


@pytest.mark.parametrize('folder', _OVERLAYS)
def test_binds_what_the_table_says_and_nothing_else(folder):
  text = (_ROOT / name_of(folder, 'as_released')).read_text(encoding='utf-8')
  bound = re.findall(r'^([\w./]+) =', text, re.MULTILINE)
  # A scope holds what a value by algorithm is made of.
  assert {name for name in bound if '/' not in name} == set(_OVERLAYS[folder])


@pytest.mark.parametrize(
  'folder, method',
  [
    (folder, method)
    for folder in _OVERLAYS
    for method in (_SOKAR if folder == 'sokar22/td3' else METHODS)
  ],
)
def test_values_after_a_method(folder, method):
  parse((folder, method), (folder, 'as_released'))
  for binding, value in _OVERLAYS[folder].items():
    expected = value[method] if isinstance(value, dict) else value
    assert _value(binding) == expected, binding


def test_a_later_binding_wins():
  folder = 'graesser22/sac_mujoco'
  parse(
    (folder, 'static'),
    (folder, 'as_released'),
    bindings=['sparsify.initializer = @sparsity_aware'],
  )
  assert _value('sparsify.initializer') == 'sparsity_aware'


def test_released_window_of_ppo():
  """Of 156,480 gradient steps."""
  assert round(0.2045 * 156480) == 32000
  assert round(0.76687 * 156480) == 120000
