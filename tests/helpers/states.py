"""States to be saved, and whether two are equal to the bit."""

import math
import struct

import numpy as np

from rigl_rl import seeding


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
    'generator': seeding.generator(1, 'a').bit_generator.state,
  }
