"""Finds gin files: in the current directory, else in the installed package."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import sys
import tokenize
from typing import IO, Collection, Sequence

import gin

import gin_configs
from rigl_rl import errors

# The directory that holds `gin_configs`: a checkout, or site-packages.
_PACKAGE_PARENT = os.path.dirname(
  os.path.dirname(os.path.abspath(gin_configs.__file__))
)


def add_search_path() -> None:
  """Lets gin resolve `include 'gin_configs/...'` from any directory.

  A file of that name under the current directory goes first, so a user can
  shadow one. Calling it again changes nothing.
  """
  # Not gin.add_config_file_search_path: gin tries all its readers on one prefix
  # before the next prefix, and its second reader takes 'gin_configs/agents' for
  # a Python package, which it logs as an error or stumbles over.
  readers = gin.config._FILE_READERS
  if (_open, _is_readable) not in readers:
    readers.insert(0, (_open, _is_readable))


def config_path(relative: str) -> str:
  """Resolves the name of a gin file.

  Args:
    relative: A path as a user gives it to `--gin_files`, such as
      'gin_configs/graesser22/dqn_classic/rigl.gin'; relative, absolute, or a
      URL that `tf.io.gfile` knows.

  Returns:
    `relative` itself if there is such a file; else the path of the file of
    that name in the installed package.

  Raises:
    UserError: If there is neither.
  """
  path = _resolve(relative)
  if path is None:
    raise errors.UserError(
      f'--gin_files={relative!r}: no such file, neither from the current '
      'directory nor among the installed gin_configs/'
    )
  return path


def _resolve(path: str) -> str | None:
  """Returns where the file of a name is, or None if there is none."""
  if _is_url(path):
    # Imported here, since only a URL is worth the seconds it takes.
    import tensorflow as tf

    try:
      found = tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path)
    except tf.errors.OpError:  # Of a kind that TensorFlow does not know.
      found = False
    return path if found else None
  if os.path.isfile(path):
    return path
  installed = os.path.join(_PACKAGE_PARENT, path)
  if path.startswith('gin_configs/') and os.path.isfile(installed):
    return installed
  return None


def _is_url(path: str) -> bool:
  return '://' in path


def _is_readable(path: str) -> bool:
  return _resolve(path) is not None


def _open(path: str) -> IO[str]:
  path = _resolve(path) or path
  if _is_url(path):
    import tensorflow as tf

    return tf.io.gfile.GFile(path)
  return open(path, encoding='utf-8')


def parse(gin_files: Sequence[str], gin_bindings: Sequence[str]) -> None:
  """Parses a run's gin config, and refuses what would have no effect.

  Args:
    gin_files: as `config_path` takes them; later ones win.
    gin_bindings: single bindings, which win over the files.

  Raises:
    UserError: on a missing file, a syntax error, a binding of something
      unknown, or a macro that nothing uses.
  """
  add_search_path()
  # A user's own algorithm lies in the current directory, more often than not.
  if '' not in sys.path and os.getcwd() not in sys.path:
    sys.path.insert(0, os.getcwd())
  files = [config_path(name) for name in gin_files]
  for binding in gin_bindings:
    _check_syntax(binding)
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
  given = {binding.partition('=')[0].strip() for binding in gin_bindings}
  _check_macros(
    [
      name
      for name in re.findall(r'^(\w+) = ', config, re.MULTILINE)
      if name in given or name not in known
    ],
    used,
  )


def parse_saved(path: str, gin_bindings: Sequence[str] = ()) -> None:
  """Parses a run's config.gin, all of which was checked when the run began.

  Args:
    path: of the file.
    gin_bindings: single bindings, which win over the file.

  Raises:
    UserError: it cannot be read, or binds what there no longer is.
  """
  add_search_path()
  if '' not in sys.path and os.getcwd() not in sys.path:
    sys.path.insert(0, os.getcwd())
  for binding in gin_bindings:
    _check_syntax(binding)
  try:
    gin.parse_config_files_and_bindings([path], list(gin_bindings))
  except (ImportError, KeyError, OSError, SyntaxError, ValueError) as error:
    raise errors.UserError(f'{path}: {_one_line(error)}') from error


def _texts(path: str) -> list[str]:
  """Returns the contents of a gin file and of all that it includes."""
  with _open(path) as file:
    text = file.read()
  included = re.findall(r'^include\s+[\'"](.+?)[\'"]', text, re.MULTILINE)
  return [text] + [inner for name in included for inner in _texts(name)]


def _references(text: str) -> set[str]:
  """Returns the macros that a config refers to."""
  return set(re.findall(r'%(\w+)', text))


def _check_syntax(binding: str) -> None:
  """Raises UserError unless the text is one binding, such as 'A.b = 1'."""
  name, equals, _ = binding.partition('=')
  try:
    if not name.strip() or not equals:
      raise SyntaxError
    list(
      gin.config_parser.ConfigParser(
        binding, gin.config.ParserDelegate(skip_unknown=True)
      )
    )
  except (SyntaxError, ValueError, tokenize.TokenError) as error:
    raise errors.UserError(
      f'--gin_bindings={binding!r} cannot be parsed: it must read '
      "'name = value', the value a Python literal, @reference or %macro."
    ) from error


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
    message += _did_you_mean(name, _configurables())
  parameter = re.search(
    r"'([^']+)' doesn't have a parameter named '([^']+)'", message
  )
  if parameter:
    configurable, name = parameter.groups()
    known = _parameters(configurable)
    message += f' Its parameters are {", ".join(known)}.'
    message += _did_you_mean(name, known)
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
        f'{", ".join(sorted(used))}.{_did_you_mean(name, used)}'
      )


def _did_you_mean(name: str, known: Collection[str]) -> str:
  matches = difflib.get_close_matches(name, known, 3, 0.7)
  return f' Did you mean {" or ".join(matches)}?' if matches else ''
