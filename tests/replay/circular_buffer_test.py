"""Tests of rigl_rl.replay.circular_buffer."""

import gin
import numpy as np
import pytest

from helpers import transitions
from rigl_rl import errors
from rigl_rl.replay import circular_buffer


def test_transitions_by_hand():
  buffer = transitions.scalars()
  transitions.add(buffer, 1, 2, 3, terminal=True)
  transitions.add(buffer, 4, 5)
  assert buffer.add_count == 5
  assert transitions.episode_ends(buffer) == {2}
  # The last one has no next state yet.
  assert transitions.valid_slots(buffer) == [0, 1, 2, 3]
  batch = transitions.gather(buffer, [0, 2, 3])
  assert batch['state'].tolist() == [[[1]], [[3]], [[4]]]
  assert batch['action'].tolist() == [1, 3, 4]
  assert batch['reward'].tolist() == [10, 30, 40]
  assert batch['next_state'][[0, 2]].tolist() == [[[2]], [[5]]]
  assert batch['terminal'].tolist() == [False, True, False]


def test_a_cut_is_no_transition():
  buffer = transitions.scalars()
  transitions.add(buffer, 1, 2, 3, cut=True)
  transitions.add(buffer, 4, 5)
  assert transitions.episode_ends(buffer) == {2}
  assert transitions.valid_slots(buffer) == [0, 1, 3]


def test_a_full_buffer_by_hand():
  buffer = transitions.scalars(capacity=5)
  transitions.add(buffer, 1, 2, 3, 4, 5, 6, 7)
  assert buffer.add_count == 7
  # Slots: 6, 7, 3, 4, 5. The oldest lies under the cursor; the newest, in
  # slot 1, has no next state.
  assert transitions.valid_slots(buffer) == [0, 3, 4]
  batch = transitions.gather(buffer, [0, 3, 4])
  assert batch['state'].ravel().tolist() == [6, 4, 5]
  assert batch['next_state'].ravel().tolist() == [7, 5, 6]


def test_stacks_by_hand():
  buffer = transitions.scalars(capacity=20, stack_size=3)
  transitions.add(buffer, 1, 2, terminal=True)
  transitions.add(buffer, 3, 4, 5)
  # Slots: 0 0 1 2 | 0 0 3 4 5. The zeros of the second episode cannot be
  # sampled: there is a terminal transition in their stack.
  assert buffer.add_count == 9
  assert transitions.valid_slots(buffer) == [2, 3, 6, 7]
  batch = transitions.gather(buffer, [2, 3, 6, 7])
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
  buffer = transitions.scalars(update_horizon=3, gamma=0.5)
  transitions.add(buffer, 1, 2, 3, 4, terminal=True)
  transitions.add(buffer, 5, 6, 7, 8, cut=True)
  transitions.add(buffer, 9)
  # 6, 7 and 8 do not reach three steps within their episode; 9 is too new.
  assert transitions.valid_slots(buffer) == [0, 1, 2, 3, 4]
  batch = transitions.gather(buffer, [0, 1, 2, 3, 4])
  assert batch['reward'].tolist() == [
    10 + 10 + 7.5,
    20 + 15 + 10,
    30 + 20,
    40,
    50 + 30 + 17.5,
  ]
  assert batch['terminal'].tolist() == [0, 1, 1, 1, 0]
  assert batch['next_state'][[0, 4]].ravel().tolist() == [4, 8]


@pytest.mark.parametrize('stack_size', [1, 2, 4])
@pytest.mark.parametrize('horizon', [1, 3, 5])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize(
  'p_terminal, p_cut', [(0.0, 0.0), (0.1, 0.0), (0.0, 0.15), (0.2, 0.2)]
)
def test_same_as_dopamine(stack_size, horizon, dtype, p_terminal, p_cut):
  for seed, capacity in enumerate([stack_size + horizon + 1, 11, 37]):
    twins = transitions.Twins(stack_size, horizon, capacity, dtype, seed)
    transitions.assert_same(twins.ours, twins.theirs)
    for _ in range(14):
      twins.add(int(twins.rng.integers(1, 9)), p_terminal, p_cut)
      transitions.assert_same(twins.ours, twins.theirs)


@pytest.mark.parametrize('shape', [(), (4,), (4, 1), (5, 3, 1)])
@pytest.mark.parametrize('stack_size', [1, 4])
def test_shapes_of_observations(shape, stack_size):
  twins = transitions.Twins(stack_size, 1, 23, np.uint8, seed=0, shape=shape)
  twins.add(50, 0.1, 0.1)
  transitions.assert_same(twins.ours, twins.theirs)


def test_a_long_horizon_sums_the_same():
  twins = transitions.Twins(1, 7, 60, np.float32, seed=0)
  twins.add(200, 0.05, 0.02)
  transitions.assert_same(twins.ours, twins.theirs)


@pytest.mark.parametrize('max_sample_attempts', [1, 1000])
@pytest.mark.parametrize('full', [False, True])
def test_sampling_is_uniform_over_the_valid(max_sample_attempts, full):
  """With one attempt nearly every batch is drawn from the list of the valid."""
  buffer = transitions.scalars(
    capacity=60 if full else 500,
    batch_size=50,
    stack_size=4,
    update_horizon=3,
    max_sample_attempts=max_sample_attempts,
  )
  rng = np.random.default_rng(0)
  for _ in range(12):
    transitions.add(
      buffer,
      *range(int(rng.integers(2, 9))),
      terminal=rng.random() < 0.5,
      cut=True,
    )
  assert (buffer.add_count >= buffer.capacity) == full
  valid = transitions.valid_slots(buffer)
  first, end = buffer._reachable()
  assert 10 < len(valid) < 0.8 * (end - first)
  counts = np.zeros(buffer.capacity)
  for _ in range(1000):
    indices = buffer._draw()
    assert indices.shape == (50,)
    np.add.at(counts, indices, 1)
  assert counts.sum() == counts[valid].sum() == 50_000
  transitions.assert_uniform(counts[valid])


def test_seed_decides_the_samples():
  def samples(seed):
    buffer = transitions.scalars(capacity=100, seed=seed)
    transitions.add(buffer, *range(90))
    return [buffer.sample().action.tolist() for _ in range(5)]

  assert samples(1) == samples(1)
  assert samples(1) != samples(2)


def test_sampling_leaves_the_global_generator_alone():
  buffer = transitions.scalars()
  transitions.add(buffer, *range(8))
  np.random.seed(0)
  expected = np.random.random()
  np.random.seed(0)
  buffer.sample()
  assert np.random.random() == expected


def test_a_batch_is_a_copy():
  buffer = transitions.scalars()
  transitions.add(buffer, 1, 2, 3)
  for array in transitions.gather(buffer, [0, 1]).values():
    array[...] = 77
  batch = transitions.gather(buffer, [0, 1])
  assert batch['state'].ravel().tolist() == [1, 2]


def test_batch_size():
  buffer = transitions.scalars(batch_size=4)
  transitions.add(buffer, *range(8))
  assert [len(array) for array in buffer.sample()] == [4] * 5


def test_too_few_transitions():
  buffer = transitions.scalars(stack_size=2, update_horizon=2)
  with pytest.raises(errors.UserError, match='update_horizon is 2'):
    buffer.sample()
  transitions.add(buffer, 1, 2)
  with pytest.raises(errors.UserError, match='update_horizon is 2'):
    buffer.sample()
  transitions.add(buffer, 3)
  assert buffer._draw().tolist() == [1, 1, 1, 1]


def test_no_valid_transition():
  buffer = transitions.scalars(update_horizon=3)
  for i in range(4):
    transitions.add(buffer, i, i, cut=True)
  with pytest.raises(errors.UserError, match='each of the 8 transitions'):
    buffer.sample()


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
  buffer = transitions.scalars()
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
    transitions.scalars(**{name: value})
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


@pytest.mark.parametrize('horizon', [1, 3])
def test_samples_take_turns_in_two_memories(horizon):
  twins = [
    transitions.Twins(4, horizon, 50, np.uint8, seed=3).ours for _ in range(2)
  ]
  rng = np.random.default_rng(0)
  for _ in range(60):
    observation = rng.integers(0, 256, (3, 2)).astype(np.uint8)
    is_last = bool(rng.random() < 0.1)
    for buffer in twins:
      buffer.add(observation, 0, 1.0, is_last)
  ours, plain = twins
  batches = []
  for _ in range(3):
    batches.append(ours.sample())
    for one, other in zip(batches[-1], plain._gather(plain._draw())):
      np.testing.assert_array_equal(one, other)
  for name in ('state', 'next_state'):
    first, second, third = (getattr(batch, name) for batch in batches)
    assert np.shares_memory(first, third)
    assert not np.shares_memory(first, second)
    assert all(array.ctypes.data % 64 == 0 for array in (first, second))
  assert not np.shares_memory(batches[0].state, batches[0].next_state)
