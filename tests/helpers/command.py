"""The command that trains, as a process of its own would run it."""

import gin

from helpers import runs
from rigl_rl.commands import train

RIGL = 'gin_configs/graesser22/dqn_classic/rigl.gin'
PONG = 'gin_configs/graesser22/dqn_atari_cnn/rigl.gin'
SAC = 'gin_configs/graesser22/sac_mujoco/rigl.gin'
PPO = 'gin_configs/graesser22/ppo_mujoco/rigl.gin'
SMALL = (
  *runs.TINY_DQN,
  'TRAIN_STEPS = 300',
  'DopamineRunner.evaluation_episodes = 2',
)
HOPPER = (
  'ENV_NAME = "Hopper-v4"',
  'create_mujoco_environment.max_episode_steps = 20',
  'TRAIN_STEPS = 60',
  'UpdateSchedule.interval = 5',
)
SMALL_SAC = (
  *HOPPER,
  'SquashedGaussianActor.hidden_units = (8, 8)',
  'Critic.hidden_units = (8, 8)',
  'TransitionBuffer.batch_size = 8',
  'TransitionBuffer.capacity = 1000',
  'ActorCriticLoop.initial_collect_steps = 30',
  'ActorCriticLoop.evaluation_period = 25',
  'ActorCriticLoop.evaluation_episodes = 2',
)
SMALL_PPO = (
  *HOPPER,
  'GaussianActor.hidden_units = (8, 8)',
  'actor_critic.ValueNetwork.hidden_units = (8, 8)',
  'SparsePPOAgent.minibatch_size = 8',
  'SparsePPOAgent.num_epochs = 2',
  'PPOLoop.rollout_steps = 32',
  'PPOLoop.evaluation_episodes = 2',
)


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
