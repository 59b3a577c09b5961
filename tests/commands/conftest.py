"""Fixtures that tests of the commands share."""

import pytest

from rigl_rl.commands import command_line


@pytest.fixture
def threads_as_they_are(monkeypatch):
  """TensorFlow, which other tests have started, would refuse new ones."""
  monkeypatch.setattr(command_line, 'start_tensorflow', lambda arguments: None)
