"""What TensorBoard shows of a run: one naming, in environment steps."""

import numpy as np
import pytest
from tensorboard.plugins.hparams import plugin_data_pb2

import rigl_rl
from helpers import summaries, tiny

pytestmark = pytest.mark.usefixtures('no_gin_config')

_LAYERS = ('dense1', 'dense2', 'output')
_HPARAMS = '_hparams_/session_start_info'


def _train(gin_file, directory, *bindings):
  """Returns the run, {tag: {step: value}}, and its hyper-parameters."""
  run = rigl_rl.train(f'gin_configs/graesser22/{gin_file}', bindings, directory)
  assert len(list((directory / 'events').iterdir())) == 1
  scalars = {
    tag: dict(pairs)
    for tag, pairs in summaries.scalars(directory / 'events').items()
  }
  hparams = {}
  for _, value in summaries.values(directory / 'events'):
    if value.tag == _HPARAMS:
      data = plugin_data_pb2.HParamsPluginData.FromString(
        value.metadata.plugin_data.content
      )
      hparams.update(data.session_start_info.hparams)
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
    *tiny.DQN,
    'SPARSITY = 0.5',
    'TRAIN_STEPS = 600',
    'SparseDQNAgent.summary_writing_frequency = 100',
    'DopamineRunner.evaluation_period = 200',
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
    step: pytest.approx(1 - 0.9 * (step - 50) / 25000, abs=1e-6)
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
    *tiny.SAC,
    'SPARSITY = 0.5',
    'TRAIN_STEPS = 90',
    'create_mujoco_environment.max_episode_steps = 10',
    'ActorCriticLoop.evaluation_period = 30',
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
