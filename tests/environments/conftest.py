"""Fixtures of the tests of environments."""

import json

import gymnasium
import numpy as np
import pytest

from helpers import mujoco_tasks


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


@pytest.fixture(params=[mujoco_tasks.HiddenState])
def custom_task(request):
  """The name of a task, whose class is the parameter."""
  name = 'CustomTestTask-v0'
  gymnasium.register(name, request.param, max_episode_steps=5)
  yield name
  del gymnasium.registry[name]
