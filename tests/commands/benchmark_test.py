"""Tests of the benchmark's protocol and table; no agent trains."""

import os
import sys
import time
import types

import pandas as pd
import pytest

from rigl_rl.benchmarks import machine
from rigl_rl.commands import benchmark
from rigl_rl.errors import UserError

_RATES = {
  'dopamine': 100.0,
  'sb3': 50.0,
  'sbx': 160.0,
  'dense': 200.0,
  'rigl': 190.0,
  'td3': 400.0,
  'ds_td3': 380.0,
  'sparseprop_90': 10.0,
  'sparse_90': 120.0,
}


class _FakeWorker:
  """Trains at 100 or 200 steps per second, and remembers what it was asked."""

  made = {}
  clock = 0.0

  def __init__(self, contender, command):
    self.asked = []
    self.closed = False
    self.command = command
    self._rate = _RATES[contender]
    self.made[contender] = self

  def train(self, steps):
    self.asked.append(steps)
    _FakeWorker.clock += steps / self._rate
    return self._rate

  def close(self):
    self.closed = True


@pytest.fixture(name='workers')
def _workers(monkeypatch):
  monkeypatch.setattr(benchmark, '_Worker', _FakeWorker)
  monkeypatch.setattr(benchmark.machine, 'peak', lambda: 1e9)
  _FakeWorker.made = {}
  return _FakeWorker.made


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
  """A fake worker's training takes no time, but moves the clock."""
  monkeypatch.setattr(
    benchmark,
    'time',
    types.SimpleNamespace(
      monotonic=lambda: _FakeWorker.clock, perf_counter=time.perf_counter
    ),
  )


def _table(capsys):
  """The lines of the table, without the machine above it."""
  return capsys.readouterr().out.splitlines()[1:]


def test_table(workers, capsys):
  assert benchmark.main(['dqn', '--rounds=3', '--seconds=5']) == 0
  lines = _table(capsys)
  assert lines[0].split() == (
    'steps/s min max ratio to dopamine ratio to dense'.split()
  )
  rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
  assert list(rows) == ['dopamine', 'dense', 'rigl']
  assert rows['dopamine'][:4] == ['100', '100', '100', '1.000']
  assert rows['dense'][:4] == ['200', '200', '200', '2.000']
  assert rows['rigl'][3:7] == ['1.900', '(1.900', 'to', '1.900)']
  assert [rows[name][7] for name in rows] == ['0.500', '1.000', '0.950']
  # A column begins where its title does.
  for line in lines[1:]:
    assert (
      line[lines[0].index('ratio to dense') :].split()[0]
      == (rows[line.split()[0]][7])
    )
  # Steps that fill the buffer, 5 seconds of warm-up, and rounds of 5 seconds.
  assert workers['dopamine'].asked == [600, 100, 200, 200, 500, 500, 500]
  assert workers['dense'].asked == [600, 100, 200, 400, 300, 1000, 1000, 1000]
  assert all(worker.closed for worker in workers.values())


def test_what_was_measured_is_written(workers, tmp_path, capsys):
  names = '--contenders=dense,sparse_90,sparseprop_90'
  flags = [names, '--peers_python=python', '--rounds=2', f'--out={tmp_path}/x']
  assert benchmark.main(['layers', *flags]) == 0
  turns = pd.read_csv(tmp_path / 'x' / 'steps_per_second.csv', index_col='turn')
  assert turns.to_dict('list') == {
    'dense': [200, 200],
    'sparse_90': [120, 120],
    'sparseprop_90': [10, 10],
  }
  times = pd.read_csv(tmp_path / 'x' / 'time_against_sparsity.csv')
  assert times.storage.tolist() == ['sparse', 'sparseprop']
  assert times.time.tolist() == pytest.approx([200 / 120, 20])
  assert (tmp_path / 'x' / 'time_against_sparsity.png').stat().st_size > 5000


def test_what_runs_is_told_at_once(workers, capsys):
  flags = ['--contenders=dense,rigl', '--rounds=2', '--inter_op_threads=1']
  assert benchmark.main(['dqn', *flags]) == 0
  out, err = capsys.readouterr()
  first = out.splitlines()[0]
  assert '1 core; peak of one: 1 billion multiply-adds/s' in first
  assert err.splitlines() == [
    'Starting dense, rigl',
    'Warming up dense',
    'Warming up rigl',
    'Turn 1 of 2: dense, 200 steps/s',
    'Turn 1 of 2: rigl, 190 steps/s',
    'Turn 2 of 2: rigl, 190 steps/s',
    'Turn 2 of 2: dense, 200 steps/s',
  ]


def test_a_slow_contender_warms_up_in_few_steps(workers, monkeypatch):
  monkeypatch.setitem(_RATES, 'dense', 0.5)
  assert benchmark.main(['sac', '--contenders=dense', '--rounds=1']) == 0
  assert workers['dense'].asked == [520, 10, 10]


def test_widths_are_measured_one_after_the_other(
  monkeypatch, workers, tmp_path, capsys
):
  commands = []

  class Worker(_FakeWorker):
    def __init__(self, contender, command):
      super().__init__(contender, command)
      commands.append(command)

    def close(self):
      super().close()
      # What is measured for hours is not lost.
      assert (tmp_path / 'steps_per_second.csv').exists()

  monkeypatch.setattr(benchmark, '_Worker', Worker)
  flags = ['--width=1,4', '--contenders=dense,sparse_90', '--rounds=2']
  assert benchmark.main(['sparse', *flags, f'--out={tmp_path}']) == 0
  widths = [[f for f in c if f.startswith('--width')][-1] for c in commands]
  assert widths == ['--width=1'] * 2 + ['--width=4'] * 2
  turns = pd.read_csv(tmp_path / 'steps_per_second.csv')
  assert turns.width.tolist() == [1, 1, 4, 4]
  assert turns.turn.tolist() == [0, 1, 0, 1]
  times = pd.read_csv(tmp_path / 'time_against_sparsity.csv')
  assert times.width.tolist() == [1, 4]
  assert (tmp_path / 'time_against_sparsity.png').stat().st_size > 5000
  lines = capsys.readouterr().out.splitlines()
  assert [line for line in lines if 'Width' in line] == ['Width 1', 'Width 4']


def test_peak_of_this_machine():
  # A slow core makes some, and none a thousand, multiply-adds per cycle.
  assert 1e8 < machine.peak() < 5e12


def test_no_figure_of_what_has_no_sparsity(workers, tmp_path, capsys):
  flags = ['--contenders=dense,rigl', '--rounds=1', f'--out={tmp_path}']
  assert benchmark.main(['dqn', *flags]) == 0
  assert [path.name for path in tmp_path.iterdir()] == ['steps_per_second.csv']


def test_ratio_is_to_the_first_where_dopamine_is_left_out(workers, capsys):
  assert benchmark.main(['dqn', '--contenders=dense,rigl', '--rounds=1']) == 0
  out = capsys.readouterr().out
  assert 'ratio to dense' in out and '0.950' in out
  assert list(workers) == ['dense', 'rigl']


def test_contenders_take_turns(monkeypatch, capsys):
  order = []

  class Worker(_FakeWorker):
    def __init__(self, contender, command):
      super().__init__(contender, command)
      self._name = contender

    def train(self, steps):
      order.append(self._name)
      return super().train(steps)

  monkeypatch.setattr(benchmark, '_Worker', Worker)
  assert benchmark.main(['dqn', '--contenders=dense,rigl', '--rounds=3']) == 0
  assert order[-6:] == ['dense', 'rigl', 'rigl', 'dense', 'dense', 'rigl']


def test_workers_are_closed_after_an_error(workers, monkeypatch):
  def fail(self, steps):
    raise KeyboardInterrupt

  monkeypatch.setattr(_FakeWorker, 'train', fail)
  assert benchmark.main(['dqn', '--rounds=1']) == 130
  assert len(workers) == 3
  assert all(worker.closed for worker in workers.values())


def test_unknown_contender(workers, capsys):
  assert benchmark.main(['dqn', '--contenders=dense,dens']) == 2
  error = capsys.readouterr().err
  assert error.startswith('error: --contenders names dens, but allowed are ')
  assert 'dopamine, dense, rigl' in error and error.count('\n') == 1
  assert not workers  # Nothing was started.


@pytest.mark.parametrize('arguments', [[], ['sac9'], ['dqn', '--rounds=x']])
def test_flags(arguments):
  with pytest.raises(SystemExit) as exit_info:
    benchmark.main(arguments)
  assert exit_info.value.code == 2


def test_own_contenders_run_this_command(workers):
  assert benchmark.main(['dqn', '--task=Pong', '--rounds=1']) == 0
  assert workers['rigl'].command == [
    sys.executable,
    '-m',
    'rigl_rl.commands',
    'benchmark',
    'dqn',
    '--task=Pong',
    '--rounds=1',
    '--worker=rigl',
  ]


def test_ratios_of_td3_are_to_both_peers_and_the_dense_one(workers, capsys):
  arguments = ['td3', '--rounds=1', '--peers_python=peers']
  assert benchmark.main(arguments) == 0
  assert list(workers) == ['sb3', 'sbx', 'td3', 'ds_td3']
  lines = _table(capsys)
  assert lines[0].split()[3:] == (
    'ratio to sb3 ratio to sbx ratio to td3'.split()
  )
  ratios = [line.split()[4::4] for line in lines[1:]]
  assert ratios[2:] == [
    ['8.000', '2.500', '1.000'],
    ['7.600', '2.375', '0.950'],
  ]


def test_ratio_is_to_the_first_where_no_reference_is_left(workers, capsys):
  assert benchmark.main(['td3', '--contenders=ds_td3', '--rounds=1']) == 0
  assert 'ratio to ds_td3' in capsys.readouterr().out


@pytest.mark.parametrize('agent', ['sac', 'ppo', 'td3'])
def test_peers_run_under_their_python(agent, workers, capsys):
  arguments = [agent, '--rounds=1', '--task=Hopper-v4', '--peers_python=peers']
  own = 'ds_td3' if agent == 'td3' else 'rigl'
  assert benchmark.main([*arguments, f'--contenders=sb3,{own}']) == 0
  python, script, *flags = workers['sb3'].command
  assert python == 'peers' and script.endswith('benchmarks/peers.py')
  assert flags == ['--library=sb3', f'--agent={agent}', '--task=Hopper-v4']
  assert workers[own].command[0] == sys.executable
  assert 'ratio to sb3' in capsys.readouterr().out


def test_peers_without_their_python(workers, capsys):
  assert benchmark.main(['sac', '--rounds=1']) == 0
  assert list(workers) == ['dense', 'rigl']
  capsys.readouterr()
  assert benchmark.main(['sac', '--contenders=sb3,rigl']) == 2
  error = capsys.readouterr().err
  assert error.startswith('error: --contenders names sb3, which takes ')
  assert '--peers_python' in error and error.count('\n') == 1


def test_workers_are_closed_where_one_cannot_be_started(workers, monkeypatch):
  class Worker(_FakeWorker):
    def __init__(self, contender, command):
      if contender == 'rigl':
        raise UserError('no')
      super().__init__(contender, command)

  monkeypatch.setattr(benchmark, '_Worker', Worker)
  assert benchmark.main(['dqn', '--contenders=dense,rigl']) == 2
  assert workers['dense'].closed


@pytest.mark.parametrize(
  'flag,message',
  [
    ('--rounds=0', '--rounds is 0, but must be at least 1.'),
    ('--out=FILE/x', '--out is '),
  ],
)
def test_flags_are_looked_at_first(flag, message, workers, tmp_path, capsys):
  (tmp_path / 'file').touch()
  flag = flag.replace('FILE', str(tmp_path / 'file'))
  assert benchmark.main(['dqn', flag]) == 2
  error = capsys.readouterr().err
  assert error.startswith(f'error: {message}') and error.count('\n') == 1
  assert not workers  # Nothing was started.


def test_a_contender_that_is_named_twice_runs_once(workers, capsys):
  flags = ['--contenders=rigl,rigl', '--rounds=1', '--seconds=5']
  assert benchmark.main(['dqn', *flags]) == 0
  assert len(_table(capsys)) == 2
  assert workers['rigl'].asked.count(950) == 1


def test_layers_of_peers_run_under_their_python(workers, capsys):
  arguments = ['layers', '--shape=30,20,10', '--intra_op_threads=2']
  arguments += ['--peers_python=peers', '--rounds=1']
  names = '--contenders=sparseprop_90,dense,sparse_90'
  assert benchmark.main([*arguments, names]) == 0
  python, script, *flags = workers['sparseprop_90'].command
  assert python == 'peers' and script.endswith('benchmarks/peers.py')
  assert flags == [
    '--library=sparseprop',
    '--sparsity=0.9',
    '--shape=30,20,10',
    '--threads=2',
  ]
  lines = _table(capsys)
  rows = [line.split() for line in lines[1:]]
  assert [row[0] for row in rows] == ['sparseprop_90', 'dense', 'sparse_90']
  # 3 · 30 · 20 · 10 multiply-adds, of which as many are active, and 2 cores.
  shares = [float(row[4]) for row in rows]
  cores = min(4, len(os.sched_getaffinity(0)))
  expected = [
    100 * 18000 * rate * density / (1e9 * cores)
    for rate, density in ((10, 0.1), (200, 1), (120, 0.1))
  ]
  assert shares == pytest.approx(expected, rel=0.01)
  assert [row[10] for row in rows] == ['1.000', '20.000', '12.000']
  # Columns begin where their titles do, however long names and ratios are.
  at = lines[0].index('ratio to sparseprop_90')
  assert [line[at:].split()[0] for line in lines[1:]] == [
    row[10] for row in rows
  ]
