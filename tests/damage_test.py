"""Damaged run directories: reading any damaged file ends in one line.

One tiny run is trained. Each test damages a file of a copy in some way, mostly
at random but by a fixed seed, and reads the copy as the commands do.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import zipfile
import zlib

import gin
import numpy as np
import pytest

from helpers import command
from rigl_rl import analysis, sweeps
from rigl_rl.analysis import events, figures, tables
from rigl_rl.commands import command_line, sweep
from rigl_rl.config import parsing
from rigl_rl.errors import UserError
from rigl_rl.sweeps import costs
from rigl_rl.sweeps.executors import jobs
from rigl_rl.training import dopamine_runner, record, run_directory, saved_run

_BINDINGS = (*command.SMALL, 'TRAIN_STEPS = 200')
_RUN = sweeps.Run(
  label='RigL',
  sweep='fig',
  directory='run',
  gin_files=(command.RIGL,),
  values={},
  bindings={},
  seed=0,
  changes=(),
  extra=(),
  scale=1.0,
  train_steps=200,
  too_short='',
  family=None,
)


class _Trained:
  """A finished run, and a runner of the same config that can resume copies."""

  def __init__(self, directory):
    self.directory = directory
    self._parse()
    self.config = gin.config_str()
    self.runner = dopamine_runner.DopamineRunner(
      run_directory.RunDirectory(str(directory.parent / 'other')),
      seed=0,
      train_steps=200,
    )

  def _parse(self):
    gin.clear_config()
    parsing.parse([command.RIGL], _BINDINGS)

  def resume(self, directory):
    """As `train` does when it begins."""
    self._parse()  # Evaluating a run leaves that run's config.
    own = run_directory.RunDirectory(str(directory))
    own.check(self.config)
    own.read_summary()
    self.runner._run_directory = own
    self.runner._resume_latest()


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  directory = tmp_path_factory.mktemp('trained') / 'run'
  job = jobs.Job(_RUN, str(directory), ())
  job.prepare()
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(command_line, 'start_tensorflow', lambda _: None)
    assert command.run(directory, *_BINDINGS, small=False) == 0
  gin.clear_config()
  yield _Trained(directory)
  gin.clear_config()


# ------------------------------------------------------------------ the damage


def _truncate(data, rng):
  return data[: rng.integers(len(data))]


def _flip(data, rng):
  changed = bytearray(data)
  for position in rng.integers(len(data), size=3):
    changed[position] ^= 1 << rng.integers(8)
  return bytes(changed)


def _overwrite(data, rng):
  begin = rng.integers(len(data))
  return data[:begin] + rng.bytes(50) + data[begin + 50 :]


def _double(data, rng):
  return data + data


_BYTES = {
  'empty': lambda data, rng: b'',
  'zeros': lambda data, rng: bytes(len(data)),
  'truncated': _truncate,
  'flipped': _flip,
  'overwritten': _overwrite,
  'doubled': _double,
  'utf8': lambda data, rng: b'\xff\xfe' + data,
  'null': lambda data, rng: b'null',
  'deep': lambda data, rng: b'{"a":' * 100_000,
  'brackets': lambda data, rng: b'A = ' + b'(' * 100_000,
  'long': lambda data, rng: data + b'x' * 200_000 + b',1,1,1\n',
}
# In place of a value of JSON, or of a cell.
_VALUES = (None, 'x', [], {}, -1, 0.5, 10**400, float('nan'), 1e308, True)
_CELLS = ('', 'x', '-1', '0.5', '9' * 400, 'nan', '1e400', 'x' * 200_000, '\0')


def _paths(value, path=()):
  """Where the values of a JSON object lie, itself left out."""
  items = []
  if isinstance(value, dict):
    items = list(value.items())
  elif isinstance(value, list):
    items = list(enumerate(value))
  for key, item in items:
    yield (*path, key)
    yield from _paths(item, (*path, key))


def _change(tree, rng, path=None):
  """Takes a value of a JSON object away, or changes it; returns its path."""
  everything = list(_paths(tree))
  path = path or everything[rng.integers(len(everything))]
  parent = tree
  for key in path[:-1]:
    parent = parent[key]
  choice = rng.integers(len(_VALUES) + 1)
  if choice == len(_VALUES):
    del parent[path[-1]]
  else:
    parent[path[-1]] = _VALUES[choice]
  return path


def _change_json(data, rng):
  tree = json.loads(data)
  _change(tree, rng)
  return json.dumps(tree).encode('utf-8')


def _change_cell(data, rng):
  rows = [line.split(',') for line in data.decode('utf-8').splitlines()]
  row = rows[rng.integers(len(rows))]
  row[rng.integers(len(row))] = _CELLS[rng.integers(len(_CELLS))]
  return '\n'.join(map(','.join, rows)).encode('utf-8')


def _sign(path, content):
  """Writes state.json with digests that fit, and of the arrays beside it."""
  text = json.dumps(content['state'], separators=(',', ':'))
  content['state_sha256'] = hashlib.sha256(text.encode('utf-8')).hexdigest()
  content['arrays_sha256'] = hashlib.sha256(
    (path.parent / 'arrays.npz').read_bytes()
  ).hexdigest()
  path.write_text(json.dumps(content))


def _huge(data):
  """An npz whose first array asks for 8 TB."""
  source = zipfile.ZipFile(io.BytesIO(data))
  target = io.BytesIO()
  with zipfile.ZipFile(target, 'w') as archive:
    for name in source.namelist():
      content = source.read(name)
      if name == source.namelist()[0]:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
          header, {'descr': '<f8', 'fortran_order': False, 'shape': (10**12,)}
        )
        content = header.getvalue() + content[:100]
      archive.writestr(name, content)
  return target.getvalue()


def _newest(directory):
  steps = [int(p.name[5:]) for p in (directory / 'checkpoints').iterdir()]
  return directory / 'checkpoints' / f'ckpt-{max(steps)}'


# ----------------------------------------------------------------- the reading


def _read_all(trained, directory, builds):
  """Reads a run as the commands do; returns the messages of what fails."""
  messages = []

  def attempt(function, *arguments):
    try:
      return function(*arguments)
    except figures.NothingToDraw:
      return None
    except UserError as error:
      messages.append(str(error))
      return None

  attempt(trained.resume, directory)
  if builds:
    attempt(saved_run.load, str(directory))
  results = attempt(analysis.load, str(directory.parent))
  messages.extend(results.problems.reason)
  attempt(tables.save, results, str(directory.parent / 'out'))
  options = figures.Options(resamples=10)
  for name in ('graesser22/fig02_dqn', 'graesser22/fig06'):
    attempt(figures.draw, name, results, options)
  attempt(events.read_scalars, str(directory), '')
  attempt(record.read_evaluations, str(directory))
  run = dataclasses.replace(_RUN, directory=directory.name)
  attempt(
    sweep._print_plan, [run], str(directory.parent), costs.STEPS_PER_SECOND
  )
  return messages


def _damage_and_read(trained, tmp_path, name, damage, caplog, builds=False):
  """Damages a file of a copy, and checks what reading it says."""
  directory = tmp_path / 'run'
  shutil.copytree(trained.directory, directory)
  # Of files of events the first that is there: all are read alike.
  path = min(directory.glob(name))
  damage(path)
  messages = _read_all(trained, directory, builds)
  messages += [record.getMessage() for record in caplog.records]
  for message in messages:
    assert '\n' not in message and len(message) < 1500
    # The file, the checkpoint that it belongs to, or, where the file is sound
    # but that of another run, the run.
    names = {path.name, path.parent.name, '--base_dir'}
    names -= {'run', 'events', 'replay'}
    assert any(name in message for name in names), message
  return messages


_FILES = (
  'config.gin',
  'run.json',
  'evaluations.csv',
  'timing.csv',
  'summary.json',
  'sweep.json',
  'events/*tfevents*',
  'replay/replay-000000000000-*.npz',
  'checkpoints/ckpt-2*/state.json',
  'checkpoints/ckpt-2*/arrays.npz',
)


@pytest.mark.parametrize('kind', [*_BYTES, 'directory', 'missing'])
@pytest.mark.parametrize('name', _FILES)
def test_bytes(trained, tmp_path, caplog, capsys, name, kind):
  rng = np.random.default_rng(zlib.crc32(f'{name} {kind}'.encode()))

  def damage(path):
    data = path.read_bytes()
    path.unlink()
    if kind == 'directory':
      path.mkdir()
    elif kind != 'missing':
      path.write_bytes(_BYTES[kind](data, rng))

  _damage_and_read(
    trained,
    tmp_path,
    name,
    damage,
    caplog,
    builds=name in ('config.gin', 'run.json'),
  )


@pytest.mark.parametrize('seed', range(12))
@pytest.mark.parametrize(
  'name,change',
  [
    ('run.json', _change_json),
    ('summary.json', _change_json),
    ('sweep.json', _change_json),
    ('evaluations.csv', _change_cell),
    ('timing.csv', _change_cell),
  ],
)
def test_values_of_a_file(
  trained, tmp_path, caplog, capsys, name, change, seed
):
  rng = np.random.default_rng(seed)

  def damage(path):
    path.write_bytes(change(path.read_bytes(), rng))

  _damage_and_read(trained, tmp_path, name, damage, caplog)


@pytest.mark.parametrize('seed', range(24))
def test_values_of_a_checkpoint(trained, tmp_path, caplog, capsys, seed):
  """With digests that fit, as if a program had written it."""
  rng = np.random.default_rng(seed)

  def damage(path):
    content = json.loads(path.read_bytes())
    _change(content['state'], rng)
    _sign(path, content)

  _damage_and_read(
    trained, tmp_path, 'checkpoints/ckpt-2*/state.json', damage, caplog
  )


def test_arrays_that_ask_for_terabytes(trained, tmp_path, caplog, capsys):
  def damage(path):
    path.write_bytes(_huge(path.read_bytes()))
    state = path.parent / 'state.json'
    _sign(state, json.loads(state.read_bytes()))

  messages = _damage_and_read(
    trained, tmp_path, 'checkpoints/ckpt-2*/arrays.npz', damage, caplog
  )
  assert 'arrays.npz cannot be used: 0.npy asks for 8,000,000,000,' in str(
    messages
  )


def test_a_segment_that_asks_for_terabytes(trained, tmp_path, caplog, capsys):
  def damage(path):
    data = _huge(path.read_bytes())
    crc32 = zlib.crc32(data)
    path.write_bytes(data)
    for state in (path.parents[1] / 'checkpoints').glob('*/state.json'):
      content = json.loads(state.read_bytes())
      for segment in content['state']['loop']['replay']['segments']:
        if segment['file'] == path.name:
          segment['crc32'] = crc32
      _sign(state, content)

  messages = _damage_and_read(
    trained, tmp_path, 'replay/replay-000000000000-*.npz', damage, caplog
  )
  assert 'asks for 8,000,000,000,' in str(messages)


def test_a_missing_segment_loses_nothing(trained, tmp_path, caplog, capsys):
  """Both checkpoints need it: nothing is begun afresh, nor deleted."""
  directory = tmp_path / 'run'
  shutil.copytree(trained.directory, directory)
  next(directory.glob('replay/replay-000000000000-*')).unlink()
  before = sorted(os.walk(directory))
  with pytest.raises(UserError, match='none can be used: .*is missing'):
    trained.resume(directory)
  assert sorted(os.walk(directory)) == before
