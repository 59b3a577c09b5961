"""Optimizers that gin files name."""

from __future__ import annotations

import itertools
from typing import Any, Callable, Mapping, Sequence

import gin
import tensorflow as tf

from rigl_rl.compat import keras
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import NonNegative, Positive
from rigl_rl.kernels import loader

MakeOptimizer = Callable[[], tf.keras.optimizers.legacy.Optimizer]

# Variables with this many values have an operation each: it need not wait for
# the gradients of others, and runs beside them.
_LARGE = 1 << 14
_NAME = 'Adam'


class _Adam(tf.keras.optimizers.legacy.Adam):
  """Adam with weight decay in its gradient, and with masks.

  Where possible, one operation in C++ takes the step on all small variables,
  and one more on each large one; otherwise the parent does, in operations of
  TensorFlow that give the same numbers. A `SparseOptimizer` lets them apply the
  masks as well. Weight decay in the loss is part of the step, too: its gradient
  is not computed apart.
  """

  def __init__(self, learning_rate: float, epsilon: float, weight_decay: float):
    super().__init__(learning_rate, epsilon=epsilon, name=_NAME)
    self._weight_decay = weight_decay

  @tf.autograph.experimental.do_not_convert
  def apply_gradients(self, grads_and_vars, name=None, **kwargs):
    """Takes a step; see the parent."""
    grads_and_vars = list(grads_and_vars)
    if not kwargs and self.takes_masks(grads_and_vars, {}):
      return self.apply_masked_gradients(grads_and_vars, {}, name=name)
    return super().apply_gradients(grads_and_vars, name, **kwargs)

  @tf.autograph.experimental.do_not_convert
  def takes_masks(
    self,
    grads_and_vars: Sequence[tuple[tf.Tensor, tf.Variable]],
    masks: Mapping[Any, tf.Variable],
  ) -> bool:
    """Whether `apply_masked_gradients` can take this step.

    Args:
      grads_and_vars: (gradient, variable) pairs.
      masks: masks by the `ref()` of their variables.
    """
    variables = [variable for _, variable in grads_and_vars]
    references = {variable.ref() for variable in variables}
    clips = (self.clipnorm, self.global_clipnorm, self.clipvalue)
    can_take = (
      variables
      and clips == (None, None, None)
      and not self.gradient_transformers
      and not self.amsgrad
      # A variable given twice takes two steps, one after the other.
      and len(references) == len(variables)
      and references.issuperset(masks)
      and not tf.distribute.has_strategy()
      and all(map(loader.suits, [*variables, *masks.values()]))
      and all(
        isinstance(gradient, tf.Tensor)
        and gradient.dtype == tf.float32
        and gradient.shape.is_compatible_with(variable.shape)
        and variable.constraint is None
        for gradient, variable in grads_and_vars
      )
    )
    if not can_take or loader.load() is None:
      return False
    self._create(variables)
    return loader.is_on_cpu(self.iterations)

  @tf.autograph.experimental.do_not_convert
  def apply_masked_gradients(
    self,
    grads_and_vars: Sequence[tuple[tf.Tensor, tf.Variable]],
    masks: Mapping[Any, tf.Variable],
    mask_kernels: bool = False,
    name: str | None = None,
  ):
    """Takes a step in few operations, masks included.

    Args:
      grads_and_vars: (gradient, variable) pairs, which `takes_masks`.
      masks: masks by the `ref()` of their variables.
      mask_kernels: whether these variables are multiplied by their masks, after
        the step, instead of their gradients, before it.
      name: of the operations.

    Returns:
      What the parent does: an operation in a graph, else the count of steps.
    """
    self._create([variable for _, variable in grads_and_vars])
    rate = self.learning_rate
    if callable(rate):  # A schedule.
      rate = rate(tf.cast(self.iterations, tf.float32))
    scalars = {
      'learning_rate': tf.convert_to_tensor(rate),
      'beta1': tf.convert_to_tensor(self.beta_1),
      'beta2': tf.convert_to_tensor(self.beta_2),
      'epsilon': self.epsilon,
      'iterations': tf.convert_to_tensor(self.iterations),
    }
    operations = []
    for group in _groups(grads_and_vars):
      variables = [variable for _, variable in group]
      gradients, decays = zip(*itertools.starmap(self._split_decay, group))
      masked = [i for i, v in enumerate(variables) if v.ref() in masks]
      operations.append(
        loader.load().rigl_adam(
          var=[variable.handle for variable in variables],
          m=[self.get_slot(variable, 'm').handle for variable in variables],
          v=[self.get_slot(variable, 'v').handle for variable in variables],
          mask=[masks[variables[i].ref()].handle for i in masked],
          gradient=gradients,
          masked=masked,
          mask_kernels=mask_kernels,
          weight_decay=decays,
          name=name or _NAME,
          **scalars,
        )
      )
    if tf.executing_eagerly():
      return self.iterations.assign_add(1)
    with tf.control_dependencies(operations):
      return self.iterations.assign_add(1, read_value=False)

  def _split_decay(self, gradient, variable):
    """Splits g + λ · variable, where a loss has weight decay, into g and λ."""
    if self._weight_decay:
      return gradient, self._weight_decay
    if not tf.executing_eagerly() and gradient.op.type == 'AddN':
      terms = gradient.op.inputs
      for term, rest in zip(terms, reversed(terms)):
        if len(terms) == 2 and _is_multiple(term, variable):
          return rest, term.op.inputs[1]
    return gradient, 0.0

  def _create(self, variables):
    """Creates the count of steps and the slots that do not exist yet."""
    with tf.name_scope(_NAME), tf.init_scope():
      keras.create_slots(self, variables)

  def _create_slots(self, var_list):
    loader.load()  # So that its messages come before training.
    super()._create_slots(var_list)

  def _resource_apply_dense(self, grad, var, apply_state=None):
    if self._weight_decay:
      grad += self._weight_decay * var
    return super()._resource_apply_dense(grad, var, apply_state)


def _is_multiple(term, variable):
  """Whether a tensor is a number times a variable's current value."""
  if term.op.type != 'Mul' or term.op.inputs[1].shape.rank != 0:
    return False
  read = term.op.inputs[0].op
  if read.type != 'ReadVariableOp':
    return False
  handle = read.inputs[0]
  return handle is term.graph.capture(variable.handle) and all(
    reader.type == 'ReadVariableOp' for reader in handle.consumers()
  )


def _groups(grads_and_vars):
  """Groups pairs, each for one operation, which waits for all its gradients.

  So twin networks, such as two critics, have groups of their own.
  """
  shapes = [variable.shape.as_list() for _, variable in grads_and_vars]
  count = len(shapes)
  period = next(
    period
    for period in range(1, count + 1)
    if shapes == shapes[:period] * (count // period)
  )
  groups = []
  for start in range(0, count, period):
    pairs = grads_and_vars[start : start + period]
    large = [p for p in pairs if p[1].shape.num_elements() >= _LARGE]
    groups += [[pair] for pair in large]
    groups.append([p for p in pairs if p[1].shape.num_elements() < _LARGE])
  return [group for group in groups if group]


@gin.configurable
def adam(
  learning_rate: Positive = 1e-3,
  epsilon: Positive = 1e-8,
  weight_decay: NonNegative = 0.0,
) -> tf.keras.optimizers.legacy.Optimizer:
  """Returns Adam (Kingma & Ba, 2015), of Keras' legacy class.

  Args:
    learning_rate: step size, > 0.
    epsilon: ε, > 0. Added to the root of the second moment before the
      correction of its bias, as Keras does. PyTorch adds it afterwards:
      there it would be ε / √(1 − .999^t) in step t, 32 ε in the first step and
      1.26 ε in step 1,000.
    weight_decay: λ >= 0 of a term λ · w in each gradient, of kernels and
      biases: PyTorch's Adam(weight_decay=λ), as in Sokar et al. (2022). The
      networks' weight decay differs: it is part of the loss, and for kernels
      only, as in Graesser et al. (2022).

  Raises:
    UserError: on a value outside its range.
  """
  check_arguments(adam, locals())
  return _Adam(learning_rate, epsilon, weight_decay)
