"""Tests of the command that trains: runs, restarts, directories and flags."""

import os

import pytest

from helpers import command
from rigl_rl.commands import train
from rigl_rl.training import record, run_directory

pytestmark = pytest.mark.usefixtures('no_gin_config', 'threads_as_they_are')


def test_trains(tmp_path, capsys):
  assert command.run(tmp_path) == 0
  out = capsys.readouterr().out
  assert out.startswith(
    'RigL DQN on CartPole-v0, sparsity 0.9, 300 steps, seed 0: '
    f'{tmp_path}\nRigL at '
  )
  assert 'Final score' in out
  steps = [row['step'] for row in record.read_evaluations(str(tmp_path))]
  assert len(steps) == 3 and steps[-1] == 300
  assert run_directory.RunDirectory(str(tmp_path)).finished

  # Started again, it says so, and changes nothing.
  before = (tmp_path / 'evaluations.csv').read_bytes()
  assert command.run(tmp_path) == 0
  assert 'is finished' in capsys.readouterr().out
  assert (tmp_path / 'evaluations.csv').read_bytes() == before


@pytest.mark.parametrize(
  'agent,gin_file,bindings,steps,gradient_steps',
  [
    ('SAC', command.SAC, command.SMALL_SAC, [25, 50, 60], 30),
    ('PPO', command.PPO, command.SMALL_PPO, [32, 64], 16),
  ],
)
def test_trains_actor_and_critic(
  tmp_path, capsys, agent, gin_file, bindings, steps, gradient_steps
):
  def train_():
    return command.run(tmp_path, *bindings, gin_files=(gin_file,), small=False)

  assert train_() == 0
  out = capsys.readouterr().out
  assert out.startswith(
    f'RigL {agent} on Hopper-v4, sparsity 0.9, 60 steps, seed 0: '
    f'{tmp_path}\nRigL at '
  )
  assert 'Final score' in out
  rows = record.read_evaluations(str(tmp_path))
  assert [row['step'] for row in rows] == steps
  summary = run_directory.RunDirectory(str(tmp_path)).read_summary()
  assert summary['finished']
  assert record.read(str(tmp_path))['task'] == 'Hopper-v4'
  assert summary['gradient_steps'] == gradient_steps
  assert 0 < summary['actor_share'] < 1
  for network in summary['networks'].values():
    assert network['algorithm'] == 'RigL'
    assert network['sparsity'] == pytest.approx(0.9, abs=0.02)
  names = {path.name for path in tmp_path.iterdir()}
  assert {'config.gin', 'operative_config.gin', 'timing.csv', 'curve.png'} <= (
    names
  )
  assert train_() == 0
  assert 'is finished' in capsys.readouterr().out


@pytest.mark.parametrize(
  'gin_file,bindings,steps',
  [
    (command.SAC, command.SMALL_SAC, [25]),
    (command.PPO, command.SMALL_PPO, []),
  ],
)
def test_diverging_actor_and_critic_lose_nothing(
  tmp_path, capsys, gin_file, bindings, steps
):
  code = command.run(
    tmp_path,
    *bindings,
    'adam.learning_rate = 1e30',
    gin_files=(gin_file,),
    small=False,
  )
  assert code == 2
  command.assert_one_line(capsys, 'loss', 'adam.learning_rate')
  rows = record.read_evaluations(str(tmp_path))
  assert [row['step'] for row in rows] == steps
  names = {path.name for path in tmp_path.iterdir()}
  assert 'config.gin' in names and 'summary.json' not in names


@pytest.mark.parametrize('below', [(), ('run',)])
def test_base_dir_that_cannot_be_made(tmp_path, capsys, below):
  path = tmp_path / 'file'
  path.write_text('mine')
  base_dir = path.joinpath(*below)
  assert command.run(base_dir) == 2
  command.assert_one_line(capsys, '--base_dir', str(base_dir), 'writable')
  assert path.read_text() == 'mine'


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')
def test_base_dir_without_permission(tmp_path, capsys):
  tmp_path.chmod(0o500)
  assert command.run(tmp_path / 'run') == 2
  command.assert_one_line(capsys, '--base_dir', 'writable')


def test_base_dir_of_another_config(tmp_path, capsys):
  assert command.run(tmp_path) == 0
  capsys.readouterr()
  before = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
  assert (
    command.run(tmp_path, 'SPARSITY = 0.5', 'RigL.drop_fraction = 0.1') == 2
  )
  command.assert_one_line(
    capsys,
    '--base_dir',
    'SPARSITY is 0.5 here, 0.9 in the existing run',
    'RigL.drop_fraction is 0.1 here, 0.5 in the existing run',
  )
  after = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
  assert after == before


def test_loss_that_is_not_finite_loses_nothing(tmp_path, capsys):
  # The first evaluation is before the first gradient step.
  code = command.run(
    tmp_path,
    'adam.learning_rate = 1e20',
    'SparseDQNAgent.min_replay_history = 290',
    'DopamineRunner.max_steps_per_episode = 20',
    'TRAIN_STEPS = 400',
  )
  assert code == 2
  command.assert_one_line(capsys, 'loss', 'adam.learning_rate', '1e+20')
  rows = record.read_evaluations(str(tmp_path))
  assert [row['step'] // 100 for row in rows] == [1, 2]
  names = {path.name for path in tmp_path.iterdir()}
  assert {'config.gin', 'evaluations.csv', 'timing.csv'} <= names
  assert 'summary.json' not in names
  assert len(list((tmp_path / 'checkpoints').iterdir())) == 2


@pytest.mark.parametrize(
  'arguments',
  [
    ['--base_dir=RUN'],
    [f'--gin_files={command.RIGL}'],
    [f'--gin_files={command.RIGL}', '--base_dir=RUN', '--sparsity=0.5'],
    [f'--gin_files={command.RIGL}', '--base_dir=RUN', '--inter_op_threads=two'],
  ],
)
def test_flags(arguments, capsys):
  with pytest.raises(SystemExit) as exit_info:
    train.main(arguments)
  assert exit_info.value.code == 2
  assert 'usage: ' in capsys.readouterr().err


def test_interrupted(tmp_path, capsys, monkeypatch):
  from rigl_rl.training import run

  def interrupt(base_dir, given, track):
    raise KeyboardInterrupt

  monkeypatch.setattr(run, 'train', interrupt)
  assert command.run(tmp_path) == 130
  assert capsys.readouterr().err == (
    '\nInterrupted; the same command starts again.\n'
  )
  (tmp_path / 'checkpoints' / 'ckpt-6041').mkdir(parents=True)
  assert command.run(tmp_path) == 130
  assert capsys.readouterr().err == (
    '\nInterrupted; the same command continues from step 6,041.\n'
  )


def test_bugs_are_not_hidden(tmp_path, monkeypatch):
  from rigl_rl.training import run

  def fail(base_dir, given, track):
    raise RuntimeError('a bug')

  monkeypatch.setattr(run, 'train', fail)
  with pytest.raises(RuntimeError, match='a bug'):
    command.run(tmp_path)
