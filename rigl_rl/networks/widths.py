"""Widths of small dense networks that match a sparse network's size."""

from __future__ import annotations

import math
from typing import Callable, Mapping, NamedTuple, Sequence

import gin

from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Sparsity
from rigl_rl.errors import UserError
from rigl_rl.sparsity import distributions

Shapes = Mapping[str, Sequence[int]]

# Each halves an interval no longer than the width in it.
_BISECTIONS = 40
# Where no width up to this one is large enough, none is: a network may have no
# hidden layers.
_WIDEST = 1e6
# Steps of whole units stay below this, as a share of the target. Beyond it the
# target is out of reach: one unit per layer is too many, for example.
_LARGEST_MISMATCH = 0.5


class Match(NamedTuple):
  """The width at which a network's size is nearest to a target."""

  width: float  # One factor on the units of all hidden layers, > 0.
  mismatch: float  # The network's size over the target, less 1.


def num_parameters(shapes: Shapes) -> int:
  """Counts the weights and biases of layers with these kernel shapes."""
  return sum(math.prod(shape) + shape[-1] for shape in shapes.values())


@gin.configurable(denylist=['shapes_at'])
def matched_width(
  shapes_at: Callable[[float], Shapes], sparsity: Sparsity = 0.9
) -> Match:
  """Chooses the width at which a dense network is as large as a sparse one.

  Graesser et al. (2022, section 4) scale down layer widths "to approximately
  match the parameter counts of the sparse networks". Sizes are parameters as
  the figures count them, active weights and all biases: the sparse network has
  width 1, and zeros only among its weights. Bind it as a network's width,
  `WIDTH = @matched_width`.

  Args:
    shapes_at: maps a width to `{path: kernel shape}`; every layer has a bias.
    sparsity: of the sparse network, in [0, 1).

  Raises:
    UserError: on a sparsity outside [0, 1), or one that no dense network comes
      near.
  """
  check_arguments(matched_width, locals())
  dense = shapes_at(1.0)
  weights = sum(math.prod(shape) for shape in dense.values())
  target = num_parameters(dense) - distributions.num_zeros(weights, sparsity)
  return nearest_width(
    shapes_at, target, f'matched_width.sparsity is {sparsity!r}'
  )


def nearest_width(
  shapes_at: Callable[[float], Shapes], target: float, cause: str
) -> Match:
  """Finds the width at which a network has the nearest number of parameters.

  One factor scales all hidden layers, whose units are whole numbers. So the
  nearest network often misses the target: the Nature CNN at 95 % sparsity by
  3.6 %, PPO's actor on Humanoid at 90 % by 5.6 %. A factor of its own for one
  layer would come nearer, but a narrow layer handicaps the baseline.

  Args:
    shapes_at: as `matched_width` takes it.
    target: the weights and biases wanted, > 0.
    cause: the binding that asks for them, to begin an error with.

  Raises:
    UserError: no network comes near the target.
  """
  match = solve_width(lambda width: num_parameters(shapes_at(width)), target)
  if abs(match.mismatch) > _LARGEST_MISMATCH:
    count = num_parameters(shapes_at(match.width))
    raise UserError(
      f'{cause}, which asks for a dense network of {target:,.0f} parameters, '
      f'but the nearest has {count:,} ({100 * match.mismatch:+,.0f} %). It '
      f'must come within {100 * _LARGEST_MISMATCH:g} %.'
    )
  return match


def solve_width(parameters_at: Callable[[float], int], target: float) -> Match:
  """Finds the width whose parameter count is nearest to a target.

  Units are whole numbers, so that the count is a staircase. Of the two steps on
  either side of the target the nearer one is taken, and of the widths on that
  step the one of the fewest decimals.

  Args:
    parameters_at: maps a width > 0 to a parameter count that never falls as the
      width grows.
    target: the parameter count wanted, > 0.
  """
  high = 1.0
  while parameters_at(high) < target and high < _WIDEST:
    high *= 2
  low = high / 2
  while parameters_at(low) >= target and low > 1e-6:
    low /= 2
  edge = _first_width(lambda width: parameters_at(width) >= target, low, high)
  sides = edge * (1 - 1e-9), edge * (1 + 1e-9)
  width = min(sides, key=lambda w: abs(parameters_at(w) - target))

  count = parameters_at(width)
  begin = _first_width(lambda w: parameters_at(w) >= count, width / 2, width)
  end = _first_width(lambda w: parameters_at(w) > count, width, 2 * width)
  for decimals in range(16):
    short = round((begin + end) / 2, decimals)
    if short > 0 and parameters_at(short) == count:
      width = short
      break
  return Match(width, count / target - 1)


def _first_width(
  condition: Callable[[float], bool], low: float, high: float
) -> float:
  """Returns the least width in [low, high] with a condition; else `high`."""
  if condition(low):
    return low
  for _ in range(_BISECTIONS):
    middle = (low + high) / 2
    if condition(middle):
      high = middle
    else:
      low = middle
  return high
