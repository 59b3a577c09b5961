"""A tracker follows a run by its TensorBoard events."""

import os
import subprocess
import sys

import pytest

import rigl_rl
from helpers import command
from rigl_rl.errors import UserError
from rigl_rl.training import tracking

pytestmark = pytest.mark.usefixtures('no_gin_config', 'threads_as_they_are')

# In place of wandb; it notes calls, and whether anything is tracked by then.
_STAND_IN = """
import glob, json, os, types

class Error(Exception):
  pass

errors = types.SimpleNamespace(Error=Error)
Settings = dict
calls = []

class Run:
  offline = False
  url = 'https://tracker/run'

  def __enter__(self):
    return self

  def __exit__(self, kind, *_):
    calls.append(['finish', kind is None])

tensorboard = types.SimpleNamespace(
  patch=lambda root_logdir: calls.append(['patch', root_logdir]),
  unpatch=lambda: calls.append(['unpatch']),
)

def init(**arguments):
  if 'REFUSE' in os.environ:
    raise Error('no key')
  calls.append([arguments, glob.glob(os.environ['RUNS'] + '/*/events')])
  return Run()
"""


@pytest.fixture
def wandb(tmp_path, monkeypatch):
  """The calls of the stand-in."""
  (tmp_path / 'modules').mkdir()
  (tmp_path / 'modules' / 'wandb.py').write_text(_STAND_IN)
  monkeypatch.syspath_prepend(tmp_path / 'modules')
  for name in ('WANDB_PROJECT', 'WANDB_RUN_GROUP', 'WANDB_NAME'):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setenv('RUNS', str(tmp_path))
  monkeypatch.delitem(sys.modules, 'wandb', raising=False)
  import wandb

  yield wandb.calls
  del sys.modules['wandb']


def _train(base_dir, *flags, seed=0):
  flags = ('--track=wandb', *flags)
  return command.run(base_dir, f'SEED = {seed}', flags=flags)


def test_a_tracker_that_is_not_installed(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(tracking, 'TRACKERS', ('no_tracker',))
  # As wandb leaves one: Python takes it for a package.
  (tmp_path / 'no_tracker').mkdir()
  monkeypatch.syspath_prepend(tmp_path)
  run = tmp_path / 'run'
  for flags in ([], ['--seeds=2']):
    assert command.run(run, flags=['--track=no_tracker', *flags]) == 2
    reason = "--track is 'no_tracker', but no_tracker is not installed"
    command.assert_one_line(capsys, reason, "the extra 'no_tracker'")
  with pytest.raises(UserError, match='no_tracker is not installed'):
    rigl_rl.train(command.RIGL, base_dir=run, track='no_tracker')
  assert not run.exists()


def test_an_unknown_tracker():
  with pytest.raises(UserError, match="'mlflow', but must be one of wandb"):
    tracking.check('mlflow')


def test_a_run_is_tracked_from_its_first_event_on(wandb, tmp_path, capsys):
  assert _train(tmp_path / 'run', seed=3) == 0
  lines = capsys.readouterr().out.splitlines()
  assert 'Tracked: https://tracker/run' in lines[:3]
  (arguments, events), *others = wandb
  assert events == []  # It sees all of them.
  synced = str(tmp_path / 'run' / 'events')
  assert others == [['patch', synced], ['unpatch'], ['finish', True]]
  assert len(list((tmp_path / 'run' / 'events').iterdir())) == 1
  assert arguments['resume'] == 'allow'
  assert arguments['project'] == 'rigl-rl'
  assert arguments['name'] == 'RigL at 88.4 % sparsity on CartPole-v0, seed 3'
  config = arguments['config']
  assert config['sparsify.sparsity'] == 0.9 and config['train.seed'] == 3
  assert config['sparsify.algorithm'] == '@RigL()'


def test_a_run_that_continues_is_the_same_one(wandb, tmp_path, monkeypatch):
  monkeypatch.setenv('REFUSE', '1')
  assert _train(tmp_path / 'run') == 2
  monkeypatch.delenv('REFUSE')
  first = (tmp_path / 'run' / 'wandb_id').read_text()
  assert _train(tmp_path / 'run') == 0
  assert wandb[0][0]['id'] == first


def test_seeds_of_one_setting_are_runs_of_one_group(
  wandb, tmp_path, monkeypatch
):
  assert _train(tmp_path / 'a', seed=0) == 0
  assert _train(tmp_path / 'b', seed=1) == 0
  monkeypatch.setenv('WANDB_RUN_GROUP', 'mine')
  assert _train(tmp_path / 'c', seed=2) == 0
  one, other, third = (arguments for arguments, _ in wandb[::4])
  assert one['group'] == other['group'] and third['group'] == 'mine'
  assert len({one['id'], other['id'], third['id']}) == 3


def test_a_tracker_that_does_not_start(wandb, tmp_path, capsys, monkeypatch):
  monkeypatch.setenv('REFUSE', '1')
  assert _train(tmp_path / 'run') == 2
  command.assert_one_line(
    capsys, "--track is 'wandb', which does not start: no key"
  )


@pytest.mark.slow
def test_wandb_itself_reads_the_events(tmp_path):
  pytest.importorskip('wandb')
  bindings = [f'--gin_bindings={b}' for b in command.SMALL]
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'launch.train', f'--gin_files={command.RIGL}'),
      *(*bindings, '--track=wandb', f'--base_dir={tmp_path}/run'),
    ],
    env={**os.environ, 'WANDB_MODE': 'offline', 'WANDB_DIR': str(tmp_path)},
    capture_output=True,
    text=True,
  )
  assert (done.returncode, done.stderr) == (0, '')
  (log,) = (tmp_path / 'wandb').glob('offline-run-*/run-*.wandb')
  written = log.read_bytes()
  for name in (b'evaluation/return', b'train/return', b'global_step'):
    assert name in written
