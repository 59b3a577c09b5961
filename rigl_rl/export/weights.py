"""The weights of a run's networks as named arrays, dense and sparse."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rigl_rl.networks import numpy_mlp
from rigl_rl.sparsity import wrappers


class Csr(NamedTuple):
  """A kernel as compressed sparse rows.

  A row holds the active weights of one input: one row per combination of the
  kernel's dimensions but the last, in C order; columns are outputs.
  """

  data: np.ndarray  # float32, the active weights, row by row.
  indices: np.ndarray  # int32, their columns.
  indptr: np.ndarray  # int32; row i is `data[indptr[i] : indptr[i + 1]]`.
  shape: np.ndarray  # int32, of the kernel, `(*window, in, out)`.


def to_csr(kernel: np.ndarray, is_active: np.ndarray) -> Csr:
  """Returns a kernel's weights where `is_active`, of its shape, is not 0."""
  flat = kernel.reshape(-1, kernel.shape[-1])
  rows, columns = np.nonzero(is_active.reshape(flat.shape))
  return Csr(
    flat[rows, columns],
    columns.astype(np.int32),
    np.searchsorted(rows, np.arange(len(flat) + 1)).astype(np.int32),
    np.array(kernel.shape, np.int32),
  )


def arrays(policy: Any) -> dict[str, np.ndarray]:
  """Returns the weights of the networks of a `saved_run.Policy`'s agent.

  Returns:
    By network and layer: 'actor/dense1/kernel', 'actor/dense1/bias', and the
    fields of `Csr`, 'actor/dense1/kernel/data' and so on. Of an agent that
    normalizes observations also 'normalizer/scale' and 'normalizer/shift': the
    actor's inputs are scale · observation + shift, clipped to ±5.
  """
  found = {}
  for network, model in policy.agent.networks.items():
    for path, layer in wrappers.named_layers(model).items():
      name = f'{network}/{path}'
      kernel = layer.kernel.numpy()
      is_masked = isinstance(layer, wrappers.SparseWrapper)
      mask = layer.mask.numpy() if is_masked else np.ones_like(kernel)
      found[f'{name}/kernel'] = kernel
      for field, values in to_csr(kernel, mask)._asdict().items():
        found[f'{name}/kernel/{field}'] = values
      if layer.bias is not None:
        found[f'{name}/bias'] = layer.bias.numpy()
  greedy = policy.greedy
  if isinstance(greedy, numpy_mlp.NumpyActor) and greedy.normalizer is not None:
    found['normalizer/scale'] = greedy.normalizer.scale
    found['normalizer/shift'] = greedy.normalizer.shift
  return found
