"""Tests of the command that prints the winners of a search."""

import csv

import pytest

from helpers import synthetic_runs
from rigl_rl import sweeps
from rigl_rl.commands import search_winner


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  """Of the search on Acrobot all dense runs of two seeds, and two of RigL."""
  root = tmp_path_factory.mktemp('results')
  runs = sweeps.load('graesser22/search_dqn').runs(seeds=[0, 1])
  chosen = [run for run in runs if run.label == 'Dense']
  chosen += [run for run in runs if run.label == 'RigL'][:2]
  for run in chosen:
    synthetic_runs.write_run(
      root / run.directory,
      run.label,
      'DQN',
      'Acrobot-v1',
      -100.0 + 1e4 * run.values['WEIGHT_DECAY'],
      seed=run.seed,
      spread=0.0,
    )
  return root


def _run(*arguments):
  return search_winner.main([str(argument) for argument in arguments])


def test_winners(results, tmp_path, capsys):
  out = tmp_path / 'new' / 'all.csv'
  assert _run(f'--results={results}', f'--out={out}') == 0
  printed = capsys.readouterr().out
  assert printed.startswith('graesser22/search_dqn\n')
  assert '10 of 4,320 runs finished.' in printed
  assert 'Winner: Dense, weight decay 0.001 (-90)' in printed
  assert 'Winner: SET: none' in printed
  # Of 200 the paper's is listed all the same.
  assert 'and 199 settings without a finished run' in printed
  lines = [line.split() for line in printed.splitlines()]
  assert ['Dense', 'weight', 'decay', 'score', 'std', 'runs'] in lines
  assert ['1', '0.001', '-90', '0', '2', 'of', '10', '*'] in lines
  assert ['3', '1e-06', '-99.99', '0', '2', 'of', '10', 'paper'] in lines
  with out.open() as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == 432
  assert {row['sweep'] for row in rows} == {'graesser22/search_dqn'}
  assert sum(int(row['runs']) for row in rows) == 10


def test_only_the_best(results, capsys):
  assert _run(f'--results={results}', '--top=1') == 0
  lines = capsys.readouterr().out.splitlines()
  # Of each method the first, and the paper's.
  assert sum(line.endswith('paper') for line in lines) == 5
  assert len(lines) < 30


@pytest.mark.parametrize(
  'flags,parts',
  [
    (['--results=none'], ['--results is', 'none']),
    (['--results=OK', '--top=0'], ['--top is 0', 'at least 1']),
    (['--results=OK', '--sweep=x'], ["--sweep is 'x'"]),
    (['--results=OK', '--sweep=graesser22/fig06'], ['--sweep is', 'a search']),
    (
      ['--results=OK', '--sweep=graesser22/search_sac'],
      ['--results is', 'no finished run of graesser22/search_sac'],
    ),
    (['--results=OK/graesser22'], ['--results is', 'no finished run']),
    (['--results=OK', '--out=OK'], ['--out is', 'a file']),
  ],
)
def test_a_mistake_is_one_line(flags, parts, results, capsys):
  flags = [flag.replace('OK', str(results)) for flag in flags]
  assert _run(*flags) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('error: ')
  for part in parts:
    assert part in line
