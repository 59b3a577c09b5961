"""Versions, processor and git revision, as a run.json has them."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import rigl_rl
from rigl_rl.training import provenance


def test_versions():
  versions = provenance.versions()
  assert list(versions) == [
    'python',
    'rigl_rl',
    'tensorflow',
    'tf_agents',
    'dopamine',
    'gymnasium',
    'ale_py',
    'mujoco',
    'numpy',
  ]
  assert versions['python'] == sys.version.split()[0]
  assert versions['numpy'] == np.__version__
  assert versions['tensorflow'] == tf.__version__
  json.dumps(versions)


def _git(path, *arguments):
  return subprocess.run(
    [
      'git',
      '-c',
      'user.name=n',
      '-c',
      'user.email=e',
      '-C',
      str(path),
      *arguments,
    ],
    check=True,
    capture_output=True,
    text=True,
  ).stdout.strip()


@pytest.mark.skipif(shutil.which('git') is None, reason='there is no git')
def test_git_revision(tmp_path, monkeypatch):
  package = tmp_path / 'repository' / 'package'
  package.mkdir(parents=True)
  module = package / '__init__.py'
  module.write_text('')
  monkeypatch.setattr(rigl_rl, '__file__', str(module))
  assert provenance.git_revision() is None

  _git(package.parent, 'init', '-q')
  (package.parent / 'other').write_text('')
  _git(package.parent, 'add', 'other')
  _git(package.parent, 'commit', '-qm', 'a')
  # Installed inside a repository that is not the package's.
  assert provenance.git_revision() is None

  _git(package.parent, 'add', '.')
  _git(package.parent, 'commit', '-qm', 'b')
  revision = _git(package.parent, 'rev-parse', 'HEAD')
  assert len(revision) == 40
  monkeypatch.setenv('GIT_DIR', str(tmp_path / 'elsewhere'))
  assert provenance.git_revision() == revision
  (package.parent / 'untracked').write_text('')
  assert provenance.git_revision() == revision
  module.write_text('changed = True')
  assert provenance.git_revision() == revision + '+dirty'
  monkeypatch.setenv('PATH', str(tmp_path))
  assert provenance.git_revision() is None


def test_processor():
  assert provenance.processor() and '\n' not in provenance.processor()


def test_differences_are_named():
  made = provenance.collect()
  assert provenance.differences(made, made) == ''
  other = {**made, 'processor': 'X', 'versions': {'numpy': '0', 'more': '1'}}
  found = provenance.differences(made, other)
  assert f'processor was {made["processor"]}, is X' in found
  assert f'numpy was {np.__version__}, is 0' in found
  assert 'more was None, is 1' in found and '\n' not in found
