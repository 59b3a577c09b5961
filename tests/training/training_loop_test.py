"""Tests of TrainingLoop and TFAgentsLoop: an agent that counts, on Pendulum."""

import errno
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.trajectories import time_step as ts

from helpers import summaries
from rigl_rl import files
from rigl_rl.environments import mujoco
from rigl_rl.errors import UserError
from rigl_rl.replay import ring
from rigl_rl.training import (
  checkpointing,
  record,
  run_directory,
  tf_agents_loop,
)

# Of periods of 3 steps, in 14 steps.
_ENDS = [3, 6, 9, 12, 14]


class _Agent:
  """Its action, and all of its state, is how often it was trained."""

  title = 'Counting'

  def __init__(self):
    self.count = 0

  def greedy_policy(self):
    torque = 2 * np.sin(np.float32(self.count))
    return lambda observations: np.full((len(observations), 1), torque)

  last_loss = None

  def write_summaries(self):
    tf.summary.scalar('agent/count', self.count)

  def describe(self):
    return {'parameters': 1}

  def get_state(self):
    return {'count': self.count}

  def set_state(self, state):
    self.count = state['count']


_SPOILED = {
  'agent': {'agent': None},
  'environment': {'environment': {'env_name': 'Pendulum-v1', 'seed': 1}},
  'loop': {'loop': {}},
  'periods': {'periods_done': 'two'},
}


class _CountingLoop(tf_agents_loop.TFAgentsLoop):
  """Steps at random; its own state is the number of episodes that ended."""

  def __init__(
    self,
    base_dir,
    seed=0,
    agent=None,
    fail_in_period=None,
    wrap=lambda environment: environment,
    evaluation_episodes=2,
    checkpoint_period=1,
    replay=None,
  ):
    self.episodes = 0
    self.saved = []
    self._fail_in_period = fail_in_period
    super().__init__(
      _create_environment,
      evaluation_episodes,
      run_directory=run_directory.RunDirectory(str(base_dir)),
      seed=seed,
      train_steps=14,
      agent=agent or _Agent(),
      environment=wrap(_create_environment(seed)),
      evaluation_period=3,
      checkpoint_period=checkpoint_period,
      replay=replay,
    )

  def train(self, end_step):
    if end_step == self._fail_in_period:
      raise KeyboardInterrupt
    self._begin()
    episodes = []
    while self.steps_done < end_step:
      self.agent.count += 1
      time_step = self.environment.step(np.zeros(1, np.float32))
      ended = []
      self._go_on(time_step, ended)
      for _, length in ended:
        self.episodes += 1
        episodes.append((-float(self.episodes), length))
      self._count_step()
    return episodes

  def _get_state(self):
    return {**super()._get_state(), 'episodes': self.episodes}

  def _set_state(self, state):
    super()._set_state(state)
    self.episodes = state['episodes']

  def _save_checkpoint(self):
    super()._save_checkpoint()
    self.saved.append((self.steps_done, self.episodes))


def _create_environment(seed):
  return mujoco.create_mujoco_environment(
    'Pendulum-v1', seed=seed, max_episode_steps=4
  )


def _run(base_dir, **arguments):
  loop = _CountingLoop(base_dir, **arguments)
  loop.run_experiment()
  return loop


def _evaluations(base_dir):
  return (base_dir / 'evaluations.csv').read_bytes()


def _checkpoints(base_dir):
  return checkpointing.Checkpointer(str(base_dir / 'checkpoints'))


def test_evaluations_and_what_is_reported_of_them(tmp_path):
  loop = _run(tmp_path)
  rows = record.read_evaluations(str(tmp_path))
  assert [row['step'] for row in rows] == _ENDS
  assert loop.steps_done == loop.agent.count == 14
  for row in rows:
    assert row['episodes'] == 2
    assert row['return_std'] > 0  # Each episode begins in a state of its own.
  timing = (tmp_path / 'timing.csv').read_text().splitlines()
  assert [int(line.split(',')[0]) for line in timing[1:]] == _ENDS
  seconds = [float(line.split(',')[1]) for line in timing[1:]]
  assert 0 < seconds[0] and seconds == sorted(seconds)

  scalars = summaries.scalars(tmp_path / 'events')
  assert scalars['agent/count'] == [(end, end) for end in _ENDS]
  assert [step for step, _ in scalars['train/steps_per_second']] == _ENDS
  assert scalars['evaluation/return'] == [
    (row['step'], pytest.approx(row['return_mean'], rel=1e-5)) for row in rows
  ]
  # Episodes of 4 steps end in the second, third and fourth period.
  assert scalars['train/return'] == [(6, -1), (9, -2), (12, -3)]
  assert scalars['train/episode_length'] == [(6, 4), (9, 4), (12, 4)]
  assert loop.title == 'Counting' and loop.describe() == {'parameters': 1}


def test_evaluation_is_that_of_the_policy_and_the_seed(tmp_path, monkeypatch):
  seeds = []
  seed = mujoco.MujocoEnvironment.seed

  def recorded(self, number):
    seeds.append(number)
    seed(self, number)

  monkeypatch.setattr(mujoco.MujocoEnvironment, 'seed', recorded)
  returns = {}
  for name, number in (('a', 0), ('b', 0), ('c', 1)):
    _run(tmp_path / name, seed=number)
    returns[name] = _evaluations(tmp_path / name)
  assert returns['a'] == returns['b'] != returns['c']
  assert len(seeds) == 3 * 2 * len(_ENDS)
  assert len(set(seeds)) == 2 * 2 * len(_ENDS)


def test_evaluation_leaves_training_alone(tmp_path):
  states = [
    _run(
      tmp_path / str(episodes), evaluation_episodes=episodes
    ).environment.get_state()
    for episodes in (1, 5)
  ]
  tf.nest.map_structure(np.testing.assert_array_equal, *states)


@pytest.mark.parametrize(
  'period, saved', [(1, _ENDS), (2, [6, 12, 14]), (5, [14]), (9, [14])]
)
def test_checkpoints(tmp_path, period, saved):
  loop = _run(tmp_path, checkpoint_period=period)
  assert [step for step, _ in loop.saved] == saved
  assert _checkpoints(tmp_path).steps() == saved[-2:]
  assert loop.saved[-1][1] == loop.episodes == 3


@pytest.mark.parametrize('period', [1, 2])
def test_resumed_run_equals_one_never_stopped(tmp_path, period):
  whole = _run(tmp_path / 'whole', checkpoint_period=period)
  with pytest.raises(KeyboardInterrupt):
    _run(tmp_path / 'cut', fail_in_period=12, checkpoint_period=period)
  # All evaluations are there, though the last may be trained again.
  rows = record.read_evaluations(str(tmp_path / 'cut'))
  assert [row['step'] for row in rows] == [3, 6, 9]

  resumed = _CountingLoop(tmp_path / 'cut', checkpoint_period=period)
  assert resumed.steps_done == resumed.agent.count == (9 if period == 1 else 6)
  assert resumed._observation is not None  # In mid-episode, both of them.
  before = resumed._run_directory.elapsed_seconds
  resumed.run_experiment()
  assert resumed._run_directory.elapsed_seconds > before > 0
  assert _evaluations(tmp_path / 'cut') == _evaluations(tmp_path / 'whole')
  assert resumed.episodes == whole.episodes
  states = [
    _checkpoints(tmp_path / name).load_latest()[1] for name in ('whole', 'cut')
  ]
  tf.nest.map_structure(np.testing.assert_array_equal, *states)


def test_resumed_at_its_end(tmp_path):
  """Killed between the last checkpoint and the summary."""
  _run(tmp_path)
  before = _evaluations(tmp_path)
  loop = _run(tmp_path, fail_in_period=14)  # It does not get there.
  assert loop.steps_done == 14 and loop.saved == []
  assert len(loop._run_directory.evaluations) == len(_ENDS)
  assert _evaluations(tmp_path) == before


def _damage(base_dir, step):
  path = base_dir / 'checkpoints' / f'ckpt-{step}' / 'state.json'
  path.write_bytes(path.read_bytes()[:-20])


def test_damaged_checkpoint(tmp_path, caplog, user_error):
  _run(tmp_path / 'whole')
  _run(tmp_path / 'torn')
  _damage(tmp_path / 'torn', 14)
  loop = _CountingLoop(tmp_path / 'torn')
  assert loop.steps_done == loop.agent.count == 12
  assert 'ckpt-14' in caplog.text
  assert len(loop._run_directory.evaluations) == 4
  loop.run_experiment()
  assert _evaluations(tmp_path / 'torn') == _evaluations(tmp_path / 'whole')
  assert _checkpoints(tmp_path / 'torn').steps() == [12, 14]

  # Both: they may still be repaired.
  for step in (12, 14):
    _damage(tmp_path / 'torn', step)
  with user_error('none can be used', 'ckpt-12/', 'ckpt-14/', '--base_dir'):
    _CountingLoop(tmp_path / 'torn')
  assert _checkpoints(tmp_path / 'torn').steps() == [12, 14]


def test_state_that_is_refused(tmp_path):
  """As a loop does whose replay is damaged."""
  _run(tmp_path)

  class Fussy(_CountingLoop):
    def _set_state(self, state):
      super()._set_state(state)
      if state['episodes'] == 3 and not refused:
        refused.append(state)
        raise ValueError('The replay is damaged.')

  refused = []
  loop = Fussy(tmp_path)
  assert refused and loop.steps_done == loop.agent.count == 12


@pytest.mark.parametrize('part', ['agent', 'environment', 'loop', 'periods'])
def test_nothing_stays_of_a_checkpoint_that_is_refused(tmp_path, part):
  """It fails at one of its parts, when others have been set."""
  _run(tmp_path)
  checkpointer = _checkpoints(tmp_path)
  fresh = _CountingLoop(tmp_path / 'fresh')._get_whole_state()
  checkpointer.save(99, {**checkpointer.load_latest()[1], **_SPOILED[part]})
  shutil.rmtree(tmp_path / 'checkpoints' / 'ckpt-14')
  seen = []

  class Watched(_CountingLoop):
    def _set_whole_state(self, state):
      super()._set_whole_state(state)
      seen.append(state)

  with pytest.raises(UserError, match='ckpt-99 cannot be used'):
    Watched(tmp_path)
  # What it was before was put back, and complete.
  (undone,) = seen
  tf.nest.map_structure(np.testing.assert_array_equal, undone, fresh)


def test_error_in_training_loses_nothing(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    _run(tmp_path, fail_in_period=9)
  rows = record.read_evaluations(str(tmp_path))
  assert [row['step'] for row in rows] == [3, 6]
  assert _checkpoints(tmp_path).steps() == [3, 6]
  counts = summaries.scalars(tmp_path / 'events')['agent/count']
  assert [step for step, _ in counts] == [3, 6]


class _Forgetful:
  """An environment that cannot be restored within an episode."""

  def __init__(self, environment):
    self._environment = environment

  def __getattr__(self, name):
    return getattr(self._environment, name)

  def get_state(self):
    return {**self._environment.get_state(), 'simulator': None}


def test_episode_that_cannot_be_continued(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    _run(tmp_path, fail_in_period=9, wrap=_Forgetful)
  loop = _CountingLoop(tmp_path, wrap=_Forgetful)
  assert loop.environment.current_time_step().step_type == ts.StepType.LAST
  assert loop._observation is None and loop.steps_done == 6
  assert loop._episode_return == 0


class _Replay(ring.Ring):
  """Counts in files of its own."""

  def __init__(self):
    rng = np.random.default_rng(0)
    super().__init__(50, 1, {'count': np.zeros(50)}, {}, rng)

  def save(self, directory):
    self._columns['count'][self._count] = self._count
    self._count += 1
    return super().save(directory)

  def _get_state(self):
    return {}

  def _set_state(self, manifest):
    pass


def test_a_full_disk_at_any_moment(tmp_path, monkeypatch):
  """The n-th write fails: nothing of it stays, and the run continues."""
  _run(tmp_path / 'whole', replay=_Replay())
  create, left = files.create, [0]

  def failing(path, flush=True):
    left[0] -= 1
    if left[0] == 0:
      raise files.WriteError(errno.ENOSPC, 'No space left on device', path)
    return create(path, flush)

  monkeypatch.setattr(files, 'create', failing)
  for n in range(1, 100):
    directory = tmp_path / str(n)
    left[0] = n
    try:
      _run(directory, replay=_Replay())
    except files.WriteError:
      names = {path.name for path in directory.rglob('*')}
      assert not [name for name in names if '.tmp' in name]
      states = [path.read_text() for path in directory.glob('*/*/state.json')]
      for path in directory.glob('replay/*'):
        assert any(path.name in state for state in states)
      _run(directory, replay=_Replay())
      assert _evaluations(directory) == _evaluations(tmp_path / 'whole')
      continue
    break
  assert n > 20
