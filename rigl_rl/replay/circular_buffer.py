"""DQN's replay buffer: Dopamine's, vectorized and with small checkpoints.

Its contents and samples mean what those of Dopamine's `OutOfGraphReplayBuffer`
mean: observations are stored one by one and stacked when sampled, episodes
start with `stack_size - 1` transitions of zeros, and an n-step transition ends
with its episode. Dopamine decides index by index which transitions may be
sampled; here one flag per slot, kept up to date by `add`, says so.

Two transitions differ. Dopamine samples the zeros that follow an episode which
a time limit cut (those after a terminal one it does not); and where an episode
terminates, but a cut of the next one lies within the n steps, it samples none
of the former.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import gin
import numpy as np

from rigl_rl.config import domains
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import BatchSize, Capacity, Count
from rigl_rl.errors import UserError
from rigl_rl.replay import ring

# TensorFlow wants arrays to begin at multiples of this many bytes.
_ALIGNMENT = 64


class _Memory(NamedTuple):
  """Of a sample: single observations, and what they are stacked in."""

  frames: Sequence[np.ndarray | None]
  state: np.ndarray | None
  next_state: np.ndarray | None


class Batch(NamedTuple):
  """A batch of transitions: contiguous arrays.

  The second sample after it overwrites the states of a batch.

  Attributes:
    state: of shape (batch_size, *observation_shape, stack_size).
    action: int32 of shape (batch_size,).
    reward: float32 of shape (batch_size,), the discounted sum of rewards.
    next_state: as `state`; undefined where the transition is terminal.
    terminal: bool of shape (batch_size,), whether the episode terminated within
      the horizon.
  """

  state: np.ndarray
  action: np.ndarray
  reward: np.ndarray
  next_state: np.ndarray
  terminal: np.ndarray


@gin.configurable(
  denylist=[
    'observation_shape',
    'stack_size',
    'update_horizon',
    'gamma',
    'observation_dtype',
    'seed',
  ]
)
class ReplayBuffer(ring.Ring):
  """A circular buffer of transitions, sampled uniformly with replacement."""

  _count_name = 'add_count'

  def __init__(
    self,
    observation_shape: Sequence[int],
    stack_size: int,
    replay_capacity: Capacity,
    batch_size: BatchSize,
    update_horizon: int = 1,
    gamma: float = 0.99,
    max_sample_attempts: Count = 1000,
    observation_dtype: Any = np.uint8,
    *,
    seed: int,
  ):
    """Allocates the buffer (memory is taken up as it fills).

    Args:
      observation_shape: shape of one observation, not stacked.
      stack_size: number of observations in a state, at least 1.
      replay_capacity: number of transitions kept, zeros included; above
        stack_size + update_horizon, or a full buffer could sample none.
      batch_size: transitions in a sample, at least 1.
      update_horizon: the n of n-step updates, at least 1.
      gamma: discount factor, for the rewards within the horizon.
      max_sample_attempts: how many draws in vain (of transitions that straddle
        an episode's end) until a sample is drawn from a list of all valid
        transitions, which is slow and as uniform. (Dopamine gives up.)
      observation_dtype: dtype of an observation.
      seed: non-negative integer that decides all samples.

    Raises:
      UserError: if a size is no positive integer, or the capacity too small.
    """
    check_arguments(type(self), locals())
    domains.check('ReplayBuffer.stack_size', stack_size, domains.COUNT)
    domains.check('ReplayBuffer.update_horizon', update_horizon, domains.COUNT)
    if replay_capacity <= stack_size + update_horizon:
      raise UserError(
        f'ReplayBuffer.replay_capacity is {replay_capacity}, but must be above '
        f'stack_size + update_horizon, {stack_size + update_horizon}.'
      )
    self._observation_shape = tuple(observation_shape)
    self._stack_size = stack_size
    self._update_horizon = update_horizon
    self._max_sample_attempts = max_sample_attempts
    self._discounts = np.array(
      [math.pow(gamma, n) for n in range(update_horizon)], np.float32
    )
    stored = {
      'observation': np.empty(
        (replay_capacity, *self._observation_shape), observation_dtype
      ),
      'action': np.empty(replay_capacity, np.int32),
      'reward': np.empty(replay_capacity, np.float32),
      'terminal': np.empty(replay_capacity, np.uint8),
    }
    # Whether a slot holds the last transition of an episode.
    self._episode_end = np.zeros(replay_capacity, dtype=bool)
    # Whether the transition that starts in a slot must not be sampled: it is
    # padding, or its episode is cut within its horizon. Its distance to the
    # cursor does not count here.
    self._is_excluded = np.zeros(replay_capacity, dtype=bool)
    super().__init__(
      replay_capacity,
      batch_size,
      columns={**stored, 'episode_end': self._episode_end},
      signature={
        'replay_capacity': replay_capacity,
        'stack_size': self._stack_size,
        'update_horizon': self._update_horizon,
        'elements': [
          [name, list(column.shape[1:]), column.dtype.str]
          for name, column in stored.items()
        ],
      },
      rng=np.random.default_rng(seed),
    )
    self._memories = itertools.cycle(self._allocate_samples())

  def _allocate_samples(self) -> list[_Memory | None]:
    """Returns memory for two samples; None where new arrays take less time.

    Fresh pages would take longer than what is written to them.
    """
    observations = self._columns['observation']
    if self._stack_size == 1 or observations.dtype != np.uint8:
      return [None]
    rows = (self.batch_size, observations[0].size)
    frames = [_aligned(rows) for _ in range(2 * self._stack_size)]
    shape = (*rows, self._stack_size)
    return [_Memory(frames, _aligned(shape), _aligned(shape)) for _ in range(2)]

  def _clear(self):
    super()._clear()
    self._episode_end[:] = False
    # The first transition of this episode, counted as in `add_count`.
    self._episode_begin = 0
    self._next_is_episode_start = True

  @property
  def add_count(self) -> int:
    """How many transitions have been added, padding included."""
    return self._count

  def stored(self, *names: str) -> dict[str, np.ndarray]:
    """Returns stored elements by name; the arrays must not be changed."""
    size = min(self._count, self.capacity)
    return {name: self._columns[name][:size] for name in names}

  def add(
    self,
    observation: np.ndarray,
    action: int,
    reward: float,
    terminal: bool,
    episode_end: bool = False,
  ) -> None:
    """Adds a transition; the oldest one is lost if the buffer is full.

    The next observation is the one that is added next. At the beginning of an
    episode `stack_size - 1` transitions of zeros are added first.

    Args:
      observation: array of shape observation_shape.
      action: the action taken on it.
      reward: the reward received for it.
      terminal: whether the action led to a terminal state.
      episode_end: whether the episode ends here; True with a `terminal` of
        False where a time limit cuts it.

    Raises:
      ValueError: if the observation has another shape, or action or reward is
        no scalar.
    """
    shapes = np.shape(observation), _shape(action), _shape(reward)
    if shapes != (self._observation_shape, (), ()):
      raise ValueError(
        'Observation, action and reward have shapes '
        f'{", ".join(map(str, shapes))}, but {self._observation_shape}, () and '
        '() are expected.'
      )
    if self._next_is_episode_start:
      begin = self._count
      for _ in range(self._stack_size - 1):
        self._write(0, 0, 0, False, False)
      self._begin_episode(begin)
    terminal = bool(terminal)
    episode_end = terminal or bool(episode_end)
    self._write(observation, action, reward, terminal, episode_end)
    if episode_end and not terminal:
      self._cut_episode(self._count)
    self._next_is_episode_start = episode_end

  def _write(self, *values: Any) -> None:
    """Writes one slot, a value per column, and moves the cursor on."""
    cursor = self._count % self.capacity
    for column, value in zip(self._columns.values(), values):
      column[cursor] = value
    self._is_excluded[cursor] = False
    self._count += 1

  def _begin_episode(self, first: int) -> None:
    """Notes an episode whose padding begins with transition `first`."""
    self._episode_begin = first + self._stack_size - 1
    self._exclude(first, self._episode_begin)

  def _cut_episode(self, end: int) -> None:
    """Notes that the episode was cut before transition `end`."""
    # The next state of its last transitions is unknown, and no terminal flag
    # tells the agent not to bootstrap from it.
    self._exclude(max(self._episode_begin, end - self._update_horizon), end)

  def _exclude(self, first: int, end: int) -> None:
    """Excludes the transitions [first, end) from samples."""
    self._is_excluded[np.arange(first, end) % self.capacity] = True

  def sample(self) -> Batch:
    """Returns `batch_size` transitions; UserError if there is no valid one."""
    return self._gather(self._draw(), next(self._memories))

  def _reachable(self) -> tuple[int, int]:
    """Returns [first, end) of the transitions far enough from the cursor."""
    # The stack of the oldest transitions would reach over the cursor. (While
    # the buffer is not full, those are the zeros of the first episode.)
    first = self._stack_size - 1
    if self._count >= self.capacity:
      first = self._oldest + self._stack_size
    return first, self._count - self._update_horizon

  def _valid_slots(self) -> np.ndarray:
    """Returns the slots of all transitions that may be sampled."""
    slots = np.arange(*self._reachable()) % self.capacity
    return slots[~self._is_excluded[slots]]

  def _draw(self) -> np.ndarray:
    """Returns slots of valid transitions, drawn uniformly with replacement."""
    first, end = self._reachable()
    if end <= first:
      raise self._nothing_to_sample()
    slots, places = self._draw_rows(
      first, end, self._is_excluded, self._max_sample_attempts
    )
    if places.size:
      valid = self._valid_slots()
      if not valid.size:
        raise self._nothing_to_sample()
      slots[places] = valid[self._rng.integers(0, valid.size, places.size)]
    return slots

  def _nothing_to_sample(self) -> UserError:
    return UserError(
      f'SparseDQNAgent.update_horizon is {self._update_horizon}, but each of'
      f' the {min(self._count, self.capacity)} transitions in the'
      ' replay buffer is cut off before that: lower it, or raise'
      ' SparseDQNAgent.min_replay_history, SparseDQNAgent.replay_capacity'
      f' ({self.capacity}) or the time limit of episodes.'
    )

  def _gather(self, slots: np.ndarray, memory: _Memory | None = None) -> Batch:
    """Returns the transitions that start in slots of shape (batch_size,)."""
    if self._update_horizon == 1:
      # `mode='wrap'` is 'modulo the capacity', below.
      next_slots = slots + 1
      terminal = self._columns['terminal'].take(slots) != 0
      reward = self._columns['reward'].take(slots)
    else:
      next_slots, terminal, reward = self._n_step(slots)
    state, next_state = self._states(slots, next_slots, memory)
    action = self._columns['action'].take(slots)
    return Batch(state, action, reward, next_state, terminal)

  def _n_step(
    self, slots: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Looks update_horizon transitions ahead, or as far as a terminal one.

    Returns slots of next states (not modulo the capacity), whether there was a
    terminal transition, and the sum of gamma^i r_i up to it or the horizon.
    """
    terminals, rewards = self._columns['terminal'], self._columns['reward']
    steps = np.zeros(slots.shape, dtype=np.int64)
    ended = np.zeros(slots.shape, dtype=bool)
    total = np.zeros(slots.shape, np.float32)
    for i, discount in enumerate(self._discounts):
      # Added in this order, the sum is Dopamine's to the bit.
      discounted = discount * rewards.take(slots + i, mode='wrap')
      total += np.where(ended, 0, discounted)
      steps += ~ended
      ended |= terminals.take(slots + i, mode='wrap') != 0
    return slots + steps, ended, total

  def _states(
    self,
    slots: np.ndarray,
    next_slots: np.ndarray,
    memory: _Memory | None,
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns the stacks that end at `slots` and `next_slots`."""
    # One observation is one row.
    rows = self._columns['observation'].reshape(self.capacity, -1)
    size = self._stack_size
    stack = range(1 - size, 1)
    taken = [slots + i for i in stack]
    if self._update_horizon == 1:
      # The two stacks have all but one observation in common.
      taken.append(next_slots)
    else:
      taken += [next_slots + i for i in stack]
    memory = memory or _Memory([None] * len(taken), None, None)
    frames = [
      rows.take(each, axis=0, mode='wrap', out=out)
      for each, out in zip(taken, memory.frames)
    ]
    shape = (slots.size, *self._observation_shape, size)
    return (
      interleave(frames[:size], memory.state).reshape(shape),
      interleave(frames[-size:], memory.next_state).reshape(shape),
    )

  def _get_state(self):
    return {'next_is_episode_start': self._next_is_episode_start}

  def _set_state(self, manifest):
    self._next_is_episode_start = bool(manifest['next_is_episode_start'])
    # What `add` keeps up to date follows from the stored transitions.
    ids = np.arange(self._oldest, self._count)
    slots = ids % self.capacity
    self._is_excluded[slots] = False
    # Padding before the first end that is kept is too old to be sampled.
    self._episode_begin = self._oldest
    is_end = self._episode_end[slots]
    is_terminal = self._columns['terminal'][slots[is_end]] != 0
    for end, terminal in zip((ids[is_end] + 1).tolist(), is_terminal.tolist()):
      if not terminal:
        self._cut_episode(end)
      self._begin_episode(end)


def _shape(value: Any) -> tuple[int, ...]:
  # np.shape takes a microsecond for a number.
  return () if isinstance(value, (int, float)) else np.shape(value)


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
  """Returns bytes that TensorFlow can use without a copy."""
  size = math.prod(shape)
  memory = np.empty(size + _ALIGNMENT, np.uint8)
  begin = -memory.ctypes.data % _ALIGNMENT
  return memory[begin : begin + size].reshape(shape)


def interleave(
  frames: Sequence[np.ndarray], out: np.ndarray | None = None
) -> np.ndarray:
  """Stacks contiguous arrays (n, m), of one dtype, along a new last axis.

  In `out`, contiguous bytes, if given.
  """
  if len(frames) == 1:
    return frames[0]
  if frames[0].dtype == np.uint8 and frames[0].size:
    # NumPy copies byte by byte here; OpenCV uses vector instructions and is six
    # times as fast on 32 Atari states.
    return cv2.merge(frames, out)
  return np.stack(frames, axis=-1)
