"""Checkpoints come back equal to the bit, or not at all."""

import errno
import hashlib
import json
import logging
import math
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from helpers import damages
from rigl_rl import files, seeding
from rigl_rl.errors import UserError
from rigl_rl.training import checkpointing


def assert_same(one, other):
  """Equal in type, shape and every bit."""
  assert type(one) is type(other)
  if isinstance(one, dict):
    assert list(one) == list(other)
    for key in one:
      assert_same(one[key], other[key])
  elif isinstance(one, (list, tuple)):
    assert len(one) == len(other)
    for left, right in zip(one, other):
      assert_same(left, right)
  elif isinstance(one, (np.ndarray, np.generic)):
    assert one.dtype == other.dtype and one.shape == other.shape
    assert one.tobytes() == other.tobytes()
  elif isinstance(one, float):
    assert struct.pack('>d', one) == struct.pack('>d', other)
  else:
    assert one == other


def make_state(value=1.0):
  return {
    'none': None,
    'true': True,
    'false': False,
    'empty': {},
    'list': [],
    'text': 'Δ "quoted" \n 🤖',
    'int': -3,
    'big': 2**128 - 1,
    'float': 0.1 + 0.2,
    'tiny': 5e-324,
    'huge': 1.7976931348623157e308,
    'minus_zero': -0.0,
    'inf': math.inf,
    'minus_inf': -math.inf,
    'nan': math.nan,
    'minus_nan': math.copysign(math.nan, -1.0),
    'nested': [1, [2.0, [None, {'a': np.arange(3)}]], (1, ('b',), ())],
    'weights': {
      'float32': np.array([value, np.nan, -0.0, np.inf], np.float32),
      'float64': np.linspace(0, value, 7).reshape(1, 7),
      'float16': np.ones(2, np.float16),
      'int64': np.array([-(2**63), 2**63 - 1]),
      'uint64': np.array([2**64 - 1], np.uint64),
      'uint8': np.arange(256, dtype=np.uint8).reshape(4, 8, 8),
      'bool': np.array([[True], [False]]),
      'big_endian': np.arange(4, dtype='>i4'),
      'empty': np.zeros((0, 3), np.float32),
      'zero_d': np.array(4, np.int16),
      'text': np.array(['ab', 'c']),
      'fortran': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
      'strided': np.arange(20)[::3],
    },
    'scalars': [
      np.float32(0.1),
      np.int64(7),
      np.bool_(True),
      np.float64(2.5),
      np.str_('s'),
    ],
    '$array': 0,
    '$$x': 1,
    'like_a_reference': {'$array': 0},
    'generator': seeding.generator_state(seeding.generator(1, 'a')),
  }


@pytest.fixture
def directory(tmp_path):
  return str(tmp_path / 'checkpoints')


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
