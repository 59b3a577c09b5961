"""Tests of rigl_rl.npz."""

import io

import numpy as np

from rigl_rl import npz

_ARRAYS = {
  'frames': np.full((20, 84, 84), 7, np.uint8),
  'floats': np.linspace(0, 1, 5, dtype=np.float32),
  'empty': np.zeros((0, 3)),
}


def test_numpy_reads_what_is_packed():
  content = npz.pack(_ARRAYS)
  with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
    assert arrays.files == list(_ARRAYS)
    for name, array in _ARRAYS.items():
      assert arrays[name].dtype == array.dtype
      np.testing.assert_array_equal(arrays[name], array)
  # Bytes are compressed.
  assert len(content) < _ARRAYS['frames'].nbytes / 20


def test_equal_arrays_give_equal_files():
  assert npz.pack(_ARRAYS) == npz.pack(
    {k: v.copy() for k, v in _ARRAYS.items()}
  )
