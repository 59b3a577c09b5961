"""MaskedKernel: a kernel that holds all its weights, and a mask beside it."""

from __future__ import annotations

from typing import Any, Sequence

import tensorflow as tf


class MaskedKernel:
  """How a kernel is stored by default; SparseKernel has the same methods.

  The forward pass uses the weights directly and never multiplies by the
  mask, so the gradient is dense, and acting and evaluation see exact zeros.

  Attributes:
    name: what `sparsify.storage` calls this kind of kernel.
    trained: the variable that an optimizer trains.
    weights: `(*window, in, out)`; exactly 0 where the mask is 0.
    mask: float32, of the same shape, 1 where a weight is active; None until the
      layer is built.
    shape: of both.
  """

  name = 'masked'

  def __init__(
    self, layer: tf.keras.layers.Layer, mask: tf.Variable | None = None
  ):
    self._layer = layer
    self.mask: Any = mask

  @property
  def weights(self) -> tf.Variable:
    return self._layer.kernel

  trained = weights

  @property
  def shape(self) -> tf.TensorShape:
    return self.weights.shape

  def call(self, inputs: tf.Tensor, densely: bool) -> tf.Tensor:
    """Maps `(batch, ..., in)` to the layer's outputs.

    If `densely`, the gradient of `trained` must be that of all weights.
    """
    del densely  # Here it always is.
    return self._layer(inputs)

  def change_mask(
    self, mask: tf.Tensor, slots: Sequence[tf.Variable] = ()
  ) -> None:
    """Changes the mask; weights that leave or enter it become 0.

    So do their entries in `slots`, an optimizer's slots of `trained`.
    """
    lasting = self.mask * mask
    self.mask.assign(mask)
    self.weights.assign(self.weights * mask)
    for slot in slots:
      slot.assign(slot * lasting)

  def copy_mask(self, other: MaskedKernel) -> None:
    """Makes active what is active in another kernel of the same kind."""
    self.mask.assign(other.mask)
    self.weights.assign(self.weights * other.mask)

  def step_masks(self) -> dict:
    """Returns what an optimizer must mask in a step: {ref: mask}."""
    return {self.trained.ref(): self.mask}
