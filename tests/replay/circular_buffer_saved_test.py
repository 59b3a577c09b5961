"""Saving and restoring the circular buffer."""

import json
import os
import zipfile

import numpy as np
import pytest

from helpers import transitions
from rigl_rl import errors
from rigl_rl.replay import circular_buffer, ring


def _json(manifest):
  return json.loads(json.dumps(manifest))


def _assert_continues_alike(ours, restored, twins):
  """Adds and samples on in two buffers; they agree to the bit."""
  for _ in range(12):
    assert transitions.valid_slots(restored) == transitions.valid_slots(ours)
    if transitions.valid_slots(ours):
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
    transitions.assert_same(restored, twins.theirs)


@pytest.mark.parametrize('stack_size', [1, 4])
@pytest.mark.parametrize('horizon', [1, 3])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_a_restored_buffer_continues_to_the_bit(
  tmp_path, monkeypatch, stack_size, horizon, dtype
):
  monkeypatch.setattr(ring, 'SEGMENT_SIZE', 9)
  twins = transitions.Twins(
    stack_size, horizon, 23, dtype, seed=stack_size + horizon
  )
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
    transitions.assert_same(restored, twins.theirs)
    _assert_continues_alike(twins.ours, restored, twins)


def test_a_save_writes_only_what_is_new(tmp_path):
  buffer = transitions.scalars(capacity=100)
  transitions.add(buffer, *range(30))
  first = buffer.save(str(tmp_path))
  transitions.add(buffer, *range(5))
  second = buffer.save(str(tmp_path))
  assert second['segments'][:1] == first['segments']
  (new,) = second['segments'][1:]
  assert (new['start'], new['stop']) == (30, 35)
  # A restored buffer continues in the same way.
  restored = transitions.scalars(capacity=100)
  restored.load(str(tmp_path), _json(second))
  transitions.add(restored, *range(5))
  restored.save(str(tmp_path))
  assert len(os.listdir(tmp_path)) == 3


def test_an_empty_buffer_can_be_saved(tmp_path):
  manifest = transitions.scalars().save(str(tmp_path))
  buffer = transitions.scalars()
  transitions.add(buffer, 1, 2, 3)
  buffer.load(str(tmp_path), _json(manifest))
  assert buffer.add_count == 0
  transitions.add(buffer, 5, 6)
  assert transitions.valid_slots(buffer) == [0]


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
  buffer = transitions.scalars()
  transitions.add(buffer, 1, 2, 3)
  earlier = _json(buffer.save(directory))
  transitions.add(buffer, 4, 5, terminal=True)
  later = _json(buffer.save(directory))
  path = tmp_path / later['segments'][-1]['file']
  path.write_bytes(path.read_bytes()[:-20])

  restored = transitions.scalars()
  with pytest.raises(ValueError, match='segment .*replay-.* damaged'):
    restored.load(directory, later)
  assert restored.add_count == 0
  with pytest.raises(errors.UserError):
    restored.sample()
  restored.load(directory, earlier)
  assert restored.add_count == 3
  assert transitions.episode_ends(restored) == set()
  assert transitions.valid_slots(restored) == [0, 1]
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
  buffer = transitions.scalars(capacity=10)
  transitions.add(buffer, 1, 2, 3)
  manifest = buffer.save(str(tmp_path))
  with pytest.raises(ValueError, match=named):
    transitions.scalars(**{'capacity': 10, **kwargs}).load(
      str(tmp_path), manifest
    )


def test_a_damaged_manifest_is_refused(tmp_path):
  buffer = transitions.scalars()
  transitions.add(buffer, 1, 2, 3, 4, 5)
  manifest = _json(buffer.save(str(tmp_path)))
  for key in manifest:
    broken = {k: v for k, v in manifest.items() if k != key}
    with pytest.raises(ValueError):
      transitions.scalars().load(str(tmp_path), broken)
  with pytest.raises(ValueError, match='format 2'):
    transitions.scalars().load(str(tmp_path), {**manifest, 'format': 2})
  transitions.scalars().load(str(tmp_path), manifest)
