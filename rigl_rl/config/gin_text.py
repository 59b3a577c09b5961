"""Reads gin files without importing what they name.

gin itself needs every configurable registered, and so TensorFlow imported,
before it parses a run's config; and it has one config for the whole process.
A sweep asks little of many configs: values of single bindings.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import tokenize
from typing import Any, Iterator, NamedTuple, Sequence

import gin
from gin import config_parser

from rigl_rl import tasks
from rigl_rl.config import gin_paths
from rigl_rl.errors import UserError


@dataclasses.dataclass(frozen=True)
class Reference:
  """`@scope/name`, or `@scope/name()`, which is called."""

  scope: str
  name: str
  called: bool

  def __str__(self) -> str:
    scope = f'{self.scope}/' if self.scope else ''
    return f'@{scope}{self.name}{"()" if self.called else ""}'


@dataclasses.dataclass(frozen=True)
class Macro:
  """`%name`."""

  name: str

  def __str__(self) -> str:
    return f'%{self.name}'


class _Delegate(config_parser.ParserDelegate):
  """Keeps what gin's parser finds, without looking it up."""

  def configurable_reference(self, scoped_configurable_name, evaluate):
    scope, _, name = scoped_configurable_name.rpartition('/')
    return Reference(scope, name, bool(evaluate))

  def macro(self, macro_name):
    return Macro(macro_name)


class _Key(NamedTuple):
  """Of a binding; a macro has no parameter."""

  scope: str
  name: str
  parameter: str


def _key(scope: str, selector: str, parameter: str) -> _Key:
  if selector in ('macro', 'gin.macro') and parameter == 'value':
    # `NAME/macro.value = 1` is the long form of `NAME = 1`.
    scope, _, selector = scope.rpartition('/')
    parameter = ''
  # A file may write more or fewer of a configurable's modules.
  return _Key(scope, selector.rpartition('.')[2], parameter)


def parse_key(name: str) -> _Key:
  """Returns the key of a binding by its name, such as 'actor/RigL.drop'."""
  return _key(*config_parser.parse_binding_key(name))


def parse_value(text: str) -> Any:
  """Returns a gin value: a literal, a Reference or a Macro.

  Raises:
    ValueError: `text` is none.
  """
  try:
    return config_parser.ConfigParser(text, _Delegate()).parse_value()
  except (SyntaxError, tokenize.TokenError) as error:
    raise ValueError(f'{text!r} is no gin value') from error


def _statements(path: str, within: tuple[str, ...] = ()) -> Iterator[Any]:
  """Returns the statements of a file, and those of the files it includes.

  Args:
    path: of the file.
    within: the files that include it.
  """
  if path in within:
    raise UserError(f'{path!r} includes itself.')
  if gin_paths.is_url(path):
    # Imported here, since only a URL is worth the seconds it takes.
    import tensorflow as tf

    status = tf.io.gfile.stat(path)
    stamp = status.mtime_nsec, status.length
  else:
    status = os.stat(path)
    stamp = status.st_mtime_ns, status.st_size, status.st_ino
  yield from _with_included(_own_statements(path, stamp), (*within, path))


def _with_included(
  statements: Sequence[Any], within: tuple[str, ...] = ()
) -> Iterator[Any]:
  for statement in statements:
    if isinstance(statement, config_parser.IncludeStatement):
      path = gin_paths.config_path(statement.filename)
      yield from _statements(path, within)
    else:
      yield statement


@functools.lru_cache(maxsize=None)
def _own_statements(path: str, stamp: tuple[int, ...]) -> tuple[Any, ...]:
  """Returns the statements of a file; a file that changed has another stamp."""
  del stamp
  with gin_paths.open_file(path) as file:
    return tuple(_parse(file.read(), path))


def _parse(text: str, source: str) -> list[Any]:
  try:
    statements = list(config_parser.ConfigParser(text, _Delegate()))
  except (SyntaxError, tokenize.TokenError) as error:
    reason = ' '.join(str(error.args[0]).split())
    where = ''
    if isinstance(error, SyntaxError) and error.lineno:
      where = f', line {error.lineno}'
    raise UserError(
      f'{source!r}{where} cannot be read as gin: {reason}'
    ) from error
  kinds = (
    config_parser.BindingStatement,
    config_parser.ImportStatement,
    config_parser.IncludeStatement,
  )
  return [found for found in statements if isinstance(found, kinds)]


def _meant(binding: str) -> str:
  """Suggests what a binding that cannot be parsed was to be."""
  name, _, value = (part.strip() for part in binding.partition('='))
  if not name or not value:
    return ''
  if re.fullmatch(r'\d+,\d+', value):
    values = [value.replace(',', '.')]
  elif re.fullmatch(r'\d+(\.\d+)?\s*%', value):
    values = [f'{float(value[:-1]) / 100:g}']
  elif value in ('true', 'false', 'none'):
    values = [value.capitalize()]
  elif re.fullmatch(r'[A-Za-z_][\w.]*\(\)', value):
    values = [f'@{value}']
  elif name not in tasks.TASK_MACROS and re.fullmatch(r'[A-Za-z_]\w*', value):
    values = [f'@{value}', tasks.quoted(value)]
  elif re.fullmatch(r'[A-Za-z_][\w.:/-]*', value):
    values = [tasks.quoted(value)]
  else:
    return ''
  return f' Did you mean {" or ".join(f"{name}={v}" for v in values)}?'


class Config:
  """The bindings of some gin files; later ones win.

  Imports play no part: no name has to exist.

  Attributes:
    imports: the modules that the files import.
  """

  def __init__(
    self, gin_files: Sequence[str], gin_bindings: Sequence[str] = ()
  ):
    """Reads the files.

    Args:
      gin_files: as `gin_paths.config_path` takes them.
      gin_bindings: single bindings, which win over the files.

    Raises:
      UserError: a file is missing, or something is no gin.
    """
    self.imports: list[str] = []
    self._bindings: dict[_Key, Any] = {}
    # As they are written, by the keys of the bindings.
    self._selectors: dict[_Key, str] = {}
    # All values, those too that a later binding replaces.
    self._written: list[Any] = []
    for name in gin_files:
      self._add(_statements(gin_paths.config_path(name)))
    self.add(gin_bindings)

  def add(self, gin_bindings: Sequence[str]) -> None:
    """Adds bindings, which win over those before."""
    for binding in gin_bindings:
      try:
        statements = [*_with_included(_parse(binding, '--gin_bindings'))]
        if not statements or not binding.partition('=')[1]:
          raise UserError('nothing is bound')
      except UserError as error:
        raise UserError(
          f'--gin_bindings={binding!r} cannot be parsed: it must read '
          "'name = value', the value a Python literal, @reference or %macro."
          f'{_meant(binding)}'
        ) from error
      self._add(statements)

  def copy(self) -> Config:
    """Returns one that can be added to, apart from this one."""
    other = Config(())
    other.imports = list(self.imports)
    other._bindings = dict(self._bindings)
    other._selectors = dict(self._selectors)
    other._written = list(self._written)
    return other

  def _add(self, statements) -> None:
    for statement in statements:
      if isinstance(statement, config_parser.ImportStatement):
        self.imports.append(statement.module)
        continue
      key = _key(statement.scope, statement.selector, statement.arg_name)
      # The last place counts in `parameters`, too.
      self._bindings.pop(key, None)
      self._bindings[key] = statement.value
      self._selectors[key] = statement.selector
      self._written.append(statement.value)

  def names(self) -> list[_Key]:
    """Returns the keys of all bindings."""
    return list(self._bindings)

  def bound(self, key: _Key) -> Any:
    """Returns the value of a binding as it is written."""
    return self._bindings[key]

  def selector(self, key: _Key) -> str:
    """Returns the configurable of a binding, with modules where written."""
    return self._selectors[key]

  def macros(self) -> dict[str, Any]:
    """Returns the values of all macros, as they are written, by name."""
    return {
      key.name: value
      for key, value in self._bindings.items()
      if not (key.parameter or key.scope)
    }

  def used_macros(self, replaced: bool = False) -> set[str]:
    """Returns the names of the macros that bindings refer to.

    Args:
      replaced: whether bindings count that a later one replaces.
    """
    values = self._written if replaced else self._bindings.values()
    found = (part for value in values for part in _parts(value))
    return {part.name for part in found if isinstance(part, Macro)}

  def reference_scopes(self) -> set[str]:
    """Returns the scopes of all references, also of replaced ones."""
    found = (part for value in self._written for part in _parts(value))
    return {p.scope for p in found if isinstance(p, Reference) and p.scope}

  def source(self, key: _Key) -> str:
    """Returns what a user would change: a macro, or the binding itself.

    Such as 'SPARSITY (sparsify.sparsity)', where the parameter is bound to
    %SPARSITY, perhaps by way of other macros.
    """
    scope = f'{key.scope}/' if key.scope else ''
    name = f'{scope}{self._selectors[key]}.{key.parameter}'
    macros = self.macros()
    value, via = self._bindings[key], []
    while isinstance(value, Macro) and value.name in macros.keys() - via:
      via.append(value.name)
      value = macros[value.name]
    return f'{via[-1]} ({name})' if via else name

  def value(self, name: str, otherwise: Any = None) -> Any:
    """Returns what is bound, macros resolved.

    Args:
      name: a macro, or a parameter with its configurable and, perhaps, scope:
        'SEED', 'UpdateSchedule.interval', 'critic/UpdateSchedule.interval'. A
        scope takes what it does not bind from the scopes around it.
      otherwise: the value if nothing is bound.

    Returns:
      A Python value; a Reference where it cannot be called.
    """
    key = parse_key(name)
    for scope in reversed(_scopes(key.scope)):
      found = key._replace(scope=scope)
      if found in self._bindings:
        return self.resolve(self._bindings[found])
    return otherwise

  def arguments(self, name: str, scope: str = '') -> dict[str, Any]:
    """Returns what is bound of a configurable, as it is bound.

    Args:
      name: of the configurable, without modules.
      scope: the gin scope in which it is called; inner ones win.
    """
    found = {}
    for outer in _scopes(scope):
      for key, value in self._bindings.items():
        if key.parameter and (key.scope, key.name) == (outer, name):
          found[key.parameter] = value
    return found

  def resolve(self, value: Any) -> Any:
    """Returns a value with its macros resolved, and `by_task` called.

    Raises:
      UserError: a macro is not bound, or refers to itself.
    """
    return self._resolve(value, ())

  def _resolve(self, value: Any, within: tuple[str, ...]) -> Any:
    if isinstance(value, Macro):
      if value.name in within:
        raise UserError(f'{value.name} is bound to itself.')
      key = _Key('', value.name, '')
      if key not in self._bindings:
        raise UserError(f'%{value.name} is used, but {value.name} not bound.')
      return self._resolve(self._bindings[key], (*within, value.name))
    if isinstance(value, Reference):
      if value.called and value.name.rpartition('.')[2] == 'by_task':
        arguments = self.arguments('by_task', value.scope)
        # An error names the scope.
        with gin.config_scope(value.scope):
          return tasks.by_task(**self._resolve(arguments, within))
      return value
    if isinstance(value, dict):
      return {
        self._resolve(key, within): self._resolve(item, within)
        for key, item in value.items()
      }
    if isinstance(value, (list, tuple)):
      return type(value)(self._resolve(item, within) for item in value)
    return value


def _parts(value: Any) -> Iterator[Reference | Macro]:
  """Returns the references and macros in a value."""
  if isinstance(value, (Reference, Macro)):
    yield value
  elif isinstance(value, dict):
    yield from _parts([*value.keys(), *value.values()])
  elif isinstance(value, (list, tuple)):
    for item in value:
      yield from _parts(item)


def _scopes(scope: str) -> list[str]:
  """Returns '' and all beginnings of a scope: 'a' and 'a/b' of 'a/b'."""
  parts = scope.split('/') if scope else []
  return ['/'.join(parts[:n]) for n in range(len(parts) + 1)]


def same(one: Any, other: Any) -> bool:
  """Whether two values are the same to gin: 1 is 1.0, but True is not 1."""
  if isinstance(one, (Reference, Macro)) or isinstance(
    other, (Reference, Macro)
  ):
    return str(one) == str(other)
  if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
    return len(one) == len(other) and all(map(same, one, other))
  if isinstance(one, bool) or isinstance(other, bool):
    return one is other
  return one == other
