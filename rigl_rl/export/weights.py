"""The weights of a run's networks as named arrays, dense and sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from rigl_rl.networks import numpy_mlp
from rigl_rl.sparsity import wrappers


def to_csr(kernel: np.ndarray, is_active: np.ndarray) -> sparse.csr_matrix:
  """Returns a kernel's weights where `is_active`, of its shape, is not 0.

  A row holds the active weights of one input: one row per combination of the
  kernel's dimensions but the last, in C order; columns are outputs.
  """
  flat = kernel.reshape(-1, kernel.shape[-1])
  active = np.nonzero(is_active.reshape(flat.shape))
  return sparse.csr_matrix((flat[active], active), flat.shape)


def arrays(policy: Any) -> dict[str, np.ndarray]:
  """Returns the weights of the networks of a `saved_run.Policy`'s agent.

  Returns:
    By network and layer: 'actor/dense1/kernel', 'actor/dense1/bias', and the
    kernel by `to_csr`: 'actor/dense1/kernel/data', '…/indices' and '…/indptr';
    '…/shape' is the kernel's own. Of an agent that normalizes observations also
    'normalizer/scale' and 'normalizer/shift': the actor's inputs are
    scale · observation + shift, clipped to ±5.
  """
  found = {}
  for network, model in policy.agent.networks.items():
    for path, layer in wrappers.named_layers(model).items():
      name = f'{network}/{path}'
      kernel = layer.kernel.numpy()
      is_masked = isinstance(layer, wrappers.SparseWrapper)
      mask = layer.mask.numpy() if is_masked else np.ones_like(kernel)
      found[f'{name}/kernel'] = kernel
      rows = to_csr(kernel, mask)
      for field in ('data', 'indices', 'indptr'):
        found[f'{name}/kernel/{field}'] = getattr(rows, field)
      found[f'{name}/kernel/shape'] = np.array(kernel.shape, np.int32)
      if layer.bias is not None:
        found[f'{name}/bias'] = layer.bias.numpy()
  greedy = policy.greedy
  if isinstance(greedy, numpy_mlp.NumpyActor) and greedy.normalizer is not None:
    found['normalizer/scale'] = greedy.normalizer.scale
    found['normalizer/shift'] = greedy.normalizer.shift
  return found
