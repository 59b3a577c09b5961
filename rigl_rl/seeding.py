"""One SEED, split by name into independent streams.

Every component that draws random numbers has a stream of its own, so that a
component which draws more or fewer numbers shifts no other one. The split is
a pure function of the seed and the names: it depends neither on the order in
which streams are made nor on Python's `hash`, which differs from process to
process.

The same SEED on the same machine gives the same numbers; a checkpoint holds
the state of every stream.
"""

from __future__ import annotations

import hashlib
import numbers
from typing import Any

import numpy as np

from rigl_rl.errors import UserError


def check_seed(seed: Any) -> int:
  """Returns SEED as a Python integer; UserError unless it is one, >= 0."""
  is_integer = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
  if not is_integer or seed < 0:
    raise UserError(f'SEED is {seed!r}; it must be an integer >= 0')
  return int(seed)


def _sequence(
  seed: int, names: tuple[str | int, ...]
) -> np.random.SeedSequence:
  """The seed sequence of the stream called `names`."""
  digest = hashlib.sha256()
  for name in names:
    is_integer = isinstance(name, numbers.Integral)
    if isinstance(name, bool) or not (is_integer or isinstance(name, str)):
      raise TypeError(f'a stream is named by str and int, got {name!r}')
    text = str(int(name)) if is_integer else name
    data = text.encode('utf-8')
    # Kind and length go in, so that ('a', 'b'), ('ab',) and 1, '1' differ.
    digest.update(b'i' if is_integer else b's')
    digest.update(len(data).to_bytes(8, 'big'))
    digest.update(data)
  key = np.frombuffer(digest.digest(), dtype='>u4')
  return np.random.SeedSequence(
    entropy=check_seed(seed), spawn_key=tuple(int(word) for word in key)
  )


def stream_seed(seed: int, *names: str | int) -> int:
  """Returns the seed of the stream called `names`.

  For libraries that take an integer: TensorFlow's stateless operations, Keras
  initializers, `env.reset(seed=...)`, ALE.

  Args:
    seed: the run's SEED; see `check_seed`.
    *names: the path of the stream, for example `'evaluation', 3`.

  Returns:
    An integer in [0, 2**31).
  """
  return int(_sequence(seed, names).generate_state(1, np.uint32)[0] >> 1)


def generator(seed: int, *names: str | int) -> np.random.Generator:
  """Returns a new NumPy generator (PCG64) of the stream called `names`.

  Args:
    seed: the run's SEED; see `check_seed`.
    *names: the path of the stream, for example `'replay'`.
  """
  # Named, since the default bit generator may change with NumPy's version.
  return np.random.Generator(np.random.PCG64(_sequence(seed, names)))
