"""Sweep files: gin files that bind a `Sweep` of named `Grid`s."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any, Sequence

from rigl_rl import wording
from rigl_rl.config import gin_paths, gin_text
from rigl_rl.errors import UserError
from rigl_rl.sweeps.runs import Filter, Grid, Run, attributes

_SWEEPS = 'gin_configs/sweeps/'


@dataclasses.dataclass(frozen=True)
class Sweep:
  """The grids of a figure or table.

  Attributes:
    name: such as 'graesser22/fig02_sac'.
    grids: in order.
  """

  name: str
  grids: tuple[Grid, ...]

  def runs(
    self,
    seeds: Sequence[int] | None = None,
    filters: Sequence[str] = (),
    gin_bindings: Sequence[str] = (),
    scale: float = 1.0,
  ) -> list[Run]:
    """Returns the runs, each once.

    First come the runs that others need; then all runs of one seed before those
    of the next, so that early results are of every condition.

    Args:
      seeds: SEEDs instead of the grids' own.
      filters: conditions that all have to hold, see `Filter`. What a run needs
        is kept.
      gin_bindings: bindings for all runs, which win over those of the grids.
      scale: by which training is shortened, in (0, 1].

    Raises:
      UserError: a gin file cannot be read; a run that is returned could not
        train; two different runs would have the same directory; a filter names
        what no run has.
    """
    if not 0 < scale <= 1:
      raise UserError(f'--scale is {scale!r}, but must be in (0, 1].')
    conditions = [Filter(text) for text in filters]
    found: dict[str, Run] = {}
    wanted: dict[str, None] = {}
    known: set[str] = set()
    for grid in self.grids:
      runs = grid.runs(self.name, seeds, gin_bindings, scale)
      needed = {directory for run in runs for directory in run.needs}
      for run in runs:
        known.update(attributes(run))
        other = found.setdefault(run.directory, run)
        if other.description() != run.description():
          raise UserError(
            f'Sweep.grids has two different runs in {run.directory!r}, but '
            'they must differ in label or in what Grid.over varies.'
          )
        is_asked_for = run.directory not in needed
        if is_asked_for and all(c.accepts(run) for c in conditions):
          wanted[run.directory] = None
    for condition in conditions:
      if condition.name not in known:
        raise UserError(
          f'--filter names {condition.name!r}, but runs of this sweep have '
          f'{", ".join(sorted(known))}.'
        )
    first: set[str] = set()
    for directory in reversed(found):  # What a run needs comes before it.
      if directory in wanted or directory in first:
        first.update(found[directory].needs)
    asked = [found[directory] for directory in wanted if directory not in first]
    order = [found[directory].seed for directory in wanted]
    asked.sort(key=lambda run: order.index(run.seed))
    runs = [*(run for name, run in found.items() if name in first), *asked]
    for run in runs:
      if run.too_short:
        raise UserError(run.too_short)
    return runs


def _find(name: str) -> str:
  """Returns the path of a sweep file, also of a short name."""
  for candidate in (name, f'{_SWEEPS}{name}', f'{_SWEEPS}{name}.gin'):
    try:
      return gin_paths.config_path(candidate)
    except UserError:
      continue
  known = shipped()
  raise UserError(
    f'--sweep is {name!r}, but must be a gin file, or one of '
    f'{", ".join(known)}.{wording.did_you_mean(name, known)}'
  )


def shipped() -> list[str]:
  """Returns the names of the sweeps that come with this package."""
  root = pathlib.Path(gin_paths.ROOT, _SWEEPS)
  files = root.glob('*/*.gin')
  return sorted(f.relative_to(root).with_suffix('').as_posix() for f in files)


def load(name: str) -> Sweep:
  """Reads a sweep file.

  The file binds `Sweep.grids`, a list of `@scope/Grid()`, or of lists of them,
  and in each scope the parameters of `Grid`. Macros may be used everywhere.

  Args:
    name: a path as `gin_paths.config_path` takes it, or short, as
      'graesser22/fig02_sac'.

  Raises:
    UserError: the file is missing, cannot be read, or is no sweep.
  """
  path = _find(name)
  config = gin_text.Config([path])
  known = [
    f'{kind.__name__}.{field.name}'
    for kind in (Sweep, Grid)
    for field in dataclasses.fields(kind)
  ]
  for key in config.bindings:
    if key.parameter and f'{key.selector.name}.{key.parameter}' not in known:
      raise UserError(
        f'{name!r} binds {key}, but a sweep file may bind {", ".join(known)}.'
      )
  stem = pathlib.Path(path).with_suffix('')
  # Such as 'graesser22/fig02_sac'; the file's name if it is elsewhere.
  _, found, shipped_name = stem.as_posix().rpartition(_SWEEPS)
  sweep_name = config.value('Sweep.name', shipped_name if found else stem.name)
  if not isinstance(sweep_name, str) or not sweep_name:
    raise UserError(f'Sweep.name is {sweep_name!r}, but must be a text.')
  grids = _grids(config, config.value('Sweep.grids'))
  if not grids:
    raise UserError(
      f'{name!r} is no sweep: it must bind Sweep.grids to a list of grids, '
      'such as [@rigl/Grid()].'
    )
  return Sweep(sweep_name, tuple(grids))


def _grids(config: gin_text.Config, value: Any) -> list[Grid]:
  """Returns the grids in nested lists of references."""
  if isinstance(value, (list, tuple)):
    return [grid for item in value for grid in _grids(config, item)]
  if value is None:
    return []
  if not isinstance(value, gin_text.Reference) or value.name != 'Grid':
    raise UserError(
      f'Sweep.grids holds {value}, but must hold grids, such as @rigl/Grid().'
    )
  return [_grid(config, value.scope)]


def _grid(config: gin_text.Config, scope: str) -> Grid:
  arguments = config.resolve(config.arguments('Grid', scope), f'{scope}/Grid')
  for required in ('label', 'gin_files', 'over'):
    if required not in arguments:
      raise UserError(
        f'@{scope}/Grid() is used, but {scope}/Grid.{required} not bound.'
      )

  def made(item: Any) -> Any:
    if not isinstance(item, gin_text.Reference):
      return item
    # A grid may be a value of another one. Others are text for launch.train.
    return _grid(config, item.scope) if item.name == 'Grid' else str(item)

  return Grid(**gin_text.convert(arguments, made))
