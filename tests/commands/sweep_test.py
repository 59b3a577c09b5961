"""The command: order, restarts, failures, signals, executors."""

from __future__ import annotations

import collections
import fcntl
import json
import os
import pathlib
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

from rigl_rl import locks
from rigl_rl.commands import sweep as command
from rigl_rl.sweeps.executors import child, jobs, local

_ROOT = pathlib.Path(__file__).parents[2]

# Instead of launch.train: takes steps, notes each, goes on where it was cut
# off. SPARSITY=0.7 fails; see `_seconds`.
_FAKE = r"""
import json, os, sys, time
directory = [a[11:] for a in sys.argv if a.startswith('--base_dir=')][0]
bindings = dict(
  a[15:].split('=', 1) for a in sys.argv if a.startswith('--gin_bindings=')
)
seconds = float(bindings.get('SparseDQNAgent.gamma', '0'))

def path(name):
  return os.path.join(directory, name)

def note(name, line):
  with open(path(name), 'a') as file:
    file.write(line + '\n')

note('starts', str(os.getpid()))
note('threads', ' '.join([a for a in sys.argv if a.endswith('_threads=1')]
     + [os.environ.get('OMP_NUM_THREADS', '')]
     + sorted(map(str, os.sched_getaffinity(0)))))
if os.path.exists(path('summary.json')):
  note('again', 'finished before')
open(path('config.gin'), 'a').close()
if bindings.get('SPARSITY') == '0.7' and not os.path.exists(path('mended')):
  print('something')
  print('error: it cannot be', flush=True)
  sys.exit(2)
if not os.path.exists(path('evaluations.csv')):
  note('evaluations.csv', 'step,return_mean,return_std,episodes')
done = len(open(path('evaluations.csv')).read().splitlines()) - 1
for step in range(done, 5):
  time.sleep(seconds)
  note('evaluations.csv', f'{(step + 1) * 20000},1.0,0.0,1')
note('ends', str(os.getpid()))
with open(path('new'), 'w') as file:
  json.dump({
    'finished': True,
    'final_score': float(bindings['SEED']) + float(bindings['SPARSITY']),
    'seconds': 5.0,
  }, file)
os.replace(path('new'), path('summary.json'))
"""

_DRIVER = """
import sys
from rigl_rl.commands import sweep
sys.exit(sweep.main(sys.argv[2:], train=[sys.executable, sys.argv[1]]))
"""

_SWEEP = """
SPARSITIES = (0.5, 0.8, 0.9)
SEEDS = (0, 1, 2, 3)
rigl/Grid.label = 'RigL'
rigl/Grid.gin_files = ['gin_configs/graesser22/dqn_classic/rigl.gin']
rigl/Grid.over = {'SPARSITY': %SPARSITIES, 'SEED': %SEEDS}
Sweep.grids = [@rigl/Grid()]
"""


def _seconds(seconds: float) -> str:
  """Returns a binding that the fake takes for the time of a step."""
  return f'--gin_bindings=SparseDQNAgent.gamma={seconds}'


class _Project:
  """A sweep file of 12 runs, a base directory, and the fake."""

  def __init__(self, directory: pathlib.Path, text: str = _SWEEP):
    self.file = directory / 'mine.gin'
    self.file.write_text(text)
    self.base = directory / 'base'
    self.fake = directory / 'fake_train.py'
    self.fake.write_text(_FAKE)
    self.driver = directory / 'driver.py'
    self.driver.write_text(_DRIVER)
    self.processes: list[subprocess.Popen] = []

  def arguments(self, *more: str) -> list[str]:
    return [f'--sweep={self.file}', f'--base_dir={self.base}', *more]

  def main(self, *more: str) -> int:
    return command.main(
      self.arguments(*more), train=[sys.executable, str(self.fake)]
    )

  def start(self, *more: str, **kwargs) -> subprocess.Popen:
    """Starts the sweep as a process of its own."""
    paths = [str(_ROOT), os.environ.get('PYTHONPATH', '')]
    process = subprocess.Popen(
      [sys.executable, str(self.driver), str(self.fake)]
      + self.arguments(*more),
      cwd=_ROOT,
      env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths))},
      **{
        'stdout': subprocess.PIPE,
        'stderr': subprocess.STDOUT,
        'text': True,
        **kwargs,
      },
    )
    self.processes.append(process)
    return process

  def runs(self) -> list[pathlib.Path]:
    return sorted(path.parent for path in self.base.rglob('sweep.json'))

  def lines(self, run: pathlib.Path, name: str) -> list[str]:
    path = run / name
    return path.read_text().splitlines() if path.exists() else []

  def scores(self) -> dict[str, float]:
    return {
      path.parent.relative_to(self.base).as_posix(): json.loads(
        path.read_text()
      )['final_score']
      for path in self.base.rglob('summary.json')
    }

  def wait_for(self, condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
      assert time.monotonic() < deadline
      time.sleep(0.02)

  def under_way(self) -> bool:
    """Whether a run has begun, and has not ended."""
    return any(
      len(self.lines(run, 'evaluations.csv')) > 1
      and not (run / 'summary.json').exists()
      for run in self.runs()
    )

  def pids(self) -> list[int]:
    return [int(p) for run in self.runs() for p in self.lines(run, 'starts')]


@pytest.fixture
def project(tmp_path):
  project = _Project(tmp_path)
  yield project
  for process in project.processes:
    if process.poll() is None:
      process.kill()
      process.wait()
    if process.stdout:
      process.stdout.close()


_SCORES = {
  f'mine/rigl/SPARSITY={s}/seed{n}': n + s
  for s in (0.5, 0.8, 0.9)
  for n in range(4)
}


def _is_alive(pid: int) -> bool:
  try:
    status = pathlib.Path(f'/proc/{pid}/status').read_text()
  except OSError:
    return False
  return 'State:\tZ' not in status


def _check_done_once(project):
  assert project.scores() == pytest.approx(_SCORES)
  for run in project.runs():
    assert len(project.lines(run, 'ends')) == 1
    assert not project.lines(run, 'again')
    steps = [row.split(',')[0] for row in project.lines(run, 'evaluations.csv')]
    assert steps == ['step'] + [str(20000 * n) for n in range(1, 6)]


# --------------------------------------------------------------------- all well


@pytest.mark.parametrize('workers', [1, 3])
def test_all_runs(workers, project, capsys):
  assert project.main(f'--workers={workers}') == 0
  _check_done_once(project)
  out = capsys.readouterr().out
  assert f'12 runs, 0 of them finished before; {workers} at a time.' in out
  assert re.search(
    r'/12\] RigL, SPARSITY=0.5, seed 0: final score 0.5, 5 s', out
  )
  assert '[1/12] RigL' in out and '[12/12] RigL' in out
  assert '12 runs: 12 finished, 0 failed.' in out
  # Again: nothing is started.
  assert project.main() == 0
  _check_done_once(project)
  assert '12 of them finished before' in capsys.readouterr().out


def test_sweep_json_and_the_command(project):
  project.main('--seeds=1', '--scale=0.5', "--gin_bindings=A.b='x y'")
  run = project.base / 'mine/rigl/SPARSITY=0.8/seed0'
  gin_files = ['gin_configs/graesser22/dqn_classic/rigl.gin']
  bindings = ['SPARSITY=0.8', 'SEED=0', "A.b='x y'", 'TRAIN_STEPS=50000']
  assert json.loads((run / 'sweep.json').read_text()) == {
    'sweep': 'mine',
    'label': 'RigL',
    'bindings': {'SPARSITY': 0.8},
    'seed': 0,
    'scale': 0.5,
    'gin_files': gin_files,
    'gin_bindings': bindings,
  }
  # What was run, ready to be pasted.
  log = (run / 'train.log').read_text()
  assert f"'--gin_files={gin_files[0]}'" in log or gin_files[0] in log
  assert "--gin_bindings=A.b='" in log and f'--base_dir={run}' in log


def test_threads_and_cores(project):
  """One thread each; a core of their own where no core is left over."""
  cores = local.cores()
  one_thread = '--inter_op_threads=1 --intra_op_threads=1 1 '
  for seeds, (workers, *more) in enumerate(
    [(1,), (len(cores),), (len(cores) + 1,), (len(cores), '--no_affinity')], 1
  ):
    project.main(f'--workers={workers}', f'--seeds={seeds}', *more)
  used = collections.defaultdict(set)
  for run in project.runs():
    (line,) = project.lines(run, 'threads')
    assert line.startswith(one_thread)
    used[run.name].add(line.replace(one_thread, ''))
  everywhere = {' '.join(map(str, sorted(cores, key=str)))}
  assert used['seed0'] == used['seed2'] == used['seed3'] == everywhere
  assert used['seed1'] <= set(map(str, cores))


def test_runs_are_at_work_together(project):
  """Two workers at once, and no more."""
  process = project.start('--workers=2', _seconds(0.1))
  most = 0
  while process.poll() is None:
    most = max(most, sum(map(_is_alive, project.pids())))
    time.sleep(0.02)
  assert process.returncode == 0, process.stdout.read()
  assert most == 2
  _check_done_once(project)


# --------------------------------------------------------------------- failures


def test_failed_runs_do_not_stop_the_rest(tmp_path, capsys):
  project = _Project(tmp_path, _SWEEP.replace('0.8', '0.7'))
  assert project.main('--workers=2', '--seeds=2') == 1
  assert len(project.scores()) == 4
  out = capsys.readouterr().out
  assert '6 runs: 4 finished, 2 failed.' in out
  for seed in (0, 1):
    run = project.base / f'mine/rigl/SPARSITY=0.7/seed{seed}'
    name = f'failed: RigL, SPARSITY=0.7, seed {seed}: error: it cannot be'
    assert f'{name}\n  log: {run}/train.log' in out
    assert 'something' in (run / 'train.log').read_text()
    (run / 'mended').touch()
  # They are tried again, and nothing else is.
  assert project.main('--seeds=2') == 0
  starts = [len(project.lines(run, 'starts')) for run in project.runs()]
  assert sorted(starts) == [1, 1, 1, 1, 2, 2]
  assert '6 runs, 4 of them finished before' in capsys.readouterr().out


def test_a_run_whose_policy_failed(tmp_path, capsys):
  text = _SWEEP + (
    'SPARSITIES = (0.5, 0.7)\n'
    "next/Grid.label = 'Next'\n"
    "next/Grid.gin_files = ['gin_configs/graesser22/dqn_classic/rigl.gin']\n"
    "next/Grid.over = {'SPARSITY': 0.9, 'saved_policy.run': @rigl/Grid(), "
    "'SEED': 0}\n"
    'SEEDS = 0\n'
    'Sweep.grids = [@next/Grid()]\n'
  )
  project = _Project(tmp_path, text)
  assert project.main('--workers=3') == 1
  out = capsys.readouterr().out
  assert '4 runs: 2 finished, 2 failed.' in out
  assert 'needs mine/rigl/SPARSITY=0.7/seed0, which failed' in out
  (run,) = [path for path in project.runs() if '/next/' in str(path)]
  log = (run / 'train.log').read_text()
  assert f"saved_policy.run='\"'\"'{project.base}/mine/rigl/SPARSITY=0.5" in log
  # The one it needs had ended before it began.
  policy = project.base / 'mine/rigl/SPARSITY=0.5/seed0'
  assert (policy / 'summary.json').stat().st_mtime_ns < (
    run / 'starts'
  ).stat().st_mtime_ns


@pytest.mark.parametrize(
  'code,text,parts',
  [
    (-9, '', 'killed by SIGKILL'),
    (-99, '', 'killed by signal 99'),
    (1, 'Traceback\n  line\nValueError: NaN\n', 'ValueError: NaN'),
    (1, '', 'ended with exit code 1'),
    (0, 'odd\n', 'ended without a result (odd)'),
  ],
)
def test_reasons_of_failure(code, text, parts, tmp_path):
  job = jobs.Job(None, str(tmp_path), ('x',))
  (tmp_path / 'train.log').write_text(f'$ x\n{text}')
  assert job.failure(code) == parts
  (tmp_path / 'summary.json').write_text('{"finished": tr')  # Torn.
  assert job.failure(code) == parts
  (tmp_path / 'summary.json').write_text('{"finished": true}')
  assert job.failure(code) is None


# ----------------------------------------------------------- cut off, restarted


def test_killed_twice_and_restarted(project):
  """SIGKILL of the sweep: nothing is lost, nothing is trained twice."""
  more = ['--workers=3', _seconds(0.1)]
  for finished in (2, 6):
    process = project.start(*more)
    project.wait_for(
      lambda n=finished: len(project.scores()) >= n and project.under_way()
    )
    process.kill()
    process.wait()
    # Its runs end with it.
    project.wait_for(lambda: not any(map(_is_alive, project.pids())), 20)
    assert len(project.scores()) < 12
  process = project.start(*more)
  assert process.wait(120) == 0, process.stdout.read()
  _check_done_once(project)
  # Those that were cut off went on.
  assert any(len(project.lines(run, 'starts')) > 1 for run in project.runs())


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal(number, project):
  process = project.start('--workers=2', _seconds(0.2))
  project.wait_for(lambda: len(project.scores()) >= 1)
  process.send_signal(number)
  out, _ = process.communicate(timeout=120)
  assert process.returncode == 128 + number
  assert not any(map(_is_alive, project.pids()))
  assert f'Stopped by {number.name}. The same command continues:' in out
  assert '0 failed' in out and 'Traceback' not in out
  more = [_seconds(0.2), '--workers=4']
  process = project.start(*more)
  assert process.wait(120) == 0, process.stdout.read()
  _check_done_once(project)


def test_one_killed_run(project, capsys):
  """It counts as failed; the same command goes on with it."""
  process = project.start('--workers=2', _seconds(0.1))
  project.wait_for(lambda: len(project.pids()) >= 1)
  os.kill(project.pids()[0], signal.SIGKILL)
  out, _ = process.communicate(timeout=120)
  assert process.returncode == 1
  assert '11 finished, 1 failed' in out and 'killed by SIGKILL' in out
  assert project.main(_seconds(0.1)) == 0
  _check_done_once(project)


def test_two_sweeps_on_one_directory(project, capsys):
  process = project.start('--workers=1', _seconds(0.5))
  project.wait_for(lambda: len(project.pids()) >= 1)
  assert project.main() == 2
  error = capsys.readouterr().err
  assert 'another sweep is at work' in error
  assert f'process {process.pid} on ' in error
  assert len(error.splitlines()) == 1
  process.terminate()
  process.wait(20)


def test_a_directory_in_which_something_trains(tmp_path, monkeypatch, capsys):
  """A run begins when the run that is ending there has released its lock."""
  lock = str(tmp_path / 'lock')
  started = []
  monkeypatch.setattr(child, '_die_with', lambda parent: None)
  monkeypatch.setattr(child, '_PATIENCE', 0.1)
  monkeypatch.setattr(child.os, 'execvp', lambda *call: started.append(call))
  arguments = ['--parent=1', f'--lock={lock}', '--', 'train', '--flag']
  held = locks.acquire(lock)
  assert child.main(arguments) == 2 and not started
  assert f'process {os.getpid()} on ' in capsys.readouterr().out
  monkeypatch.setattr(child, '_PATIENCE', 60)
  threading.Timer(0.1, os.close, [held]).start()
  child.main(arguments)
  assert started == [('train', ['train', '--flag'])]
  # The command locks the directory itself.
  os.close(locks.acquire(lock))


def test_other_settings_are_refused(project, capsys):
  assert project.main('--seeds=1') == 0
  for more, parts in (
    (['--scale=0.5'], ['scale 1.0, not 0.5']),
    (['--gin_bindings=A.b=1'], ['gin_bindings', "[], not ['A.b=1']"]),
  ):
    for dry in ([], ['--dry_run']):
      assert project.main(*more, *dry) == 2
      error = capsys.readouterr().err
      assert 'give another --base_dir' in error
      assert len(error.splitlines()) == 1
      for part in parts:
        assert part in error
  # More seeds are no other settings.
  assert project.main('--seeds=2') == 0


# -------------------------------------------------------------------- arguments


def test_dry_run(project, capsys):
  assert project.main('--dry_run') == 0
  out = capsys.readouterr().out
  assert ' 1  new RigL, SPARSITY=0.5, seed 0\n' in out
  assert re.search(r'all +12 runs +1,200,000 steps +\d+\.\d core-hours', out)
  assert 'dqn_classic' in out
  assert not project.base.exists()
  project.main('--seeds=1')
  capsys.readouterr()
  project.main('--dry_run', '--steps_per_second=dqn_classic=1000')
  out = capsys.readouterr().out
  assert out.count('finished RigL') == 3 and out.count('new RigL') == 9
  assert re.search(r'all +12 runs +1,200,000 steps +0.3 core-hours', out)
  assert re.search(r'to do +9 runs +900,000 steps +0.2 core-hours', out)
  # Without a directory it knows of no results.
  assert command.main([f'--sweep={project.file}', '--dry_run']) == 0
  assert ' 1 RigL, SPARSITY=0.5, seed 0\n' in capsys.readouterr().out


@pytest.mark.parametrize(
  'text,seeds',
  [('3', (0, 1, 2)), ('0,1,5', (0, 1, 5)), ('7,', (7,)), (None, None)],
)
def test_seeds(text, seeds):
  assert command.parse_seeds(text) == seeds


@pytest.mark.parametrize(
  'more,part',
  [
    (['--seeds=0'], '--seeds'),
    (['--seeds=a'], '--seeds'),
    (['--seeds=1,1'], '--seeds'),
    (['--seeds=-1,2'], '--seeds'),
    (['--workers=0'], '--workers is 0'),
    (['--workers_per_gpu=0'], '--workers_per_gpu is 0'),
    (['--workers_per_gpu=2'], 'there is no GPU'),
    (['--scale=2'], '--scale is 2.0'),
    (['--scale=0.001'], '--scale is 0.001, but must be at least 0.0101'),
    (['--filter=SPARSITY=0.4'], 'which no run fulfills'),
    (['--filter=x'], "--filter is 'x'"),
    (['--ray_address=auto'], "it must be 'ray'"),
    (['--base_dir=gs://bucket'], 'file system'),
    (['--base_dir=/proc/none'], 'cannot be written to'),
    (['--base_dir='], '--base_dir is not given'),
    (['--sweep=none'], "--sweep is 'none'"),
    (['--gin_bindings=SPARSITY=0.5'], 'what the sweep varies'),
    (['--steps_per_second=x=1'], '--steps_per_second'),
  ],
)
def test_mistakes_end_in_one_line(more, part, project, capsys, monkeypatch):
  monkeypatch.setattr(local, 'gpus', lambda: [])
  assert project.main(*more) == 2
  out, error = capsys.readouterr()
  assert part in error and len(error.splitlines()) == 1 and not out
  assert not project.runs()


def test_without_ray(project, capsys, monkeypatch):
  monkeypatch.setitem(sys.modules, 'ray', None)
  assert project.main('--executor=ray') == 2
  assert "pip install 'rigl-rl[ray]'" in capsys.readouterr().err


# -------------------------------------------------------------- executors, view


@pytest.mark.parametrize(
  'workers,per_gpu,expected',
  [(None, 2, 4), (3, 2, 3), (9, 2, 4), (None, 1, 2)],
)
def test_workers_by_gpu(workers, per_gpu, expected, monkeypatch):
  monkeypatch.setattr(local, 'gpus', lambda: ['0', '1'])
  executor = local.LocalExecutor(workers, per_gpu)
  assert executor.workers == executor.capacity == expected
  used = collections.Counter(
    slot.environment['CUDA_VISIBLE_DEVICES'] for slot in executor._free
  )
  assert max(used.values()) <= per_gpu and set(used) == {'0', '1'}
  for slot in executor._free:
    assert slot.environment['TF_FORCE_GPU_ALLOW_GROWTH'] == 'true'


def test_gpus(monkeypatch):
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '2,3')
  assert local.gpus() == ['2', '3']
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
  assert local.gpus() == []


def test_live_view_on_a_terminal(project):
  reader, writer = pty.openpty()
  size = struct.pack('HHHH', 40, 160, 0, 0)
  fcntl.ioctl(writer, termios.TIOCSWINSZ, size)
  process = project.start(
    '--workers=3',
    _seconds(0.2),
    stdout=writer,
    stderr=writer,
    text=False,
  )
  os.close(writer)
  shown = b''
  while True:
    try:
      block = os.read(reader, 65536)
    except OSError:  # The other end is closed.
      break
    if not block:
      break
    shown += block
  os.close(reader)
  assert process.wait(10) == 0
  text = shown.decode('utf-8', 'replace')
  assert re.search(
    r'\d+ % \|.{20}\| \d+ of 12 done, 3 running, 0 failed, [\d,]+ steps/s, '
    r'(about )?\d+ \w+ left',
    text,
  )
  assert '[12/12] RigL' in text


@pytest.mark.slow
def test_through_ray(project, tmp_path, capsys):
  """The same results as by processes; killed, it leaves nothing behind."""
  pytest.importorskip('ray')
  more = [
    '--executor=ray',
    '--workers=2',
    _seconds(0.1),
  ]
  process = project.start(*more)
  project.wait_for(lambda: len(project.scores()) >= 2, 600)
  process.kill()
  process.wait()
  project.wait_for(lambda: not any(map(_is_alive, project.pids())), 60)
  process = project.start(*more)
  assert process.wait(600) == 0, process.stdout.read()
  _check_done_once(project)


# Twelve short runs of a small network.
_TINY = """
rigl/Grid.label = 'RigL'
rigl/Grid.gin_files = ['gin_configs/graesser22/dqn_classic/rigl.gin']
rigl/Grid.over = {'SPARSITY': (0.5, 0.8, 0.9), 'SEED': (0, 1, 2, 3)}
rigl/Grid.bindings = {
    'TRAIN_STEPS': 3000,
    'MLPQNetwork.hidden_units': (16, 16),
    'SparseDQNAgent.batch_size': 16,
    'SparseDQNAgent.min_replay_history': 200,
    'UpdateSchedule.interval': 100,
    'DopamineRunner.evaluation_period': 300,
    'DopamineRunner.evaluation_episodes': 2,
}
Sweep.grids = [@rigl/Grid()]
"""
# What a summary says of time, not of training.
_TIMES = ('seconds',)


class _RealProject(_Project):
  """Trains by launch.train."""

  def __init__(self, directory: pathlib.Path):
    super().__init__(directory, _TINY)
    self.driver.write_text(
      'import sys\n'
      'from rigl_rl.commands import sweep\n'
      'sys.exit(sweep.main(sys.argv[2:]))\n'
    )

  def results(self) -> dict[str, tuple[str, dict]]:
    """What each finished run came to."""
    found = {}
    for path in self.base.rglob('summary.json'):
      summary = json.loads(path.read_text())
      for name in _TIMES:
        del summary[name]
      name = path.parent.relative_to(self.base).as_posix()
      found[name] = ((path.parent / 'evaluations.csv').read_text(), summary)
    return found

  def begun(self) -> dict[str, int]:
    """How many processes have trained each run."""
    return {
      run.relative_to(self.base).as_posix(): sum(
        line.startswith('$ ') for line in self.lines(run, 'train.log')
      )
      for run in self.runs()
    }

  def kill_after(self, finished: int, *more: str) -> None:
    """Runs the sweep until so many runs are finished; kills it with -9."""
    process = self.start(*more)
    self.wait_for(
      lambda: len(self.results()) >= finished and self.under_way(), 900
    )
    process.kill()
    process.communicate()
    # Its runs end with it: nothing writes here any more.
    self.wait_for(lambda: not _is_trained_in(self.base), 60)


def _is_trained_in(directory: pathlib.Path) -> bool:
  """Whether there is a process that has a run there."""
  for path in pathlib.Path('/proc').glob('[0-9]*'):
    try:
      command = (path / 'cmdline').read_bytes()
    except OSError:
      continue
    if f'--base_dir={directory}/'.encode() in command and _is_alive(path.name):
      return True
  return False


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  """Results of the twelve runs, by a sweep that nothing disturbs."""
  project = _RealProject(tmp_path_factory.mktemp('undisturbed'))
  assert command.main(project.arguments('--workers=2')) == 0
  assert set(project.begun().values()) == {1}
  results = project.results()
  assert len(results) == 12
  # They are twelve different ones.
  assert len({evaluations for evaluations, _ in results.values()}) == 12
  return results


@pytest.mark.slow
def test_a_real_sweep_killed_twice(undisturbed, tmp_path):
  project = _RealProject(tmp_path)
  for finished in (2, 6):
    project.kill_after(finished, '--workers=2')
    before, begun = project.results(), project.begun()
    assert finished <= len(before) < 12
  process = project.start('--workers=2')
  out, _ = process.communicate(timeout=900)
  assert process.returncode == 0, out
  assert f'12 runs, {len(before)} of them finished before' in out
  assert project.results() == undisturbed
  # What was finished is not trained again, and what was cut off went on.
  after = project.begun()
  assert all(after[name] == begun[name] for name in before)
  assert max(after.values()) > 1


@pytest.mark.slow
def test_a_real_sweep_through_ray(undisturbed, tmp_path):
  pytest.importorskip('ray')
  project = _RealProject(tmp_path)
  process = project.start('--executor=ray', '--workers=2')
  out, _ = process.communicate(timeout=1800)
  assert process.returncode == 0, out
  assert project.results() == undisturbed
  assert set(project.begun().values()) == {1}


@pytest.mark.slow
def test_the_printed_command_trains_the_same_run(undisturbed, tmp_path):
  project = _RealProject(tmp_path)
  more = ['--workers=1', '--seeds=1', '--filter=SPARSITY=0.5']
  assert command.main(project.arguments(*more)) == 0
  ((name, result),) = project.results().items()
  assert result == undisturbed[name]
  log = (project.base / name / 'train.log').read_text().splitlines()[0]
  again = log[2:].replace(str(project.base), str(tmp_path / 'again'))
  subprocess.run(again, shell=True, check=True, cwd=_ROOT, capture_output=True)
  evaluations = tmp_path / 'again' / name / 'evaluations.csv'
  assert evaluations.read_text() == result[0]


@pytest.mark.parametrize(
  'binding,part',
  [
    ('RigL.drop_fraction=30', 'Did you mean 0.3?'),
    ('RigL.drop_fracton=0.5', 'drop_fraction'),
    ('adam.learning_rate=%NOPE', 'NOPE is not bound'),
  ],
)
def test_binding_that_runs_refuse_is_refused_at_once(
  binding, part, tmp_path, capsys
):
  flags = ['--sweep=graesser22/fig10', f'--base_dir={tmp_path / "runs"}']
  code = command.main([*flags, f'--gin_bindings={binding}'])
  assert code == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('error: ') and part in line
  assert not list(tmp_path.iterdir())
