"""Holds the bindings of a gin config against what parameters declare.

Neither TensorFlow nor what the config names is loaded: a mistake is found
within a fraction of a second.
"""

from __future__ import annotations

from typing import Any, Iterator, Sequence

from rigl_rl import wording
from rigl_rl.config import declarations, domains, gin_text
from rigl_rl.errors import UserError


def check(
  gin_files: Sequence[str],
  gin_bindings: Sequence[str] = (),
  is_saved: bool = False,
) -> gin_text.Config:
  """Raises UserError on a binding that its parameter does not allow.

  Names of configurables that are not known here are left to gin, which knows
  all of them once they are imported.

  Args:
    gin_files: as `gin_paths.config_path` takes them; later ones win.
    gin_bindings: single bindings, which win over the files.
    is_saved: whether the files were checked before, as a run's config.gin was;
      it may hold macros that lost their use to a binding.

  Returns:
    The config, as it was read.

  Raises:
    UserError: on a missing file, a syntax error, an unknown parameter, a value
      of another type or out of range, a macro that has no value, or one that
      nothing uses.
  """
  config = gin_text.Config(gin_files, gin_bindings)
  _check_macros(config, gin_bindings, is_saved)
  for source, value, parameter in _bound(config):
    if not parameter.domain.holds(value):
      raise UserError(parameter.refusal(source, value))
  return config


def values(
  gin_files: Sequence[str], gin_bindings: Sequence[str] = ()
) -> Iterator[tuple[str, Any, domains.Domain]]:
  """Yields source, value and domain of the parameters that are bound.

  For arguments and errors see `check`.
  """
  config = gin_text.Config(gin_files, gin_bindings)
  for source, value, parameter in _bound(config):
    yield source, value, parameter.domain


def _check_macros(
  config: gin_text.Config, gin_bindings: Sequence[str], is_saved: bool
) -> None:
  """Refuses a macro that nothing refers to: most likely a misspelling."""
  used = config.used_macros()
  given = {binding.partition('=')[0].strip() for binding in gin_bindings}
  # A file's macro may have lost its last reference to another binding. Bound by
  # the user, it would have no effect.
  known = config.used_macros(replaced=True)
  for name in config.macros():
    is_idle = name in given or not (is_saved or name in known)
    if is_idle and name not in used:
      raise UserError(
        f'{name} is bound, but nothing uses it; macros in use are '
        f'{", ".join(sorted(used))}.{wording.did_you_mean(name, used)}'
      )


def _bound(
  config: gin_text.Config,
) -> Iterator[tuple[str, Any, declarations.Parameter]]:
  library = declarations.of_package()
  for module in config.imports:
    library.add(module)
  reader = _Values(config, library)
  for key in config.names():
    if not key.parameter:
      continue
    found = library.find(config.selector(key))
    if len(found) != 1:  # Of another package, or ambiguous: gin will say so.
      continue
    source = config.source(key)
    if _is_bindable(found[0], key.parameter, source):
      value = reader.value(config.bound(key), source)
      yield source, value, found[0].parameters[key.parameter]


def _is_bindable(
  found: declarations.Configurable, name: str, source: str
) -> bool:
  """Whether a parameter's declaration is known; UserError if there is none."""
  if name in found.parameters:
    return True
  if name in found.runtime:
    raise UserError(
      f'{source} cannot be bound: the program gives {name} when it calls '
      f'{found.name}.'
    )
  if found.takes_more:
    return False
  known = list(found.parameters)
  raise UserError(
    f'{source} is bound, but {found.name} has no parameter {name}: it has '
    f'{", ".join(known) or "none"}.{wording.did_you_mean(name, known)}'
  )


class _Values:
  """Resolves macros, and says what references stand for."""

  def __init__(self, config: gin_text.Config, library: declarations.Library):
    self._config = config
    self._library = library
    # Modules of a user may define constants, which are written like macros.
    self._has_constants = any(
      module.partition('.')[0] != 'rigl_rl' for module in config.imports
    )

  def value(
    self, written: Any, source: str, within: tuple[str, ...] = ()
  ) -> Any:
    """Returns a value in which a `Promise` stands for what is not known yet."""
    if isinstance(written, gin_text.Macro):
      return self._macro(written, source, within)
    if isinstance(written, gin_text.Reference):
      return self._reference(written, source, within)
    if isinstance(written, dict):
      return {
        self.value(key, source, within): self.value(item, source, within)
        for key, item in written.items()
      }
    if isinstance(written, (list, tuple)):
      return type(written)(self.value(v, source, within) for v in written)
    return written

  def _macro(self, macro, source, within):
    name = macro.name
    if name in within:
      raise UserError(
        f'{source} is {macro}, which refers to itself, but must be a value.'
      )
    macros = self._config.macros()
    if name in macros:
      return self.value(macros[name], source, (*within, name))
    if self._has_constants or '.' in name:
      return domains.Promise(domains.Anything(), str(macro))
    raise UserError(
      f'{source} is {macro}, but {name} is not bound.'
      f'{wording.did_you_mean(name, macros)}'
    )

  def _reference(self, reference, source, within):
    found = self._library.find(reference.name)
    function = found[0].function if len(found) == 1 else domains.Function()
    if not reference.called:
      return domains.Promise(function, str(reference))
    if reference.name.rpartition('.')[2] == 'by_task':
      given = self._config.arguments('by_task', reference.scope)
      if {'task', 'values'} <= given.keys():
        try:
          return self.value(self._config.resolve(reference), source, within)
        except UserError:
          # No value for this task: a mistake only where the run asks for it.
          return domains.Promise(function.makes, str(reference))
    return domains.Promise(function.makes, str(reference))
