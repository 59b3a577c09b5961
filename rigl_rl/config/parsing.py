"""Parses gin configs, and refuses what would have no effect."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import Iterator, Sequence

import gin

from rigl_rl import errors, wording
from rigl_rl.config import checking, declarations, effects, gin_paths
from rigl_rl.config.gin_text import Config, Macro, references

# How gin refuses a config.
_MISTAKES = (ImportError, KeyError, OSError, SyntaxError, ValueError)
# Modules in the current directory that are not the user's.
_NOT_A_USERS = ('rigl_rl', 'launch', '__main__', 'conftest')


def parse(
  gin_files: Sequence[str],
  gin_bindings: Sequence[str] = (),
  is_saved: bool = False,
) -> effects.Given:
  """Parses a run's gin config, and refuses what would have no effect.

  Args:
    gin_files: as `gin_paths.config_path` takes them; later ones win.
    gin_bindings: single bindings, which win over the files.
    is_saved: whether the only file is a run's config.gin, all of which was
      checked when the run began.

  Returns:
    What tells, once the run is built, which of them have no effect.

  Raises:
    UserError: on a missing file, a syntax error, a binding of something
      unknown, or a macro that nothing uses.
  """
  gin_paths.add_search_path()
  # A user's own algorithm is usually in the current directory.
  if not is_saved and '' not in sys.path and os.getcwd() not in sys.path:
    sys.path.insert(0, os.getcwd())
  files = [gin_paths.config_path(name) for name in gin_files]
  config = checking.check(files, gin_bindings, is_saved)
  try:
    gin.parse_config_files_and_bindings(files, list(gin_bindings))
  except Exception as error:  # A saved file may lead to any.
    if not is_saved and not isinstance(error, _MISTAKES):
      raise
    message = _one_line(error, config)
    if is_saved:
      message = f'{files[0]}: {message}'
      if isinstance(error, ModuleNotFoundError):
        message += '; if the module is yours, name its directory in PYTHONPATH.'
    raise errors.UserError(message) from error
  return effects.Given(config, gin_bindings, is_saved)


@contextlib.contextmanager
def empty_config() -> Iterator[None]:
  """Uses gin's config, which the whole process shares; leaves it empty."""
  bound = [line for line in gin.config_str().splitlines() if ' = ' in line]
  if bound:
    raise errors.UserError(
      f'gin holds bindings already ({bound[0]}), which would get lost: call '
      'gin.clear_config() first, and hand over what a run needs as `bindings`.'
    )
  gin.clear_config()
  try:
    yield
  finally:
    gin.clear_config()


def origin() -> str:
  """Returns the current directory if a run's own modules lie there, else ''.

  A config's `import`, or a task, names such a module.
  """
  here = os.path.realpath(os.getcwd())
  for name, module in list(sys.modules.items()):
    file = getattr(module, '__file__', None)
    if not file or '.' in name or name in _NOT_A_USERS:
      continue
    if os.path.basename(file) == '__init__.py':
      file = os.path.dirname(file)
    if os.path.realpath(os.path.dirname(file)) == here:
      return here
  return ''


@contextlib.contextmanager
def search_path(modules_from: str) -> Iterator[None]:
  """Takes the current directory off Python's path, unless a run needs it.

  It stays if `origin` returned it when the run began, if PYTHONPATH names it,
  or if the package itself lies there.
  """
  here = os.path.realpath(os.getcwd())
  before = list(sys.path)
  if modules_from == here:
    sys.path.insert(0, here)
  else:
    asked = os.environ.get('PYTHONPATH', '').split(os.pathsep)
    trusted = {os.path.realpath(path) for path in asked if path}
    trusted.add(os.path.realpath(gin_paths.PACKAGE_PARENT))
    if here not in trusted:
      sys.path[:] = [p for p in sys.path if os.path.realpath(p or '.') != here]
  try:
    yield
  finally:
    sys.path[:] = before


def _one_line(error: Exception, config: Config) -> str:
  """Says in one line what gin says in several."""
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  message = lines[0] if lines else type(error).__name__
  if isinstance(error, KeyError):
    message = message.strip('"')
  unbound = re.match(r"No bindings specified for '(.+)/gin\.macro'", message)
  if unbound:
    macro = Macro(unbound.group(1))
    users = (k for k, v in config.bindings.items() if macro in references(v))
    return (
      f'{next(users, "A binding")} is bound to {macro}, but {macro.name} is '
      f'not bound.{wording.did_you_mean(macro.name, config.macros)}'
    )
  for line in lines[1:]:
    # gin quotes the offending binding on the line below its place.
    if ' = ' in line or line.startswith(('In file', 'import ', 'include ')):
      message += f' | {line}'
  unknown = re.search(r"No configurable matching [^']*'@?([\w./]+)", message)
  if unknown:
    name = unknown.group(1).rpartition('/')[2]
    known = [found.name for found in declarations.of_package().all()]
    message += wording.did_you_mean(name, known)
  return message
