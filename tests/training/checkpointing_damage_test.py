"""Checkpoints that cannot be used: which is loaded instead."""

import errno
import hashlib
import json
import logging
import os
import pathlib

import numpy as np
import pytest

from helpers import damages
from helpers.states import assert_same, make_state
from rigl_rl import files
from rigl_rl.errors import UserError
from rigl_rl.training import checkpointing


def empty(path):
  path.write_bytes(b'')


def no_object(path):
  path.write_text('[1, 2]')


@pytest.mark.parametrize('name', ['state.json', 'arrays.npz'])
@pytest.mark.parametrize('damage', [*damages.EVERY_WAY, empty, no_object])
def test_damaged_checkpoint_falls_back(directory, caplog, name, damage):
  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(100, make_state(1.0))
  checkpointer.save(200, make_state(2.0))
  damage(pathlib.Path(directory) / 'ckpt-200' / name)
  with caplog.at_level(logging.WARNING):
    step, state = checkpointer.load_latest()
  assert step == 100
  assert_same(state, make_state(1.0))
  (record,) = caplog.records
  assert record.levelno == logging.WARNING
  message = record.getMessage()
  assert 'ckpt-200 is passed over: ' in message
  assert name in message
  assert '\n' not in message


def test_every_single_altered_byte_of_the_tree_is_noticed(directory):
  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(1, {'replay': {'count': 17, 'rate': 0.25}, 'ok': True})
  path = pathlib.Path(directory) / 'ckpt-1' / 'state.json'
  original = path.read_bytes()
  for i in range(len(original)):
    changed = bytearray(original)
    changed[i] ^= 1
    path.write_bytes(bytes(changed))
    # The names of format and digests may be spoiled, never the content.
    with pytest.raises(UserError, match='ckpt-1/.* cannot be used'):
      checkpointer.load_latest()
  path.write_bytes(original)
  assert checkpointer.load_latest() is not None


def test_missing_directory_of_the_newest(directory):
  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(1, {'a': 1})
  (pathlib.Path(directory) / 'ckpt-2').mkdir()
  (pathlib.Path(directory) / 'ckpt-3').write_text('a file')
  assert checkpointer.load_latest() == (1, {'a': 1})


def test_renamed_checkpoint_is_not_taken_for_another_step(directory):
  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(1, {'a': 1})
  checkpointer.save(2, {'a': 2})
  root = pathlib.Path(directory)
  (root / 'ckpt-2').rename(root / 'ckpt-30')
  assert checkpointer.load_latest() == (1, {'a': 1})


def test_unknown_format_is_refused(directory):
  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(1, {'a': 1})
  path = pathlib.Path(directory) / 'ckpt-1' / 'state.json'
  content = json.loads(path.read_text())
  content['format'] = 2
  path.write_text(json.dumps(content))
  with pytest.raises(UserError, match='has format 2, not 1'):
    checkpointer.load_latest()


def test_a_pickle_is_never_loaded(directory, tmp_path):
  """An npz with a pickle in it and a fitting digest runs no code."""
  proof = tmp_path / 'executed'

  class Bad:
    def __reduce__(self):
      return os.mkdir, (str(proof),)

  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(1, {'a': np.zeros(1)})
  path = pathlib.Path(directory) / 'ckpt-1'
  bad = np.empty(1, object)
  bad[0] = Bad()
  with open(path / 'arrays.npz', 'wb') as file:
    np.savez(file, **{'0': bad})
  content = json.loads((path / 'state.json').read_text())
  content['arrays_sha256'] = hashlib.sha256(
    (path / 'arrays.npz').read_bytes()
  ).hexdigest()
  (path / 'state.json').write_text(json.dumps(content))
  with pytest.raises(UserError, match='holds Python objects'):
    checkpointer.load_latest()
  assert not proof.exists()
  # It would have run, had anybody let it.
  with np.load(path / 'arrays.npz', allow_pickle=True) as archive:
    assert archive['0'] is not None
  assert proof.exists()


def test_refused_state_falls_back(directory, caplog, monkeypatch):
  monkeypatch.setattr(checkpointing, 'KEPT', 3)
  checkpointer = checkpointing.Checkpointer(directory)
  for step in (1, 2, 3):
    checkpointer.save(step, {'segment': step})

  def accept(state):
    if state['segment'] > 1:
      raise ValueError(f'replay segment {state["segment"]} is\ntorn')

  assert checkpointer.load_latest(accept) == (1, {'segment': 1})
  assert [record.getMessage() for record in caplog.records] == [
    f'Checkpoint {directory}/ckpt-{step} is passed over: '
    f'{directory}/ckpt-{step} cannot be used: replay segment {step} is torn'
    for step in (3, 2)
  ]


def test_whatever_a_state_leads_to_is_one_line(directory, user_error):
  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(1, {})
  with user_error("ckpt-1 cannot be used: it lacks 'nothing'"):
    checkpointer.load_latest(lambda state: state['nothing'])


def test_where_none_is_sound_nothing_is_lost(directory, user_error):
  checkpointer = checkpointing.Checkpointer(directory)
  for step in (1, 2):
    checkpointer.save(step, {'a': np.zeros(step)})
  root = pathlib.Path(directory)
  damages.truncate(root / 'ckpt-1' / 'arrays.npz')
  damages.remove(root / 'ckpt-2' / 'state.json')
  before = {path: path.stat().st_mtime_ns for path in root.rglob('*')}
  with user_error(
    f'{directory} holds checkpoints, but none can be used: '
    'ckpt-2/state.json cannot be used: No such file or directory; '
    'ckpt-1/arrays.npz cannot be used: it is torn or altered.',
    'give another --base_dir, or move this directory away',
  ):
    checkpointer.load_latest()
  assert before == {path: path.stat().st_mtime_ns for path in root.rglob('*')}


def test_a_full_disk_is_not_taken_for_a_bad_checkpoint(directory):
  checkpointer = checkpointing.Checkpointer(directory)
  for step in (1, 2):
    checkpointer.save(step, {})

  def accept(state):
    raise files.WriteError(errno.ENOSPC, 'No space left on device', 'x')

  with pytest.raises(files.WriteError):
    checkpointer.load_latest(accept)


def test_passed_over_checkpoints_go_with_the_next_save(directory):
  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(100, {'a': 1})
  checkpointer.save(200, {'a': 2})
  damages.truncate(pathlib.Path(directory) / 'ckpt-200' / 'state.json')
  assert checkpointer.load_latest() == (100, {'a': 1})
  # Nothing is deleted by loading.
  assert checkpointer.steps() == [100, 200]
  checkpointer.save(150, {'a': 1.5})
  # Had 200 counted, 100 would be gone, and with it the way back from 150.
  assert checkpointer.steps() == [100, 150]


def test_the_same_step_is_replaced(directory):
  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(100, {'a': 1})
  checkpointer.save(200, {'a': 2})
  damages.truncate(pathlib.Path(directory) / 'ckpt-200' / 'arrays.npz')
  assert checkpointer.load_latest()[0] == 100
  checkpointer.save(200, {'a': 'new'})
  assert checkpointer.steps() == [100, 200]
  assert checkpointer.load_latest() == (200, {'a': 'new'})
  assert sorted(os.listdir(directory)) == ['ckpt-100', 'ckpt-200']
