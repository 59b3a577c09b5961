"""Parses gin configs, and refuses what would have no effect."""

from __future__ import annotations

import inspect
import os
import re
import sys
from typing import Collection, Sequence

import gin

from rigl_rl import config_check, config_files, effects, errors, wording


def parse(
  gin_files: Sequence[str], gin_bindings: Sequence[str]
) -> effects.Given:
  """Parses a run's gin config, and refuses what would have no effect.

  Args:
    gin_files: as `config_files.config_path` takes them; later ones win.
    gin_bindings: single bindings, which win over the files.

  Returns:
    What tells, once the run is built, which of them have no effect.

  Raises:
    UserError: on a missing file, a syntax error, a binding of something
      unknown, or a macro that nothing uses.
  """
  config_files.add_search_path()
  # A user's own algorithm lies in the current directory, more often than not.
  if '' not in sys.path and os.getcwd() not in sys.path:
    sys.path.insert(0, os.getcwd())
  files = [config_files.config_path(name) for name in gin_files]
  config_check.check(files, gin_bindings)
  try:
    gin.parse_config_files_and_bindings(files, list(gin_bindings))
    texts = [text for name in files for text in _texts(name)]
  except (ImportError, KeyError, OSError, SyntaxError, ValueError) as error:
    raise errors.UserError(_one_line(error)) from error
  config = gin.config_str()
  used = _references(config)
  # A file's macro may have lost its last reference to another binding. Bound by
  # the user, it would have no effect.
  known = used.union(*map(_references, texts))
  given = _names(gin_bindings)
  _check_macros(
    [
      name
      for name in _bound_macros(config)
      if name in given or name not in known
    ],
    used,
  )
  scopes = {scope for text in texts for scope in _reference_scopes(text)}
  return effects.Given(gin_bindings, scopes)


def parse_saved(path: str, gin_bindings: Sequence[str] = ()) -> None:
  """Parses a run's config.gin, all of which was checked when the run began.

  Args:
    path: of the file.
    gin_bindings: single bindings, which win over the file.

  Raises:
    UserError: it cannot be read, or binds what there no longer is; or a single
      binding is of a macro that nothing uses.
  """
  config_files.add_search_path()
  if '' not in sys.path and os.getcwd() not in sys.path:
    sys.path.insert(0, os.getcwd())
  config_check.check([path], gin_bindings)
  try:
    gin.parse_config_files_and_bindings([path], list(gin_bindings))
  except (ImportError, KeyError, OSError, SyntaxError, ValueError) as error:
    raise errors.UserError(f'{path}: {_one_line(error)}') from error
  config = gin.config_str()
  given = _names(gin_bindings)
  bound = [name for name in _bound_macros(config) if name in given]
  _check_macros(bound, _references(config))


def _texts(path: str) -> list[str]:
  """Returns the contents of a gin file and of all that it includes."""
  with config_files.open_file(path) as file:
    text = file.read()
  included = re.findall(r'^include\s+[\'"](.+?)[\'"]', text, re.MULTILINE)
  return [text] + [inner for name in included for inner in _texts(name)]


def _names(gin_bindings: Sequence[str]) -> set[str]:
  return {binding.partition('=')[0].strip() for binding in gin_bindings}


def _bound_macros(config: str) -> list[str]:
  return re.findall(r'^(\w+) = ', config, re.MULTILINE)


def _references(text: str) -> set[str]:
  """Returns the macros that a config refers to."""
  return set(re.findall(r'%(\w+)', text))


def _reference_scopes(text: str) -> list[str]:
  """Returns the scopes of references, such as 'a/b' of '@a/b/name'."""
  return re.findall(r'^[^#\n]*@([\w./]+)/', text, re.MULTILINE)


def _one_line(error: Exception) -> str:
  """Says in one line what gin says in several."""
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  message = lines[0] if lines else type(error).__name__
  for line in lines[1:]:
    # gin quotes the offending binding below the place where it stands.
    if ' = ' in line or line.startswith(('In file', 'import ', 'include ')):
      message += f' | {line}'
  unknown = re.search(r"No configurable matching '([^']+)'", message)
  if unknown:
    name = unknown.group(1).split('/')[-1]
    message += wording.did_you_mean(name, _configurables())
  parameter = re.search(
    r"'([^']+)' doesn't have a parameter named '([^']+)'", message
  )
  if parameter:
    configurable, name = parameter.groups()
    known = _parameters(configurable)
    message += f' Its parameters are {", ".join(known)}.'
    message += wording.did_you_mean(name, known)
  return message


def _parameters(configurable: str) -> list[str]:
  wrapped = gin.config._REGISTRY.get_match(configurable).wrapped
  names = list(inspect.signature(wrapped).parameters)
  return [name for name in names if name != 'self']


def _configurables() -> list[str]:
  """Names of everything that can be bound, without modules."""
  selectors = (selector for selector, _ in gin.config._REGISTRY.items())
  return sorted({selector.rsplit('.')[-1] for selector in selectors})


def _check_macros(bound: Collection[str], used: Collection[str]) -> None:
  """Refuses a macro that nothing refers to: most likely a misspelling."""
  for name in bound:
    if name not in used:
      raise errors.UserError(
        f'{name} is bound, but nothing uses it; macros in use are '
        f'{", ".join(sorted(used))}.{wording.did_you_mean(name, used)}'
      )
