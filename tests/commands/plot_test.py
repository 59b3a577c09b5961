"""Tests of the command that plots any runs."""

import pandas as pd
import pytest

from helpers import synthetic_runs
from rigl_rl.commands import plot


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """A sweep of DQN, and a run of SAC beside it."""
  root = tmp_path_factory.mktemp('runs')
  for method in ('Dense', 'RigL'):
    for seed in range(2):
      synthetic_runs.write_run(
        root / 'dqn' / method / str(seed), method, seed=seed
      )
  synthetic_runs.write_run(root / 'sac', 'SET', 'SAC', 'Ant-v4')
  return root


def _run(*arguments):
  return plot.main([str(argument) for argument in arguments])


@pytest.mark.parametrize(
  'name,start', [('a.png', b'\x89PNG'), ('a.PDF', b'%PDF')]
)
def test_a_picture(runs, tmp_path, capsys, name, start):
  out = tmp_path / 'new' / name
  assert _run(runs / 'dqn', runs / 'sac', f'--out={out}') == 0
  assert out.read_bytes().startswith(start)
  printed = capsys.readouterr().out.splitlines()
  assert printed == [
    f'5 runs in {runs / "dqn"}, {runs / "sac"}',
    f'{out}: 5 runs.',
  ]


def test_a_table(runs, tmp_path):
  out = tmp_path / 'a.csv'
  code = _run(
    *(runs, f'--out={out}', '--statistic=iqm', '--x=flops', '--resamples=10')
  )
  assert code == 0
  table = pd.read_csv(out)
  assert list(table) == [
    *('task', 'line', 'method', 'steps', 'flops'),
    *('return_iqm', 'return_low', 'return_high', 'runs', 'seeds'),
  ]
  lines = table.groupby('task').line.unique().map(list).to_dict()
  assert lines == {'Ant-v4': ['SET'], 'CartPole-v0': ['Dense', 'RigL']}


@pytest.mark.parametrize(
  'flags,parts',
  [
    (['--out=a.jpg'], ["--out is 'a.jpg'", '.png, .pdf, .csv']),
    (['--out=a.png', '--statistic=max'], ["--statistic is 'max'", 'mean, iqm']),
    (['--out=a.png', '--x=hours'], ["--x is 'hours'", 'steps, seconds, flops']),
    (['--out=a.png', '--x=seconds'], ['RUN', 'no run with evaluations']),
    (['--out=a.png', '--resamples=0'], ['--resamples is 0']),
    (['--out=a.png', 'none'], ["RUN is 'none'", 'no such directory']),
    (['--out=a.png', __file__], ['RUN is', 'it is a file']),
    (['--out=/proc/a.png', 'none'], ["--out needs '/proc/a.png'"]),
  ],
)
def test_a_mistake_is_one_line(runs, capsys, flags, parts):
  assert _run(runs, *flags) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('error: ')
  assert all(part in line for part in parts)
