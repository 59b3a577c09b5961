"""A lack of memory is blamed on the largest sizes that are bound."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from rigl_rl.config import memory

_DQN = 'gin_configs/graesser22/dqn_classic/rigl.gin'
_PPO = 'gin_configs/graesser22/ppo_mujoco/rigl.gin'
_SAC = 'gin_configs/graesser22/sac_mujoco/rigl.gin'


class ResourceExhaustedError(Exception):
  """As TensorFlow's is called."""


@pytest.mark.parametrize('kind', [MemoryError, ResourceExhaustedError])
def test_the_largest_sizes_are_named(kind, user_error):
  bindings = [
    'Critic.hidden_units = (90000, 100000)',
    'Critic.width = 99.5',
    'TransitionBuffer.batch_size = 64',
    'SquashedGaussianActor.hidden_units = (8, 8)',
    'ActorCriticLoop.evaluation_episodes = 3',
    'TRAIN_STEPS = 9000000',
  ]
  with user_error(
    'not enough memory: no 8 TiB. The largest sizes bound are '
    'TransitionBuffer.capacity = 1000000, '
    'Critic.hidden_units = (90000, 100000), Critic.width = 99.5.',
  ):
    with memory.blame_sizes([_SAC], bindings):
      raise kind('{{node x}} no 8 TiB on /job:0 by allocator [Op:y]\nat all')


def test_other_errors_pass():
  with pytest.raises(KeyError):
    with memory.blame_sizes([_SAC], []):
      raise KeyError('x')


# Within 12 GB of addresses: what does not fit is refused by the system.
_TOO_LARGE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
import gin
from rigl_rl.commands import train
for file, *bindings in {runs!r}:
  gin.clear_config()
  train.command_line.start_tensorflow = lambda arguments: None
  print(train.main(
    ['--gin_files=' + file, '--base_dir=' + sys.argv[1]]
    + ['--gin_bindings=' + binding for binding in bindings]
  ))
"""


@pytest.mark.slow
def test_sizes_that_cannot_be_allocated(tmp_path):
  """Each run ends in a line that names what is too large."""
  runs = [
    (_DQN, 'SparseDQNAgent.replay_capacity = 1000000000'),
    (_DQN, 'MLPQNetwork.hidden_units = (100000, 100000)'),
    (_SAC, 'TransitionBuffer.capacity = 1000000000'),
    (_SAC, 'Critic.hidden_units = (99999, 99999)'),
    (_PPO, 'GaussianActor.hidden_units = (90000, 100000)'),
  ]
  code = _TOO_LARGE.format(runs=runs)
  done = subprocess.run(
    [sys.executable, '-c', code, str(tmp_path)],
    cwd=pathlib.Path(__file__).parents[2],
    capture_output=True,
    text=True,
  )
  # Between the codes stands what each run says it will do.
  codes = [line for line in done.stdout.splitlines() if line.isdigit()]
  assert codes == ['2'] * len(runs), done.stderr
  lines = done.stderr.splitlines()
  for line, (_, binding) in zip(lines, runs):
    assert line.startswith('error: There is not enough memory: ')
    assert binding in line and '{' not in line
  assert len(lines) == len(runs)
