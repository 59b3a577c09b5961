"""Checks what a user's own distribution or algorithm returns.

A mask or score is checked where it is computed, only on steps that change
masks. In a traced function TensorFlow raises an error of its own, which
`errors_in_one_line` turns into a UserError.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from rigl_rl.config import domains
from rigl_rl.errors import UserError

# They mark a message within TensorFlow's.
_BEGIN, _END = '<<', '>>'


def name_of(function: Any) -> str:
  """Returns the name of a function or class, with its module."""
  module = getattr(function, '__module__', None)
  name = getattr(function, '__qualname__', None)
  return f'{module}.{name}' if module and name else repr(function)


def check_sparsities(
  distribution: Any, sparsities: Any, layers: Sequence[str]
) -> None:
  """Raises UserError unless a distribution returned each layer's sparsity."""
  name = name_of(distribution)
  if not isinstance(sparsities, Mapping):
    wanted = 'a dict of layers and their sparsities'
    raise _mistake(name, repr(sparsities), wanted)
  for layer in [*layers, *sparsities]:
    if not (layer in layers and layer in sparsities):
      problem = 'a sparsity' if layer in sparsities else 'no sparsity'
      wanted = f'one of each of {", ".join(layers)}, and no other'
      raise _mistake(name, f'{problem} of layer {layer!r}', wanted)
  for layer, value in sparsities.items():
    if not domains.SPARSITY.holds(value):
      raise _mistake(name, f'{value!r} for layer {layer!r}', domains.SPARSITY)


def check_initial_mask(algorithm: Any, mask: Any, layer: Any) -> None:
  """Raises UserError unless `initial_mask` returned a layer's mask."""
  name = f'{name_of(type(algorithm))}.initial_mask'
  _check_mask(name, mask, layer)
  values = np.asarray(mask)
  wrong = values[(values != 0) & (values != 1)]
  if wrong.size:
    found = f'{wrong[0]} in the mask of layer {layer.name}'
    raise _mistake(name, found, 'zeros and ones')
  if algorithm.starts_dense and not values.all():
    found = f'{int((values == 0).sum()):,} zeros for layer {layer.name}'
    raise _mistake(name, found, 'ones, since its starts_dense is True')


def check_mask(
  algorithm: Any, mask: Any, layer: Any, least: Any, most: Any
) -> tf.Tensor:
  """Returns what `update` returned, checked to have `least` to `most` ones."""
  name = f'{name_of(type(algorithm))}.update'
  _check_mask(name, mask, layer)
  ones = tf.equal(mask, 1)
  count = tf.math.count_nonzero(ones, dtype=tf.int32)
  checks = [
    _require(
      tf.reduce_all(ones | tf.equal(mask, 0)),
      f'{name} returned a mask of layer {layer.name} that is not of zeros and '
      'ones.',
    ),
    _require(
      (count >= least) & (count <= most),
      f'{name} returned a mask of {{}} ones for layer {layer.name}, but must '
      'return {} to {}: see SparseAlgorithm.active_range.',
      *(count, least, most),
    ),
  ]
  with tf.control_dependencies([] if tf.executing_eagerly() else checks):
    return tf.identity(mask)


def check_scores(
  algorithm: Any,
  weight: tf.Tensor,
  gradient: tf.Tensor | None,
  drop_score: Any,
  grow_score: Any,
  drop_fraction: Any,
) -> None:
  """Checks scores, one per weight, and a drop fraction that a user returned.

  Where the weights or their gradient are not finite already, training has
  diverged, which is not the algorithm's fault.
  """
  name = name_of(type(algorithm))
  tensors = [weight] if gradient is None else [weight, gradient]
  diverged = ~tf.reduce_all(
    [tf.reduce_all(tf.math.is_finite(tensor)) for tensor in tensors]
  )
  for method, score in (('drop_score', drop_score), ('grow_score', grow_score)):
    wanted = f'a tensor of the shape of the weights, {tuple(weight.shape)}'
    source = f'{name}.{method}'
    _check_shape(source, score, algorithm.layer, weight.shape, wanted)
    if tf.as_dtype(score.dtype).is_floating:
      _require(
        diverged | ~tf.reduce_any(tf.math.is_nan(score)),
        f'{source} returned NaN for layer {algorithm.layer}, but must return '
        'numbers.',
      )
  fraction = tf.cast(drop_fraction, tf.float32)
  _require(
    (fraction >= 0) & (fraction <= 1),
    f'{name}.drop_fraction_at returned {{}} for layer {algorithm.layer}, but '
    'must return a number in [0, 1].',
    fraction,
  )


def _mistake(source: str, returned: str, wanted: Any) -> UserError:
  return UserError(f'{source} returned {returned}, but must return {wanted}.')


def _check_mask(source: str, mask: Any, layer: Any) -> None:
  shape = layer.kernel_shape
  wanted = f'a mask of float32 zeros and ones of shape {tuple(shape)}'
  _check_shape(source, mask, layer.name, shape, wanted, tf.float32)


def _check_shape(
  source: str,
  value: Any,
  layer: str,
  shape: Any,
  wanted: str,
  dtype: Any = None,
) -> None:
  found = repr(value)
  if hasattr(value, 'shape'):
    found_dtype = tf.as_dtype(value.dtype)
    if shape.is_compatible_with(value.shape) and dtype in (None, found_dtype):
      return
    found = (
      f'a tensor of shape {tuple(value.shape)} and type {found_dtype.name}'
    )
  raise _mistake(source, f'{found} for layer {layer}', wanted)


def _require(condition: tf.Tensor, message: str, *values: Any) -> Any:
  """Raises an error of this message, now or in the graph, unless it holds."""
  text = tf.strings.format(_BEGIN + message + _END, values)
  return tf.debugging.Assert(condition, [text])


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
  """Turns errors of checks within traced functions into UserErrors."""
  try:
    yield
  except tf.errors.InvalidArgumentError as error:
    found = re.search(f'{_BEGIN}(.+?){_END}', str(error), re.DOTALL)
    if found is None:
      raise
    raise UserError(found.group(1)) from error
