"""Checkpoints of JSON and arrays: no pickle, never half a one.

A checkpoint `ckpt-<step>/` holds `state.json`, the tree of the state, and
`arrays.npz`, the arrays the tree refers to. The tree carries the SHA-256 of
both, so that a torn or altered checkpoint is recognized, and the one before
it is taken.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import math
import os
import re
import struct
import zipfile
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from rigl_rl import files, readers
from rigl_rl.errors import UserError

_LOGGER = logging.getLogger(__name__)
_FORMAT = 1
_STATE_FILE = 'state.json'
_ARRAYS_FILE = 'arrays.npz'
_NAME = re.compile(r'ckpt-(\d+)')
_REPLACED = '.replaced'

# JSON has neither arrays, tuples nor NaN: these are written as an object with
# one of the keys below. A user's own key that starts with '$' is doubled.
_ARRAY = '$array'
_SCALAR = '$scalar'
_TUPLE = '$tuple'
_FLOAT = '$float'


def _checked_dtype(array: np.ndarray, where: str) -> np.ndarray:
  """`array`, if the npy format can hold it without pickle."""
  if array.dtype.hasobject:
    raise TypeError(f'state{where} is an array of Python objects')
  lib = np.lib.format
  if lib.descr_to_dtype(lib.dtype_to_descr(array.dtype)) != array.dtype:
    raise TypeError(
      f'state{where} is an array of {array.dtype}, which the npy format '
      'cannot hold'
    )
  return array


def _encode(value: Any, where: str, arrays: list[np.ndarray]) -> Any:
  """Returns `value` as JSON values and appends its arrays to `arrays`."""
  # Before the JSON types: np.float64 is a float, and np.str_ a str, too.
  if isinstance(value, (np.ndarray, np.generic)):
    kind = _ARRAY if isinstance(value, np.ndarray) else _SCALAR
    arrays.append(_checked_dtype(np.asarray(value), where))
    return {kind: len(arrays) - 1}
  if value is None or isinstance(value, (bool, int, str)):
    return value
  if isinstance(value, float):
    if math.isfinite(value):
      return value
    return {_FLOAT: struct.pack('>d', value).hex()}
  if isinstance(value, list):
    return [
      _encode(item, f'{where}[{i}]', arrays) for i, item in enumerate(value)
    ]
  if isinstance(value, tuple):
    return {_TUPLE: _encode(list(value), where, arrays)}
  if isinstance(value, dict):
    tree = {}
    for key, item in value.items():
      if not isinstance(key, str):
        raise TypeError(f'state{where} has the key {key!r}; keys must be str')
      name = '$' + key if key.startswith('$') else key
      tree[name] = _encode(item, f'{where}[{key!r}]', arrays)
    return tree
  raise TypeError(
    f'state{where} is a {type(value).__name__}; a leaf must be a JSON value '
    'or a NumPy array'
  )


def _decode(tree: Any, arrays: list[np.ndarray]) -> Any:
  """The inverse of `_encode`."""
  if isinstance(tree, list):
    return [_decode(item, arrays) for item in tree]
  if not isinstance(tree, dict):
    return tree
  if len(tree) == 1:
    ((kind, item),) = tree.items()
    if kind == _ARRAY:
      return arrays[item]
    if kind == _SCALAR:
      return arrays[item][()]
    if kind == _TUPLE:
      return tuple(_decode(item, arrays))
    if kind == _FLOAT:
      return struct.unpack('>d', bytes.fromhex(item))[0]
  return {
    key[1:] if key.startswith('$') else key: _decode(item, arrays)
    for key, item in tree.items()
  }


def _digest(tree: Any) -> str:
  """SHA-256 of a JSON tree, of its content and not of its formatting."""
  text = json.dumps(tree, separators=(',', ':'), allow_nan=False)
  return hashlib.sha256(text.encode('utf-8')).hexdigest()


class _HashingWriter:
  """A file that is only written to, and hashed meanwhile.

  Without `tell` and `seek`, zipfile writes from the front to the back: then
  it works on every file system, and what is hashed is what is written.
  """

  def __init__(self, file):
    self._file = file
    self._hash = hashlib.sha256()

  def write(self, data) -> int:
    data = bytes(data)
    self._hash.update(data)
    self._file.write(data)
    return len(data)

  def flush(self) -> None:
    self._file.flush()

  def hexdigest(self) -> str:
    return self._hash.hexdigest()


def _write_arrays(path: str, arrays: list[np.ndarray]) -> str:
  """Writes an npz file that np.load reads; returns its SHA-256."""
  with files.create(path) as file:
    writer = _HashingWriter(file)
    with zipfile.ZipFile(writer, 'w', zipfile.ZIP_STORED) as archive:
      for i, array in enumerate(arrays):
        # A fixed date, so that equal states give equal files.
        info = zipfile.ZipInfo(f'{i}.npy', date_time=(1980, 1, 1, 0, 0, 0))
        with archive.open(info, 'w', force_zip64=True) as member:
          np.lib.format.write_array(member, array, allow_pickle=False)
  return writer.hexdigest()


def _read_arrays(path: str, expected: str) -> list[np.ndarray]:
  """Reads what `_write_arrays` wrote, if its SHA-256 is `expected`."""
  with readers.contents_of(path), _open(path) as file:
    digest = hashlib.sha256()
    while block := file.read(1 << 22):
      digest.update(block)
    if digest.hexdigest() != expected:
      raise ValueError('it is torn or altered')
    file.seek(0)
    arrays = readers.read_arrays(file, path)
    return [arrays[str(i)] for i in range(len(arrays))]


def _open(path: str) -> IO[bytes]:
  # A large file is not read whole, where that can be avoided.
  if files.is_url(path):
    return io.BytesIO(readers.read_bytes(path))
  return open(path, 'rb')


class Checkpointer:
  """Saves nested states under a directory and loads the newest sound one.

  A state is a nested dict with string keys. Its leaves are JSON values
  (None, bool, int of any size, float with NaN and infinities, str), NumPy
  arrays or NumPy scalars; lists and tuples may nest. All of it comes back
  equal to the bit, with types and shapes. Equal states give equal files.
  """

  _advice = (
    ' Nothing was changed. To start afresh, give another --base_dir, or move '
    'this directory away.'
  )

  def __init__(self, directory: str, keep: int = 2):
    """Creates the checkpointer; the directory itself is made when saving.

    Args:
      directory: where the checkpoints lie, any path of tf.io.gfile.
      keep: how many checkpoints to keep, >= 1. With 2 or more a torn one
        costs the steps since the one before it; with 1 it costs the run.

    Raises:
      UserError: `keep` is not an integer >= 1.
    """
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
      raise UserError(
        f'Checkpointer.keep is {keep!r}; it must be an integer >= 1'
      )
    self._directory = os.fspath(directory)
    self._keep = keep
    self._rejected: set[int] = set()

  def _path(self, step: int) -> str:
    return os.path.join(self._directory, f'ckpt-{step}')

  def steps(self) -> list[int]:
    """Returns the steps of all checkpoints, sound or not, ascending."""
    matches = (
      _NAME.fullmatch(name) for name in files.list_names(self._directory)
    )
    return sorted(int(match[1]) for match in matches if match)

  def save(self, step: int, state: dict[str, Any]) -> None:
    """Writes the checkpoint of `step`, then deletes what is out of date.

    One of the same step is replaced. Deleted are all but the newest `keep`
    and those which `load_latest` had to pass over.

    Args:
      step: number of the checkpoint, >= 0; the highest is the newest.
      state: the nested state, as the class describes it.

    Raises:
      TypeError: a leaf of the state can be no part of a checkpoint. Nothing
        has been written then.
      ValueError: `step` is not an integer >= 0.
    """
    if isinstance(step, bool) or not isinstance(step, (int, np.integer)):
      raise ValueError(f'step must be an integer, got {step!r}')
    step = int(step)
    if step < 0:
      raise ValueError(f'step must be >= 0, got {step}')
    if not isinstance(state, dict):
      raise TypeError(f'state must be a dict, got {type(state).__name__}')
    arrays: list[np.ndarray] = []
    tree = _encode(state, '', arrays)

    try:
      self._write(step, tree, arrays)
    except BaseException:
      with contextlib.suppress(OSError):
        self.clean()
      raise
    self._rejected.discard(step)
    self._delete_old()

  def _write(self, step: int, tree: Any, arrays: list[np.ndarray]) -> None:
    path = self._path(step)
    temporary = files.temporary_name(path)
    files.remove(temporary)
    files.make_directory(temporary)
    arrays_digest = _write_arrays(os.path.join(temporary, _ARRAYS_FILE), arrays)
    # Last, so that a tree is never there before its arrays.
    files.write(
      os.path.join(temporary, _STATE_FILE),
      json.dumps(
        {
          'format': _FORMAT,
          'step': step,
          'arrays_sha256': arrays_digest,
          'state_sha256': _digest(tree),
          'state': tree,
        },
        allow_nan=False,
      ),
    )
    replaced = path + _REPLACED
    if files.exists(path):
      # A directory cannot be renamed onto another: the old one steps aside.
      # `clean` puts it back if the process dies between the two lines.
      files.rename(path, replaced)
    files.rename(temporary, path)
    files.flush_directory(self._directory)
    files.remove(replaced)

  def _delete_old(self) -> None:
    sound = [step for step in self.steps() if step not in self._rejected]
    keep = set(sound[-self._keep :])
    for step in self.steps():
      if step not in keep:
        files.remove(self._path(step))
        self._rejected.discard(step)

  def clean(self) -> None:
    """Removes what a save left half-done that was killed or failed."""
    for name in files.list_names(self._directory):
      path = os.path.join(self._directory, name)
      if name.endswith(_REPLACED) and _NAME.match(name):
        original = path[: -len(_REPLACED)]
        if files.exists(original):
          files.remove(path)
        else:
          files.rename(path, original)
      elif files.TEMPORARY in name and _NAME.match(name):
        files.remove(path)

  def _read_tree(self, step: int) -> tuple[Any, str]:
    """Returns tree and digest of the arrays, if they are what `save` wrote."""
    path = os.path.join(self._path(step), _STATE_FILE)
    content = readers.read_json(path)
    with readers.contents_of(path):
      if content['format'] != _FORMAT:
        raise ValueError(f'it has format {content["format"]!r}, not {_FORMAT}')
      if _digest(content['state']) != content['state_sha256']:
        raise ValueError('it is torn or altered')
      if content['step'] != step:
        raise ValueError(f'it is of step {content["step"]}')
      return content['state'], content['arrays_sha256']

  def load(self, step: int) -> dict[str, Any]:
    """Loads the checkpoint of a step.

    Raises:
      FileError: it cannot be used, or there is none.
    """
    tree, arrays_digest = self._read_tree(step)
    # Both digests fit, so what follows reads exactly what `save` wrote.
    path = self._path(step)
    with readers.contents_of(path):
      arrays = _read_arrays(os.path.join(path, _ARRAYS_FILE), arrays_digest)
      return _decode(tree, arrays)

  def load_latest(
    self,
    accept: Callable[[dict[str, Any]], None] | None = None,
    undo: Callable[[], None] | None = None,
  ) -> tuple[int, dict[str, Any]] | None:
    """Loads the newest checkpoint that is sound.

    Each one that is passed over is named in a warning of one line.

    Args:
      accept: called with a loaded state; if it raises an error, the next older
        checkpoint is tried. For what a state refers to outside itself, for
        example a replay segment that may be torn.
      undo: called after `accept` has raised an error, to put back what it
        changed.

    Returns:
      The step and the state, or None if there is no checkpoint.

    Raises:
      UserError: there are checkpoints, but none is sound.
    """
    self.clean()
    reasons = []
    for step in reversed(self.steps()):
      path = self._path(step)
      try:
        state = self.load(step)
        if accept is not None:
          self._try(accept, undo, state, path)
      except readers.FileError as error:
        reasons.append((step, str(error)))
        continue
      for other, text in reasons:
        self._rejected.add(other)
        _LOGGER.warning(
          'Checkpoint %s is passed over: %s', self._path(other), text
        )
      return step, state
    if not reasons:
      return None
    shown = '; '.join(
      text.replace(self._directory + os.sep, '') for _, text in reasons
    )
    raise UserError(
      f'{self._directory} holds checkpoints, but none can be used: {shown}.'
      f'{self._advice}'
    )

  def _try(self, accept, undo, state, path):
    with readers.contents_of(path):
      try:
        accept(state)
      except Exception:
        if undo is not None:
          undo()
        raise

  def names(self) -> Callable[[str], bool]:
    """Returns what tells whether a checkpoint names a file.

    Raises:
      FileError: a checkpoint cannot be read, and so may name any.
    """
    texts = [json.dumps(self._read_tree(step)[0]) for step in self.steps()]
    return lambda name: any(f'"{name}"' in text for text in texts)


class CheckpointReader(Checkpointer):
  """A Checkpointer that changes nothing: the run may still go on."""

  _advice = ''

  def clean(self):
    pass

  def save(self, step, state):
    raise NotImplementedError('a reader saves nothing')
