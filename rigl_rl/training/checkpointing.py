"""Checkpoints of JSON and arrays: no pickle, never half a one.

A checkpoint `ckpt-<step>/` holds `state.json`, the tree of the state, and
`arrays.npz`, the arrays the tree refers to. The tree carries the SHA-256 of
both, so that a torn or altered checkpoint is recognized, and the one before
it is taken.
"""

from __future__ import annotations

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
from typing import Any

import numpy as np
import tensorflow as tf

from rigl_rl.errors import UserError
from rigl_rl.training import files

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


class _Unusable(ValueError):
  """A checkpoint that cannot be read; its message says why."""


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
  with tf.io.gfile.GFile(path, 'wb') as file:
    writer = _HashingWriter(file)
    with zipfile.ZipFile(writer, 'w', zipfile.ZIP_STORED) as archive:
      for i, array in enumerate(arrays):
        # A fixed date, so that equal states give equal files.
        info = zipfile.ZipInfo(f'{i}.npy', date_time=(1980, 1, 1, 0, 0, 0))
        with archive.open(info, 'w', force_zip64=True) as member:
          np.lib.format.write_array(member, array, allow_pickle=False)
  files.fsync(path)
  return writer.hexdigest()


def _read_arrays(path: str, expected: str) -> list[np.ndarray]:
  """Reads what `_write_arrays` wrote, if its SHA-256 is `expected`."""
  # zipfile looks for a comment before the file's beginning and relies on
  # OSError there, which GFile does not raise: so no GFile.
  with (
    open(path, 'rb')
    if files.is_local(path)
    else io.BytesIO(files.read_file(path))
  ) as file:
    digest = hashlib.sha256()
    while block := file.read(1 << 22):
      digest.update(block)
    if digest.hexdigest() != expected:
      raise _Unusable(f'{_ARRAYS_FILE} is torn or altered')
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
      return [archive[str(i)] for i in range(len(archive.files))]


class Checkpointer:
  """Saves nested states under a directory and loads the newest sound one.

  A state is a nested dict with string keys. Its leaves are JSON values
  (None, bool, int of any size, float with NaN and infinities, str), NumPy
  arrays or NumPy scalars; lists and tuples may nest. All of it comes back
  equal to the bit, with types and shapes. Equal states give equal files.
  """

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

  def _names(self) -> list[str]:
    if not tf.io.gfile.isdir(self._directory):
      return []
    # Some file systems list a directory with a slash behind its name.
    names = tf.io.gfile.listdir(self._directory)
    return sorted(name.rstrip('/') for name in names)

  def steps(self) -> list[int]:
    """Returns the steps of all checkpoints, sound or not, ascending."""
    matches = (_NAME.fullmatch(name) for name in self._names())
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

    path = self._path(step)
    temporary = files.temporary_name(path)
    if tf.io.gfile.exists(temporary):
      tf.io.gfile.rmtree(temporary)
    tf.io.gfile.makedirs(temporary)
    arrays_digest = _write_arrays(os.path.join(temporary, _ARRAYS_FILE), arrays)
    # Last, so that a tree is never there before its arrays.
    files.write_file(
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
    if tf.io.gfile.exists(path):
      # A directory cannot be renamed onto another: the old one steps aside.
      # `_clean` puts it back if the process dies between the two lines.
      tf.io.gfile.rename(path, replaced)
    tf.io.gfile.rename(temporary, path)
    files.fsync(self._directory)
    if tf.io.gfile.exists(replaced):
      tf.io.gfile.rmtree(replaced)
    self._rejected.discard(step)
    self._delete_old()

  def _delete_old(self) -> None:
    sound = [step for step in self.steps() if step not in self._rejected]
    keep = set(sound[-self._keep :])
    for step in self.steps():
      if step not in keep:
        tf.io.gfile.rmtree(self._path(step))
        self._rejected.discard(step)

  def _clean(self) -> None:
    """Removes what a killed process left half-done."""
    for name in self._names():
      path = os.path.join(self._directory, name)
      if name.endswith(_REPLACED) and _NAME.match(name):
        original = path[: -len(_REPLACED)]
        if tf.io.gfile.exists(original):
          tf.io.gfile.rmtree(path)
        else:
          tf.io.gfile.rename(path, original)
      elif files.TEMPORARY in name and _NAME.match(name):
        tf.io.gfile.rmtree(path)

  def _load(self, step: int) -> dict[str, Any]:
    path = self._path(step)
    try:
      content = json.loads(files.read_file(os.path.join(path, _STATE_FILE)))
      if content['format'] != _FORMAT:
        raise _Unusable(
          f'{_STATE_FILE} has format {content["format"]!r}, not {_FORMAT}'
        )
      tree = content['state']
      sound = _digest(tree) == content['state_sha256']
      saved_step = content['step']
      arrays_digest = content['arrays_sha256']
    except _Unusable:
      raise
    except (ValueError, LookupError, TypeError) as error:
      # No JSON, or JSON of another shape.
      raise _Unusable(f'{_STATE_FILE} is torn or altered') from error
    if not sound:
      raise _Unusable(f'{_STATE_FILE} is torn or altered')
    if saved_step != step:
      raise _Unusable(f'{_STATE_FILE} is of step {saved_step}')
    # Both digests fit, so what follows reads exactly what `save` wrote.
    arrays = _read_arrays(os.path.join(path, _ARRAYS_FILE), arrays_digest)
    return _decode(tree, arrays)

  def load(self, step: int) -> dict[str, Any]:
    """Loads the checkpoint of a step.

    Raises:
      ValueError: it is torn or altered; OSError or tf.errors.OpError: it cannot
        be read, or there is none.
    """
    return self._load(step)

  def load_latest(
    self, accept: Callable[[dict[str, Any]], None] | None = None
  ) -> tuple[int, dict[str, Any]] | None:
    """Loads the newest checkpoint that is sound.

    Each one that is passed over is named in a warning of one line.

    Args:
      accept: called with a loaded state; if it raises ValueError, the next
        older checkpoint is tried. For what a state refers to outside itself,
        for example a replay segment that may be torn.

    Returns:
      The step and the state, or None if there is no sound checkpoint.
    """
    self._clean()
    for step in reversed(self.steps()):
      try:
        state = self._load(step)
        if accept is not None:
          accept(state)
      except (ValueError, OSError, tf.errors.OpError) as error:
        self._rejected.add(step)
        reason = ' '.join(str(error).split()) or type(error).__name__
        _LOGGER.warning(
          'Checkpoint %s is passed over: %s', self._path(step), reason
        )
        continue
      return step, state
    return None


class CheckpointReader(Checkpointer):
  """A Checkpointer that changes nothing: the run may still go on."""

  def _clean(self):
    pass

  def save(self, step, state):
    raise NotImplementedError('a reader saves nothing')
