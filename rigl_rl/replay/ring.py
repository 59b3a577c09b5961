"""Ring: rows in a ring of arrays, and the checkpoints of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rigl_rl import seeding
from rigl_rl.replay import segments

_FORMAT = 1


class Ring:
  """Rows in a ring of arrays: what the replay buffers share.

  Rows are counted from the first ever added on. The newest `capacity` of them
  are kept, row i in slot i modulo the number of slots.

  A checkpoint is a manifest, which the caller keeps, and the files that it
  names (see `segments`). It restores contents and samples to the bit, and costs
  what was added since the last one. A subclass says what its state is beside
  the arrays (`_get_state`, `_set_state`) and how to forget it (`_clear`).

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
      signature: what has to be equal for a load to make sense, JSON values.
      rng: draws the samples.
    """
    self.capacity = capacity
    self.batch_size = batch_size
    self._columns = columns
    self._signature = signature
    self._rng = rng
    self._segments = segments.Segments(columns)
    self._clear()

  def _clear(self) -> None:
    """Empties the ring, its generator apart."""
    self._count = 0
    self._segments.forget()

  @property
  def _oldest(self) -> int:
    """The first row that is kept."""
    return max(0, self._count - self.capacity)

  def _get_state(self) -> dict[str, Any]:
    """Returns what a manifest holds beside rows and generator."""
    return {}

  def _set_state(self, manifest: Mapping[str, Any]) -> None:
    """Goes on from a manifest, whose rows have been loaded."""

  def save(self, directory: str) -> dict[str, Any]:
    """Writes what has been added since the last save, or load, in `directory`.

    Files that no manifest names any more are removed by
    `segments.delete_unused`.

    Args:
      directory: an existing directory, through tf.io.gfile.

    Returns:
      The manifest, a dict of JSON values and NumPy arrays.
    """
    return {
      'format': _FORMAT,
      'signature': dict(self._signature),
      self._count_name: self._count,
      'rng': seeding.generator_state(self._rng),
      'segments': self._segments.save(directory, self._oldest, self._count),
      **self._get_state(),
    }

  def load(self, directory: str, manifest: Mapping[str, Any]) -> None:
    """Restores the ring, and what it will sample, to the bit.

    Args:
      directory: where `save` wrote.
      manifest: what `save` returned.

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
