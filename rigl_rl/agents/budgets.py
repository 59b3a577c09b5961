"""Budgets: the parameters that actor and critics share (figure 3).

Graesser et al. (2022, section 5) give a whole agent a budget, a share of the
dense agent's parameters, and vary how much of it is the actor's:

  Budget.total = 0.2  # of the dense agent's parameters
  Budget.actor_share = 0.1  # of the budget; None for the dense agent's split

Sparsity keeps the budget, at the networks' own widths (for PPO's value network
it is @value/...),

  ACTOR_SPARSITY = @actor/budget_sparsity()
  CRITIC_SPARSITY = @critic/budget_sparsity()

or the width of a dense agent does, as nearly as whole units allow:

  WIDTH = @budget_width

Parameters are active weights and all biases, as everywhere; the dense agent has
width 1. The critics, of which SAC has two, share the rest of the budget.

A network cannot have more weights than when it is dense: by sparsity, and at a
total of 1, there is only one split. A larger ACTOR_WIDTH or CRITIC_WIDTH allows
others.
"""

from __future__ import annotations

import fnmatch
import inspect
import math
from typing import TYPE_CHECKING, Annotated, Any, Callable

import gin

from rigl_rl.config import bindings
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Positive, Range
from rigl_rl.environments import mujoco
from rigl_rl.errors import UserError
from rigl_rl.networks import widths
from rigl_rl.sparsity import distributions, wrappers

if TYPE_CHECKING:
  from rigl_rl.agents import off_policy, ppo

# By the argument of the agent's constructor, which is the gin scope too: maps
# the specs of observations and actions to what the network is made from.
_INPUTS: dict[str, Callable[..., tuple[Any, ...]]] = {
  'actor': lambda *specs: specs,
  'critic': lambda *specs: (specs,),
  'value': lambda observation, _: (observation,),
}


@gin.configurable
class Budget:
  """How many parameters each network of an actor-critic agent may have."""

  def __init__(
    self,
    agent: Callable[
      ..., off_policy.OffPolicyAgent | ppo.SparsePPOAgent
    ] = gin.REQUIRED,
    create_environment: Callable[..., mujoco.MujocoEnvironment] = gin.REQUIRED,
    total: Positive = gin.REQUIRED,
    actor_share: Annotated[float, Range('(0, 1)')] | None = None,
  ):
    """Counts the dense agent, and divides the budget.

    Args:
      agent: the agent, whose constructor has the arguments `actor` and
        `critic`, or `actor` and `value`.
      create_environment: makes the agent's environment from a seed.
      total: the budget, as a share of the dense agent's parameters, > 0.
      actor_share: the actor's share of the budget, in (0, 1); None for the
        share that the dense actor has of the dense agent.

    Raises:
      UserError: on a value outside its range.
    """
    check_arguments(Budget, locals())
    self._total = total
    self._actor_share = actor_share
    # Outside of the scope in which gin evaluates this, as the agent is bound.
    with gin.config_scope(None):
      self._specs = mujoco.find_specs(create_environment)
      arguments = inspect.signature(agent).parameters
      names = [name for name in _INPUTS if name in arguments]
      if len(names) != 2 or names[0] != 'actor':
        raise UserError(
          f'Budget.agent is {agent.__name__}, but must be an agent that has an '
          'actor and either critics or a value network.'
        )
      self._constructors = bindings.read(agent, names)

    actor, others = (
      _copies(name) * widths.num_parameters(self._shapes(name, width=1.0))
      for name in names
    )
    self._dense_total = actor + others
    share = actor_share or actor / self._dense_total
    # Of the budget: the actor's, and that of the critics together.
    self._shares = {names[0]: share, names[1]: 1 - share}

  def _shapes(self, name: str, **kwargs) -> dict[str, tuple[int, ...]]:
    """Returns the kernel shapes of a network, as the agent would make it."""
    inputs = _INPUTS[name](*self._specs)
    with gin.config_scope([name]):
      network = self._constructors[name](*inputs, seed=0, **kwargs)
    return network.layer_shapes()

  def parameters(self, name: str) -> float:
    """Returns how many parameters a network may have.

    Args:
      name: the network's gin scope: 'actor', 'critic' (each of them) or
        'value'.

    Raises:
      UserError: if the agent has no such network.
    """
    if name not in self._shares:
      raise UserError(
        f'A budget is asked for in the gin scope {name!r}, but must be in '
        f'{" or ".join(self._shares)}, as in @actor/budget_sparsity().'
      )
    share = self._shares[name] / _copies(name)
    return self._dense_total * self._total * share

  def sparsity(self, name: str) -> float:
    """Chooses the sparsity at which a network meets its budget.

    Width and distribution are those that gin binds in the network's scope.

    Args:
      name: the network's gin scope.

    Returns:
      A number in [0, 1), at which the distribution leaves the nearest count.

    Raises:
      UserError: if that is more than the network has when it is dense, or less
        than what cannot be zero.
    """
    target = self.parameters(name)
    shapes = self._shapes(name)
    with gin.config_scope([name]):
      bound = bindings.read(wrappers.sparsify, ('distribution', 'keep_dense'))
    patterns = bound['keep_dense']
    if isinstance(patterns, str):
      patterns = (patterns,)
    masked = {
      path: shape
      for path, shape in shapes.items()
      if not any(fnmatch.fnmatch(path, pattern) for pattern in patterns)
    }

    def parameters_at(density):
      with gin.config_scope([name]):
        sparsities = bound['distribution'](masked, _sparsity(density))
      return widths.num_parameters(shapes) - sum(
        distributions.num_zeros(math.prod(shapes[path]), sparsity)
        for path, sparsity in sparsities.items()
      )

    try:
      least, most = parameters_at(0.0), parameters_at(1.0)
    except UserError as error:
      raise UserError(
        f'sparsify.distribution is @{bound["distribution"].__name__}, but must '
        'be one that reaches every sparsity for a budget by sparsity, such as '
        f'@erdos_renyi_kernel: {error}'
      ) from error
    if not least < round(target) <= most:
      raise UserError(self._out_of_range(name, least, most))
    density, _ = widths.solve_width(parameters_at, target)
    return _sparsity(density)

  @property
  def binding(self) -> str:
    """What the user bound, to begin an error with."""
    if self._actor_share is None:
      return f'Budget.total is {self._total!r}'
    return (
      f'Budget.actor_share is {self._actor_share!r}, of a Budget.total of '
      f'{self._total!r}'
    )

  def _out_of_range(self, name: str, least: int, most: int) -> str:
    """Says which values of the user's binding are possible."""
    is_standard = self._actor_share is None
    whole = self._shares[name] if is_standard else self._total
    limits = [
      count * _copies(name) / self._dense_total / whole
      for count in (least, most)
    ]
    if not is_standard:
      if name != 'actor':
        limits = [1 - limit for limit in reversed(limits)]
      limits = [min(max(limit, 1e-4), 1 - 1e-4) for limit in limits]
    # Rounded towards each other, so that both are allowed.
    low = math.ceil(1e4 * limits[0]) / 1e4
    high = math.floor(1e4 * limits[1]) / 1e4
    macro = 'ACTOR' if name == 'actor' else 'CRITIC'
    return (
      f'{self.binding}, but must be in [{low:g}, {high:g}] for '
      f'{macro}_SPARSITY: it gives a network of the scope {name} '
      f'{self.parameters(name):,.0f} parameters, which can have {least + 1:,} '
      f'to {most:,} at its width.'
    )


def _copies(name: str) -> int:
  """Returns how many networks an agent has in a scope."""
  return 2 if name == 'critic' else 1


def _sparsity(density: float) -> float:
  """Returns the sparsity of a density, in [0, 1); 1 less than 0.1 is 0.9."""
  return min(max(0.0, round(1.0 - density, 15)), math.nextafter(1.0, 0.0))


def _current_network() -> str:
  """Returns the gin scope of the network that gin makes now."""
  return (gin.current_scope() or ('',))[-1]


@gin.configurable
def budget_sparsity() -> float:
  """A network's sparsity by `Budget`, as in @actor/budget_sparsity()."""
  return Budget().sparsity(_current_network())


@gin.configurable(denylist=['shapes_at'])
def budget_width(
  shapes_at: Callable[[float], widths.Shapes],
) -> widths.Match:
  """A dense network's width by `Budget`: `WIDTH = @budget_width`.

  Args:
    shapes_at: maps a width to `{path: kernel shape}`.

  Returns:
    The width at which the network whose gin scope this is called in has what it
    may have, and the mismatch as a share of that.

  Raises:
    UserError: if no width comes near it.
  """
  budget, name = Budget(), _current_network()
  cause = f'{budget.binding} (scope {name})'
  return widths.nearest_width(shapes_at, budget.parameters(name), cause)
