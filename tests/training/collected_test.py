"""A run's agent is collected after it, so that one process can train many."""

import gc

import pytest

from helpers import runs, tiny
from rigl_rl.agents import dqn, off_policy, ppo, q_learner

pytestmark = pytest.mark.usefixtures('no_gin_config')

_AGENTS = (dqn.SparseDQNAgent, off_policy.OffPolicyAgent, ppo.SparsePPOAgent)
_PONG = (
  'GAME = "Pong"',
  'SparseDQNAgent.batch_size = 2',
  'SparseDQNAgent.replay_capacity = 100',
  'SparseDQNAgent.min_replay_history = 20',
  'UpdateSchedule.interval = 2',
  'NatureQNetwork.dense_units = 8',
  'DopamineRunner.evaluation_period = 30',
  'DopamineRunner.evaluation_steps = 10',
  'DopamineRunner.max_steps_per_episode = 20',
)


def _agents():
  gc.collect()
  # By type(): `isinstance` asks proxies of what is gone.
  return [o for o in gc.get_objects() if issubclass(type(o), _AGENTS)]


@pytest.mark.parametrize(
  'gin_file,bindings',
  [
    ('graesser22/dqn_classic/rigl.gin', tiny.DQN),
    ('graesser22/dqn_atari_cnn/rigl.gin', _PONG),
    ('graesser22/sac_mujoco/rigl.gin', tiny.SAC),
    ('graesser22/ppo_mujoco/rigl.gin', tiny.PPO),
    ('sokar22/td3/ds_td3.gin', tiny.TD3),
  ],
)
def test_the_agent_is_collected(gin_file, bindings, tmp_path, monkeypatch):
  # With two cores, DQN's train step calls back into Python.
  monkeypatch.setattr(q_learner, '_has_core_left', lambda: False)
  before = set(map(id, _agents()))
  runs.train(tmp_path, gin_file, *bindings, 'TRAIN_STEPS = 60')
  assert [a for a in _agents() if id(a) not in before] == []
