"""Transitions for replay buffers, and a plain buffer beside ours."""

import numpy as np
from dopamine.replay_memory import circular_replay_buffer

from rigl_rl.replay import circular_buffer


def scalars(capacity=10, batch_size=4, **kwargs):
  """A buffer of observations of one number."""
  kwargs = {
    'stack_size': 1,
    'observation_dtype': np.float32,
    'seed': 0,
    **kwargs,
  }
  return circular_buffer.ReplayBuffer(
    (1,), replay_capacity=capacity, batch_size=batch_size, **kwargs
  )


def add(buffer, *observations, terminal=False, cut=False):
  """Adds transitions; the last one ends an episode if asked to.

  The action is the observation, the reward ten times it.
  """
  for i, observation in enumerate(observations):
    last = i == len(observations) - 1
    buffer.add(
      np.array([observation], np.float32),
      observation,
      10 * observation,
      terminal and last,
      episode_end=cut and last,
    )


def valid_slots(buffer):
  return sorted(buffer._valid_slots().tolist())


def episode_ends(buffer):
  """The slots that hold the last transition of an episode."""
  return set(np.flatnonzero(buffer._columns['episode_end']).tolist())


def gather(buffer, slots):
  return buffer._gather(np.array(slots))._asdict()


def assert_uniform(counts):
  """Asserts that draws are uniform: χ² is within four standard deviations."""
  expected = counts.sum() / len(counts)
  chi_square = ((counts - expected) ** 2 / expected).sum()
  freedom = len(counts) - 1
  assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


class Twins:
  """Dopamine's buffer and ours, which get the same random transitions."""

  def __init__(self, stack_size, horizon, capacity, dtype, seed, shape=(3, 2)):
    self.rng = np.random.default_rng(seed)
    self.shape = shape
    self.dtype = dtype
    self.ours = self.make(
      circular_buffer.ReplayBuffer, stack_size, horizon, capacity, seed=1
    )
    self.theirs = self.make(
      circular_replay_buffer.OutOfGraphReplayBuffer,
      stack_size,
      horizon,
      capacity,
    )

  def make(self, cls, stack_size, horizon, capacity, **kwargs):
    return cls(
      self.shape,
      stack_size=stack_size,
      replay_capacity=capacity,
      batch_size=7,
      update_horizon=horizon,
      gamma=0.9,
      observation_dtype=self.dtype,
      **kwargs,
    )

  def add(self, count, p_terminal, p_cut):
    rng = self.rng
    for _ in range(count):
      transition = (
        rng.integers(0, 256, self.shape).astype(self.dtype),
        int(rng.integers(5)),
        float(rng.normal()),
        bool(rng.random() < p_terminal),
      )
      episode_end = bool(rng.random() < p_cut)
      for buffer in (self.ours, self.theirs):
        buffer.add(*transition, episode_end=episode_end)


def assert_same(ours, theirs):
  """Compares all that decides what is sampled."""
  capacity = ours.capacity
  assert ours.add_count == theirs.add_count
  assert episode_ends(ours) == theirs.episode_end_indices
  filled = min(int(theirs.add_count), capacity)
  for name, column in ours.stored(*theirs._store).items():
    np.testing.assert_array_equal(column, theirs._store[name][:filled])
  valid = [i for i in range(capacity) if theirs.is_valid_transition(i)]
  # Where episodes are cut, Dopamine's may be others: see log_test.
  ends = sorted(theirs.episode_end_indices)
  is_cut = not theirs._store['terminal'][ends].all()
  if not is_cut or ours._stack_size == ours._update_horizon == 1:
    assert valid_slots(ours) == valid

  # In a full buffer any slot can be asked for.
  indices = list(range(capacity)) if theirs.is_full() else valid
  if not indices:
    return
  expected = dict(
    zip(
      [element.name for element in theirs.get_transition_elements()],
      theirs.sample_transition_batch(len(indices), indices),
    )
  )
  for name, actual in gather(ours, indices).items():
    if name != 'terminal':
      assert actual.dtype == expected[name].dtype, name
    assert actual.shape == expected[name].shape, name
    assert actual.flags.c_contiguous and actual.flags.writeable, name
    np.testing.assert_array_equal(actual, expected[name], err_msg=name)
