"""The command that trains, as a process of its own would run it."""

import gin

from helpers import tiny
from rigl_rl.commands import train

RIGL = 'gin_configs/graesser22/dqn_classic/rigl.gin'
PONG = 'gin_configs/graesser22/dqn_atari_cnn/rigl.gin'
SAC = 'gin_configs/graesser22/sac_mujoco/rigl.gin'
PPO = 'gin_configs/graesser22/ppo_mujoco/rigl.gin'
SMALL = (*tiny.DQN, 'TRAIN_STEPS = 300')
SMALL_SAC = (*tiny.SAC, 'TRAIN_STEPS = 60')
SMALL_PPO = (*tiny.PPO, 'TRAIN_STEPS = 60')


def run(base_dir, *bindings, gin_files=(RIGL,), small=True, flags=()):
  """As a process of its own would: with no binding of an earlier start."""
  gin.clear_config()
  bindings = (*SMALL, *bindings) if small else bindings
  return train.main(
    [f'--gin_files={name}' for name in gin_files]
    + [f'--gin_bindings={binding}' for binding in bindings]
    + [f'--base_dir={base_dir}', *flags]
  )


def assert_one_line(capsys, *parts):
  error = capsys.readouterr().err
  assert error.startswith('error: ') and error.count('\n') == 1, error
  for part in parts:
    assert part in error
  return error
