"""What the replay buffers sample is what happened: no less, and nothing else.

Random episodes of random lengths, which terminate or are cut, go through a
buffer and into a log of their own; now and then a checkpoint is loaded into a
new buffer. By the log each transition that may be sampled is known.
"""

import dataclasses

import numpy as np
import pytest

from rigl_rl import errors
from rigl_rl.replay import circular_buffer, ring, transition_buffer

_GAMMA = 0.9


@pytest.fixture(autouse=True)
def _short_files(monkeypatch):
  monkeypatch.setattr(ring, 'SEGMENT_SIZE', 7)


# ------------------------------------------------------------ ReplayBuffer, DQN


@dataclasses.dataclass
class _Step:
  """One step of an episode, and its place, counted as in `add_count`."""

  place: int
  observation: np.ndarray
  action: int
  reward: float
  terminal: bool


class _Log:
  """All episodes so far; computes what a buffer of them may sample."""

  def __init__(self, stack_size, horizon, capacity):
    self.stack_size, self.horizon = stack_size, horizon
    self.capacity = capacity
    self.episodes = []  # (steps, whether it has ended)
    self.count = 0  # of places, padding included
    self.is_new = True

  def add(self, observation, action, reward, terminal, cut):
    if self.is_new:
      self.episodes.append(([], False))
      self.count += self.stack_size - 1
    steps, _ = self.episodes[-1]
    steps.append(_Step(self.count, observation, action, reward, terminal))
    self.count += 1
    self.is_new = terminal or cut
    self.episodes[-1] = (steps, self.is_new)

  def _state(self, steps, i):
    """The stack that ends with step i; zeros before the episode."""
    before = [np.zeros_like(steps[0].observation)] * (self.stack_size - 1)
    frames = before + [step.observation for step in steps[: i + 1]]
    return np.stack(frames[-self.stack_size :], axis=-1)

  def _transition(self, steps, i):
    """(state, action, n-step reward, next state, terminal); None if unknown.

    The next state of a terminal transition is None.
    """
    state, action = self._state(steps, i), steps[i].action
    reward = np.float32(0)
    for j in range(self.horizon):
      if i + j == len(steps):
        return None  # Cut before, or not there yet.
      reward += np.float32(_GAMMA**j) * np.float32(steps[i + j].reward)
      if steps[i + j].terminal:
        return state, action, reward, None, True
    if i + self.horizon == len(steps):
      return None
    next_state = self._state(steps, i + self.horizon)
    return state, action, reward, next_state, False

  def transitions(self):
    """{slot: transition} of all that may be sampled."""
    # As Dopamine, none within a horizon of the newest, terminal or not; nor, in
    # a full buffer, within a stack of the oldest.
    end = self.count - self.horizon
    begin = 0
    if self.count >= self.capacity:
      begin = self.count - self.capacity + self.stack_size
    found = {}
    for steps, _ in self.episodes:
      for i, step in enumerate(steps):
        if begin <= step.place < end:
          transition = self._transition(steps, i)
          if transition is not None:
            found[step.place % self.capacity] = transition
    return found


def _assert_buffer_is_log(buffer, log):
  expected = log.transitions()
  valid = sorted(buffer._valid_slots().tolist())
  assert valid == sorted(expected)
  assert buffer.add_count == log.count
  if not expected:
    with pytest.raises(errors.UserError, match='update_horizon'):
      buffer.sample()
    return
  assert set(buffer._draw()) <= set(valid)
  states, actions, rewards, next_states, terminals = buffer._gather(
    np.array(valid)
  )
  for row, slot in enumerate(valid):
    state, action, reward, next_state, terminal = expected[slot]
    np.testing.assert_array_equal(states[row], state)
    assert actions[row] == action
    np.testing.assert_allclose(rewards[row], reward, rtol=1e-6)
    assert terminals[row] == terminal
    if not terminal:
      np.testing.assert_array_equal(next_states[row], next_state)


def _play(buffer, log, num_steps, rng, restart, ends=('terminal', 'cut')):
  """Adds steps of random episodes, and compares after each."""
  left = 0
  for number in range(1, num_steps + 1):
    if not left:
      left = int(rng.integers(1, 13))
      end = rng.choice(ends)
    left -= 1
    # No number twice, and never the zero of the padding.
    step = (np.float32([number, -number]), number, 0.1 * number)
    terminal, cut = (not left and end == kind for kind in ('terminal', 'cut'))
    buffer.add(*step, terminal, episode_end=cut)
    log.add(*step, terminal, cut)
    _assert_buffer_is_log(buffer, log)
    if rng.random() < 0.1:
      buffer = restart(buffer)
      _assert_buffer_is_log(buffer, log)
  return buffer


def _replay_buffer(stack_size, horizon, capacity, seed=0):
  return circular_buffer.ReplayBuffer(
    (2,),
    stack_size,
    capacity,
    batch_size=20,
    update_horizon=horizon,
    gamma=_GAMMA,
    observation_dtype=np.float32,
    seed=seed,
  )


@pytest.mark.parametrize('seed', range(60))
def test_replay_buffer(tmp_path, seed):
  rng = np.random.default_rng(seed)
  stack_size, horizon = int(rng.integers(1, 5)), int(rng.integers(1, 6))
  # From the smallest allowed on: most of them wrap around several times.
  capacity = stack_size + horizon + int(rng.integers(1, 60))
  make = lambda: _replay_buffer(stack_size, horizon, capacity)  # noqa: E731

  def restart(buffer):
    manifest = buffer.save(str(tmp_path))
    restored = make()
    restored.load(str(tmp_path), manifest)
    return restored

  # Some tasks only terminate, some are only cut.
  ends = (('terminal', 'cut'), ('terminal',), ('cut',))[max(seed % 5 - 2, 0)]
  log = _Log(stack_size, horizon, capacity)
  _play(make(), log, 120, rng, restart, ends)
  assert len(log.episodes) > 3


def test_padding_after_a_cut_is_no_transition():
  # Slots: 0 1 | 0 2 3; Dopamine samples slot 2, a zero that never occurred.
  buffer = _replay_buffer(stack_size=2, horizon=1, capacity=10)
  for number, cut in ((1, True), (2, False), (3, False)):
    buffer.add(np.float32([number] * 2), number, 0.0, False, episode_end=cut)
  assert sorted(buffer._valid_slots()) == [3]


def test_horizon_longer_than_every_episode():
  buffer = _replay_buffer(stack_size=2, horizon=5, capacity=30)
  # What terminates is sampled, with fewer rewards: slots 0 1 2 | 0 4 5 | ...
  for number in range(1, 9):
    buffer.add(np.float32([1, 1]), 0, 1.0, number % 2 == 0)
  assert sorted(buffer._valid_slots()) == [1, 2, 4, 5]
  rewards = buffer._gather(np.array([1, 2])).reward
  np.testing.assert_allclose(rewards, [1 + _GAMMA, 1])


def test_horizon_longer_than_every_cut_episode():
  buffer = _replay_buffer(stack_size=2, horizon=5, capacity=30)
  for number in range(1, 40):
    buffer.add(np.float32([1, 1]), 0, 0.0, False, episode_end=number % 5 == 0)
  with pytest.raises(errors.UserError) as error:
    buffer.sample()
  message = str(error.value)
  assert message.startswith('SparseDQNAgent.update_horizon is 5')
  assert '\n' not in message


# ------------------------------------------- TransitionBuffer, SAC and TD3


@pytest.mark.parametrize('seed', range(40))
def test_transition_buffer(tmp_path, seed):
  rng = np.random.default_rng(seed)
  capacity = int(rng.integers(2, 16))

  def make():
    # Many draws: so that all that may be sampled is.
    return transition_buffer.TransitionBuffer(
      (2,), (), seed=0, capacity=capacity, batch_size=600
    )

  buffer = make()
  # Each transition takes a row, and the end of an episode another, None.
  rows = []
  observation = None
  for number in range(1, 100):
    jumps = observation is not None and rng.random() < 0.1
    if observation is None or jumps:  # An episode begins, at times unannounced.
      observation = np.float32([number, 0.5])
    if jumps:
      rows.append(None)
    next_observation = np.float32([number, 0.25])
    discount = float(rng.random() < 0.9)
    is_last = not discount or bool(rng.random() < 0.1)
    step = (observation, number, -number, discount, next_observation)
    buffer.add(*step, is_last)
    rows.append(step)
    observation = next_observation
    if is_last:
      rows.append(None)
      observation = None
    if rng.random() < 0.1:
      manifest = buffer.save(str(tmp_path))
      buffer = make()
      buffer.load(str(tmp_path), manifest)

    kept = {row[1]: row for row in rows[-capacity:] if row is not None}
    batch = buffer.sample()
    assert set(batch.action.astype(int)) == set(kept)
    expected = [kept[action] for action in batch.action.astype(int)]
    for values, column in zip(batch, zip(*expected)):
      np.testing.assert_array_equal(values, np.float32(column))
