"""The command: what it plans, refuses and shows."""

import collections
import fcntl
import os
import pty
import re
import struct
import sys
import termios

import pytest

from helpers import fake_sweeps
from rigl_rl.commands import sweep as command
from rigl_rl.sweeps.executors import local


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


@pytest.mark.parametrize(
  'workers,per_gpu,expected',
  [(None, 2, 4), (3, 2, 3), (9, 2, 4), (None, 1, 2)],
)
def test_workers_by_gpu(workers, per_gpu, expected, monkeypatch):
  monkeypatch.setattr(local, 'gpus', lambda: ['0', '1'])
  executor = local.LocalExecutor(workers, per_gpu)
  assert executor.workers == executor.capacity == expected
  environments = [executor.part(n)[1] for n in range(executor.workers)]
  used = collections.Counter(e['CUDA_VISIBLE_DEVICES'] for e in environments)
  assert max(used.values()) <= per_gpu and set(used) == {'0', '1'}
  for environment in environments:
    assert environment['TF_FORCE_GPU_ALLOW_GROWTH'] == 'true'


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
    fake_sweeps.seconds(0.2),
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
