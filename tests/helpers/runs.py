"""Runs: how they are trained and cut, and whether two of them are the same."""

from __future__ import annotations

import functools
import pathlib

import gin
import numpy as np
import pytest

from rigl_rl.config import parsing
from rigl_rl.environments import mujoco
from rigl_rl.training import checkpointing, progress, record, run


def train(base_dir, gin_file, *bindings):
  """Trains in this process, with nothing bound before it or afterwards."""
  gin.clear_config()
  parsing.parse([f'gin_configs/{gin_file}'], bindings)
  run.train(str(base_dir))
  gin.clear_config()


def train_once(root, configs):
  """Returns a function from the name of a run to its directory.

  It trains a run when it is first asked for it.

  Args:
    root: of the directories.
    configs: {name: (gin file, binding, ...)}.
  """

  @functools.cache
  def directory(name):
    train(root / name, *configs[name])
    return root / name

  return directory


def checkpointer(base_dir) -> checkpointing.Checkpointer:
  return checkpointing.Checkpointer(str(pathlib.Path(base_dir) / 'checkpoints'))


def latest(base_dir):
  """The step and the state of a run's last checkpoint."""
  return checkpointer(base_dir).load_latest()


def steps(base_dir) -> list[int]:
  """Of a run's evaluations."""
  return [row['step'] for row in record.read_evaluations(str(base_dir))]


def assert_same_state(one, other, path='state'):
  """Asserts that states are equal to the bit, types included.

  But for how a replay buffer is cut into files, which depends on when it was
  saved.
  """
  assert type(one) is type(other), path
  if isinstance(one, dict):
    assert one.keys() == other.keys(), path
    for key in one.keys() - {'segments'}:
      assert_same_state(one[key], other[key], f'{path}/{key}')
  elif isinstance(one, (list, tuple)):
    assert len(one) == len(other), path
    for i, pair in enumerate(zip(one, other)):
      assert_same_state(*pair, f'{path}/{i}')
  elif isinstance(one, np.ndarray):
    assert one.dtype == other.dtype, path
    np.testing.assert_array_equal(one, other, err_msg=path)
  else:
    assert one == other or one != one and other != other, path


def evaluations(base_dir) -> bytes:
  """What a run's table of evaluations holds, to the bit."""
  return (pathlib.Path(base_dir) / 'evaluations.csv').read_bytes()


def assert_same_run(base_dir, other_dir):
  """Asserts that runs have the same evaluations and the same last state."""
  assert evaluations(base_dir) == evaluations(other_dir)
  (step, state), (other_step, other_state) = map(latest, (base_dir, other_dir))
  assert step == other_step
  assert_same_state(state, other_state)


def interrupt(loop, period):
  """Lets a loop fail as it begins the evaluation after `period` others."""
  begin_evaluation = loop._begin_evaluation

  def fail(number):
    if number == period:
      raise KeyboardInterrupt
    return begin_evaluation(number)

  loop._begin_evaluation = fail
  with pytest.raises(KeyboardInterrupt):
    loop.run_experiment()
  return loop


def interrupt_from(monkeypatch, step):
  """Interrupts runs, from a step on, between evaluation and checkpoint."""
  evaluated = progress.Progress.evaluated

  def interrupt(self, step_, return_mean):
    if step_ >= step:
      raise KeyboardInterrupt
    evaluated(self, step_, return_mean)

  monkeypatch.setattr(progress.Progress, 'evaluated', interrupt)


def resume(make, base_dir, period):
  """Interrupts a run within an episode, and returns a loop that continues it.

  Args:
    make: returns a loop of the run in a directory.
    base_dir: the directory.
    period: see `interrupt`.
  """
  interrupt(make(base_dir), period)
  loop = make(base_dir)
  assert loop.environment.current_time_step().is_mid()
  saved = latest(base_dir)[1]['loop']
  assert loop._episode_return == saved['episode_return'] != 0
  return loop


def masks(agent):
  """The masks of an actor-critic agent's layers."""
  return [
    layer.mask.numpy()
    for layers in agent.networks.layers.values()
    for layer in layers
  ]


class RecordedEnvironment:
  """A MuJoCo environment whose actions and time steps are kept."""

  def __init__(self, seed):
    self._environment = mujoco.create_mujoco_environment(seed=seed)
    self.steps = []

  def __getattr__(self, name):
    return getattr(self._environment, name)

  def reset(self):
    time_step = self._environment.reset()
    self.steps.append((None, time_step))
    return time_step

  def step(self, action):
    time_step = self._environment.step(action)
    self.steps.append((np.array(action), time_step))
    return time_step

  def episodes(self):
    """Returns and lengths of ended episodes; and the return since then."""
    ended, total, length = [], 0.0, 0
    for action, time_step in self.steps:
      if action is not None:
        total += float(time_step.reward)
        length += 1
      if time_step.is_last():
        ended.append((total, length))
        total, length = 0.0, 0
    return ended, total


class ForgetfulEnvironment(RecordedEnvironment):
  """One that cannot be restored within an episode."""

  def get_state(self):
    return {**self._environment.get_state(), 'simulator': None}
