"""The off-policy loop resumes as if it had never stopped."""

import functools
import json

import gin
import numpy as np
import pytest

from helpers import damages, noted_loop, runs

pytestmark = pytest.mark.usefixtures('no_gin_config')


@pytest.mark.parametrize('period', [1, 3])
def test_resumed_run_equals_one_never_stopped(tmp_path, period):
  # 44 steps overwrite the ring of 20 rows twice.
  whole = noted_loop.run(tmp_path / 'whole', train_steps=44)
  make = functools.partial(noted_loop.make, train_steps=44)
  resumed = runs.resume(make, tmp_path / 'cut', period)
  assert resumed.steps_done == 8 * period
  resumed.run_experiment()
  runs.assert_same_run(tmp_path / 'whole', tmp_path / 'cut')
  for name in ('_observations', '_actions', '_rewards', '_discounts'):
    one, other = (getattr(loop._replay, name) for loop in (whole, resumed))
    kept = np.arange(20)
    kept = (whole._replay._count - 20 + kept) % len(one)
    np.testing.assert_array_equal(one[kept], other[kept])
  assert len(resumed.agent.batches) == len(whole.agent.batches) == 34


def test_resumed_sac_equals_one_never_stopped(tmp_path):
  make = functools.partial(
    noted_loop.make,
    create_agent=gin.REQUIRED,
    create_replay=gin.REQUIRED,
    train_steps=32,
  )
  whole = make(tmp_path / 'whole')
  masks = runs.masks(whole.agent)
  whole.run_experiment()
  resumed = runs.resume(make, tmp_path / 'cut', 3)
  assert resumed.steps_done == 24
  resumed.run_experiment()
  # Weights, masks, slots, targets, temperature, random streams, simulator.
  runs.assert_same_run(tmp_path / 'whole', tmp_path / 'cut')
  after = runs.masks(resumed.agent)
  assert any((a != b).any() for a, b in zip(masks, after))
  described = json.loads(json.dumps(resumed.describe()))
  assert described == json.loads(json.dumps(whole.describe()))
  assert described['gradient_steps'] == 22
  assert resumed.title == 'RigL at 50 % sparsity'


def test_seed_decides_the_run(tmp_path):
  loops = [
    noted_loop.run(tmp_path / name, seed=seed)
    for name, seed in (('a', 0), ('b', 0), ('c', 1))
  ]
  actions = [np.stack([t[1] for t in loop._replay.added]) for loop in loops]
  rewards = [np.stack([t[0] for t in loop._replay.added]) for loop in loops]
  for found in (actions, rewards):
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()
  tables = [runs.evaluations(tmp_path / name) for name in 'abc']
  assert tables[0] == tables[1] != tables[2]


def _files(base_dir):
  return {path.name for path in (base_dir / 'replay').iterdir()}


def _needed(checkpointer, *steps):
  return {
    segment['file']
    for step in steps
    for segment in checkpointer.load(step)['loop']['replay']['segments']
  }


def test_files_of_the_replay_are_those_of_the_checkpoints(tmp_path):
  noted_loop.run(tmp_path, train_steps=44)
  checkpointer = runs.checkpointer(tmp_path)
  assert checkpointer.steps() == [40, 44]
  assert _files(tmp_path) == _needed(checkpointer, 40, 44)
  # Resumed, it keeps the older one's files until the next checkpoint is there.
  loop = noted_loop.make(tmp_path, train_steps=44)
  assert loop.steps_done == 44
  assert _files(tmp_path) == _needed(checkpointer, 40, 44)


def test_files_of_the_replay_after_a_restart(tmp_path):
  runs.interrupt(noted_loop.make(tmp_path, train_steps=44), 3)
  runs.interrupt(noted_loop.make(tmp_path, train_steps=44), 4)
  checkpointer = runs.checkpointer(tmp_path)
  assert checkpointer.steps() == [24, 32]
  needed = _needed(checkpointer, 24, 32)
  assert needed > _needed(checkpointer, 32)
  assert _files(tmp_path) == needed


@pytest.mark.parametrize('damaged', ['state', 'arrays', 'replay'])
def test_damaged_newest_checkpoint(tmp_path, damaged):
  noted_loop.run(tmp_path / 'whole', train_steps=44)
  noted_loop.run(tmp_path / 'torn', train_steps=44)
  newest = tmp_path / 'torn' / 'checkpoints' / 'ckpt-44'
  if damaged == 'replay':
    checkpointer = runs.checkpointer(tmp_path / 'torn')
    older, newer = (
      [s['file'] for s in checkpointer.load(step)['loop']['replay']['segments']]
      for step in (40, 44)
    )
    (name,) = set(newer) - set(older)
    path = tmp_path / 'torn' / 'replay' / name
  else:
    path = newest / {'state': 'state.json', 'arrays': 'arrays.npz'}[damaged]
  damages.flip_byte(path)
  loop = noted_loop.make(tmp_path / 'torn', train_steps=44)
  assert loop.steps_done == 40
  loop.run_experiment()
  runs.assert_same_run(tmp_path / 'whole', tmp_path / 'torn')


def test_episode_that_cannot_be_continued(tmp_path):
  """Another one begins, and no transition leads from the one to the other."""
  arguments = {
    'create_environment': runs.ForgetfulEnvironment,
    'train_steps': 44,
  }
  runs.interrupt(noted_loop.make(tmp_path, **arguments), 2)
  loop = noted_loop.make(tmp_path, **arguments)
  loop.run_experiment()
  (action, first), (next_action, _), *_ = loop.environment.steps
  assert action is None and next_action is not None
  observation, *_ = loop._replay.added[0]
  np.testing.assert_array_equal(observation, first.observation)
  for *transition, _ in loop._replay.added:
    assert transition[2] != 0  # The reward, which a reset has not.
