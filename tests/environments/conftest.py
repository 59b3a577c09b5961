"""Fixtures of the tests of environments."""

import json

import numpy as np
import pytest


@pytest.fixture
def through_json():
  """Sends a state where a checkpointer sends it: JSON, and arrays apart."""

  def send(state):
    if isinstance(state, dict):
      return {key: send(value) for key, value in state.items()}
    if isinstance(state, np.ndarray):
      assert state.dtype != object
      return state.copy()
    return json.loads(json.dumps(state))

  return send


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
  """MuJoCo logs its warnings in the current directory."""
  monkeypatch.chdir(tmp_path)
