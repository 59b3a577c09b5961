"""Tests of rigl_rl.replay.reverb_buffer, beside those of contract_test."""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from rigl_rl import errors
from rigl_rl.replay import reverb_buffer


def _make(**kwargs):
  return reverb_buffer.ReverbBuffer((), (), **{'seed': 0, **kwargs})


def test_without_reverb_it_is_a_user_error(monkeypatch):
  monkeypatch.setitem(sys.modules, 'reverb', None)
  with pytest.raises(errors.UserError) as info:
    _make()
  line = str(info.value).splitlines()[0]  # Gin adds where it was called.
  assert line.startswith('@ReverbBuffer is bound')
  assert 'pip install rigl_rl[reverb]' in line
  assert '@TransitionBuffer' in line


def test_another_client_sees_the_table():
  reverb = pytest.importorskip('reverb')
  buffer = _make(capacity=8, batch_size=2)
  try:
    for i in range(20):
      buffer.add(i, 0, i, 1, i + 1, i % 5 == 4)
    client = reverb.Client(buffer.server_address)
    table = client.server_info()['transitions']
    assert (table.current_size, table.max_size) == (8, 8)
    samples = client.sample('transitions', 200, emit_timesteps=False)
    sampled = {float(sample.data[2]) for sample in samples}
    assert sampled == set(range(12, 20))
  finally:
    buffer.close()


def test_a_batch_is_drawn_when_the_one_before_is_taken():
  pytest.importorskip('reverb')
  buffer = _make(capacity=4, batch_size=50)
  try:
    for i in range(4):
      buffer.add(i, 0, i, 1, i + 1, False)
    assert set(buffer.sample().reward) == {0, 1, 2, 3}
    for i in range(4, 8):
      buffer.add(i, 0, i, 1, i + 1, False)
    buffer.sample()
    assert set(buffer.sample().reward) == {4, 5, 6, 7}
  finally:
    buffer.close()


def test_a_checkpoint_lies_in_the_directory_alone(tmp_path, monkeypatch):
  pytest.importorskip('reverb')
  temporary, directory = tmp_path / 'tmp', tmp_path / 'run'
  temporary.mkdir()
  directory.mkdir()
  monkeypatch.setattr(tempfile, 'tempdir', str(temporary))
  buffer = _make(capacity=4)
  buffer.add(1, 0, 0, 1, 2, False)
  manifest = buffer.save(str(directory))
  assert json.loads(json.dumps(manifest)) == manifest
  # The same contents once more are another checkpoint.
  other = buffer.save(str(directory))
  assert set(os.listdir(directory)) == {
    manifest['checkpoint'],
    other['checkpoint'],
  }
  assert len(list(temporary.rglob('*.tfrecord'))) == 0
  buffer.close()
  assert not os.listdir(temporary)


def test_an_incomplete_checkpoint_is_found(tmp_path):
  """Reverb itself would start with an empty table."""
  pytest.importorskip('reverb')
  buffer = _make(capacity=4)
  try:
    buffer.add(1, 0, 0, 1, 2, False)
    manifest = buffer.save(str(tmp_path))
    manifest['num_added'] = 3
    with pytest.raises(ValueError, match='holds 1 transitions of 3'):
      buffer.load(str(tmp_path), manifest)
    os.remove(tmp_path / manifest['checkpoint'] / 'DONE')
    with pytest.raises(ValueError, match='DONE is missing'):
      buffer.load(str(tmp_path), manifest)
  finally:
    buffer.close()


def test_a_file_is_moved_across_file_systems(tmp_path, monkeypatch):
  def rename(source, target):
    del source, target
    raise reverb_buffer.tf.errors.FailedPreconditionError(None, None, 'EXDEV')

  source, target = tmp_path / 'a', tmp_path / 'b'
  source.write_bytes(b'contents')
  monkeypatch.setattr(reverb_buffer.tf.io.gfile, 'rename', rename)
  reverb_buffer._move(str(source), str(target))
  assert target.read_bytes() == b'contents'
  assert not source.exists()


def test_a_process_ends_without_a_close(tmp_path):
  """The server, and what draws samples ahead, must not hold it."""
  pytest.importorskip('reverb')
  program = (
    'from rigl_rl.replay import reverb_buffer\n'
    'buffer = reverb_buffer.ReverbBuffer((), (), 0, batch_size=2)\n'
    'buffer.add(1, 0, 0, 1, 2, False)\n'
    'buffer.sample()\n'
  )
  root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
  path = os.pathsep.join(filter(None, (root, os.environ.get('PYTHONPATH'))))
  subprocess.run(
    [sys.executable, '-c', program],
    env={**os.environ, 'PYTHONPATH': path, 'TMPDIR': str(tmp_path)},
    check=True,
    timeout=120,
  )
  assert not os.listdir(tmp_path)


def test_float64_is_cast():
  pytest.importorskip('reverb')
  buffer = _make(capacity=4, batch_size=1)
  try:
    buffer.add(0.1, 0.2, 0.3, 1, 0.4, False)
    assert buffer.sample().observation.tolist() == [float(np.float32(0.1))]
  finally:
    buffer.close()
