"""Widths of small dense networks that match a sparse network's size."""

from __future__ import annotations

import math
from typing import Callable, Mapping, Sequence, Tuple, Union

import gin

from rigl_rl.errors import UserError
from rigl_rl.sparsity import distributions

Shapes = Mapping[str, Sequence[int]]
# A factor on the units of all hidden layers; or a pair of factors, the second
# for the last hidden layer.
Width = Union[float, Tuple[float, float]]

# Each halves an interval no longer than the width in it.
_BISECTIONS = 40
# Where no width up to this one is large enough, none is: a network may have no
# hidden layers.
_WIDEST = 1e6


def num_parameters(shapes: Shapes) -> int:
  """Counts the weights and biases of layers with these kernel shapes."""
  return sum(math.prod(shape) + shape[-1] for shape in shapes.values())


def as_pair(width: Width) -> tuple[float, float]:
  """Returns the factor of most hidden layers, and that of the last one."""
  return width if isinstance(width, tuple) else (width, width)


@gin.configurable(denylist=['shapes_at'])
def matched_width(
  shapes_at: Callable[[Width], Shapes],
  sparsity: float = 0.9,
  tolerance: float = 0.01,
) -> Width:
  """Chooses the width at which a dense network is as large as a sparse one.

  Sizes are parameters as the figures count them, active weights and all biases:
  the sparse network has the width 1, and zeros among its weights alone. Bind it
  as a network's width, `WIDTH = @matched_width`.

  Units are whole numbers, so that one width for all layers often misses: in the
  Nature CNN at a sparsity of 95 % by 3.6 %. The last hidden layer then gets a
  width of its own.

  Args:
    shapes_at: maps a width to `{path: kernel shape}`; every layer has a bias.
    sparsity: of the sparse network, in [0, 1).
    tolerance: largest difference allowed, as a share of the sparse network's
      parameters.

  Returns:
    The width: a number where that is near enough, else a pair.

  Raises:
    UserError: on a sparsity outside [0, 1), or if no width comes near enough.
  """
  distributions.check_sparsity('matched_width.sparsity', sparsity)
  dense = shapes_at(1.0)
  weights = sum(math.prod(shape) for shape in dense.values())
  target = num_parameters(dense) - distributions.num_zeros(weights, sparsity)
  width, error = nearest_width(shapes_at, target, tolerance)
  if abs(error) > tolerance:
    raise UserError(
      f'matched_width.sparsity is {sparsity!r}, but no dense network comes '
      f'within {100 * tolerance:g} % of its {target:,} parameters: the '
      f'nearest, of width {format_width(width)}, is {100 * error:+.2f} % off. '
      'Allowed are other sparsities, or a larger matched_width.tolerance.'
    )
  return width


def format_width(width: Width) -> str:
  """Writes a width as short as it can be read."""
  if isinstance(width, tuple):
    return '(' + ', '.join(f'{value:g}' for value in width) + ')'
  return f'{width:g}'


def nearest_width(
  shapes_at: Callable[[Width], Shapes], target: float, tolerance: float
) -> tuple[Width, float]:
  """Finds a width at which a network has nearly so many parameters.

  Args:
    shapes_at: maps a width to `{path: kernel shape}`; every layer has a bias.
    target: the weights and biases wanted, > 0.
    tolerance: error, as a share of the target, up to which the first width that
      is tried will do.

  Returns:
    The width and its count's signed error as a share of the target. A number,
    1.0 if that is exact; where no number comes near enough, a pair.
  """
  if num_parameters(shapes_at(1.0)) == target:
    return 1.0, 0.0

  def parameters_at(width):
    return num_parameters(shapes_at(width))

  width, error = solve_width(parameters_at, target)
  best = width, error
  # Too large a width may leave nothing for the last layer to make up.
  below = width
  if error > 0:
    below = _first_width(
      lambda w: parameters_at(w) >= parameters_at(width), width / 2, width
    ) * (1 - 1e-9)
  for most in dict.fromkeys((width, below)):
    if abs(best[1]) <= tolerance:
      break
    last, error = solve_width(
      lambda w, most=most: parameters_at((most, w)), target
    )
    if abs(error) < abs(best[1]):
      best = (most, last), error
  return best


def solve_width(
  parameters_at: Callable[[float], int], target: float
) -> tuple[float, float]:
  """Finds the width whose parameter count is nearest to a target.

  Units are whole numbers, so that the count is a staircase. Of the two steps on
  either side of the target the nearer one is taken, and of the widths on that
  step the one of the fewest decimals.

  Args:
    parameters_at: maps a width > 0 to a parameter count that never falls as the
      width grows.
    target: the parameter count wanted, > 0.

  Returns:
    The width, and its count's signed error as a share of the target.
  """
  high = 1.0
  while parameters_at(high) < target and high < _WIDEST:
    high *= 2
  low = high / 2
  while parameters_at(low) >= target and low > 1e-6:
    low /= 2
  edge = _first_width(lambda width: parameters_at(width) >= target, low, high)
  below, above = edge * (1 - 1e-9), edge * (1 + 1e-9)
  width = min(below, above, key=lambda w: abs(parameters_at(w) - target))

  count = parameters_at(width)
  begin = _first_width(lambda w: parameters_at(w) >= count, width / 2, width)
  end = _first_width(lambda w: parameters_at(w) > count, width, 2 * width)
  for decimals in range(16):
    short = round((begin + end) / 2, decimals)
    if short > 0 and parameters_at(short) == count:
      width = short
      break
  return width, count / target - 1


def _first_width(
  condition: Callable[[float], bool], low: float, high: float
) -> float:
  """Returns the least width in [low, high] that meets a monotone condition.

  `high`, if none below it does.
  """
  if condition(low):
    return low
  for _ in range(_BISECTIONS):
    middle = (low + high) / 2
    if condition(middle):
      high = middle
    else:
      low = middle
  return high
