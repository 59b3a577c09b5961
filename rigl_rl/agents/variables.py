"""Variables as arrays, for checkpoints."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import tensorflow as tf

from rigl_rl.sparsity import sparse_kernel


def read(variables: Sequence[tf.Variable]) -> list[np.ndarray]:
  """Returns the values of some variables.

  Those of a layer that is stored sparsely are given as if it were stored
  masked, so that a run may continue in either storage.
  """
  return [sparse_kernel.read(variable) for variable in variables]


def assign(
  variables: Sequence[tf.Variable], values: Sequence[np.ndarray]
) -> None:
  """Puts back what `read` returned.

  Raises:
    ValueError: if there are more or fewer values than variables.
  """
  if len(variables) != len(values):
    raise ValueError(
      f'The checkpoint has {len(values)} arrays for {len(variables)} variables.'
    )
  sparse_kernel.assign(variables, values)
