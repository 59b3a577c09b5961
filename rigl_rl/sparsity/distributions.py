"""How a network's sparsity is shared out between its layers.

Every distribution maps `{name: kernel shape}` and a network sparsity to
`{name: layer sparsity}`. Kernel shapes are Keras': `(in, out)` for dense
layers, `(*window, in, out)` for convolutions.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Callable, Mapping, Sequence

import gin

from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Length, NonNegative, Range, Sparsity
from rigl_rl.errors import UserError

Shapes = Mapping[str, Sequence[int]]
# The least of them leaves a layer no weight, but a probability to have some.
Lambdas = Annotated[Sequence[Annotated[float, Range('[1e-6, inf)')]], Length(1)]


class Probabilities(dict):
  """Layer sparsities by which each weight is zero on its own.

  A distribution that returns one, rather than another mapping, makes the number
  of zeros of a first mask random; the sparsities are its expectation.
  """


def num_zeros(size: int, sparsity: float) -> int:
  """Number of zeros of a layer of `size` weights: floor(sparsity * size).

  The released code's rounding; the tiny allowance keeps a product such as
  0.29 * 100, which is 28.999999999999996 in floating point, at 29.
  """
  return math.floor(sparsity * size * (1 + 1e-12))


def check_sparsity(binding: str, sparsity: float) -> None:
  """Raises UserError unless `sparsity` is a number in [0, 1)."""
  is_number = isinstance(sparsity, (int, float)) and not isinstance(
    sparsity, bool
  )
  if not is_number or not 0 <= sparsity < 1:
    raise UserError(
      f'{binding} is {sparsity!r}, but must be a number in [0, 1).'
    )


def _check(
  distribution: Callable, arguments: Mapping[str, Any]
) -> dict[str, float]:
  """Returns `custom` as a dict; raises UserError, by the bindings' names."""
  check_arguments(distribution, arguments)
  check_sparsity(f'{distribution.__name__}.sparsity', arguments['sparsity'])
  custom = dict(arguments['custom'] or {})
  for layer in custom:
    if layer not in arguments['shapes']:
      raise UserError(
        f'{distribution.__name__}.custom names the layer {layer!r}, but the '
        f'layers are {", ".join(arguments["shapes"])}.'
      )
  return custom


@gin.configurable(denylist=['shapes', 'sparsity'])
def uniform(
  shapes: Shapes,
  sparsity: float,
  custom: Mapping[str, Sparsity] | None = None,
) -> dict[str, float]:
  """Gives every layer, first and last included, the same sparsity.

  Args:
    shapes: kernel shape of each layer, by name.
    sparsity: float in [0, 1).
    custom: sparsities, in [0, 1), of layers that are to differ.

  Returns:
    Sparsity in [0, 1) of each layer, by name, in the order of `shapes`.

  Raises:
    UserError: on a value outside its range, or a layer that is not there.
  """
  custom = _check(uniform, locals())
  return {name: float(custom.get(name, sparsity)) for name in shapes}


@gin.configurable(denylist=['shapes', 'sparsity'])
def erdos_renyi(
  shapes: Shapes,
  sparsity: float,
  power: NonNegative = 1.0,
  custom: Mapping[str, Sparsity] | None = None,
) -> dict[str, float]:
  """Erdős–Rényi (Mocanu et al., 2018): density ∝ (n_in + n_out) / n_in n_out.

  As `erdos_renyi_kernel`, but blind to a convolution's window.
  """
  return _erdos_renyi(
    erdos_renyi,
    shapes,
    sparsity,
    power,
    custom,
    lambda shape: tuple(shape)[-2:],
  )


@gin.configurable(denylist=['shapes', 'sparsity'])
def erdos_renyi_kernel(
  shapes: Shapes,
  sparsity: float,
  power: NonNegative = 1.0,
  custom: Mapping[str, Sparsity] | None = None,
) -> dict[str, float]:
  """Erdős–Rényi–Kernel (ERK; Evci et al., 2020): density ∝ Σ dims / Π dims.

  One factor ε scales all densities so that the network as a whole reaches
  `sparsity`. A layer whose density would pass 1 is made dense, and ε is solved
  again for the others.

  Args:
    shapes: kernel shape of each layer, by name.
    sparsity: float in [0, 1), of the network without its `custom` layers.
    power: exponent on the raw densities, >= 0; 0 gives all scaled layers one
      density.
    custom: sparsities, in [0, 1), of layers that are left out of the solution.

  Returns:
    Sparsity in [0, 1) of each layer, by name, in the order of `shapes`.

  Raises:
    UserError: on a value outside its range, or a layer that is not there.
  """
  return _erdos_renyi(
    erdos_renyi_kernel, shapes, sparsity, power, custom, tuple
  )


def _erdos_renyi(distribution, shapes, sparsity, power, custom, scaled_dims):
  """Solves ER and ERK, which differ in the dimensions that count."""
  custom = _check(distribution, locals())
  if sparsity == 0:
    return {name: float(custom.get(name, 0.0)) for name in shapes}
  free = {name: shape for name, shape in shapes.items() if name not in custom}
  sizes = {name: math.prod(shape) for name, shape in free.items()}
  raw_densities = {
    name: (sum(dims) / math.prod(dims)) ** power
    for name, dims in ((n, scaled_dims(s)) for n, s in free.items())
  }
  dense: set[str] = set()
  epsilon = 0.0
  while len(dense) < len(free):
    scaled = [name for name in free if name not in dense]
    # Ones that are left for the scaled layers once the dense ones have theirs.
    ones = sum(sizes[n] - num_zeros(sizes[n], sparsity) for n in scaled)
    ones -= sum(num_zeros(sizes[n], sparsity) for n in dense)
    raw_ones = sum(raw_densities[n] * sizes[n] for n in scaled)
    if raw_ones == 0:
      raise UserError(
        f'{distribution.__name__}.power is {power!r}, but must be less: every '
        'density is 0 by it.'
      )
    epsilon = ones / raw_ones
    largest = max(raw_densities[n] for n in scaled)
    if epsilon * largest <= 1:
      break
    dense.update(n for n in scaled if raw_densities[n] == largest)

  def layer_sparsity(name):
    if name in custom:
      return float(custom[name])
    if name in dense:
      return 0.0
    return 1.0 - epsilon * raw_densities[name]

  return {name: layer_sparsity(name) for name in shapes}


@gin.configurable(denylist=['shapes', 'sparsity'])
def erdos_renyi_lambda(
  shapes: Shapes,
  sparsity: float | None = None,
  lambdas: Lambdas = (),
) -> Probabilities:
  """Erdős–Rényi by λ per layer (Sokar et al., 2022, equation 1).

  A weight of layer l exists with p = λ_l (n_in + n_out) / (n_in n_out),
  whatever the others do: the number of active weights is random. The first
  `len(lambdas)` layers are sparse, the others dense. A p above 1 makes a layer
  dense, of which a line is printed.

  Args:
    shapes: kernel shape of each layer, by name, first layer first.
    sparsity: None for the λ as they are. A number in [0, 1) multiplies all of
      them by one factor, so that the network has that sparsity: other
      sparsities at a fixed ratio of λ (figure 2b).
    lambdas: λ of each sparse layer, each > 0.

  Returns:
    Sparsity 1 - p of each layer, by name, as probabilities.

  Raises:
    UserError: on no λ, more λs than layers, a λ that is not positive, or a
      sparsity that the sparse layers cannot reach.
  """
  check_arguments(erdos_renyi_lambda, locals())
  if len(lambdas) > len(shapes):
    raise UserError(
      f'erdos_renyi_lambda.lambdas is {lambdas!r}, but must be 1 to '
      f'{len(shapes)} positive numbers, one for each sparse layer.'
    )
  sizes = {name: math.prod(shape) for name, shape in shapes.items()}
  densities = {}
  for (name, shape), factor in zip(shapes.items(), lambdas):
    n_in, n_out = tuple(shape)[-2:]
    densities[name] = factor * (n_in + n_out) / (n_in * n_out)
  if sparsity is not None:
    densities = _scale_densities(densities, sizes, sparsity)
  sparsities = Probabilities(dict.fromkeys(shapes, 0.0))
  for name, density in densities.items():
    if density > 1 + 1e-9:  # Scaled densities are rounded.
      _report_clipped(name, tuple(shapes[name]), density)
    sparsities[name] = max(0.0, 1.0 - density)
  return sparsities


def _scale_densities(
  densities: Mapping[str, float],
  sizes: Mapping[str, int],
  sparsity: float,
) -> dict[str, float]:
  """Multiplies densities by one factor, to reach a sparsity of all layers.

  A layer whose density passes 1 counts as dense.
  """
  check_sparsity('erdos_renyi_lambda.sparsity', sparsity)
  wanted = (1 - sparsity) * sum(sizes.values())
  always = sum(size for name, size in sizes.items() if name not in densities)
  if wanted <= always:
    limit = 1 - always / sum(sizes.values())
    raise UserError(
      f'SPARSITY is {sparsity!r}, but must be below {limit:.4g}, or None: '
      'layers to which erdos_renyi_lambda.lambdas has no λ are dense.'
    )
  # With more layers dense the factor grows, so that none is scaled too far.
  order = sorted(densities, key=lambda name: densities[name], reverse=True)
  for num_dense in range(len(order) + 1):
    dense = sum(sizes[name] for name in order[:num_dense])
    scaled = sum(densities[name] * sizes[name] for name in order[num_dense:])
    if not scaled:
      break
    factor = (wanted - always - dense) / scaled
    if factor * densities[order[num_dense]] <= 1:
      break
  return {name: factor * density for name, density in densities.items()}


# By layer and density: networks of one shape, such as twin critics and their
# targets, are one case.
_reported: set[tuple[str, tuple[int, ...], float]] = set()


def _report_clipped(name: str, shape: tuple[int, ...], density: float) -> None:
  """Says once that λ asks for more weights than a layer has."""
  case = (name, shape, density)
  if case not in _reported:
    _reported.add(case)
    print(
      f'erdos_renyi_lambda: λ asks for a density of {density:.3f} in layer '
      f'{name} {shape}, which is dense instead.'
    )
