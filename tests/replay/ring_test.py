"""Tests of Ring: what a checkpoint of its rows writes, and reads."""

import json
import os

import numpy as np
import pytest

from helpers import damages
from rigl_rl.replay import ring as ring_lib


class _Ring(ring_lib.Ring):
  """A ring of two columns; by default, row i holds i."""

  def __init__(self, num_slots=10, capacity=None, **columns):
    self.number = np.zeros(num_slots, np.int64)
    self.pair = np.zeros((num_slots, 2), np.float32)
    super().__init__(
      capacity or num_slots,
      batch_size=1,
      columns={'number': self.number, 'pair': self.pair, **columns},
      signature={},
      rng=np.random.default_rng(0),
    )

  def _get_state(self):
    return {}

  def _set_state(self, manifest):
    pass

  def add(self, *rows):
    for row in rows:
      slot = self._count % self._num_slots
      self.number[slot] = row
      self.pair[slot] = (row, -row)
      self._count += 1

  def save(self, directory):
    saved = super().save(str(directory))
    return json.loads(json.dumps(saved))  # It is JSON values.

  def load(self, directory, manifest):
    super().load(str(directory), manifest)

  def rows(self):
    """The numbers that are kept, from the oldest on."""
    slots = np.arange(self._oldest, self._count) % self._num_slots
    numbers = self.number[slots].tolist()
    assert self.pair[slots].tolist() == [[n, -n] for n in numbers]
    return numbers


def _files(directory):
  """Returns {name: when it was written} of all files."""
  return {
    entry.name: (entry.stat().st_mtime_ns, entry.stat().st_ino)
    for entry in os.scandir(directory)
  }


def _names(*manifests):
  return {s['file'] for each in manifests for s in each['segments']}


def _delete_unused(directory, *kept):
  ring_lib.delete_unused(str(directory), _names(*kept).__contains__)


def _ranges(manifest):
  return [(s['start'], s['stop']) for s in manifest['segments']]


def test_what_is_saved_is_loaded(tmp_path, monkeypatch):
  monkeypatch.setattr(ring_lib, 'SEGMENT_SIZE', 4)
  ring = _Ring(13)
  rng = np.random.default_rng(0)
  added = []
  for _ in range(30):
    rows = list(range(len(added), len(added) + int(rng.integers(0, 20))))
    ring.add(*rows)
    added += rows
    saved = ring.save(tmp_path)
    restored = _Ring(13)
    restored.load(tmp_path, saved)
    assert restored.rows() == ring.rows() == added[-13:]


def test_a_save_writes_only_what_is_new(tmp_path):
  ring = _Ring(100)
  ring.add(*range(30))
  first = ring.save(tmp_path)
  before = _files(tmp_path)
  assert len(before) == 1

  assert ring.save(tmp_path) == first
  assert _files(tmp_path) == before

  ring.add(*range(5))
  second = ring.save(tmp_path)
  after = _files(tmp_path)
  assert {name: after[name] for name in before} == before
  (new,) = set(after) - set(before)
  assert new.startswith('replay-000000000030-000000000035-')
  assert [s['file'] for s in second['segments']] == [*before, new]

  # A restored ring continues in the same way.
  restored = _Ring(100)
  restored.load(tmp_path, second)
  restored.add(*range(5))
  restored.save(tmp_path)
  assert len(_files(tmp_path)) == 3


def test_segments_are_bounded_and_old_ones_forgotten(tmp_path, monkeypatch):
  monkeypatch.setattr(ring_lib, 'SEGMENT_SIZE', 10)
  ring = _Ring(25)
  ring.add(*range(23))
  assert _ranges(ring.save(tmp_path)) == [(0, 10), (10, 20), (20, 23)]
  # A segment ends where the arrays do. The first is lost whole, the second in
  # part.
  ring.add(*range(20))
  assert _ranges(ring.save(tmp_path)) == [
    (10, 20),
    (20, 23),
    (23, 25),
    (25, 35),
    (35, 43),
  ]
  # More than a lap at once.
  ring.add(*range(60))
  saved = ring.save(tmp_path)
  assert _ranges(saved) == [(78, 88), (88, 98), (98, 100), (100, 103)]
  restored = _Ring(25)
  restored.load(tmp_path, saved)
  assert restored.rows() == list(range(60))[-25:]


def test_fewer_rows_than_slots_may_be_kept(tmp_path):
  """A ring may hold more slots than its owner needs rows."""
  ring = _Ring(10, capacity=7)
  ring.add(*range(24))
  saved = ring.save(tmp_path)
  assert _ranges(saved) == [(17, 20), (20, 24)]
  restored = _Ring(10, capacity=7)
  restored.load(tmp_path, saved)
  assert restored.rows() == list(range(17, 24))


def test_an_empty_ring_has_no_files(tmp_path):
  saved = _Ring().save(tmp_path)
  assert saved['segments'] == []
  assert not _files(tmp_path)
  _Ring().load(tmp_path, saved)


def test_another_directory_gets_everything(tmp_path):
  ring = _Ring()
  ring.add(1, 2, 3)
  ring.save(tmp_path)
  other = tmp_path / 'other'
  other.mkdir()
  ring.add(4)
  saved = ring.save(other)
  restored = _Ring()
  restored.load(other, saved)
  assert restored.rows() == [1, 2, 3, 4]


def test_equal_rows_make_equal_files(tmp_path):
  saved = []
  for name in ('a', 'b'):
    (tmp_path / name).mkdir()
    ring = _Ring()
    ring.add(1, 2, 3)
    saved.append(ring.save(tmp_path / name))
  assert saved[0] == saved[1]


@pytest.mark.parametrize('damage', damages.EVERY_WAY)
def test_damage_is_found(tmp_path, damage):
  ring = _Ring()
  ring.add(1, 2, 3)
  earlier = ring.save(tmp_path)
  ring.add(4, 5)
  later = ring.save(tmp_path)
  damage(tmp_path / later['segments'][-1]['file'])
  restored = _Ring()
  with pytest.raises(ValueError, match='segment .*replay-.* (missing|damaged)'):
    restored.load(tmp_path, later)
  restored.load(tmp_path, earlier)
  assert restored.rows() == [1, 2, 3]


def test_lacking_rows_are_found(tmp_path, monkeypatch):
  monkeypatch.setattr(ring_lib, 'SEGMENT_SIZE', 2)
  ring = _Ring()
  ring.add(1, 2, 3, 4, 5)
  saved = ring.save(tmp_path)
  segments = saved['segments']
  for lost in range(3):
    lacking = segments[:lost] + segments[lost + 1 :]
    with pytest.raises(ValueError, match='lacks the rows'):
      _Ring().load(tmp_path, {**saved, 'segments': lacking})
  with pytest.raises(ValueError, match='lacks the rows from 5'):
    _Ring().load(tmp_path, {**saved, 'count': 6})


def test_a_save_after_a_failed_load_writes_everything(tmp_path):
  ring = _Ring()
  ring.add(1, 2)
  saved = ring.save(tmp_path)
  damages.remove(tmp_path / saved['segments'][0]['file'])
  with pytest.raises(ValueError, match='missing'):
    ring.load(tmp_path, saved)
  assert ring.rows() == []
  ring.add(1, 2)
  ring.save(tmp_path)
  assert set(_files(tmp_path)) == _names(saved)


def test_an_abandoned_future_is_not_mixed_in(tmp_path):
  ring = _Ring()
  ring.add(1, 2, 3)
  fork = ring.save(tmp_path)
  ring.add(4, 5)
  abandoned = ring.save(tmp_path)

  other = _Ring()
  other.load(tmp_path, fork)
  other.add(6, 7)
  taken = other.save(tmp_path)
  # The same range, other contents, and both are there.
  for saved, end in ((abandoned, [4, 5]), (taken, [6, 7])):
    restored = _Ring()
    restored.load(tmp_path, saved)
    assert restored.rows() == [1, 2, 3] + end


def test_delete_unused(tmp_path):
  (tmp_path / 'ckpt.json').write_text('{}')
  for ending in ('', '.tmp', '.tmp-123'):
    name = f'replay-000000000000-000000000002-00000000.npz{ending}'
    (tmp_path / name).write_text('')
  ring = _Ring(10)
  checkpoints = []
  for _ in range(6):
    ring.add(1, 2, 3, 4)
    checkpoints.append(ring.save(tmp_path))
  kept = checkpoints[-2:]
  _delete_unused(tmp_path, *kept)
  assert set(_files(tmp_path)) == _names(*kept) | {'ckpt.json'}
  for saved in kept:
    _Ring(10).load(tmp_path, saved)
  with pytest.raises(ValueError, match='missing'):
    _Ring(10).load(tmp_path, checkpoints[0])


def test_delete_unused_of_the_last_save(tmp_path):
  """The next save must not build on files that are gone."""
  ring = _Ring()
  ring.add(1, 2)
  kept = ring.save(tmp_path)
  ring.add(3, 4)
  ring.save(tmp_path)
  _delete_unused(tmp_path, kept)
  ring.add(5)
  saved = ring.save(tmp_path)
  restored = _Ring()
  restored.load(tmp_path, saved)
  assert restored.rows() == [1, 2, 3, 4, 5]


def test_other_columns_are_refused(tmp_path):
  ring = _Ring()
  ring.add(1, 2)
  saved = ring.save(tmp_path)
  for number in (np.zeros(10, np.int32), np.zeros((10, 1), np.int64)):
    with pytest.raises(ValueError, match='holds number of shape'):
      _Ring(number=number).load(tmp_path, saved)
