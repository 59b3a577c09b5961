"""Says which bindings ask for more memory than there is."""

from __future__ import annotations

import contextlib
import math
from typing import Iterator, Sequence

from rigl_rl.config import checking, domains
from rigl_rl.config.gin_text import Config
from rigl_rl.errors import UserError

# How many bindings a message names.
_MOST_NAMED = 3


@contextlib.contextmanager
def blame_sizes(
  gin_files: Sequence[str], gin_bindings: Sequence[str]
) -> Iterator[None]:
  """Turns a run's lack of memory into a UserError on its largest sizes."""
  try:
    yield
  except Exception as error:
    # By name, as TensorFlow need not be loaded to catch its error.
    names = {base.__name__ for base in type(error).__mro__}
    if not names & {'MemoryError', 'ResourceExhaustedError'}:
      raise
    sizes = _largest(gin_files, gin_bindings)
    # Without the node and the device that TensorFlow names.
    reason = str(error).splitlines()[0].split('}} ')[-1].split(' on /job:')[0]
    raise UserError(
      f'There is not enough memory: {reason}. The largest sizes bound are '
      f'{", ".join(sizes) or "none"}.'
    ) from error


def _largest(
  gin_files: Sequence[str], gin_bindings: Sequence[str]
) -> list[str]:
  """Returns the largest sizes: numbers that are declared with a limit."""
  found = []
  config = Config(gin_files, gin_bindings)
  for source, value, parameter in checking.bound(config):
    domain = getattr(parameter.domain, 'item', parameter.domain)
    is_size = any(
      isinstance(member, domains.Number) and 1 < member.range.high < math.inf
      for member in getattr(domain, 'members', (domain,))
    )
    items = value if isinstance(value, (list, tuple)) else [value]
    numbers = [item for item in items if type(item) in (int, float)]
    if is_size and numbers:
      found.append((max(numbers), f'{source} = {value!r}'))
  found.sort(key=lambda pair: pair[0], reverse=True)
  return [text for _, text in found[:_MOST_NAMED]]
