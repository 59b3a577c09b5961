"""Tests of rigl_rl.replay.transition_buffer, beside those of contract_test."""

import copy
import os

import numpy as np
import pytest

from helpers import transitions
from rigl_rl import errors
from rigl_rl.replay import ring, transition_buffer

_SHAPES = (4,), (2,)


def _make(capacity, batch_size=8, seed=0, shapes=_SHAPES):
  return transition_buffer.TransitionBuffer(
    *shapes, seed=seed, capacity=capacity, batch_size=batch_size
  )


class _Walk:
  """Random episodes: terminated, cut by a time limit, or just broken off.

  Each transition has a reward of its own, by which it is known again.
  """

  def __init__(self, seed, p_last=0.2, p_break=0.05):
    self.rng = np.random.default_rng(seed)
    self.p_last = p_last
    self.p_break = p_break
    self.count = 0
    self.observation = self._draw()

  def _draw(self):
    return self.rng.normal(size=4)

  def step(self):
    is_last = bool(self.rng.random() < self.p_last)
    is_terminal = is_last and bool(self.rng.random() < 0.5)
    following = self._draw()
    transition = (
      self.observation,
      self.rng.normal(size=2),
      np.float32(self.count),
      np.float32(not is_terminal),
      following,
      is_last,
    )
    self.count += 1
    broken = self.rng.random() < self.p_break
    self.observation = self._draw() if is_last or broken else following
    return transition


class _Naive:
  """The rows of a buffer as a list: a transition, or None at an end."""

  def __init__(self, capacity):
    self.capacity = capacity
    self.rows = []
    self.open = None

  def add(self, *transition):
    observation, _, _, _, following, is_last = transition
    if self.open is not None and not np.array_equal(self.open, observation):
      self.rows.append(None)
    self.rows.append(transition[:5])
    self.open = following
    if is_last:
      self.rows.append(None)
      self.open = None

  def valid(self):
    """{reward: transition} of those that are kept."""
    kept = self.rows[-self.capacity :]
    return {float(row[2]): row for row in kept if row is not None}


def _assert_samples_are(buffer, valid):
  """Every transition of a large sample is a valid one, and none is missing."""
  batch = buffer.sample()
  assert set(batch.reward.tolist()) == set(valid)
  rows = [valid[reward] for reward in batch.reward.tolist()]
  for column, expected in zip(batch, zip(*rows)):
    expected = np.stack(expected).astype(np.float32)
    assert column.tobytes() == expected.tobytes()


@pytest.mark.parametrize('capacity', [2, 3, 5, 12, 40])
@pytest.mark.parametrize(
  'p_last, p_break', [(0.0, 0.0), (0.15, 0.0), (1.0, 0.0), (0.3, 0.2)]
)
def test_against_a_list(capacity, p_last, p_break):
  walk = _Walk(capacity, p_last, p_break)
  naive = _Naive(capacity)
  buffer = _make(capacity, batch_size=20 * capacity)
  for _ in range(4 * capacity + 20):
    transition = walk.step()
    naive.add(*transition)
    buffer.add(*transition)
    _assert_samples_are(buffer, naive.valid())


def test_capacity_counts_ends():
  """By hand: two episodes of two, each with a row for its end, then one."""
  buffer = _make(capacity=4, batch_size=200, shapes=((), ()))
  kept = []
  for observation, is_last in ((1, 0), (2, 1), (11, 0), (12, 1), (21, 0)):
    buffer.add(observation, 0, observation, 1, observation + 1, is_last)
    kept.append(sorted(set(buffer.sample().observation.tolist())))
  # Rows: 1 2 end 11 12 end 21.
  assert kept == [[1], [1, 2], [1, 2, 11], [11, 12], [11, 12, 21]]


def test_an_end_shared_by_two_episodes():
  """An episode that begins where the last one ended; -0.0 is not 0.0."""
  buffer = _make(capacity=10, batch_size=100, shapes=((), ()))
  buffer.add(1, 0, 0, 1, 2, True)
  buffer.add(2, 0, 1, 1, 0.0, False)
  buffer.add(-0.0, 0, 2, 1, np.nan, False)
  buffer.add(np.nan, 0, 3, 1, 5, False)
  batch = buffer.sample()
  ends = {r: n for r, n in zip(batch.reward, batch.next_observation)}
  starts = {r: o for r, o in zip(batch.reward, batch.observation)}
  assert not np.signbit(ends[1]) and np.signbit(starts[2])
  assert np.isnan(ends[2]) and np.isnan(starts[3])
  assert (ends[0], ends[3], len(ends)) == (2, 5, 4)


def test_capacity_of_one_is_a_user_error():
  # An end would fill it.
  with pytest.raises(errors.UserError, match=r'in \[2, 1000000000\]'):
    _make(capacity=1)


# -------------------------------------------------------------------- sampling


@pytest.mark.parametrize('capacity', [30, 1000])
def test_sampling_is_uniform(capacity):
  buffer = _make(capacity, batch_size=100)
  walk = _Walk(0, p_last=0.4)
  naive = _Naive(capacity)
  for _ in range(60):
    transition = walk.step()
    buffer.add(*transition)
    naive.add(*transition)
  counts = np.zeros(60)
  for _ in range(500):
    rewards = buffer.sample().reward.astype(int)
    np.add.at(counts, rewards, 1)
  valid = [int(reward) for reward in naive.valid()]
  assert counts.sum() == counts[valid].sum() == 50_000
  transitions.assert_uniform(counts[valid])


def test_seed_decides_the_samples():
  def samples(seed):
    buffer = _make(100, seed=seed)
    walk = _Walk(0)
    for _ in range(50):
      buffer.add(*walk.step())
    return [buffer.sample().reward.tolist() for _ in range(5)]

  assert samples(1) == samples(1)
  assert samples(1) != samples(2)


def test_sampling_leaves_the_global_generator_alone():
  buffer = _make(10)
  buffer.add(*_Walk(0).step())
  np.random.seed(0)
  expected = np.random.random()
  np.random.seed(0)
  buffer.sample()
  assert np.random.random() == expected


@pytest.mark.skipif(
  not os.path.exists('/proc/self/statm'), reason='reads the memory from Linux'
)
def test_memory_is_taken_as_the_buffer_fills():
  def resident():
    with open('/proc/self/statm') as f:
      return int(f.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

  before = resident()
  buffer = _make(1_000_000, shapes=((376,), (17,)))
  for i in range(100):
    buffer.add(np.full(376, i), np.zeros(17), 0, 1, np.full(376, i + 1), False)
  buffer.sample()
  # Whole, it takes 1.6 GB.
  assert resident() - before < 100e6


# ---------------------------------------------------------------- checkpoints


def _assert_continue_alike(buffers, walk):
  for _ in range(25):
    batches = [buffer.sample() for buffer in buffers]
    for first, second in zip(*batches):
      assert first.tobytes() == second.tobytes()
    transition = walk.step()
    for buffer in buffers:
      buffer.add(*transition)


@pytest.mark.parametrize('capacity', [2, 7, 23])
def test_a_restored_buffer_continues_to_the_bit(
  tmp_path, monkeypatch, capacity
):
  monkeypatch.setattr(ring, 'SEGMENT_SIZE', 6)
  walk = _Walk(capacity)
  buffer, never_saved = _make(capacity), _make(capacity)
  for moment in range(12):
    for _ in range(int(walk.rng.integers(1, 13))):
      transition = walk.step()
      buffer.add(*transition)
      never_saved.add(*transition)
    manifest = copy.deepcopy(buffer.save(str(tmp_path)))
    restored = _make(capacity, seed=1000)
    if moment % 2:  # What is in the buffer before has to go.
      other = _Walk(5)
      for _ in range(30):
        restored.add(*other.step())
    restored.load(str(tmp_path), manifest)
    _assert_continue_alike((restored, never_saved), walk)
    buffer = restored  # So the next save builds on loaded files.


def test_a_save_writes_only_what_is_new(tmp_path):
  buffer = _make(1000)
  walk = _Walk(0, p_last=0.0, p_break=0.0)
  for _ in range(300):
    buffer.add(*walk.step())
  buffer.save(str(tmp_path))
  files = {
    path: (path.stat().st_mtime_ns, path.stat().st_size)
    for path in tmp_path.iterdir()
  }
  for _ in range(5):
    buffer.add(*walk.step())
  manifest = buffer.save(str(tmp_path))
  for path, (time, _) in files.items():
    assert path.stat().st_mtime_ns == time
  (new,) = set(tmp_path.iterdir()) - set(files)
  assert new.name.startswith('replay-000000000300-000000000305-')
  assert len(manifest['segments']) == 2


def test_an_episode_continues_after_a_load(tmp_path):
  """The row of the next observation is open when the buffer is saved."""
  buffer = _make(10, batch_size=50, shapes=((), ()))
  buffer.add(1, 0, 0, 1, 2, False)
  manifest = buffer.save(str(tmp_path))
  assert manifest['next_observation'].tolist() == 2
  restored = _make(10, batch_size=50, shapes=((), ()))
  restored.load(str(tmp_path), manifest)
  assert set(restored.sample().next_observation) == {2}
  restored.add(2, 0, 1, 1, 3, True)
  manifest = restored.save(str(tmp_path))
  assert manifest['next_observation'] is None
  assert manifest['count'] == 3  # Two transitions and an end.


def test_equal_contents_make_equal_files(tmp_path):
  names = []
  for name in ('a', 'b'):
    (tmp_path / name).mkdir()
    buffer = _make(20)
    walk = _Walk(3, p_last=0.5)
    for _ in range(50):
      buffer.add(*walk.step())
    names.append(buffer.save(str(tmp_path / name))['segments'])
  assert names[0] == names[1]
