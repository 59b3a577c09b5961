"""Several seeds in one call: `launch.train --seeds`."""

from __future__ import annotations

import json
import pathlib
import sys

import pytest

from rigl_rl.commands import command_line, seeds, train

_DQN = 'gin_configs/graesser22/dqn_classic/rigl.gin'
# Instead of launch.train: the score is 10 times the seed; seed 9 fails.
_FAKE = """
import json, os, sys
flags = dict(flag[2:].split('=', 1) for flag in sys.argv[1:])
seed = int(flags['gin_bindings'].split('=')[1])
if seed == 9:
  print('error: it cannot be', flush=True)
  sys.exit(2)
with open(os.path.join(flags['base_dir'], 'summary.json'), 'w') as file:
  json.dump({'finished': True, 'final_score': 10.0 * seed, 'seconds': 5}, file)
"""


@pytest.fixture
def run(tmp_path):
  """Runs the command with a program in place of launch.train."""
  fake = tmp_path / 'fake.py'
  fake.write_text(_FAKE)

  def main(*flags):
    parser = command_line.make_parser('train', '')
    command_line.add_gin_arguments(parser)
    parser.add_argument('--base_dir')
    seeds.add_arguments(parser)
    argv = [f'--gin_files={_DQN}', f'--base_dir={tmp_path}/runs', *flags]
    return command_line.run(
      lambda: seeds.train(
        parser.parse_args(argv),
        argv,
        lambda config, is_one: f'What is bound {config.value("SPARSITY")}',
        [sys.executable, str(fake)],
      )
    )

  return main


def test_seeds_are_runs_of_their_own(run, tmp_path, capsys):
  assert run('--seeds=4', '--workers=2') == 0
  out = capsys.readouterr().out
  lines = out.splitlines()
  assert lines[0] == f'What is bound 0.9, 4 seeds: {tmp_path}/runs'
  assert lines[1] == '4 runs, 0 of them finished before; 2 at a time.'
  assert '[4/4] RigL, seed ' in out
  assert sorted(path.name for path in (tmp_path / 'runs').glob('seed*')) == [
    'seed0',
    'seed1',
    'seed2',
    'seed3',
  ]
  table = [line.split() for line in lines[-7:]]
  assert table[0] == ['seed', 'final', 'score']
  assert table[1:5] == [[str(n), f'{10 * n}.00'] for n in range(4)]
  assert table[5][:2] == ['mean', '15.00'] and table[6][:2] == ['IQM', '15.00']
  low, high = float(table[5][-3]), float(table[5][-1])
  assert 0 <= low < 15 < high <= 30
  # Again: nothing is trained, and the table is the same.
  assert run('--seeds=4') == 0
  again = capsys.readouterr().out
  assert '4 of them finished before' in again
  assert again.splitlines()[-7:] == lines[-7:]


def test_the_seeds_that_are_named(run, tmp_path, capsys):
  assert run('--seeds=7,') == 0
  assert (tmp_path / 'runs' / 'seed7' / 'summary.json').exists()
  # One run has no interval.
  last = capsys.readouterr().out.splitlines()[-2:]
  assert [line.split() for line in last] == [
    ['mean', '70.00'],
    ['IQM', '70.00'],
  ]
  description = json.loads((tmp_path / 'runs/seed7/sweep.json').read_text())
  assert description['gin_bindings'] == ['SEED=7']


def test_a_seed_that_fails(run, capsys):
  assert run('--seeds=1,9') == 1
  out = capsys.readouterr().out
  assert 'failed: RigL, seed 9: error: it cannot be' in out
  assert [line.split()[:2] for line in out.splitlines()[-3:]] == [
    ['1', '10.00'],
    ['mean', '10.00'],
    ['IQM', '10.00'],
  ]


@pytest.mark.parametrize(
  'flags,part',
  [
    (['--seeds=0'], '--seeds is'),
    (['--seeds=2', '--gin_bindings=SEED=3'], 'choose by --seeds'),
    (['--seeds=2', '--gin_bindings=SPARSITY=3'], 'SPARSITY'),
    (['--seeds=2', '--workers=0'], '--workers is 0'),
  ],
)
def test_a_mistake_is_one_line(flags, part, run, tmp_path, capsys):
  assert run(*flags) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('error: ') and part in line
  assert not list(tmp_path.glob('runs/*'))


def test_flags_without_seeds(tmp_path, capsys):
  flags = [f'--gin_files={_DQN}', f'--base_dir={tmp_path}/run', '--workers=2']
  assert train.main(flags) == 2
  assert '--workers is 2, but a run of one seed' in capsys.readouterr().err


def test_a_directory_that_holds_a_run(run, tmp_path, capsys):
  (tmp_path / 'runs').mkdir()
  (tmp_path / 'runs' / 'config.gin').touch()
  assert run('--seeds=2') == 2
  assert 'which holds a run' in capsys.readouterr().err


@pytest.mark.slow
def test_a_seed_is_the_run_of_that_seed(tmp_path, capsys):
  bindings = (
    'TRAIN_STEPS=1500',
    'MLPQNetwork.hidden_units=(16, 16)',
    'SparseDQNAgent.min_replay_history=200',
    'DopamineRunner.evaluation_period=500',
    'DopamineRunner.evaluation_episodes=2',
  )
  flags = [f'--gin_files={_DQN}', f'--base_dir={tmp_path}/runs']
  flags += [f'--gin_bindings={binding}' for binding in bindings]
  assert train.main([*flags, '--seeds=2']) == 0
  out = capsys.readouterr().out
  assert out.startswith('RigL DQN on CartPole') and ', 2 seeds: ' in out
  log = (tmp_path / 'runs' / 'seed1' / 'train.log').read_text()
  assert '--gin_bindings=SEED=1' in log.splitlines()[0]
  rows = [
    pathlib.Path(tmp_path, 'runs', name, 'evaluations.csv').read_text()
    for name in ('seed0', 'seed1')
  ]
  assert rows[0] != rows[1]
  assert all(len(text.splitlines()) == 4 for text in rows)
