"""Replay of single transitions, for agents that learn off policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import gin
import numpy as np

from rigl_rl import checks, seeding
from rigl_rl.config.domains import BatchSize, Range
from rigl_rl.replay import manifests as manifests_lib
from rigl_rl.replay import segments

_MANIFEST_FORMAT = 1


class Transitions(NamedTuple):
  """A batch of transitions, float32 arrays.

  Attributes:
    observation: of shape (batch_size, *observation_shape).
    action: of shape (batch_size, *action_shape).
    reward: of shape (batch_size,).
    discount: of shape (batch_size,); 0 where the episode terminated, 1 where it
      went on or was cut by a time limit.
    next_observation: of shape (batch_size, *observation_shape).
  """

  observation: np.ndarray
  action: np.ndarray
  reward: np.ndarray
  discount: np.ndarray
  next_observation: np.ndarray


@gin.configurable(denylist=['observation_shape', 'action_shape', 'seed'])
class TransitionBuffer:
  """A circular buffer of transitions, sampled uniformly with replacement.

  An observation is stored once: the next observation of a transition is the
  observation of the row that follows. So an episode takes one row for each
  transition, and one more for the observation that ended it, which is never
  sampled. (TF-Agents' own buffers store such boundary steps, too.)

  `save` and `load` keep contents and samples to the bit, and a save costs what
  was added since the last one.
  """

  def __init__(
    self,
    observation_shape: Sequence[int],
    action_shape: Sequence[int],
    seed: int,
    capacity: Annotated[int, Range('[2, 1000000000]')] = 1000000,
    batch_size: BatchSize = 256,
  ):
    """Allocates the buffer (memory is taken up as it fills).

    A million transitions of Humanoid (376 and 17 values) take 1.6 GB.

    Args:
      observation_shape: shape of one observation.
      action_shape: shape of one action.
      seed: non-negative integer that decides all samples.
      capacity: rows kept, at least 2. The rows of the last `capacity`
        transitions are, if no episode ends among them; each end costs one.
      batch_size: transitions in a sample, at least 1.

    Raises:
      UserError: if a size is out of range.
    """
    checks.check_number('TransitionBuffer.capacity', capacity, 2, whole=True)
    checks.check_number(
      'TransitionBuffer.batch_size', batch_size, 1, whole=True
    )
    self._capacity = int(capacity)
    self._batch_size = int(batch_size)
    self._observation_shape = tuple(observation_shape)
    self._action_shape = tuple(action_shape)
    self._rng = seeding.generator(seed, 'replay')
    # One row more: it holds the next observation of the newest transition.
    rows = self._num_slots = self._capacity + 1
    # Not zeros: these are touched, and take memory, when they are written.
    self._observations = np.empty((rows, *self._observation_shape), np.float32)
    self._actions = np.empty((rows, *self._action_shape), np.float32)
    self._rewards = np.empty(rows, np.float32)
    self._discounts = np.empty(rows, np.float32)
    # Whether a row holds no transition, but what an episode ended with.
    self._is_boundary = np.zeros(rows, dtype=bool)
    self._segments = segments.Segments(
      {
        'observation': self._observations,
        'action': self._actions,
        'reward': self._rewards,
        'discount': self._discounts,
        'is_boundary': self._is_boundary,
      }
    )
    self._clear()

  def _clear(self) -> None:
    """Empties the buffer, its generator apart."""
    # Rows are counted from the first ever on. Those in
    # [count - capacity, count) are kept; row `count` lies in slot `cursor`.
    self._count = 0
    self._cursor = 0
    self._size = 0
    self._num_added = 0
    # The bytes of the observation that row `count` holds: the last transition's
    # next one, unless it ended an episode.
    self._next_observation = None
    self._segments.forget()

  def __len__(self) -> int:
    """How many transitions may be sampled."""
    return self._size

  @property
  def num_added(self) -> int:
    """How many transitions have ever been added."""
    return self._num_added

  @property
  def capacity(self) -> int:
    return self._capacity

  @property
  def batch_size(self) -> int:
    return self._batch_size

  # ----------------------------------------------------------------- adding

  def add(
    self,
    observation: np.ndarray,
    action: np.ndarray,
    reward: float,
    discount: float,
    next_observation: np.ndarray,
    is_last: bool,
  ) -> None:
    """Adds a transition; the oldest is lost if the buffer is full.

    It can be sampled at once. An observation that is not the next observation
    of the transition before begins an episode, as one after `is_last` does.

    Args:
      observation: of shape observation_shape, cast to float32 and copied, as
        are all of these.
      action: the action taken on it, of shape action_shape.
      reward: the reward received for it.
      discount: 0 if the action terminated the episode, else 1.
      next_observation: what the action led to, of shape observation_shape.
      is_last: whether the episode ends here, terminated or cut off.

    Raises:
      ValueError: if an array has another shape.
    """
    observation = np.asarray(observation, np.float32)
    action = np.asarray(action, np.float32)
    next_observation = np.asarray(next_observation, np.float32)
    shape = self._observation_shape
    if (
      observation.shape != shape
      or next_observation.shape != shape
      or action.shape != self._action_shape
    ):
      raise ValueError(
        f'Observation, action and next observation have shapes'
        f' {observation.shape}, {action.shape} and {next_observation.shape},'
        f' but {shape}, {self._action_shape} and {shape} are expected.'
      )
    if self._next_observation != observation.tobytes():
      if self._next_observation is not None:
        self._end_episode()
      self._observations[self._cursor] = observation
    cursor = self._cursor
    self._actions[cursor] = action
    self._rewards[cursor] = reward
    self._discounts[cursor] = discount
    self._keep_row(is_boundary=False)
    self._num_added += 1
    self._observations[self._cursor] = next_observation
    self._next_observation = next_observation.tobytes()
    if is_last:
      self._end_episode()

  def _end_episode(self) -> None:
    """Keeps the last transition's next observation in a row of its own."""
    # Never read, but files that hold the same have the same contents.
    self._actions[self._cursor] = 0
    self._rewards[self._cursor] = 0
    self._discounts[self._cursor] = 0
    self._keep_row(is_boundary=True)
    self._next_observation = None

  def _keep_row(self, is_boundary: bool) -> None:
    """Moves on from a row that is complete."""
    cursor = self._cursor
    following = cursor + 1
    if following == self._num_slots:
      following = 0
    # The oldest row, if the buffer is full, lies there.
    if self._count >= self._capacity and not self._is_boundary[following]:
      self._size -= 1
    self._is_boundary[cursor] = is_boundary
    self._size += not is_boundary
    self._count += 1
    self._cursor = following

  # --------------------------------------------------------------- sampling

  def sample(self) -> Transitions:
    """Returns `batch_size` transitions, new arrays.

    Raises:
      RuntimeError: if none has been added.
    """
    if not self._size:
      raise RuntimeError('The replay is empty: there is nothing to sample.')
    slots = self._draw(self._batch_size)
    wrong = np.flatnonzero(self._is_boundary.take(slots))
    while wrong.size:
      # There is at most one boundary for a transition, save that the oldest row
      # may be one, too: so this takes few rounds.
      drawn = self._draw(wrong.size)
      slots[wrong] = drawn
      wrong = wrong[self._is_boundary.take(drawn)]
    return Transitions(
      self._observations.take(slots, axis=0),
      self._actions.take(slots, axis=0),
      self._rewards.take(slots),
      self._discounts.take(slots),
      self._observations.take(slots + 1, axis=0, mode='wrap'),
    )

  def _draw(self, size: int) -> np.ndarray:
    """Returns slots of rows that are kept, boundaries included."""
    oldest = max(0, self._count - self._capacity)
    rows = self._rng.integers(oldest, self._count, size)
    rows %= self._num_slots
    return rows

  # ---------------------------------------------------------- checkpointing

  def save(self, directory: str) -> dict[str, Any]:
    """Writes what has been added since the last save, or load, in `directory`.

    A checkpoint is the returned manifest, which the caller has to keep; it
    names the files (see `segments`). Files that no manifest names any more are
    removed by `manifests.delete_unused`.

    Args:
      directory: an existing directory, through tf.io.gfile.

    Returns:
      The manifest: JSON values, and an array or None as `next_observation`.
    """
    open_row = None
    if self._next_observation is not None:
      # Its row is not complete, and a file is written once.
      open_row = self._observations[self._cursor].copy()
    return {
      'format': _MANIFEST_FORMAT,
      'signature': self._signature(),
      'count': self._count,
      'num_added': self._num_added,
      'next_observation': open_row,
      'rng': seeding.generator_state(self._rng),
      'segments': self._segments.save(
        directory, max(0, self._count - self._capacity), self._count
      ),
    }

  def load(self, directory: str, manifest: Mapping[str, Any]) -> None:
    """Restores the buffer, and what it will sample, to the bit.

    Args:
      directory: where `save` wrote.
      manifest: what `save` returned.

    Raises:
      ValueError: if a file is missing or damaged, or the manifest is that of
        another kind of buffer. The buffer is empty then, and an earlier
        manifest can be loaded.
    """
    with manifests_lib.loading(self._clear):
      manifests_lib.check(manifest, _MANIFEST_FORMAT, self._signature())
      count = int(manifest['count'])
      oldest = max(0, count - self._capacity)
      open_row = manifest['next_observation']
      self._segments.load(directory, manifest['segments'], oldest, count)
      self._count = count
      self._cursor = count % self._num_slots
      kept = np.arange(oldest, count) % self._num_slots
      self._size = int(np.count_nonzero(~self._is_boundary[kept]))
      self._num_added = int(manifest['num_added'])
      if open_row is not None:
        self._observations[self._cursor] = open_row
        self._next_observation = self._observations[self._cursor].tobytes()
      seeding.restore_generator(self._rng, manifest['rng'])

  def close(self) -> None:
    """Does nothing: there is nothing to release but memory."""

  def _signature(self) -> dict[str, Any]:
    """Describes what has to be equal for a load to make sense."""
    return {
      'buffer': 'TransitionBuffer',
      'capacity': self._capacity,
      'observation_shape': list(self._observation_shape),
      'action_shape': list(self._action_shape),
    }
