"""Checkpoints of JSON and arrays: no pickle, never incomplete.

A checkpoint `ckpt-<step>/` holds `state.json`, the tree of the state, and
`arrays.npz`, the arrays the tree refers to. The tree carries the SHA-256 of
both, so that a torn or altered checkpoint is recognized, and the previous one
is loaded.
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
from collections.abc import Callable
from typing import Any

import numpy as np

from rigl_rl import files, npz, readers
from rigl_rl.errors import UserError

# Checkpoints that a directory keeps: an older one in case the newest is torn.
KEPT = 2

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


def _check_dtype(dtype: np.dtype, where: str) -> None:
  """Raises TypeError unless the npy format can hold it without pickle."""
  if dtype.hasobject:
    raise TypeError(f'state{where} is an array of Python objects')
  if np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(dtype)) != dtype:
    raise TypeError(
      f'state{where} is an array of {dtype}, which the npy format cannot hold'
    )


def _encode(value: Any, where: str, arrays: list[np.ndarray]) -> Any:
  """Returns `value` as JSON values and appends its arrays to `arrays`."""
  # Before the JSON types: np.float64 is a float, and np.str_ a str, too.
  if isinstance(value, (np.ndarray, np.generic)):
    kind = _ARRAY if isinstance(value, np.ndarray) else _SCALAR
    _check_dtype(value.dtype, where)
    arrays.append(np.asarray(value))
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


def _decode(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
  """The inverse of `_encode`."""
  if isinstance(tree, list):
    return [_decode(item, arrays) for item in tree]
  if not isinstance(tree, dict):
    return tree
  if _ARRAY in tree:
    return arrays[str(tree[_ARRAY])]
  if _SCALAR in tree:
    return arrays[str(tree[_SCALAR])][()]
  if _TUPLE in tree:
    return tuple(_decode(tree[_TUPLE], arrays))
  if _FLOAT in tree:
    return struct.unpack('>d', bytes.fromhex(tree[_FLOAT]))[0]
  return {
    key[1:] if key.startswith('$') else key: _decode(item, arrays)
    for key, item in tree.items()
  }


def _digest(tree: Any) -> str:
  """SHA-256 of a JSON tree, of its content and not of its formatting."""
  text = json.dumps(tree, separators=(',', ':'), allow_nan=False)
  return hashlib.sha256(text.encode('utf-8')).hexdigest()


class Checkpointer:
  """Saves states, of which the newest `KEPT` stay, and loads them.

  Loading changes nothing. Equal states give equal files. A state is a nested
  dict with string keys, lists and tuples. Its leaves are JSON values (None,
  bool, int of any size, float with NaN and infinities, str), NumPy arrays or
  NumPy scalars. All of it comes back equal to the bit, with types and shapes.
  """

  def __init__(self, directory: str):
    """Names the directory, by any path of tf.io.gfile; `save` makes it."""
    self.directory = os.fspath(directory)
    self._rejected: set[int] = set()

  def _path(self, step: int) -> str:
    return os.path.join(self.directory, f'ckpt-{step}')

  def steps(self) -> list[int]:
    """Returns the steps of all checkpoints, sound or not, ascending."""
    matches = map(_NAME.fullmatch, files.list_names(self.directory))
    return sorted(int(match[1]) for match in matches if match)

  def _read_tree(self, step: int) -> tuple[Any, str]:
    """Returns tree and digest of the arrays, if they are what was saved."""
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
    tree, digest = self._read_tree(step)
    path = os.path.join(self._path(step), _ARRAYS_FILE)
    content = readers.read_bytes(path)
    with readers.contents_of(path):
      if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError('it is torn or altered')
    # Both digests fit, so what follows reads exactly what was saved.
    arrays = readers.read_arrays(io.BytesIO(content), path)
    with readers.contents_of(self._path(step)):
      return _decode(tree, arrays)

  def load_latest(
    self, accept: Callable[[dict[str, Any]], None] = lambda state: None
  ) -> tuple[int, dict[str, Any]] | None:
    """Loads the newest checkpoint that is sound.

    Each one that is passed over is named in a warning of one line.

    Args:
      accept: called with a loaded state; if it raises an error, the next older
        checkpoint is tried. For what a state refers to outside itself, for
        example a replay segment that may be torn.

    Returns:
      The step and the state, or None if there is no checkpoint.

    Raises:
      UserError: there are checkpoints, but none is sound.
    """
    reasons = {}
    for step in reversed(self.steps()):
      try:
        state = self.load(step)
        with readers.contents_of(self._path(step)):
          accept(state)
      except readers.FileError as error:
        reasons[step] = str(error)
        continue
      for other, text in reasons.items():
        self._rejected.add(other)
        _LOGGER.warning(
          'Checkpoint %s is passed over: %s', self._path(other), text
        )
      return step, state
    if not reasons:
      return None
    shown = '; '.join(reasons.values()).replace(self.directory + os.sep, '')
    raise UserError(
      f'{self.directory} holds checkpoints, but none can be used: {shown}. '
      'Nothing was changed. To start afresh, give another --base_dir, or move '
      'this directory away.'
    )

  def names(self) -> Callable[[str], bool]:
    """Returns a function that says whether a checkpoint names a file.

    Raises:
      FileError: a checkpoint cannot be read, and so may name any file.
    """
    texts = [json.dumps(self._read_tree(step)[0]) for step in self.steps()]
    return lambda name: any(f'"{name}"' in text for text in texts)

  def save(self, step: int, state: dict[str, Any]) -> None:
    """Writes the checkpoint of `step` >= 0, then deletes what is out of date.

    That is all but the newest `KEPT`, and those that `load_latest` had to pass
    over. A checkpoint of the same step is replaced.

    Raises:
      TypeError: a leaf cannot be part of a checkpoint. Nothing was written.
    """
    arrays: list[np.ndarray] = []
    tree = _encode(state, '', arrays)
    try:
      self._write(step, tree, npz.pack(dict(enumerate(arrays))))
    except BaseException:
      with contextlib.suppress(OSError):
        self.clean()
      raise
    self._rejected.discard(step)
    self._delete_old()

  def _write(self, step: int, tree: Any, arrays: bytes) -> None:
    content = {
      'format': _FORMAT,
      'step': step,
      'arrays_sha256': hashlib.sha256(arrays).hexdigest(),
      'state_sha256': _digest(tree),
      'state': tree,
    }
    path = self._path(step)
    temporary = files.temporary_name(path)
    files.remove(temporary)
    files.make_directory(temporary)
    for name, data in (
      (_ARRAYS_FILE, arrays),
      (_STATE_FILE, json.dumps(content, allow_nan=False).encode('utf-8')),
    ):
      with files.create(os.path.join(temporary, name)) as file:
        file.write(data)
    files.flush_directory(temporary)
    replaced = path + _REPLACED
    if files.exists(path):
      # A directory cannot be renamed onto another: the old one steps aside.
      # `clean` puts it back if the process dies between the two lines.
      files.rename(path, replaced)
    files.rename(temporary, path)
    files.flush_directory(self.directory)
    files.remove(replaced)

  def _delete_old(self) -> None:
    sound = [step for step in self.steps() if step not in self._rejected]
    for step in self.steps():
      if step not in sound[-KEPT:]:
        files.remove(self._path(step))
        self._rejected.discard(step)

  def clean(self) -> None:
    """Removes what a killed or failed save left behind."""
    for name in files.list_names(self.directory):
      path = os.path.join(self.directory, name)
      if name.endswith(_REPLACED) and _NAME.match(name):
        original = path[: -len(_REPLACED)]
        if files.exists(original):
          files.remove(path)
        else:
          files.rename(path, original)
      elif files.TEMPORARY in name and _NAME.match(name):
        files.remove(path)
