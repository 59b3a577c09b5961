"""Commands as processes of their own: what they import, and what they print."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
from ctypes import util

import pytest

from helpers import synthetic_runs, tiny

_ROOT = pathlib.Path(__file__).parents[2]
# Each is imported by somebody, and takes from .3 to 10 seconds. Of three of
# them a module that is loaded only where they are used.
_HEAVY = (
  'ale_py',
  'cv2',
  'dopamine.discrete_domains',
  'glfw.library',
  'gym.envs',
  'jax',
  'mujoco',
  'pandas.core',
  'tensorflow',
  'tensorflow_probability',
  'tf_agents',
)
_CODE = f"""
import sys
from rigl_rl.commands import __main__ as entry
code = entry.main(sys.argv[1:])
print('imported', *[name for name in {_HEAVY} if sys.modules.get(name)])
sys.exit(code)
"""
_TRAININGS = {
  'dqn': (
    'gin_configs/graesser22/dqn_classic/rigl.gin',
    *tiny.SHORT_DQN,
    'TRAIN_STEPS = 300',
    'DopamineRunner.evaluation_period = 150',
    'DopamineRunner.evaluation_episodes = 2',
  ),
  'sac': (
    'gin_configs/graesser22/sac_mujoco/rigl.gin',
    *tiny.SHORT_OFF_POLICY,
    'TRAIN_STEPS = 60',
  ),
  'td3': (
    'gin_configs/sokar22/td3/ds_td3.gin',
    *tiny.SHORT_OFF_POLICY,
    'TRAIN_STEPS = 60',
  ),
  'ppo': (
    'gin_configs/graesser22/ppo_mujoco/rigl.gin',
    *tiny.SHORT_PPO,
    'TRAIN_STEPS = 60',
  ),
}
_SWEEP = """
rigl/Grid.label = 'RigL'
rigl/Grid.gin_files = ['{}']
rigl/Grid.over = {{'SEED': (0,)}}
rigl/Grid.bindings = {{{}}}
Sweep.grids = [@rigl/Grid()]
"""


def _run(*arguments: str) -> tuple[list[str], set[str]]:
  """Runs a command; returns lines of stdout, and what was imported."""
  # As a user's shell has it: conftest.py silences some of what is tested.
  names = ('TF_CPP_MIN_LOG_LEVEL', 'GRPC_VERBOSITY')
  names += ('PYGAME_HIDE_SUPPORT_PROMPT', 'MPLBACKEND')
  environment = {k: v for k, v in os.environ.items() if k not in names}
  done = subprocess.run(
    [sys.executable, '-c', _CODE, *arguments],
    cwd=_ROOT,
    env=environment,
    capture_output=True,
    text=True,
  )
  assert (done.returncode, done.stderr) == (0, '')
  *lines, last = done.stdout.splitlines()
  return lines, set(last.split()[1:])


def _train(kind: str, directory: pathlib.Path) -> tuple[list[str], set[str]]:
  gin_file, *bindings = _TRAININGS[kind]
  flags = [f'--gin_bindings={binding}' for binding in bindings]
  return _run(
    'train', f'--gin_files={gin_file}', f'--base_dir={directory}', *flags
  )


_ACTOR_CRITIC = {'mujoco', 'tensorflow', 'tensorflow_probability', 'tf_agents'}
_DQN = {'cv2', 'dopamine.discrete_domains', 'gym.envs', 'jax', 'tensorflow'}


def test_a_run_is_trained(tmp_path):
  lines, imported = _train('sac', tmp_path)
  assert lines[0] == (
    f'RigL SAC on Hopper-v4, sparsity 0.9, 60 steps, seed 0: {tmp_path}'
  )
  assert imported == _ACTOR_CRITIC


@pytest.mark.slow
@pytest.mark.parametrize(
  'kind,agent,expected',
  [
    ('td3', 'DS TD3 on Hopper-v4', _ACTOR_CRITIC),
    ('ppo', 'RigL PPO on Hopper-v4', _ACTOR_CRITIC),
    ('dqn', 'RigL DQN on CartPole-v0', _DQN),
  ],
)
def test_a_run_is_trained_and_evaluated(kind, agent, expected, tmp_path):
  lines, imported = _train(kind, tmp_path)
  assert lines[0].startswith(agent) and lines[0].endswith(f': {tmp_path}')
  assert imported == expected
  lines, imported = _run('evaluate', f'--run={tmp_path}', '--episodes=2')
  assert lines[0].endswith(f': {tmp_path}')
  assert lines[1].startswith('Checkpoint of step ')
  assert imported == expected


@pytest.mark.slow
@pytest.mark.skipif(util.find_library('EGL') is None, reason='There is no EGL.')
def test_mujoco_is_filmed(tmp_path, monkeypatch):
  """Also where Mesa draws, whose LLVM must not meet TensorFlow's."""
  for name in ('DISPLAY', 'WAYLAND_DISPLAY', 'MUJOCO_GL'):
    monkeypatch.delenv(name, raising=False)
  _train('sac', tmp_path / 'run')
  video = tmp_path / 'hopper.mp4'
  arguments = (f'--run={tmp_path / "run"}', '--episodes=1', f'--video={video}')
  lines, _ = _run('evaluate', *arguments)
  assert f'Video: {video} (21 frames)' in lines
  assert video.stat().st_size > 1000


@pytest.mark.slow
def test_a_sweep(tmp_path):
  gin_file, *bindings = _TRAININGS['dqn']
  pairs = [binding.partition(' = ') for binding in bindings]
  file = tmp_path / 'mine.gin'
  text = ', '.join(f'{name!r}: {value}' for name, _, value in pairs)
  file.write_text(_SWEEP.format(gin_file, text))
  _, imported = _run(
    'sweep', f'--sweep={file}', f'--base_dir={tmp_path}', '--workers=1'
  )
  assert not imported
  (log,) = tmp_path.rglob('train.log')
  expected = (
    r'\$ .*\nRigL DQN on .*\nRigL at .*\n([\d,]+ steps: return .*\n){2}'
    r'Final score .*\nCurve: .*\nSummary: .*\nNext: .*\n +.*\n'
  )
  assert re.fullmatch(expected, log.read_text())


def test_a_figure(tmp_path):
  synthetic_runs.write_run(
    tmp_path / 'run', 'RigL', 'DQN', 'CartPole-v0', 150.0
  )
  lines, imported = _run(
    'figures',
    '--figure=graesser22/fig08',
    f'--results={tmp_path}',
    f'--out={tmp_path}',
  )
  assert lines[0] == f'1 run in {tmp_path}'
  assert imported == {'pandas.core'}
