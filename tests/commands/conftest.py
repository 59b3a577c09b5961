"""Fixtures that tests of the commands share."""

import pytest

from helpers import fake_sweeps
from rigl_rl.commands import command_line


@pytest.fixture
def threads_as_they_are(monkeypatch):
  """TensorFlow, which other tests have started, would refuse new ones."""
  monkeypatch.setattr(command_line, 'start_tensorflow', lambda arguments: None)


@pytest.fixture
def project(tmp_path):
  """A sweep of runs that train nothing."""
  project = fake_sweeps.Project(tmp_path)
  yield project
  for process in project.processes:
    if process.poll() is None:
      process.kill()
      process.wait()
    if process.stdout:
      process.stdout.close()
