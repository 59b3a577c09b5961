"""Checks what a user's own distribution or algorithm returns.

A mask or score is checked where it is computed, on the steps that change masks
only. Within a traced function TensorFlow raises an error of its own;
`errors_in_one_line` makes it the UserError that it stands for.
"""

from __future__ import annotations

import contextlib
import numbers
import re
from typing import Any, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from rigl_rl.errors import UserError

# What stands around a message in TensorFlow's.
_BEGIN, _END = '<<', '>>'


def name_of(function: Any) -> str:
  """Returns the name of a function or class, with its module."""
  module = getattr(function, '__module__', None)
  name = getattr(function, '__qualname__', None)
  return f'{module}.{name}' if module and name else repr(function)


def check_sparsities(
  distribution: Any, sparsities: Any, layers: Sequence[str]
) -> None:
  """Raises UserError unless each layer has a sparsity in [0, 1).

  Args:
    distribution: the function that returned them.
    sparsities: what it returned.
    layers: their names.
  """
  name = name_of(distribution)
  if not isinstance(sparsities, Mapping):
    raise UserError(
      f'{name} returned {sparsities!r}, but must return a dict of layers and '
      'their sparsities.'
    )
  for wrong, problem in (
    ([layer for layer in layers if layer not in sparsities], 'no sparsity of'),
    ([layer for layer in sparsities if layer not in layers], 'a sparsity of'),
  ):
    if wrong:
      raise UserError(
        f'{name} returned {problem} layer {wrong[0]!r}, but must return one of '
        f'each of {", ".join(layers)}, and no other.'
      )
  for layer, value in sparsities.items():
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value < 1:
      raise UserError(
        f'{name} returned {value!r} for layer {layer!r}, but must return a '
        'number in [0, 1).'
      )


def check_initial_mask(algorithm: Any, mask: Any, layer: Any) -> None:
  """Raises UserError unless the first mask of a layer is one.

  Args:
    algorithm: the SparseAlgorithm that returned it.
    mask: what it returned.
    layer: the SparseWrapper.
  """
  name = f'{name_of(type(algorithm))}.initial_mask'
  _check_tensor(name, mask, layer)
  values = np.asarray(mask)
  wrong = values[(values != 0) & (values != 1)]
  if wrong.size:
    raise UserError(
      f'{name} returned {wrong[0]} in the mask of layer {layer.name}, but must '
      'return zeros and ones.'
    )
  if algorithm.starts_dense and not values.all():
    raise UserError(
      f'{name} returned {int((values == 0).sum()):,} zeros for layer '
      f'{layer.name}, but must return ones, since its starts_dense is True.'
    )


def check_mask(
  algorithm: Any, mask: Any, layer: Any, least: Any, most: Any
) -> tf.Tensor:
  """Has an error raised unless an update's mask is one, of a right count.

  Args:
    algorithm: the SparseAlgorithm whose `update` returned it.
    mask: what it returned.
    layer: the SparseWrapper.
    least: integer scalar, the least number of ones that is allowed.
    most: the greatest.

  Returns:
    The mask; what uses it waits for the checks.
  """
  name = f'{name_of(type(algorithm))}.update'
  _check_tensor(name, mask, layer)
  ones = tf.equal(mask, 1)
  is_binary = _require(
    tf.reduce_all(ones | tf.equal(mask, 0)),
    f'{name} returned a mask of layer {layer.name} that is not of zeros and '
    'ones.',
  )
  count = tf.math.count_nonzero(ones, dtype=tf.int32)
  is_in_range = _require(
    (count >= least) & (count <= most),
    f'{name} returned a mask of {{}} ones for layer {layer.name}, but must '
    'return {} to {}: see SparseAlgorithm.active_range.',
    *(count, least, most),
  )
  if tf.executing_eagerly():
    return mask
  with tf.control_dependencies([is_binary, is_in_range]):
    return tf.identity(mask)


def check_scores(
  algorithm: Any,
  weight: tf.Tensor,
  gradient: tf.Tensor | None,
  drop_score: Any,
  grow_score: Any,
  drop_fraction: Any,
) -> None:
  """Has an error raised on scores or a drop fraction that are none.

  Where the weights or their gradient are not finite already, training has
  diverged, which is not the algorithm's fault.

  Args:
    algorithm: the SparseAlgorithm that returned them.
    weight: the layer's kernel.
    gradient: of it; None if there is none.
    drop_score: one per weight.
    grow_score: one per weight.
    drop_fraction: scalar.
  """
  name = name_of(type(algorithm))
  diverged = ~(_is_finite(weight) & _is_finite(gradient))
  for method, score in (('drop_score', drop_score), ('grow_score', grow_score)):
    shape = getattr(score, 'shape', None)
    if shape is None or not weight.shape.is_compatible_with(shape):
      raise UserError(
        f'{name}.{method} returned {_described(score)} for layer '
        f'{algorithm.layer}, but must return a tensor of the shape of the '
        f'weights, {tuple(weight.shape)}.'
      )
    if tf.as_dtype(score.dtype).is_floating:
      _require(
        diverged | ~tf.reduce_any(tf.math.is_nan(score)),
        f'{name}.{method} returned NaN for layer {algorithm.layer}, but must '
        'return numbers.',
      )
  fraction = tf.cast(drop_fraction, tf.float32)
  _require(
    (fraction >= 0) & (fraction <= 1),
    f'{name}.drop_fraction_at returned {{}} for layer {algorithm.layer}, but '
    'must return a number in [0, 1].',
    fraction,
  )


def _is_finite(tensor: tf.Tensor | None) -> tf.Tensor:
  if tensor is None:
    return tf.constant(True)
  return tf.reduce_all(tf.math.is_finite(tensor))


def _described(value: Any) -> str:
  shape = getattr(value, 'shape', None)
  if shape is None:
    return repr(value)
  return f'a tensor of shape {tuple(shape)} and type {value.dtype.name}'


def _check_tensor(name: str, mask: Any, layer: Any) -> None:
  shape = getattr(mask, 'shape', None)
  if (
    shape is None
    or not layer.kernel_shape.is_compatible_with(shape)
    or tf.as_dtype(mask.dtype) != tf.float32
  ):
    raise UserError(
      f'{name} returned {_described(mask)} for layer {layer.name}, but must '
      'return a mask of float32 zeros and ones of shape '
      f'{tuple(layer.kernel_shape)}.'
    )


def _require(condition: tf.Tensor, message: str, *values: Any) -> Any:
  """Has an error of this message raised unless a condition holds.

  Returns:
    The operation that does so; None if it is done.
  """
  text = tf.strings.format(_BEGIN + message + _END, values)
  return tf.debugging.Assert(condition, [text])


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
  """Turns errors of what is checked within traced functions into UserErrors."""
  try:
    yield
  except tf.errors.InvalidArgumentError as error:
    found = re.search(f'{_BEGIN}(.+?){_END}', str(error), re.DOTALL)
    if found is None:
      raise
    raise UserError(found.group(1)) from error
