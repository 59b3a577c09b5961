"""Checkpoints come back equal to the bit, or not at all."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from helpers.states import assert_same, make_state
from rigl_rl import files
from rigl_rl.training import checkpointing


def test_everything_round_trips(directory):
  state = make_state()
  checkpointing.Checkpointer(directory).save(5, state)
  step, loaded = checkpointing.Checkpointer(directory).load_latest()
  assert step == 5
  assert_same(loaded, state)


def test_loaded_arrays_can_be_written_to(directory):
  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(0, {'a': np.zeros(3)})
  _, loaded = checkpointer.load_latest()
  loaded['a'][:] = 1.0


def test_equal_states_give_equal_files(tmp_path):
  contents = []
  for name in ('one', 'two'):
    checkpointing.Checkpointer(str(tmp_path / name)).save(1, make_state())
    path = tmp_path / name / 'ckpt-1'
    contents.append({p.name: p.read_bytes() for p in path.iterdir()})
  assert set(contents[0]) == {'state.json', 'arrays.npz'}
  assert contents[0] == contents[1]


def test_files_are_strict_json_and_a_plain_npz(directory):
  checkpointing.Checkpointer(directory).save(1, make_state())
  path = pathlib.Path(directory) / 'ckpt-1'

  def refuse(constant):
    raise AssertionError(f'{constant} is no JSON')

  json.loads((path / 'state.json').read_text(), parse_constant=refuse)
  with np.load(path / 'arrays.npz', allow_pickle=False) as archive:
    assert len(archive.files) == 19


def test_file_scheme(tmp_path):
  checkpointer = checkpointing.Checkpointer(f'file://{tmp_path}/checkpoints')
  checkpointer.save(1, make_state())
  checkpointer.save(2, make_state(2.0))
  checkpointer.save(2, make_state(3.0))
  assert checkpointer.steps() == [1, 2]
  assert_same(checkpointer.load_latest()[1], make_state(3.0))


def test_nothing_saved(directory):
  checkpointer = checkpointing.Checkpointer(directory)
  assert checkpointer.load_latest() is None
  assert checkpointer.steps() == []
  os.makedirs(directory)
  assert checkpointer.load_latest() is None


def test_only_the_newest_are_kept(directory, monkeypatch):
  monkeypatch.setattr(checkpointing, 'KEPT', 3)
  checkpointer = checkpointing.Checkpointer(directory)
  # 10 before 9 in the alphabet.
  for step in (8, 9, 10, 11):
    checkpointer.save(step, {'a': step})
  assert checkpointer.steps() == [9, 10, 11]
  assert sorted(os.listdir(directory)) == ['ckpt-10', 'ckpt-11', 'ckpt-9']
  assert checkpointer.load_latest() == (11, {'a': 11})


@pytest.mark.parametrize(
  'leaf, message',
  [
    (b'x', r"state\['a'\]\[1\] is a bytes"),
    ({1: 2}, r"state\['a'\]\[1\] has the key 1"),
    (np.array([None]), r"state\['a'\]\[1\] is an array of Python objects"),
    ({2}, r"state\['a'\]\[1\] is a set"),
    (print, r"state\['a'\]\[1\] is a builtin_function"),
  ],
)
def test_unknown_leaves_are_refused_before_writing(directory, leaf, message):
  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(1, {'a': 1})
  with pytest.raises(TypeError, match=message):
    checkpointer.save(2, {'a': [0, leaf]})
  assert os.listdir(directory) == ['ckpt-1']


def test_tensorflow_leaves_are_refused(directory):
  import tensorflow as tf

  with pytest.raises(TypeError, match='is a EagerTensor'):
    checkpointing.Checkpointer(directory).save(1, {'a': tf.constant(1.0)})


def test_dtypes_that_npy_cannot_hold_are_refused(directory):
  import tensorflow as tf

  array = np.zeros(2, tf.bfloat16.as_numpy_dtype)
  with pytest.raises(TypeError, match='bfloat16'):
    checkpointing.Checkpointer(directory).save(1, {'a': array})


@pytest.mark.parametrize('kind', ['old', 'temporary', 'replaced', 'inside'])
def test_links_are_removed_but_never_followed(directory, tmp_path, kind):
  outside = tmp_path / 'outside'
  (outside / 'below').mkdir(parents=True)
  for path in (outside / 'a', outside / 'below' / 'b'):
    path.write_text('mine')
  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(5, {'a': 1})
  root = pathlib.Path(directory)
  name = {
    'old': 'ckpt-1',
    'temporary': 'ckpt-6.tmp-1',
    'replaced': 'ckpt-5.replaced',
    'inside': 'ckpt-5/link',
  }[kind]
  (root / name).symlink_to(outside, target_is_directory=True)
  checkpointer.clean()
  for step in (6, 7):
    checkpointer.save(step, {'a': 1})
  assert sorted(os.listdir(root)) == ['ckpt-6', 'ckpt-7']
  assert (outside / 'a').read_text() == 'mine'
  assert (outside / 'below' / 'b').read_text() == 'mine'


def test_a_failed_save_leaves_nothing(directory, monkeypatch):
  """The n-th operation that writes fails, for each n."""
  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(1, {'a': np.zeros(3)})
  root = pathlib.Path(directory)

  def contents():
    return {p: p.read_bytes() for p in root.rglob('*') if p.is_file()}

  # The n-th of these calls that a save makes.
  left = [0]

  def failing(function):
    def call(*arguments, **keywords):
      left[0] -= 1
      if left[0] == 0:
        raise OSError(errno.ENOSPC, 'No space left on device')
      return function(*arguments, **keywords)

    return call

  failures = 0
  for n in range(1, 100):
    before = contents()
    left[0] = n
    with monkeypatch.context() as patch:
      for name in ('makedirs', 'replace', 'fsync'):
        patch.setattr(os, name, failing(getattr(os, name)))
      patch.setattr('builtins.open', failing(open))
      try:
        # In place of another, which has to step aside.
        checkpointer.save(1, {'a': np.ones(3)})
      except files.WriteError as error:
        assert error.strerror == 'No space left on device'
        assert contents() == before
        failures += 1
    if left[0] > 0:
      break
  # Some network file systems cannot flush a directory; that is no error.
  assert failures > 6
  assert checkpointer.load_latest()[1]['a'].tolist() == [1, 1, 1]
  assert os.listdir(directory) == ['ckpt-1']


def test_leftovers_of_a_killed_save_are_removed(directory):
  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(1, {'a': 1})
  root = pathlib.Path(directory)
  leftover = root / 'ckpt-2.tmp-123'
  leftover.mkdir()
  (leftover / 'arrays.npz').write_bytes(b'half')
  # Died between stepping aside and being replaced.
  (root / 'ckpt-1').rename(root / 'ckpt-1.replaced')
  # Somebody else's file stays.
  (root / 'notes.tmp-1').write_text('mine')
  checkpointer.clean()
  assert checkpointer.load_latest() == (1, {'a': 1})
  assert sorted(os.listdir(directory)) == ['ckpt-1', 'notes.tmp-1']


def test_leftover_of_a_finished_replacement_is_removed(directory):
  checkpointer = checkpointing.Checkpointer(directory)
  checkpointer.save(1, {'a': 'new'})
  replaced = pathlib.Path(directory) / 'ckpt-1.replaced'
  replaced.mkdir()
  checkpointer.clean()
  assert checkpointer.load_latest() == (1, {'a': 'new'})
  assert os.listdir(directory) == ['ckpt-1']


_KILLED = """
import sys
from rigl_rl import quiet
quiet.silence()
import numpy as np
from rigl_rl.training import checkpointing
checkpointer = checkpointing.Checkpointer(sys.argv[1])
for step in range(1, 100000):
  checkpointer.save(step, {'step': step, 'a': np.full(20000, step)})
  if step == 3:
    print('going', flush=True)
"""


def test_killed_at_any_moment_there_is_a_sound_checkpoint(directory):
  for pause in (0.0, 0.013, 0.029):
    process = subprocess.Popen(
      [sys.executable, '-c', _KILLED, directory],
      stdout=subprocess.PIPE,
      env={**os.environ, 'PYTHONPATH': ':'.join(p for p in sys.path if p)},
    )
    assert process.stdout.readline() == b'going\n'
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    process.wait()
    checkpointer = checkpointing.Checkpointer(directory)
    checkpointer.clean()
    step, state = checkpointer.load_latest()
    assert step >= 3 and state['step'] == step
    assert (state['a'] == step).all()
    assert all('tmp' not in name for name in os.listdir(directory))
