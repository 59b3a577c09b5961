"""Arrays in npz files that hold no pickle; `readers.read_arrays` reads them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
  """Returns the content of an npz file; equal arrays give equal files.

  Args:
    arrays: by name; their dtypes must not need a pickle.
  """
  buffer = io.BytesIO()
  # Frames and flags compress well, floats hardly at all. The fastest level
  # already gets most of the gain.
  with zipfile.ZipFile(buffer, 'w', compresslevel=1) as archive:
    for name, array in arrays.items():
      is_bytes = array.dtype.itemsize == 1
      archive.compression = (
        zipfile.ZIP_DEFLATED if is_bytes else zipfile.ZIP_STORED
      )
      # By name: zipfile then gives the member a constant date.
      with archive.open(f'{name}.npy', 'w', force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
  return buffer.getvalue()
