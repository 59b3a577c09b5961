"""How a target network follows its online network, and keeps its sparsity.

A soft update mixes old weights with new ones, so that the target keeps a
residue wherever a weight has left the online mask.
"""

from __future__ import annotations

from typing import Callable, Sequence

import gin
import tensorflow as tf

from rigl_rl.compat import tensorflow as tensorflow_compat
from rigl_rl.kernels import loader
from rigl_rl.sparsity import masks, wrappers

Layers = Sequence[wrappers.SparseWrapper]
# Of the online network's sparse layers, the target's in the same order, and
# whether an online mask may have changed since the last update. Called just
# after the target has moved; `copy_masks` just before.
MaskUpdate = Callable[[Layers, Layers, bool], None]


def move(
  online: Sequence[tf.Variable], target: Sequence[tf.Variable], tau: float
) -> None:
  """Moves target variables by τ in (0, 1] of their distance to online ones."""
  if tau == 1:  # The sum below would round.
    for source, variable in zip(online, target):
      variable.assign(source)
    return
  operations = loader.load()
  if operations is not None and all(map(loader.suits, [*online, *target])):
    update = operations.rigl_soft_update(
      online=[source.handle for source in online],
      target=[variable.handle for variable in target],
      tau=tau,
    )
    tensorflow_compat.only_reads(update, range(len(online)))
    return
  for source, variable in zip(online, target):
    # (1 - τ) target + τ online, in one pass and in place.
    tf.raw_ops.ResourceApplyGradientDescent(
      var=variable.handle, alpha=tau, delta=variable - source
    )


@gin.configurable(denylist=['online', 'target', 'masks_moved'])
def copy_masks(online: Layers, target: Layers, masks_moved: bool) -> None:
  """Gives the target the online network's masks (the default).

  Before the target moves: where both are zero, a move leaves zero. Kernels that
  are stored sparsely cannot move until the same weights are active.
  """
  if not masks_moved:  # Then there is no residue.
    return
  for source, layer in zip(online, target):
    layer.storage.copy_mask(source.storage)


@gin.configurable(denylist=['online', 'target', 'masks_moved'])
def keep_largest(online: Layers, target: Layers, masks_moved: bool) -> None:
  """Keeps as many weights as the online layer has, the largest (Sokar et al.).

  MaintainSparsity of Sokar et al. (2022), algorithm 3: after each update, in
  each layer, the ‖θ‖₀ weights of the largest magnitude stay, where θ is the
  online layer's kernel.
  """
  del masks_moved
  sources = [layer.kernel for layer in online]
  kernels = [layer.kernel for layer in target]
  stored_masks = [layer.mask for layer in target]
  variables = [*sources, *kernels, *stored_masks]
  can_use = variables and all(map(loader.suits, variables))
  operations = loader.load() if can_use else None
  if operations is not None:
    update = operations.rigl_maintain_sparsity(
      online=[variable.handle for variable in sources],
      target=[variable.handle for variable in kernels],
      mask=[variable.handle for variable in stored_masks],
    )
    tensorflow_compat.only_reads(update, range(len(sources)))
    return
  for source, layer in zip(online, target):
    count = tf.math.count_nonzero(source.kernel, dtype=tf.int32)
    kept = masks.top_k_mask(tf.abs(layer.kernel), count)
    layer.mask.assign(kept)
    layer.kernel.assign(layer.kernel * kept)
