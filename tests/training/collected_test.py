"""A run's agent is collected after it, so that one process can train many."""

import gc

import pytest

from helpers import runs, tiny
from rigl_rl.agents import dqn, off_policy, ppo, q_learner

pytestmark = pytest.mark.usefixtures('no_gin_config')

_AGENTS = (dqn.SparseDQNAgent, off_policy.OffPolicyAgent, ppo.SparsePPOAgent)


def _agents():
  gc.collect()
  # By type(): `isinstance` asks proxies of what is gone.
  return [o for o in gc.get_objects() if issubclass(type(o), _AGENTS)]


@pytest.mark.parametrize(
  'gin_file,bindings',
  [
    ('graesser22/dqn_classic/rigl.gin', tiny.DQN),
    ('graesser22/dqn_atari_cnn/rigl.gin', tiny.ATARI),
    ('graesser22/sac_mujoco/rigl.gin', tiny.SAC),
    ('graesser22/ppo_mujoco/rigl.gin', tiny.PPO),
    ('sokar22/td3/ds_td3.gin', tiny.TD3),
  ],
)
def test_the_agent_is_collected(gin_file, bindings, tmp_path, monkeypatch):
  # With two cores, DQN's train step calls back into Python.
  monkeypatch.setattr(q_learner, '_has_core_left', lambda: False)
  before = _agents()
  runs.train(tmp_path, gin_file, *bindings, 'TRAIN_STEPS = 60')
  assert len(_agents()) == len(before)
