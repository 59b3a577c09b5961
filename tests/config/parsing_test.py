"""Tests of where modules that a run's config imports are looked for."""

import os
import sys

import gin
import pytest

from rigl_rl import analysis
from rigl_rl.config import gin_paths, parsing
from rigl_rl.training import paths

_MODULE = 'a_module_of_the_current_directory'


@pytest.fixture
def run(tmp_path, monkeypatch, no_gin_config):
  """A run's config.gin, and the current directory with what it imports."""
  here, elsewhere = tmp_path / 'here', tmp_path / 'elsewhere'
  here.mkdir()
  elsewhere.mkdir()
  (here / f'{_MODULE}.py').write_text(
    'import gin\n@gin.configurable\ndef of_here(x=1):\n  return x\n'
  )
  config = tmp_path / 'run' / 'config.gin'
  config.parent.mkdir()
  config.write_text(f'import {_MODULE}\nof_here.x = 2\n')
  monkeypatch.chdir(here)
  monkeypatch.setattr(
    sys, 'path', [p for p in sys.path if p not in ('', str(here))]
  )
  monkeypatch.delenv('PYTHONPATH', raising=False)
  yield config
  sys.modules.pop(_MODULE, None)
  gin.config._REGISTRY._selector_map.pop(f'{_MODULE}.of_here', None)


def _forget():
  gin.clear_config()
  sys.modules.pop(_MODULE, None)


@pytest.mark.parametrize('entry', ['', 'here', None])
def test_a_runs_config_imports_nothing_from_the_current_directory(
  run, user_error, entry
):
  """Though `python -m` has it on the path."""
  if entry is not None:
    sys.path.insert(0, entry and os.getcwd())
  before = list(sys.path)
  with user_error('config.gin', _MODULE, 'PYTHONPATH'):
    with parsing.search_path('/elsewhere'):
      parsing.parse([str(run)], is_saved=True)
  assert _MODULE not in sys.modules
  assert sys.path == before


def test_it_imports_where_the_runs_own_command_did(
  run, monkeypatch, user_error
):
  with_import = run.with_name('mine.gin')
  with_import.write_text(run.read_text())
  with gin.unlock_config():
    parsing.parse([str(with_import)], [])
  origin = parsing.origin()
  assert origin == os.getcwd()
  monkeypatch.setattr(
    sys, 'path', [p for p in sys.path if p not in ('', os.getcwd())]
  )
  gin.clear_config()
  with pytest.MonkeyPatch.context() as patch:
    # As in another process, which has not imported it.
    patch.delitem(sys.modules, _MODULE)
    patch.setattr(gin.config, '_REGISTRY', gin.config._REGISTRY.copy())
    gin.config._REGISTRY._selector_map.pop(f'{_MODULE}.of_here', None)
    with parsing.search_path(origin):
      parsing.parse([str(run)], is_saved=True)
    assert _MODULE in sys.modules
  # A record of another directory does not count for this one.
  _forget()
  monkeypatch.chdir('../elsewhere')
  with user_error(_MODULE):
    with parsing.search_path(origin):
      parsing.parse([str(run)], is_saved=True)


def test_it_imports_from_what_pythonpath_names(run, monkeypatch):
  monkeypatch.setenv('PYTHONPATH', os.getcwd())
  sys.path.insert(0, os.getcwd())
  with parsing.search_path(''):
    parsing.parse([str(run)], is_saved=True)
  assert _MODULE in sys.modules


def test_modules_of_the_package_are_of_no_directory(monkeypatch, no_gin_config):
  monkeypatch.chdir(gin_paths.PACKAGE_PARENT)
  gin.parse_config('import rigl_rl.tasks')
  assert parsing.origin() == ''


def test_analysis_imports_nothing(run):
  with run.open('a') as file:
    file.write('train.seed = 0\ntrain.train_steps = 1\n')
  results = analysis.load(str(run.parent))
  assert len(results.runs) == 1
  assert _MODULE not in sys.modules


def test_a_file_is_not_written_through_a_link(tmp_path):
  victim = tmp_path / 'victim'
  victim.write_text('kept')
  path = tmp_path / 'run' / 'table.csv'
  path.parent.mkdir()
  path.symlink_to(victim)
  (path.parent / f'table.csv.tmp-{os.getpid()}').symlink_to(victim)
  paths.write(str(path), b'new')
  assert victim.read_text() == 'kept' and path.read_bytes() == b'new'
  assert not path.is_symlink() and len(list(path.parent.iterdir())) == 1
