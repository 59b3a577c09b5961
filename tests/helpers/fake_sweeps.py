"""A sweep of runs that train nothing, in a directory of its own."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from rigl_rl.commands import sweep as command

ROOT = pathlib.Path(__file__).parents[2]


# Instead of launch.train: takes steps, notes each, continues where it was
# stopped. SPARSITY=0.7 fails; see `_seconds`.
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
SWEEP = """
SPARSITIES = (0.5, 0.8, 0.9)
SEEDS = (0, 1, 2, 3)
rigl/Grid.label = 'RigL'
rigl/Grid.gin_files = ['gin_configs/graesser22/dqn_classic/rigl.gin']
rigl/Grid.over = {'SPARSITY': %SPARSITIES, 'SEED': %SEEDS}
Sweep.grids = [@rigl/Grid()]
"""


def seconds(seconds: float) -> str:
  """Returns a binding that the fake takes for the time of a step."""
  return f'--gin_bindings=SparseDQNAgent.gamma={seconds}'


class Project:
  """A sweep file of 12 runs, a base directory, and the fake."""

  def __init__(self, directory: pathlib.Path, text: str = SWEEP):
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
    paths = [str(ROOT), os.environ.get('PYTHONPATH', '')]
    process = subprocess.Popen(
      [sys.executable, str(self.driver), str(self.fake)]
      + self.arguments(*more),
      cwd=ROOT,
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


SCORES = {
  f'mine/rigl/SPARSITY={s}/seed{n}': n + s
  for s in (0.5, 0.8, 0.9)
  for n in range(4)
}


def is_alive(pid: int) -> bool:
  try:
    status = pathlib.Path(f'/proc/{pid}/status').read_text()
  except OSError:
    return False
  return 'State:\tZ' not in status


def check_done_once(project):
  assert project.scores() == pytest.approx(SCORES)
  for run in project.runs():
    assert len(project.lines(run, 'ends')) == 1
    assert not project.lines(run, 'again')
    steps = [row.split(',')[0] for row in project.lines(run, 'evaluations.csv')]
    assert steps == ['step'] + [str(20000 * n) for n in range(1, 6)]
