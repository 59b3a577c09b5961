"""ε of ε-greedy exploration, as Dopamine has it."""

from __future__ import annotations

import functools
import inspect
from typing import Callable

from dopamine.agents.dqn import dqn_agent

# Steps whose ε is computed in a row.
_BLOCK = 1000


def in_advance(epsilon_fn: Callable[..., float]) -> Callable[..., float]:
  """Returns Dopamine's functions, computed for many steps in a row.

  A single call would take longer than choosing an action: gin looks for missing
  arguments, and NumPy is not in the caches. Returns other functions unchanged.
  """
  plain = inspect.unwrap(epsilon_fn)
  dopamines = (dqn_agent.linearly_decaying_epsilon, dqn_agent.identity_epsilon)
  if plain not in map(inspect.unwrap, dopamines):
    return epsilon_fn

  @functools.lru_cache(maxsize=1)
  def block(decay_period, index, warmup_steps, epsilon):
    begin = index * _BLOCK
    return [
      plain(decay_period, step, warmup_steps, epsilon)
      for step in range(begin, begin + _BLOCK)
    ]

  def of_step(decay_period, step, warmup_steps, epsilon):
    index, place = divmod(step, _BLOCK)
    return block(decay_period, index, warmup_steps, epsilon)[place]

  return of_step
