"""Replay of single transitions, for agents that learn off policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import gin
import numpy as np

from rigl_rl import seeding
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import BatchSize, Range
from rigl_rl.replay import ring


class Transitions(NamedTuple):
  """A batch of transitions, float32 arrays.

  Attributes:
    observation: of shape (batch_size, *observation_shape).
    action: of shape (batch_size, *action_shape).
    reward: of shape (batch_size,).
    discount: of shape (batch_size,); 0 where the episode terminated, 1 where it
      continued or was cut by a time limit.
    next_observation: of shape (batch_size, *observation_shape).
  """

  observation: np.ndarray
  action: np.ndarray
  reward: np.ndarray
  discount: np.ndarray
  next_observation: np.ndarray


@gin.configurable(denylist=['observation_shape', 'action_shape', 'seed'])
class TransitionBuffer(ring.Ring):
  """A circular buffer of transitions, sampled uniformly with replacement.

  An observation is stored once: the next observation of a transition is the
  observation of the row that follows. So an episode takes one row for each
  transition, and one more for the observation that ended it, which is never
  sampled. (TF-Agents' own buffers store such boundary steps, too.)
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
    check_arguments(type(self), locals())
    self._observation_shape = tuple(observation_shape)
    self._action_shape = tuple(action_shape)
    # One row more: it holds the next observation of the newest transition.
    rows = capacity + 1
    # Not zeros: these are touched, and take memory, when they are written.
    columns = {
      'observation': np.empty((rows, *self._observation_shape), np.float32),
      'action': np.empty((rows, *self._action_shape), np.float32),
      'reward': np.empty(rows, np.float32),
      'discount': np.empty(rows, np.float32),
      # Whether a row holds no transition, but what an episode ended with.
      'is_boundary': np.zeros(rows, dtype=bool),
    }
    self._observations, self._actions, *rest = columns.values()
    self._rewards, self._discounts, self._is_boundary = rest
    super().__init__(
      capacity,
      batch_size,
      columns,
      signature={
        'buffer': 'TransitionBuffer',
        'capacity': capacity,
        'observation_shape': list(self._observation_shape),
        'action_shape': list(self._action_shape),
      },
      rng=seeding.generator(seed, 'replay'),
    )

  def _clear(self):
    super()._clear()
    # The bytes of the observation that row `count` holds: the last transition's
    # next one, unless it ended an episode.
    self._next_observation = None

  @property
  def _cursor(self) -> int:
    """The slot of row `count`."""
    return self._count % self._num_slots

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
    Arrays are cast to float32 and copied.

    Args:
      observation, next_observation: of shape observation_shape.
      action: of shape action_shape.
      reward: received for the action.
      discount: 0 if the action terminated the episode, else 1.
      is_last: whether the episode ends here, terminated or cut off.

    Raises:
      ValueError: if an array has another shape.
    """
    observation = np.asarray(observation, np.float32)
    action = np.asarray(action, np.float32)
    next_observation = np.asarray(next_observation, np.float32)
    shapes = observation.shape, action.shape, next_observation.shape
    shape = self._observation_shape
    if shapes != (shape, self._action_shape, shape):
      raise ValueError(
        'Observation, action and next observation have shapes '
        f'{", ".join(map(str, shapes))}, but {shape}, {self._action_shape} and '
        f'{shape} are expected.'
      )
    if self._next_observation != observation.tobytes():
      if self._next_observation is not None:
        self._end_episode()
      self._observations[self._cursor] = observation
    cursor = self._cursor
    self._actions[cursor] = action
    self._rewards[cursor] = reward
    self._discounts[cursor] = discount
    self._is_boundary[cursor] = False
    self._count += 1
    self._observations[self._cursor] = next_observation
    self._next_observation = next_observation.tobytes()
    if is_last:
      self._end_episode()

  def _end_episode(self) -> None:
    """Keeps the last transition's next observation in a row of its own."""
    cursor = self._cursor
    # Never read, but files that hold the same have the same contents.
    self._actions[cursor] = 0
    self._rewards[cursor] = 0
    self._discounts[cursor] = 0
    self._is_boundary[cursor] = True
    self._count += 1
    self._next_observation = None

  def sample(self) -> Transitions:
    """Returns `batch_size` transitions, new arrays."""
    if not self._count:
      raise RuntimeError('The replay is empty: there is nothing to sample.')
    # At most half of the rows are boundaries (one more if the oldest is one),
    # so that a few rounds find enough others.
    slots, _ = self._draw_rows(self._oldest, self._count, self._is_boundary)
    return Transitions(
      self._observations.take(slots, axis=0),
      self._actions.take(slots, axis=0),
      self._rewards.take(slots),
      self._discounts.take(slots),
      self._observations.take(slots + 1, axis=0, mode='wrap'),
    )

  def _get_state(self):
    if self._next_observation is None:
      return {'next_observation': None}
    # Its row is not complete, and a file is written once.
    return {'next_observation': self._observations[self._cursor].copy()}

  def _set_state(self, manifest):
    if manifest['next_observation'] is not None:
      self._observations[self._cursor] = manifest['next_observation']
      self._next_observation = self._observations[self._cursor].tobytes()
