"""What TensorBoard shows of a run: one naming, in environment steps."""

import os

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.plugins.hparams import plugin_data_pb2

import rigl_rl

_LAYERS = ('dense1', 'dense2', 'output')
_HPARAMS = '_hparams_/session_start_info'


@pytest.fixture(autouse=True)
def _no_bindings(no_gin_config):
  """Nothing is bound before or after a run."""


def _train(gin_file, directory, **bindings):
  """Returns the run, {tag: {step: value}}, and its hyper-parameters."""
  run = rigl_rl.train(
    f'gin_configs/graesser22/{gin_file}',
    {name.replace('__', '.'): value for name, value in bindings.items()},
    directory,
  )
  scalars, hparams = {}, {}
  events = os.path.join(directory, 'events')
  assert len(os.listdir(events)) == 1
  for name in os.listdir(events):
    path = os.path.join(events, name)
    for event in tf.compat.v1.train.summary_iterator(path):
      for value in event.summary.value:
        if value.tag == _HPARAMS:
          data = plugin_data_pb2.HParamsPluginData.FromString(
            value.metadata.plugin_data.content
          )
          hparams.update(data.session_start_info.hparams)
        else:
          number = float(tf.make_ndarray(value.tensor))
          scalars.setdefault(value.tag, {})[event.step] = number
  return run, scalars, hparams


def _mask_tags(*networks):
  return {
    f'masks/{network}/{layer}/{kind}'
    for network in networks
    for layer in _LAYERS
    for kind in ('sparsity', 'moved')
  } | {f'masks/{network}/drop_fraction' for network in networks}


_OF_EVERY_AGENT = {
  'evaluation/return',
  'train/return',
  'train/episode_length',
  'train/steps_per_second',
  'train/loss/total',
}


def test_dqn(tmp_path):
  run, scalars, hparams = _train(
    'dqn_classic/rigl.gin',
    tmp_path / 'run',
    SPARSITY=0.5,
    TRAIN_STEPS=600,
    UpdateSchedule__interval=5,
    MLPQNetwork__hidden_units=(8, 8),
    SparseDQNAgent__batch_size=4,
    SparseDQNAgent__replay_capacity=1000,
    SparseDQNAgent__min_replay_history=20,
    SparseDQNAgent__summary_writing_frequency=100,
    DopamineRunner__evaluation_period=200,
    DopamineRunner__evaluation_episodes=3,
  )
  assert set(scalars) == _OF_EVERY_AGENT | _mask_tags('online') | {
    'train/epsilon',
    'train/q_mean',
  }
  evaluations = {
    row.step: pytest.approx(row.return_mean, rel=1e-5)
    for row in run.evaluations.itertuples()
  }
  assert scalars['evaluation/return'] == evaluations
  steps = [100, 200, 300, 400, 500]
  for tag in ('train/loss/total', 'train/q_mean'):
    assert list(scalars[tag]) == steps
    assert np.isfinite(list(scalars[tag].values())).all()
  assert list(scalars['masks/online/dense2/moved']) == steps[1:]
  # Falls from 1 to 0.1 over 25,000 steps after the collection.
  assert scalars['train/epsilon'] == {
    step: pytest.approx(1 - 0.9 * (step - 20) / 25000, abs=1e-6)
    for step in steps
  }
  # CartPole gives a reward of 1 per step.
  assert scalars['train/episode_length'] == scalars['train/return']
  assert hparams['SparseDQNAgent.gamma'].number_value == 0.99
  assert hparams['sparsify.sparsity'].number_value == 0.5
  assert hparams['sparsify.algorithm'].string_value == '@RigL()'
  assert 'train.seed' not in hparams  # Seeds of one setting form a group.


def test_sac(tmp_path):
  run, scalars, hparams = _train(
    'sac_mujoco/rigl.gin',
    tmp_path / 'run',
    ENV_NAME='Hopper-v4',
    SPARSITY=0.5,
    TRAIN_STEPS=90,
    UpdateSchedule__interval=5,
    create_mujoco_environment__max_episode_steps=10,
    SquashedGaussianActor__hidden_units=(8, 8),
    Critic__hidden_units=(8, 8),
    TransitionBuffer__batch_size=8,
    TransitionBuffer__capacity=1000,
    ActorCriticLoop__initial_collect_steps=30,
    ActorCriticLoop__evaluation_period=30,
    ActorCriticLoop__evaluation_episodes=3,
  )
  networks = ('actor', 'critic_1', 'critic_2')
  assert set(scalars) == _OF_EVERY_AGENT | _mask_tags(*networks) | {
    'train/loss/actor',
    'train/loss/critic',
    'train/loss/alpha',
    'train/alpha',
    'train/q_mean',
    'networks/actor_share',
  }
  ends = [30, 60, 90]
  assert (
    list(scalars['evaluation/return']) == list(run.evaluations.step) == ends
  )
  # Nothing is trained in the first 30 steps.
  for tag in (
    'train/loss/critic',
    'train/q_mean',
    'masks/actor/dense1/sparsity',
  ):
    assert list(scalars[tag]) == [60, 90]
  for step, total in scalars['train/loss/total'].items():
    parts = (
      scalars[f'train/loss/{name}'][step]
      for name in ('actor', 'critic', 'alpha')
    )
    assert total == pytest.approx(sum(parts), rel=1e-5)
  assert 1 < min(scalars['train/episode_length'].values())
  assert max(scalars['train/episode_length'].values()) <= 10
  assert hparams['train.task'].string_value == 'Hopper-v4'
