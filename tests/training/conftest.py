"""Fixtures of the tests of training."""

import pytest

from helpers.run_directories import CONFIG
from rigl_rl.training import run_directory


@pytest.fixture
def run(tmp_path):
  """A run directory that holds CONFIG."""
  run = run_directory.RunDirectory(str(tmp_path / 'run'))
  run.prepare(CONFIG)
  return run


@pytest.fixture
def directory(tmp_path):
  """Where checkpoints go."""
  return str(tmp_path / 'checkpoints')
