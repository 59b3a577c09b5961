"""Runs in processes of their own: killed and restarted, or with own code."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from helpers import runs
from rigl_rl.training import record

_ROOT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class _Run:
  """A short run of twelve evaluations.

  Attributes:
    gin_file: what it trains.
    bindings: make it small.
    steps: environment steps between evaluations.
    parts: some of what a checkpoint holds of the agent.
  """

  gin_file: str
  bindings: tuple[str, ...]
  steps: int
  parts: tuple[str, ...]


_UNIFORM = 'sparsify.distribution = @uniform'
_HOPPER = (
  'ENV_NAME = "Hopper-v4"',
  'create_mujoco_environment.max_episode_steps = 120',
)
_OFF_POLICY = (
  *_HOPPER,
  'Critic.hidden_units = (16, 16)',
  'TransitionBuffer.batch_size = 16',
  'TransitionBuffer.capacity = 1500',
  'UpdateSchedule.interval = 100',
  'ActorCriticLoop.evaluation_episodes = 3',
)
_OFF_POLICY_PARTS = ('networks', 'others', 'exploration', 'computed')
_SAC_ACTOR = 'SquashedGaussianActor.hidden_units = (16, 16)'
_LAMBDAS = 'erdos_renyi_lambda.lambdas = (3, 4)'
_RUNS = {
  'dqn': _Run(
    'gin_configs/graesser22/dqn_classic/rigl.gin',
    (
      'MLPQNetwork.hidden_units = (16, 16)',
      'SparseDQNAgent.batch_size = 16',
      'SparseDQNAgent.replay_capacity = 2000',
      'SparseDQNAgent.min_replay_history = 200',
      'UpdateSchedule.interval = 100',
      'DopamineRunner.evaluation_period = 500',
      'DopamineRunner.evaluation_episodes = 3',
      _UNIFORM,
    ),
    steps=500,
    parts=('online', 'target', 'optimizer', 'exploration'),
  ),
  'sac': _Run(
    'gin_configs/graesser22/sac_mujoco/rigl.gin',
    (
      *_OFF_POLICY,
      _SAC_ACTOR,
      'ActorCriticLoop.initial_collect_steps = 200',
      'ActorCriticLoop.evaluation_period = 300',
      _UNIFORM,
    ),
    steps=300,
    parts=_OFF_POLICY_PARTS,
  ),
  'ppo': _Run(
    'gin_configs/graesser22/ppo_mujoco/rigl.gin',
    (
      *_HOPPER,
      'GaussianActor.hidden_units = (16, 16)',
      'actor_critic.ValueNetwork.hidden_units = (16, 16)',
      'UpdateSchedule.interval = 10',
      'PPOLoop.rollout_steps = 512',
      'PPOLoop.evaluation_episodes = 3',
      _UNIFORM,
    ),
    steps=512,
    parts=('networks', 'others', 'exploration', 'minibatches'),
  ),
  # Checkpoints come before and after a step of the actor, as 301 is odd.
  'ds_td3': _Run(
    'gin_configs/sokar22/td3/ds_td3.gin',
    (
      *_OFF_POLICY,
      'DeterministicActor.hidden_units = (16, 16)',
      _LAMBDAS,
      'DS.drop_fraction = 0.3',
      'INITIAL_COLLECT_STEPS = 200',
      'ActorCriticLoop.evaluation_period = 301',
    ),
    steps=301,
    parts=_OFF_POLICY_PARTS,
  ),
  # Each checkpoint lies between two updates of the targets.
  'ds_sac': _Run(
    'gin_configs/sokar22/sac/ds_sac.gin',
    (
      *_OFF_POLICY,
      _SAC_ACTOR,
      _LAMBDAS,
      'SparseSacAgent.target_update_period = 80',
      'INITIAL_COLLECT_STEPS = 190',
      'ActorCriticLoop.evaluation_period = 300',
    ),
    steps=300,
    parts=_OFF_POLICY_PARTS,
  ),
}


def _start(base_dir, gin_file, *bindings, cwd=None):
  """Starts `launch.train` as a user does; its output goes to one pipe."""
  path = os.pathsep.join(
    filter(None, (str(_ROOT), os.environ.get('PYTHONPATH')))
  )
  return subprocess.Popen(
    [sys.executable, '-m', 'launch.train', f'--base_dir={base_dir}']
    + [f'--gin_files={gin_file}']
    + [f'--gin_bindings={binding}' for binding in bindings],
    cwd=cwd or _ROOT,
    env={**os.environ, 'PYTHONPATH': path},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def _finish(process):
  out, _ = process.communicate(timeout=300)
  assert process.returncode == 0, out
  return out


def _kill_when(process, reached):
  """Kills the process, without a warning, once `reached()`."""
  deadline = time.monotonic() + 240
  while not reached():
    assert process.poll() is None, process.communicate()[0]
    assert time.monotonic() < deadline
    time.sleep(0.005)
  process.send_signal(signal.SIGKILL)
  process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize('name', _RUNS)
def test_killed_three_times(name, tmp_path):
  run = _RUNS[name]
  killed = tmp_path / 'killed'

  def start(base_dir):
    steps = f'TRAIN_STEPS = {12 * run.steps}'
    return _start(base_dir, run.gin_file, *run.bindings, steps)

  def rows():
    return len(record.read_evaluations(str(killed)))

  whole = start(tmp_path / 'whole')
  # In training, before the first checkpoint: nothing to continue from.
  _kill_when(start(killed), lambda: (killed / 'config.gin').exists())
  # Just as an evaluation is written: its checkpoint is not there, or half.
  _kill_when(start(killed), lambda: rows() >= 4)
  # Somewhere between two evaluations, past the second checkpoint.
  resumed_from = rows()
  checkpoints = runs.checkpointer(killed)

  def later():
    newest = max(checkpoints.steps(), default=0)
    return rows() >= 8 and newest >= 8 * run.steps

  _kill_when(start(killed), later)
  assert resumed_from < rows() < 12
  out = _finish(start(killed))
  assert 'Continues at step ' in out
  # A user sees only what is about the run.
  assert 'warning' not in out.lower() and 'Traceback' not in out
  _finish(whole)

  expected = (tmp_path / 'whole' / 'evaluations.csv').read_bytes()
  assert (killed / 'evaluations.csv').read_bytes() == expected
  assert expected.count(b'\n') == 1 + 12
  (step, state), (other_step, other_state) = (
    runs.latest(path) for path in (tmp_path / 'whole', killed)
  )
  assert step == other_step
  # Weights, masks and slots of all networks, streams, and the simulator.
  assert state['agent'].keys() >= set(run.parts)
  assert ('replay' in state['loop']) == (name != 'ppo')
  runs.assert_same_state(state, other_state)
  summaries = [
    json.loads((path / 'summary.json').read_text())
    for path in (tmp_path / 'whole', killed)
  ]
  for summary in summaries:
    del summary['seconds']
  assert summaries[0] == summaries[1]
  records = [record.read(str(path)) for path in (tmp_path / 'whole', killed)]
  for each in records:
    # The checkout may change while this runs.
    del each['made_with']
  assert repr(records[0]) == repr(records[1])  # With nan.


_ALGORITHM = '''
"""Keeps the mask, but says so."""

import gin

from rigl_rl.sparsity import algorithms


@gin.configurable
class Stubborn(algorithms.SET):
  """SET that drops nothing."""

  def __init__(self, motto='no'):
    super().__init__(drop_fraction=0.0)
    print(f'stubborn: {motto}')
'''

_GIN_FILE = """
include 'gin_configs/agents/dqn_classic.gin'
import my_stubborn_algorithm

sparsify.algorithm = @Stubborn()
Stubborn.motto = 'never'
"""


@pytest.mark.slow
def test_own_algorithm_in_the_current_directory(tmp_path):
  (tmp_path / 'my_stubborn_algorithm.py').write_text(_ALGORITHM)
  (tmp_path / 'mine.gin').write_text(_GIN_FILE)
  out = _finish(
    _start(
      'run',
      'mine.gin',
      *_RUNS['dqn'].bindings,
      'TRAIN_STEPS = 600',
      cwd=tmp_path,
    )
  )
  assert 'stubborn: never' in out
  assert 'Stubborn DQN on CartPole-v0, sparsity 0.9, 600 steps' in out
  assert 'Stubborn at 90 % sparsity' in out
  described = record.read(str(tmp_path / 'run'))
  assert described['algorithm'] == 'Stubborn'
  assert described['modules_from'] == str(tmp_path)
  # A user sees only what is about the run.
  assert 'Warning' not in out and 'Traceback' not in out
