"""The papers' figures and tables, drawn from run directories.

A kind of figure is a module: `size` (return against parameters or FLOPs) and so
on. A figure is an entry of `registry`: its kind and its runs.
"""

from __future__ import annotations

from rigl_rl.analysis import tables
from rigl_rl.analysis.figures import base, registry
from rigl_rl.analysis.figures.base import Drawing as Drawing
from rigl_rl.analysis.figures.base import NothingToDraw as NothingToDraw
from rigl_rl.analysis.figures.base import Options as Options
from rigl_rl.errors import UserError


def names() -> list[str]:
  """Returns the names of all figures and tables, in the papers' order."""
  return list(registry.FIGURES)


def find(name: str) -> str:
  """Returns the full name of a figure.

  Args:
    name: such as 'graesser22/fig02_sac', also with '_' for the '/'; or without
      the paper, which is then Graesser et al. wherever it has such a figure.

  Raises:
    UserError: there is no such figure.
  """
  known = names()
  for full in known:
    if name in (full, full.replace('/', '_')):
      return full
  for full in known:
    if name == full.partition('/')[2]:
      return full
  raise UserError(
    f'--figure is {name!r}, but must be all, or one of {", ".join(known)}.'
  )


def title_of(name: str) -> str:
  """Returns a figure's title, with its paper."""
  return registry.FIGURES[name].title


def draw(
  name: str, results: tables.Results, options: Options | None = None
) -> Drawing:
  """Draws a figure or table from what results there are.

  Raises:
    NothingToDraw: there is no run for it.
    UserError: an option does not fit.
  """
  request = base.Request(name, results, options or Options())
  return registry.FIGURES[name].draw(request)
