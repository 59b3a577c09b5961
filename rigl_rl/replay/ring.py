"""Ring: rows in a ring of arrays, how they are drawn, and their checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rigl_rl import seeding
from rigl_rl.replay import segments

_FORMAT = 1


class Ring:
  """Rows in a ring of arrays: what the replay buffers share.

  Rows are counted from the first ever added. The newest `capacity` of them are
  kept, row i in slot i modulo the number of slots.

  A checkpoint is a manifest, which the caller keeps, and the files that it
  names (see `segments`). It restores contents and samples to the bit, and costs
  only what was added since the last one. A subclass says what state it has
  beside the arrays (`_get_state`, `_set_state`) and how to forget it
  (`_clear`).

  Attributes:
    capacity: rows kept.
    batch_size: transitions in a sample.
  """

  # Name of the number of rows in a manifest.
  _count_name = 'count'

  def __init__(
    self,
    capacity: int,
    batch_size: int,
    columns: Mapping[str, np.ndarray],
    signature: Mapping[str, Any],
    rng: np.random.Generator,
  ):
    """Starts empty.

    Args:
      capacity: rows kept.
      batch_size: transitions in a sample.
      columns: arrays by name, each with `capacity` slots or more.
      signature: what must be equal in a saved buffer, as JSON values.
      rng: draws the samples.
    """
    self.capacity = capacity
    self.batch_size = batch_size
    self._num_slots = len(next(iter(columns.values())))
    self._columns = columns
    self._signature = signature
    self._rng = rng
    self._segments = segments.Segments(columns)
    self._clear()

  def _clear(self) -> None:
    """Empties the ring, but does not change its generator."""
    self._count = 0
    self._segments.forget()

  @property
  def _oldest(self) -> int:
    """The first row that is kept."""
    return max(0, self._count - self.capacity)

  def _draw_rows(
    self,
    first: int,
    end: int,
    is_excluded: np.ndarray,
    max_attempts: float = math.inf,
  ) -> tuple[np.ndarray, np.ndarray]:
    """Draws rows of [first, end), uniformly with replacement.

    Args:
      first: a row.
      end: a row behind it.
      is_excluded: bool (slots,); a row in such a slot is drawn again.
      max_attempts: how many draws in vain end that.

    Returns:
      The slots of `batch_size` rows; and the places in which they are excluded,
      none within `max_attempts`.
    """
    slots = self._rng.integers(first, end, self.batch_size)
    slots %= self._num_slots
    places = np.flatnonzero(is_excluded.take(slots))
    attempts = places.size
    while places.size and attempts < max_attempts:
      drawn = self._rng.integers(first, end, places.size)
      drawn %= self._num_slots
      slots[places] = drawn
      places = places[is_excluded.take(drawn)]
      attempts += places.size
    return slots, places

  def _get_state(self) -> dict[str, Any]:
    """Returns what a manifest holds besides rows and generator."""
    raise NotImplementedError

  def _set_state(self, manifest: Mapping[str, Any]) -> None:
    """Restores what `_get_state` returned, after the rows have been loaded."""
    raise NotImplementedError

  def save(self, directory: str) -> dict[str, Any]:
    """Writes what has been added since the last save, or load, in `directory`.

    `segments.delete_unused` removes files that no manifest names any more.

    Returns:
      The manifest, a dict of JSON values and NumPy arrays.
    """
    return {
      'format': _FORMAT,
      'signature': self._signature,
      self._count_name: self._count,
      'rng': seeding.generator_state(self._rng),
      'segments': self._segments.save(directory, self._oldest, self._count),
      **self._get_state(),
    }

  def load(self, directory: str, manifest: Mapping[str, Any]) -> None:
    """Restores contents and samples to the bit, from what `save` returned.

    Raises:
      ValueError: if a file is missing or damaged, or the manifest is that of
        another kind of buffer. The ring is empty then, and an earlier manifest
        can be loaded.
    """
    self._clear()
    try:
      self._check(manifest)
      self._count = int(manifest[self._count_name])
      self._segments.load(
        directory, manifest['segments'], self._oldest, self._count
      )
      self._set_state(manifest)
      seeding.restore_generator(self._rng, manifest['rng'])
    except BaseException as e:
      self._clear()
      if isinstance(
        e, (LookupError, TypeError, AttributeError, ArithmeticError)
      ):
        raise ValueError(f'The manifest of the replay is damaged: {e!r}') from e
      raise

  def _check(self, manifest: Mapping[str, Any]) -> None:
    """Raises ValueError if the manifest is another kind of buffer's."""
    if manifest['format'] != _FORMAT:
      raise ValueError(
        f'The replay was saved in format {manifest["format"]}; this version'
        f' reads format {_FORMAT}.'
      )
    for key, value in self._signature.items():
      if manifest['signature'][key] != value:
        raise ValueError(
          f'The replay was saved with {key} = {manifest["signature"][key]},'
          f' but this buffer has {value}.'
        )
