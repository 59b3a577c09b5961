"""How a network's sparsity is distributed over its layers.

Every distribution maps `shapes`, the kernel shape of each layer by name, and a
network sparsity in [0, 1) to the sparsity in [0, 1) of each layer by name, in
the same order. Kernel shapes are Keras': `(in, out)` for dense layers,
`(*window, in, out)` for convolutions. A value outside its range and a `custom`
layer that does not exist are UserErrors.
"""

from __future__ import annotations

import functools
import math
from typing import Annotated, Any, Callable, Mapping, Sequence

import gin

from rigl_rl.config import domains
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Length, NonNegative, Range, Sparsity
from rigl_rl.errors import UserError

Shapes = Mapping[str, Sequence[int]]
# The least of them leaves a layer no weight, but a probability to have some.
Lambdas = Annotated[Sequence[Annotated[float, Range('[1e-6, inf)')]], Length(1)]


class Probabilities(dict):
  """Layer sparsities that are the probability of each weight to be zero.

  The number of zeros of a first mask is then random.
  """


def num_zeros(size: int, sparsity: float) -> int:
  """Number of zeros of a layer of `size` weights: floor(sparsity * size).

  The released code's rounding; the tiny allowance keeps a product such as
  0.29 * 100, which is 28.999999999999996 in floating point, at 29.
  """
  return math.floor(sparsity * size * (1 + 1e-12))


def _check(
  distribution: Callable, arguments: Mapping[str, Any]
) -> dict[str, float]:
  """Returns `custom` as a dict; raises UserError, by the bindings' names."""
  check_arguments(distribution, arguments)
  domains.check(
    f'{distribution.__name__}.sparsity', arguments['sparsity'], domains.SPARSITY
  )
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

  `custom` has the sparsities, in [0, 1), of layers that differ.
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

  As `erdos_renyi_kernel`, but a convolution's window has no effect.
  """
  return _erdos_renyi(erdos_renyi, locals(), slice(-2, None))


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
  """
  return _erdos_renyi(erdos_renyi_kernel, locals(), slice(None))


def _erdos_renyi(distribution, arguments, scaled_dims):
  """Solves ER and ERK, which differ in the dimensions that count."""
  custom = _check(distribution, arguments)
  shapes, sparsity = arguments['shapes'], arguments['sparsity']
  power = arguments['power']
  if sparsity == 0:
    return {name: float(custom.get(name, 0.0)) for name in shapes}
  free = {name: shape for name, shape in shapes.items() if name not in custom}
  sizes = {name: math.prod(shape) for name, shape in free.items()}
  raw_densities = {
    name: (sum(dims) / math.prod(dims)) ** power
    for name, dims in ((n, tuple(s)[scaled_dims]) for n, s in free.items())
  }
  dense: set[str] = set()
  epsilon = 0.0
  while len(dense) < len(free):
    scaled = [name for name in free if name not in dense]
    # Those left for the scaled layers after the dense ones have theirs.
    ones = sum(sizes[n] - num_zeros(sizes[n], sparsity) for n in scaled)
    ones -= sum(num_zeros(sizes[n], sparsity) for n in dense)
    raw_ones = sum(raw_densities[n] * sizes[n] for n in scaled)
    if raw_ones == 0:
      raise UserError(
        f'{distribution.__name__}.power is {power!r}, but must be less: it '
        'makes every density 0.'
      )
    epsilon = ones / raw_ones
    largest = max(raw_densities[n] for n in scaled)
    if epsilon * largest <= 1:
      break
    dense.update(n for n in scaled if raw_densities[n] == largest)

  solved = {
    name: 0.0 if name in dense else 1.0 - epsilon * raw_densities[name]
    for name in free
  }
  solved.update(custom)
  return {name: float(solved[name]) for name in shapes}


@gin.configurable(denylist=['shapes', 'sparsity'])
def erdos_renyi_lambda(
  shapes: Shapes,
  sparsity: float | None = None,
  lambdas: Lambdas = (),
) -> Probabilities:
  """Erdős–Rényi by λ per layer (Sokar et al., 2022, equation 1).

  A weight of layer l exists with p = λ_l (n_in + n_out) / (n_in n_out),
  independently of others: the number of active weights is random. The first
  `len(lambdas)` layers are sparse, the others dense. A p above 1 makes a layer
  dense, and prints a line.

  Args:
    shapes: kernel shape of each layer, by name, first layer first.
    sparsity: None keeps the λ. A number in [0, 1) multiplies all of them by one
      factor, so that the network has that sparsity (figure 2b).
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
  densities: Mapping[str, float], sizes: Mapping[str, int], sparsity: float
) -> dict[str, float]:
  """Multiplies densities, cut off at 1, by one factor to reach a sparsity."""
  domains.check('erdos_renyi_lambda.sparsity', sparsity, domains.SPARSITY)
  wanted = (1 - sparsity) * sum(sizes.values())
  always = sum(size for name, size in sizes.items() if name not in densities)
  if wanted <= always:
    limit = 1 - always / sum(sizes.values())
    raise UserError(
      f'SPARSITY is {sparsity!r}, but must be below {limit:.4g}, or None: '
      'layers without a λ in erdos_renyi_lambda.lambdas are dense.'
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


@functools.lru_cache(maxsize=None)  # Twin critics, for one, are one case.
def _report_clipped(name: str, shape: tuple[int, ...], density: float) -> None:
  """Says once that λ asks for more weights than a layer has."""
  print(
    f'erdos_renyi_lambda: λ asks for a density of {density:.3f} in layer '
    f'{name} {shape}, which is dense instead.'
  )
