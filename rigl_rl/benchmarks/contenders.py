"""What names of contenders, and flags of more than one benchmark, mean."""

from __future__ import annotations

from rigl_rl.errors import UserError

# In percent, of contenders such as sparse_90.
SPARSITIES = (50, 80, 90, 95, 99)


def parse(contender: str) -> tuple[str, float | None]:
  """Returns what comes before the sparsity, and that, in [0, 1), if given."""
  kind, _, percent = contender.partition('_')
  return kind, int(percent) / 100 if percent else None


def parse_shape(text: str, *names: str) -> tuple[int, ...]:
  """Returns the numbers of --shape.

  Args:
    text: the flag, such as '256,256'.
    *names: of each number, such as 'inputs'; none where any number of them
      will do.

  Raises:
    UserError: it is no such numbers of at least 1.
  """
  try:
    shape = tuple(int(n) for n in text.split(','))
  except ValueError:
    shape = ()
  if not shape or min(shape) < 1 or len(shape) != len(names or shape):
    meant = f', of which there are {len(names)}: {", ".join(names)}'
    raise UserError(
      f'--shape is {text!r}, but must be numbers of at least 1, separated by '
      f'commas{meant if names else ""}.'
    )
  return shape
