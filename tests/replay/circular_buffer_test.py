"""Tests of rigl_rl.replay.circular_buffer."""

import json
import os
import zipfile

import gin
import numpy as np
import pytest
from dopamine.replay_memory import circular_replay_buffer

from rigl_rl import errors
from rigl_rl.replay import circular_buffer, segments


def _scalars(capacity=10, batch_size=4, **kwargs):
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


def _add(buffer, *observations, terminal=False, cut=False):
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


def _valid(buffer):
  return sorted(buffer._valid_slots().tolist())


def _ends(buffer):
  """The slots that hold the last transition of an episode."""
  return set(np.flatnonzero(buffer._columns['episode_end']).tolist())


def _gather(buffer, slots):
  return buffer._gather(np.array(slots))._asdict()


# --------------------------------------------------------------------- by hand


def test_transitions_by_hand():
  buffer = _scalars()
  _add(buffer, 1, 2, 3, terminal=True)
  _add(buffer, 4, 5)
  assert buffer.add_count == 5
  assert _ends(buffer) == {2}
  # The last one has no next state yet.
  assert _valid(buffer) == [0, 1, 2, 3]
  batch = _gather(buffer, [0, 2, 3])
  assert batch['state'].tolist() == [[[1]], [[3]], [[4]]]
  assert batch['action'].tolist() == [1, 3, 4]
  assert batch['reward'].tolist() == [10, 30, 40]
  assert batch['next_state'][[0, 2]].tolist() == [[[2]], [[5]]]
  assert batch['terminal'].tolist() == [False, True, False]


def test_a_cut_is_no_transition():
  buffer = _scalars()
  _add(buffer, 1, 2, 3, cut=True)
  _add(buffer, 4, 5)
  assert _ends(buffer) == {2}
  assert _valid(buffer) == [0, 1, 3]


def test_a_full_buffer_by_hand():
  buffer = _scalars(capacity=5)
  _add(buffer, 1, 2, 3, 4, 5, 6, 7)
  assert buffer.add_count == 7
  # Slots: 6, 7, 3, 4, 5. The oldest lies under the cursor; the newest, in
  # slot 1, has no next state.
  assert _valid(buffer) == [0, 3, 4]
  batch = _gather(buffer, [0, 3, 4])
  assert batch['state'].ravel().tolist() == [6, 4, 5]
  assert batch['next_state'].ravel().tolist() == [7, 5, 6]


def test_stacks_by_hand():
  buffer = _scalars(capacity=20, stack_size=3)
  _add(buffer, 1, 2, terminal=True)
  _add(buffer, 3, 4, 5)
  # Slots: 0 0 1 2 | 0 0 3 4 5. The zeros of the second episode cannot be
  # sampled: there is a terminal transition in their stack.
  assert buffer.add_count == 9
  assert _valid(buffer) == [2, 3, 6, 7]
  batch = _gather(buffer, [2, 3, 6, 7])
  assert batch['state'].tolist() == [
    [[0, 0, 1]],
    [[0, 1, 2]],
    [[0, 0, 3]],
    [[0, 3, 4]],
  ]
  assert batch['next_state'][[0, 2, 3]].tolist() == [
    [[0, 1, 2]],
    [[0, 3, 4]],
    [[3, 4, 5]],
  ]


def test_n_steps_by_hand():
  buffer = _scalars(update_horizon=3, gamma=0.5)
  _add(buffer, 1, 2, 3, 4, terminal=True)
  _add(buffer, 5, 6, 7, 8, cut=True)
  _add(buffer, 9)
  # 6, 7 and 8 do not reach three steps within their episode; 9 is too new.
  assert _valid(buffer) == [0, 1, 2, 3, 4]
  batch = _gather(buffer, [0, 1, 2, 3, 4])
  assert batch['reward'].tolist() == [
    10 + 10 + 7.5,
    20 + 15 + 10,
    30 + 20,
    40,
    50 + 30 + 17.5,
  ]
  assert batch['terminal'].tolist() == [0, 1, 1, 1, 0]
  assert batch['next_state'][[0, 4]].ravel().tolist() == [4, 8]


# ------------------------------------------------------------ against Dopamine


class _Twins:
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


def _assert_same(ours, theirs):
  """Compares all that decides what is sampled."""
  capacity = ours.capacity
  assert ours.add_count == theirs.add_count
  assert _ends(ours) == theirs.episode_end_indices
  filled = min(int(theirs.add_count), capacity)
  for name, column in ours.stored(*theirs._store).items():
    np.testing.assert_array_equal(column, theirs._store[name][:filled])
  valid = [i for i in range(capacity) if theirs.is_valid_transition(i)]
  # Where episodes are cut, Dopamine's may be others: see log_test.
  ends = sorted(theirs.episode_end_indices)
  is_cut = not theirs._store['terminal'][ends].all()
  if not is_cut or ours._stack_size == ours._update_horizon == 1:
    assert _valid(ours) == valid

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
  for name, actual in _gather(ours, indices).items():
    if name != 'terminal':
      assert actual.dtype == expected[name].dtype, name
    assert actual.shape == expected[name].shape, name
    assert actual.flags.c_contiguous and actual.flags.writeable, name
    np.testing.assert_array_equal(actual, expected[name], err_msg=name)


@pytest.mark.parametrize('stack_size', [1, 2, 4])
@pytest.mark.parametrize('horizon', [1, 3, 5])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize(
  'p_terminal, p_cut', [(0.0, 0.0), (0.1, 0.0), (0.0, 0.15), (0.2, 0.2)]
)
def test_same_as_dopamine(stack_size, horizon, dtype, p_terminal, p_cut):
  for seed, capacity in enumerate([stack_size + horizon + 1, 11, 37]):
    twins = _Twins(stack_size, horizon, capacity, dtype, seed)
    _assert_same(twins.ours, twins.theirs)
    for _ in range(14):
      twins.add(int(twins.rng.integers(1, 9)), p_terminal, p_cut)
      _assert_same(twins.ours, twins.theirs)


@pytest.mark.parametrize('shape', [(), (4,), (4, 1), (5, 3, 1)])
@pytest.mark.parametrize('stack_size', [1, 4])
def test_shapes_of_observations(shape, stack_size):
  twins = _Twins(stack_size, 1, 23, np.uint8, seed=0, shape=shape)
  twins.add(50, 0.1, 0.1)
  _assert_same(twins.ours, twins.theirs)


def test_a_long_horizon_sums_the_same():
  twins = _Twins(1, 7, 60, np.float32, seed=0)
  twins.add(200, 0.05, 0.02)
  _assert_same(twins.ours, twins.theirs)


# -------------------------------------------------------------------- sampling


@pytest.mark.parametrize('max_sample_attempts', [1, 1000])
@pytest.mark.parametrize('full', [False, True])
def test_sampling_is_uniform_over_the_valid(max_sample_attempts, full):
  """With one attempt nearly every batch is drawn from the list of the valid."""
  buffer = _scalars(
    capacity=60 if full else 500,
    batch_size=50,
    stack_size=4,
    update_horizon=3,
    max_sample_attempts=max_sample_attempts,
  )
  rng = np.random.default_rng(0)
  for _ in range(12):
    _add(
      buffer,
      *range(int(rng.integers(2, 9))),
      terminal=rng.random() < 0.5,
      cut=True,
    )
  assert (buffer.add_count >= buffer.capacity) == full
  valid = _valid(buffer)
  first, end = buffer._reachable()
  assert 10 < len(valid) < 0.8 * (end - first)
  counts = np.zeros(buffer.capacity)
  for _ in range(1000):
    indices = buffer._draw()
    assert indices.shape == (50,)
    np.add.at(counts, indices, 1)
  assert counts.sum() == counts[valid].sum() == 50_000
  expected = 50_000 / len(valid)
  chi_square = ((counts[valid] - expected) ** 2 / expected).sum()
  freedom = len(valid) - 1
  assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


def test_seed_decides_the_samples():
  def samples(seed):
    buffer = _scalars(capacity=100, seed=seed)
    _add(buffer, *range(90))
    return [buffer.sample().action.tolist() for _ in range(5)]

  assert samples(1) == samples(1)
  assert samples(1) != samples(2)


def test_sampling_leaves_the_global_generator_alone():
  buffer = _scalars()
  _add(buffer, *range(8))
  np.random.seed(0)
  expected = np.random.random()
  np.random.seed(0)
  buffer.sample()
  assert np.random.random() == expected


def test_a_batch_is_a_copy():
  buffer = _scalars()
  _add(buffer, 1, 2, 3)
  for array in _gather(buffer, [0, 1]).values():
    array[...] = 77
  batch = _gather(buffer, [0, 1])
  assert batch['state'].ravel().tolist() == [1, 2]


def test_batch_size():
  buffer = _scalars(batch_size=4)
  _add(buffer, *range(8))
  assert [len(array) for array in buffer.sample()] == [4] * 5


def test_too_few_transitions():
  buffer = _scalars(stack_size=2, update_horizon=2)
  with pytest.raises(errors.UserError, match='update_horizon is 2'):
    buffer.sample()
  _add(buffer, 1, 2)
  with pytest.raises(errors.UserError, match='update_horizon is 2'):
    buffer.sample()
  _add(buffer, 3)
  assert buffer._draw().tolist() == [1, 1, 1, 1]


def test_no_valid_transition():
  buffer = _scalars(update_horizon=3)
  for i in range(4):
    _add(buffer, i, i, cut=True)
  with pytest.raises(errors.UserError, match='each of the 8 transitions'):
    buffer.sample()


# ---------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
  'transition, message',
  [
    ((np.zeros(2), 0, 0.0, False), r'\(2,\), \(\), \(\), but \(1,\)'),
    ((0.0, 0, 0.0, False), r'\(\), \(\), \(\), but \(1,\)'),
    (([[0.0]], 0, 0.0, False), r'\(1, 1\), \(\), \(\), but \(1,\)'),
    ((np.zeros(1), np.zeros(1), 0.0, False), r'\(1,\), \(1,\), \(\), but'),
    ((np.zeros(1), 0, [0.0], False), r'\(1,\), \(\), \(1,\), but'),
  ],
)
def test_wrong_transition(transition, message):
  buffer = _scalars()
  with pytest.raises(ValueError, match=message):
    buffer.add(*transition)
  assert buffer.add_count == 0


@pytest.mark.parametrize(
  'name, value, allowed',
  [
    ('capacity', 2, 'above stack_size + update_horizon, 2'),
    ('capacity', 0, 'a whole number in [1, 1000000000]'),
    ('capacity', 1e6, 'a whole number in [1, 1000000000]'),
    ('batch_size', 0, 'a whole number in [1, 1000000]'),
    ('max_sample_attempts', 0, 'a whole number of at least 1'),
    ('update_horizon', 0, 'a whole number of at least 1'),
  ],
)
def test_wrong_size_is_a_user_error(name, value, allowed):
  with pytest.raises(errors.UserError) as info:
    _scalars(**{name: value})
  message = str(info.value).splitlines()[0]
  binding = 'replay_capacity' if name == 'capacity' else name
  assert f'ReplayBuffer.{binding} is {value!r}, ' in message
  assert allowed in message


def test_bindings():
  with gin.unlock_config():
    gin.parse_config(
      [
        'ReplayBuffer.replay_capacity = 17',
        'ReplayBuffer.batch_size = 3',
      ]
    )
    try:
      buffer = circular_buffer.ReplayBuffer((1,), 1, seed=0)
      assert (buffer.capacity, buffer.batch_size) == (17, 3)
      for runtime in ('seed', 'stack_size', 'gamma', 'observation_shape'):
        with pytest.raises(ValueError, match=runtime):
          gin.parse_config(f'ReplayBuffer.{runtime} = 1')
    finally:
      gin.clear_config()


# ---------------------------------------------------------------- checkpoints
# How the files are made and read is tested in segments_test.


def _json(manifest):
  return json.loads(json.dumps(manifest))


def _assert_continues_alike(ours, restored, twins):
  """Adds and samples on in two buffers; they agree to the bit."""
  for _ in range(12):
    assert _valid(restored) == _valid(ours)
    if _valid(ours):
      for a, b in zip(ours.sample(), restored.sample()):
        assert a.tobytes() == b.tobytes()
    transition = (
      twins.rng.integers(0, 256, twins.shape).astype(twins.dtype),
      int(twins.rng.integers(5)),
      float(twins.rng.normal()),
      bool(twins.rng.random() < 0.2),
    )
    episode_end = bool(twins.rng.random() < 0.2)
    for buffer in (ours, restored, twins.theirs):
      buffer.add(*transition, episode_end=episode_end)
    _assert_same(restored, twins.theirs)


@pytest.mark.parametrize('stack_size', [1, 4])
@pytest.mark.parametrize('horizon', [1, 3])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_a_restored_buffer_continues_to_the_bit(
  tmp_path, monkeypatch, stack_size, horizon, dtype
):
  monkeypatch.setattr(segments, 'SEGMENT_SIZE', 9)
  twins = _Twins(stack_size, horizon, 23, dtype, seed=stack_size + horizon)
  for moment in range(8):
    twins.add(int(twins.rng.integers(0, 17)), 0.15, 0.15)
    if twins.ours.add_count > horizon + stack_size + 3:
      try:
        twins.ours.sample()  # Moves its generator.
      except errors.UserError:
        pass
    manifest = _json(twins.ours.save(str(tmp_path)))
    restored = twins.make(
      circular_buffer.ReplayBuffer, stack_size, horizon, 23, seed=1000
    )
    if moment % 2:  # What is in the buffer before has to go.
      for _ in range(30):
        restored.add(np.zeros(twins.shape, dtype), 0, 0.0, True)
    restored.load(str(tmp_path), manifest)
    _assert_same(restored, twins.theirs)
    _assert_continues_alike(twins.ours, restored, twins)


def test_a_save_writes_only_what_is_new(tmp_path):
  buffer = _scalars(capacity=100)
  _add(buffer, *range(30))
  first = buffer.save(str(tmp_path))
  _add(buffer, *range(5))
  second = buffer.save(str(tmp_path))
  assert second['segments'][:1] == first['segments']
  (new,) = second['segments'][1:]
  assert (new['start'], new['stop']) == (30, 35)
  # A restored buffer goes on in the same way.
  restored = _scalars(capacity=100)
  restored.load(str(tmp_path), _json(second))
  _add(restored, *range(5))
  restored.save(str(tmp_path))
  assert len(os.listdir(tmp_path)) == 3


def test_an_empty_buffer_can_be_saved(tmp_path):
  manifest = _scalars().save(str(tmp_path))
  buffer = _scalars()
  _add(buffer, 1, 2, 3)
  buffer.load(str(tmp_path), _json(manifest))
  assert buffer.add_count == 0
  _add(buffer, 5, 6)
  assert _valid(buffer) == [0]


def test_files_hold_plain_arrays_and_frames_shrink(tmp_path):
  frames = circular_buffer.ReplayBuffer((84, 84), 1, 100, 4, seed=0)
  for _ in range(50):
    frames.add(np.full((84, 84), 7, np.uint8), 0, 0.0, False)
  (segment,) = frames.save(str(tmp_path))['segments']
  path = tmp_path / segment['file']
  assert path.stat().st_size < 50 * 84 * 84 / 50
  with zipfile.ZipFile(path) as archive:
    compressed = {
      info.filename: info.compress_type == zipfile.ZIP_DEFLATED
      for info in archive.infolist()
    }
  assert compressed == {
    'observation.npy': True,
    'action.npy': False,
    'reward.npy': False,
    'terminal.npy': True,
    'episode_end.npy': True,
  }
  with np.load(path, allow_pickle=False) as arrays:
    assert (arrays['observation'] == 7).all()


def test_the_checkpoint_before_a_damaged_one_loads(tmp_path):
  directory = str(tmp_path)
  buffer = _scalars()
  _add(buffer, 1, 2, 3)
  earlier = _json(buffer.save(directory))
  _add(buffer, 4, 5, terminal=True)
  later = _json(buffer.save(directory))
  path = tmp_path / later['segments'][-1]['file']
  path.write_bytes(path.read_bytes()[:-20])

  restored = _scalars()
  with pytest.raises(ValueError, match='segment .*replay-.* damaged'):
    restored.load(directory, later)
  assert restored.add_count == 0
  with pytest.raises(errors.UserError):
    restored.sample()
  restored.load(directory, earlier)
  assert restored.add_count == 3
  assert _ends(restored) == set()
  assert _valid(restored) == [0, 1]
  assert restored.stored('action')['action'].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
  'kwargs, named',
  [
    ({'capacity': 11}, 'replay_capacity = 10'),
    ({'stack_size': 2}, 'stack_size = 1'),
    ({'update_horizon': 2}, 'update_horizon = 1'),
    ({'observation_dtype': np.uint8}, 'elements'),
  ],
)
def test_a_checkpoint_of_another_kind_is_refused(tmp_path, kwargs, named):
  buffer = _scalars(capacity=10)
  _add(buffer, 1, 2, 3)
  manifest = buffer.save(str(tmp_path))
  with pytest.raises(ValueError, match=named):
    _scalars(**{'capacity': 10, **kwargs}).load(str(tmp_path), manifest)


def test_a_damaged_manifest_is_refused(tmp_path):
  buffer = _scalars()
  _add(buffer, 1, 2, 3, 4, 5)
  manifest = _json(buffer.save(str(tmp_path)))
  for key in manifest:
    broken = {k: v for k, v in manifest.items() if k != key}
    with pytest.raises(ValueError):
      _scalars().load(str(tmp_path), broken)
  with pytest.raises(ValueError, match='format 2'):
    _scalars().load(str(tmp_path), {**manifest, 'format': 2})
  _scalars().load(str(tmp_path), manifest)
