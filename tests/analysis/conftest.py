"""Fixtures of the tests of analysis."""

import importlib.util
import pathlib

import pytest


@pytest.fixture(scope='session')
def synthetic_runs():
  """The module that writes run directories."""
  path = pathlib.Path(__file__).with_name('synthetic_runs.py')
  spec = importlib.util.spec_from_file_location('synthetic_runs', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module
