"""The command: order, restarts, failures, signals, executors."""

import collections
import json
import os
import re
import signal
import threading
import time

import pytest

from helpers import fake_sweeps
from rigl_rl import locks
from rigl_rl.sweeps.executors import child, jobs, local


@pytest.mark.parametrize('workers', [1, 3])
def test_all_runs(workers, project, capsys):
  assert project.main(f'--workers={workers}') == 0
  fake_sweeps.check_done_once(project)
  out = capsys.readouterr().out
  assert f'12 runs, 0 of them finished before; {workers} at a time.' in out
  assert re.search(
    r'/12\] RigL, SPARSITY=0.5, seed 0: final score 0.5, 5 s', out
  )
  assert '[1/12] RigL' in out and '[12/12] RigL' in out
  assert '12 runs: 12 finished, 0 failed.' in out
  # Again: nothing is started.
  assert project.main() == 0
  fake_sweeps.check_done_once(project)
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
  process = project.start('--workers=2', fake_sweeps.seconds(0.1))
  most = 0
  while process.poll() is None:
    most = max(most, sum(map(fake_sweeps.is_alive, project.pids())))
    time.sleep(0.02)
  assert process.returncode == 0, process.stdout.read()
  assert most == 2
  fake_sweeps.check_done_once(project)


def test_failed_runs_do_not_stop_the_rest(tmp_path, capsys):
  project = fake_sweeps.Project(
    tmp_path, fake_sweeps.SWEEP.replace('0.8', '0.7')
  )
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
  text = fake_sweeps.SWEEP + (
    'SPARSITIES = (0.5, 0.7)\n'
    "next/Grid.label = 'Next'\n"
    "next/Grid.gin_files = ['gin_configs/graesser22/dqn_classic/rigl.gin']\n"
    "next/Grid.over = {'SPARSITY': 0.9, 'saved_policy.run': @rigl/Grid(), "
    "'SEED': 0}\n"
    'SEEDS = 0\n'
    'Sweep.grids = [@next/Grid()]\n'
  )
  project = fake_sweeps.Project(tmp_path, text)
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


def test_killed_twice_and_restarted(project):
  """SIGKILL of the sweep: nothing is lost, nothing is trained twice."""
  more = ['--workers=3', fake_sweeps.seconds(0.1)]
  for finished in (2, 6):
    process = project.start(*more)
    project.wait_for(
      lambda n=finished: len(project.scores()) >= n and project.under_way()
    )
    process.kill()
    process.wait()
    # Its runs end with it.
    project.wait_for(
      lambda: not any(map(fake_sweeps.is_alive, project.pids())), 20
    )
    assert len(project.scores()) < 12
  process = project.start(*more)
  assert process.wait(120) == 0, process.stdout.read()
  fake_sweeps.check_done_once(project)
  # Interrupted runs continued.
  assert any(len(project.lines(run, 'starts')) > 1 for run in project.runs())


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal(number, project):
  process = project.start('--workers=2', fake_sweeps.seconds(0.2))
  project.wait_for(lambda: len(project.scores()) >= 1)
  process.send_signal(number)
  out, _ = process.communicate(timeout=120)
  assert process.returncode == 128 + number
  assert not any(map(fake_sweeps.is_alive, project.pids()))
  assert f'Stopped by {number.name}. The same command continues:' in out
  assert '0 failed' in out and 'Traceback' not in out
  more = [fake_sweeps.seconds(0.2), '--workers=4']
  process = project.start(*more)
  assert process.wait(120) == 0, process.stdout.read()
  fake_sweeps.check_done_once(project)


def test_one_killed_run(project, capsys):
  """It counts as failed; the same command continues it."""
  process = project.start('--workers=2', fake_sweeps.seconds(0.1))
  project.wait_for(lambda: len(project.pids()) >= 1)
  os.kill(project.pids()[0], signal.SIGKILL)
  out, _ = process.communicate(timeout=120)
  assert process.returncode == 1
  assert '11 finished, 1 failed' in out and 'killed by SIGKILL' in out
  assert project.main(fake_sweeps.seconds(0.1)) == 0
  fake_sweeps.check_done_once(project)


def test_two_sweeps_on_one_directory(project, capsys):
  process = project.start('--workers=1', fake_sweeps.seconds(0.5))
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


@pytest.mark.slow
def test_through_ray(project, tmp_path, capsys):
  """The same results as by processes; killed, it leaves nothing behind."""
  pytest.importorskip('ray')
  more = [
    '--executor=ray',
    '--workers=2',
    fake_sweeps.seconds(0.1),
  ]
  process = project.start(*more)
  project.wait_for(lambda: len(project.scores()) >= 2, 600)
  process.kill()
  process.wait()
  project.wait_for(
    lambda: not any(map(fake_sweeps.is_alive, project.pids())), 60
  )
  process = project.start(*more)
  assert process.wait(600) == 0, process.stdout.read()
  fake_sweeps.check_done_once(project)
