"""Checks the bindings of a gin config against what parameters declare.

Neither TensorFlow nor what the config names is loaded: a mistake is found
within a fraction of a second.
"""

from __future__ import annotations

import ast
from typing import Any, Iterator, Sequence

import gin

from rigl_rl import tasks, wording
from rigl_rl.config import declarations, gin_text
from rigl_rl.config.gin_text import Config, Key, Macro, Reference, Selector
from rigl_rl.errors import UserError


def check(
  gin_files: Sequence[str],
  gin_bindings: Sequence[str] = (),
  is_saved: bool = False,
) -> Config:
  """Checks each binding against what its parameter declares.

  Configurables of other packages, and of a user's modules that hide what they
  declare, are left to gin, which knows all once they are imported. Returns the
  config, as it was read.

  Args:
    gin_files, gin_bindings: see `parsing.parse`.
    is_saved: whether the files were checked before, as a run's config.gin was;
      it may hold macros that a binding left unused.

  Raises:
    UserError: on a missing file, a syntax error, an unknown name, a value
      of another type or out of range, a macro without a value or without use.
  """
  config = Config(gin_files, gin_bindings)
  _check_macros(config, gin_bindings, is_saved)
  if not config.imports_others:
    _check_names(config)
  for source, value, parameter in bound(config):
    if not parameter.domain.holds(value):
      raise UserError(parameter.refusal(source, value))
  return config


def _check_macros(
  config: Config, gin_bindings: Sequence[str], is_saved: bool
) -> None:
  """Refuses a macro that nothing refers to: most likely a misspelling."""
  used, known = (
    {item.name for item in config.references(replaced) if type(item) is Macro}
    for replaced in (False, True)
  )
  given = set(map(Key.parse, gin_bindings))
  for name in config.macros:
    # Another binding may have replaced the last reference to a file's macro;
    # binding such a macro would have no effect.
    is_idle = Key.macro(name) in given or not (is_saved or name in known)
    if is_idle and name not in used:
      raise UserError(
        f'{name} is bound, but nothing uses it; macros in use are '
        f'{", ".join(sorted(used))}.{wording.did_you_mean(name, used)}'
      )


def _check_names(config: Config) -> None:
  """Refuses names of configurables that nothing can have registered."""
  library = declarations.of_package()
  names: dict[Any, Key | Reference] = {
    key.selector: key for key in config.bindings if key.parameter
  }
  for item in config.references():
    if isinstance(item, Reference):
      names.setdefault(item.selector, item)
  for selector, source in names.items():
    if not (library.may_exist(selector.name) or _is_registered(selector)):
      known = [found.name for found in library.all()]
      raise UserError(
        f'{source} is used, but there is no configurable {selector}.'
        f'{wording.did_you_mean(selector.name, known)}'
      )


def _is_registered(selector: str) -> bool:
  """Whether gin knows a configurable already, as of a user's own script."""
  try:
    gin.get_configurable(str(selector))
  except ValueError:
    return False
  except KeyError:  # Ambiguous, which gin will say.
    return True
  return True


def bound(config: Config) -> Iterator[tuple[str, Any, declarations.Parameter]]:
  """Yields source, value or `Promise`, and declaration of what is bound."""
  library = _library(config)
  for key, written in config.bindings.items():
    found = library.find(key.selector) if key.parameter else ()
    if len(found) != 1:  # Of another package, or ambiguous: gin will say so.
      continue
    source = config.source(key)
    parameter = found[0].parameter(key.parameter, source)
    if parameter is None:
      continue
    try:
      value = config.resolve(written, source)
    except tasks.NoValueError:
      continue  # Only a mistake if the run needs the value.
    yield source, gin_text.convert(value, library.promise), parameter


def _library(config: Config) -> declarations.Library:
  library = declarations.of_package()
  for module in config.imports:
    library.add(module)
  return library


def effective(config: Config, name: str) -> Any:
  """Returns a parameter's value: what is bound, else its default, else None.

  For `name` and errors, see `Config.value`.
  """
  key, missing = Key.parse(name), object()
  value = config.value(name, missing)
  if value is not missing:
    return value
  found = _library(config).find(key.selector)
  parameter = found[0].parameters.get(key.parameter) if found else None
  default = parameter.default if parameter else None
  if default in (None, 'gin.REQUIRED'):
    return None
  try:
    return ast.literal_eval(default)
  except ValueError:
    return Reference('', Selector(default), called=False)
