"""SparseOptimizer: the one place where a train step meets the masks."""

from __future__ import annotations

import functools
from typing import Any, Sequence

import gin
import numpy as np
import tensorflow as tf

from rigl_rl.compat import keras
from rigl_rl.compat import tensorflow as tensorflow_compat
from rigl_rl.errors import UserError
from rigl_rl.sparsity import (
  kernel_mask,
  schedules,
  sparse_kernel,
  step_plan,
  wrappers,
)
from rigl_rl.sparsity import mask_updater as mask_updater_lib
from rigl_rl.sparsity import slots as slots_lib


@tf.keras.utils.register_keras_serializable('rigl_rl')
class SparseOptimizer(tf.Module, tf.keras.optimizers.legacy.Optimizer):
  """Wraps an optimizer so that the kernels it trains stay sparse.

  Every agent ends its train step in `apply_gradients`. There the inner
  optimizer steps on the active weights; then the callback may change the masks,
  by the dense gradient of the same step. The `StepPlan` of a trace says whether
  they change; without one, as in a user's own loop, the graph decides by the
  step count.

  It is an optimizer of Keras: `model.compile` takes it. Of the base class it
  uses only `minimize`.

  The constructor's `inner`, `layers`, `mask_updater` and `period` are
  attributes, and so is `step`: an int64 variable, the train step that comes
  next, counted from 0.
  """

  def __init__(
    self,
    inner: Any,
    layers: Sequence[wrappers.SparseWrapper],
    mask_updater: mask_updater_lib.MaskUpdater,
    replace_gradient_step: bool = False,
    period: int = 1,
    dense_slots: bool = False,
  ):
    """Initializes the optimizer.

    Args:
      inner: an optimizer of tf.keras.optimizers, tf.keras.optimizers.legacy or
        tf.compat.v1.train. It must not move a weight of zero whose gradient and
        slots are zero; none of those does. If its `takes_masks` is true of a
        step, its `apply_masked_gradients` takes it.
      layers: wrappers that `sparsify` has initialized.
      mask_updater: the callback.
      replace_gradient_step: whether a step that changes masks takes no gradient
        step, as in RigL's algorithm 1. It has an effect only if an algorithm
        grows by the gradient (`needs_dense_gradient`).
      period: train steps of the agent per step of this optimizer, the last of
        them; more than 1 where updates are delayed, as in TD3's actor. Masks
        due between two steps of this optimizer change at the later one.
      dense_slots: whether the slots of inactive weights follow their gradients,
        and outlast a drop and a growth, as in the code of Sokar et al. (2022):
        a weight that grows then moves by as much as others. From slots of zero,
        Adam's first steps are several times the learning rate.

    Raises:
      UserError: if the inner optimizer is of another kind.
    """
    tf.keras.optimizers.legacy.Optimizer.__init__(self, 'sparse_optimizer')
    tf.Module.__init__(self, 'sparse_optimizer')
    self.inner = inner
    self._slots_of_inner = slots_lib.slots_of(inner)
    self._has_slots = False
    self.layers = list(layers)
    self.mask_updater = mask_updater
    for layer in mask_updater.layers:
      layer.needs_dense_gradient = layer.algorithm.needs_dense_gradient
    self.period = period
    self.step = tf.Variable(
      period - 1, dtype=tf.int64, trainable=False, name='step'
    )
    self._replace_gradient_step = replace_gradient_step and any(
      layer.algorithm.needs_dense_gradient for layer in mask_updater.layers
    )
    self._dense_slots = dense_slots

  def variables(self) -> list[tf.Variable]:
    """The inner optimizer's variables, and the step count."""
    return list(self.inner.variables()) + [self.step]

  # By the names that Keras has for them.
  weights = property(variables)
  iterations = property(lambda self: self.step)

  @property
  def learning_rate(self) -> Any:
    return self.inner.learning_rate

  @learning_rate.setter
  def learning_rate(self, value: Any) -> None:
    self.inner.learning_rate = value

  lr = learning_rate

  def get_config(self):
    """Returns the inner optimizer's config, since layers are the model's.

    A loaded model is compiled with it; `KernelMask` refuses it if masks change.
    """
    if isinstance(self.inner, tf.compat.v1.train.Optimizer):
      raise UserError(
        f'A {type(self.inner).__name__} cannot be saved with its model: call '
        '`model.save_weights`, or save both by `tf.train.Checkpoint`.'
      )
    return {'inner': tf.keras.optimizers.serialize(self.inner)}

  @classmethod
  def from_config(cls, config, custom_objects=None):
    """Returns a new inner optimizer; see `get_config`."""
    return tf.keras.optimizers.deserialize(config['inner'], custom_objects)

  @property
  def storage_obstacle(self) -> str | None:
    """Why its layers cannot be stored sparsely; None if they can."""
    if not self._dense_slots:
      return None
    return 'make_sparse_optimizer.dense_slots must be False for that'

  @property
  def steps_taken(self) -> int:
    """Gradient steps taken so far."""
    return (int(self.step) + 1) // self.period - 1

  def update_steps(self) -> np.ndarray:
    """Returns the train steps at which masks change, in order."""
    due = self.mask_updater.update_steps()
    return np.unique((due + self.period) // self.period * self.period - 1)

  def create_slots(self, variables: Sequence[tf.Variable]) -> None:
    """Creates the inner optimizer's slots before the first step."""
    self._slots_of_inner.create(variables)
    self._has_slots = True
    for variable in variables:
      for slot in self._slots_of_inner.of(variable):
        sparse_kernel.adopt(slot, variable)

  @property
  def can_move_slots(self) -> bool:
    """Whether `move_slots` knows where the inner optimizer has its slots."""
    return isinstance(self.inner, tf.keras.optimizers.legacy.Optimizer)

  def move_slots(
    self, trained: tf.Variable, kernel: sparse_kernel.SparseKernel
  ) -> None:
    """Moves the slots, if any, of a trained variable to a kernel's weights."""
    for slot in keras.move_slots(
      self.inner,
      trained,
      kernel.trained,
      lambda slot: kernel.active(tf.constant(sparse_kernel.read(slot))),
    ):
      sparse_kernel.adopt(slot, kernel.trained)

  @tf.autograph.experimental.do_not_convert
  def apply_gradients(
    self, grads_and_vars, name: str | None = None, **kwargs
  ) -> tf.Tensor:
    """Takes one step; see the class.

    Args:
      grads_and_vars: (gradient, variable) pairs. Gradients of masked kernels
        include inactive weights; so do those of sparse storage, if a mask may
        change by them in this step.
      name: of the operations.
      **kwargs: for the inner optimizer.

    Returns:
      int64 scalar, the train step of the next call.

    Raises:
      UserError: a layer whose mask changes has no gradient.
    """
    if name is not None:  # Keras passes None.
      kwargs['name'] = name
    grads_and_vars = list(grads_and_vars)
    self._check_gradients(grads_and_vars)
    if not self._has_slots:
      with tf.init_scope():
        self.create_slots([variable for _, variable in grads_and_vars])
    gradients = [
      (sparse_kernel.as_variable(gradient, variable), variable)
      for gradient, variable in grads_and_vars
    ]
    masks = {}
    for layer in self.layers:
      if layer.sparsity > 0:
        masks.update(layer.storage.step_masks())
    with kernel_mask.laid_aside(layer.layer for layer in self.layers):
      self._step_and_update(grads_and_vars, gradients, masks, kwargs)
    return self.step.assign_add(self.period)

  def _step_and_update(self, grads_and_vars, gradients, masks, kwargs) -> None:
    takes_masks = getattr(self.inner, 'takes_masks', lambda *_: False)
    inner_masks = not kwargs and takes_masks(gradients, masks)
    if not inner_masks and not self._dense_slots:
      # Inactive weights and their slots are zero, and so remain zero. Masking
      # the kernel after the step would have to wait for the step.
      gradients = [
        (gradient * masks[variable.ref()], variable)
        if gradient is not None and variable.ref() in masks
        else (gradient, variable)
        for gradient, variable in gradients
      ]

    def gradient_step():
      if inner_masks:
        self.inner.apply_masked_gradients(
          gradients, masks, mask_kernels=self._dense_slots
        )
        return
      self.inner.apply_gradients(gradients, **kwargs)
      if self._dense_slots:
        for kernel, mask in masks.items():
          kernel.deref().assign(kernel.deref() * mask)

    update_masks = functools.partial(self._update_masks, grads_and_vars)
    if self._replace_gradient_step:
      step_plan.when(self._is_update(), update_masks, gradient_step)
    else:
      gradient_step()
      step_plan.when(self._is_update(), update_masks, lambda: None)

  def _check_gradients(self, grads_and_vars) -> None:
    trained = {
      v.ref() for gradient, v in grads_and_vars if gradient is not None
    }
    for layer in self.mask_updater.layers:
      if layer.trained_kernel.ref() not in trained:
        raise UserError(
          f'The gradients lack that of layer {layer.name!r}, whose mask '
          f'{type(layer.algorithm).__name__} changes; they must be of all such '
          'layers, or sparsify.keep_dense must name this one.'
        )

  def _is_update(self) -> bool | tf.Tensor:
    """Whether this step changes masks; a tensor if the graph must decide."""
    if not self.mask_updater.layers:
      return False
    plan = step_plan.current()
    if plan is not None:
      return self in plan.mask_updates
    return tf.reduce_any(self.mask_updater.is_update_step(self._latest_steps()))

  def _latest_steps(self) -> tf.Tensor:
    """This train step and those since the last call, in reverse order."""
    return self.step - tf.range(self.period, dtype=tf.int64)

  def _update_masks(self, grads_and_vars) -> None:
    """Lets the callback change the masks."""
    steps = self._latest_steps()
    step = steps[tf.argmax(self.mask_updater.is_update_step(steps))]
    of_variable = {v.ref(): gradient for gradient, v in grads_and_vars}
    layers = self.mask_updater.layers
    gradients = [of_variable[layer.trained_kernel.ref()] for layer in layers]
    for layer, gradient in zip(layers, gradients):
      is_dense = gradient.shape == layer.kernel_shape
      if layer.algorithm.needs_dense_gradient and not is_dense:
        raise ValueError(
          f'The gradient of {layer.name} has only its active weights: it was '
          'computed by the plan of a step that changes no mask.'
        )
    slots = [
      [] if self._dense_slots else self._slots_of_inner.of(layer.trained_kernel)
      for layer in layers
    ]

    def update(step, *gradients):
      self.mask_updater.update(step, gradients, slots)

    # If inlined, each step without a change would walk through all operations.
    if not tf.executing_eagerly():  # Otherwise every call would trace it.
      update = tensorflow_compat.not_inlined(update)
    update(
      step,
      *(
        sparse_kernel.as_kernel(gradient, layer.trained_kernel)
        for layer, gradient in zip(layers, gradients)
      ),
    )


@gin.configurable(allowlist=['replace_gradient_step', 'dense_slots'])
def make_sparse_optimizer(
  inner: Any,
  layers: Sequence[wrappers.SparseWrapper],
  total_steps: int | None = None,
  seed: int = 0,
  period: int = 1,
  replace_gradient_step: bool = False,
  dense_slots: bool = False,
  schedule: schedules.UpdateSchedule | None = None,
  copies: Sequence[Sequence[wrappers.SparseWrapper]] = (),
) -> SparseOptimizer:
  """Builds the optimizer of sparsified layers.

  Args:
    inner: the optimizer to wrap.
    layers: what `sparsify` returned.
    total_steps: train steps of the whole training, for a schedule that gin
      binds; None if `schedule` is given.
    seed: int32 seed of random growth.
    period, replace_gradient_step, dense_slots: see `SparseOptimizer`.
    schedule: when masks change; None for `UpdateSchedule(total_steps)`.
    copies: see `MaskUpdater`.

  Raises:
    UserError: both or neither of `total_steps` and `schedule` are given.
  """
  if schedule is None and total_steps is not None:
    schedule = schedules.UpdateSchedule(total_steps, period=period)
  elif schedule is None or total_steps is not None:
    raise UserError(
      f'make_sparse_optimizer.total_steps is {total_steps!r} and schedule '
      f'{schedule!r}, but exactly one of them must be given.'
    )
  updater = mask_updater_lib.MaskUpdater(layers, schedule, seed, copies)
  return SparseOptimizer(
    inner, layers, updater, replace_gradient_step, period, dense_slots
  )


def load_model(path: str, **options: Any) -> tf.keras.Model:
  """Loads a sparsified model that was saved, as '.keras', '.h5' or SavedModel.

  This is `tf.keras.models.load_model`, which finds a mask's class only after
  this module was imported. The model is compiled with the inner optimizer. To
  continue its training, pass its `sparse_layers` to `make_sparse_optimizer`,
  and compile it with the result.
  """
  return tf.keras.models.load_model(path, **options)
