"""Reads gin text without importing what it names.

gin itself needs every configurable registered, and so TensorFlow imported,
before it parses a config; and it has one config for the whole process.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import tokenize
from typing import Any, Callable, Iterator, NamedTuple, Sequence

from gin import config_parser

from rigl_rl import tasks, wording
from rigl_rl.config import gin_paths
from rigl_rl.errors import UserError

_MACRO = ('macro', 'gin.macro')
# In characters; messages cut longer values.
_MAX_VALUE_LENGTH = 60
_NOT_SET = object()


class Selector(str):
  """A configurable's name; equal to one with more or fewer of its modules.

  gin writes as many modules as tell a configurable from others.
  """

  def __eq__(self, other) -> bool:
    return isinstance(other, str) and (
      f'.{self}'.endswith(f'.{other}') or f'.{other}'.endswith(f'.{self}')
    )

  def __ne__(self, other) -> bool:
    return not self == other

  def __hash__(self) -> int:
    return hash(self.name)

  @property
  def name(self) -> str:
    """The name without modules."""
    return str(self).rpartition('.')[2]


class Key(NamedTuple):
  """What is bound: a parameter, or a macro, which has only a selector."""

  scope: str
  selector: str
  parameter: str

  @classmethod
  def of(cls, scope: str, selector: str, parameter: str) -> Key:
    """Returns the key of a binding's parts, as gin's parser gives them."""
    if not parameter:
      return cls('', f'{scope}/{selector}' if scope else selector, '')
    if selector in _MACRO and parameter == 'value':
      # `NAME/macro.value = 1` is the long form of `NAME = 1`.
      return cls('', scope, '')
    return cls(scope, Selector(selector), parameter)

  @classmethod
  def parse(cls, binding: str) -> Key:
    """Returns the key of 'actor/RigL.drop = 0.3', or of its name only."""
    name = binding.partition('=')[0].strip()
    return cls.of(*config_parser.parse_binding_key(name))

  @classmethod
  def macro(cls, name: str) -> Key:
    return cls('', name, '')

  def __str__(self) -> str:
    scope = f'{self.scope}/' if self.scope else ''
    return f'{scope}{self.selector}.{self.parameter}'.rstrip('.')


@dataclasses.dataclass(frozen=True, repr=False)
class Reference:
  """`@scope/selector`, or `@scope/selector()`, which is called."""

  scope: str
  selector: Selector
  called: bool

  @property
  def name(self) -> str:
    """The configurable's name without modules."""
    return self.selector.name

  def __repr__(self) -> str:
    scope = f'{self.scope}/' if self.scope else ''
    return f'@{scope}{self.selector}{"()" if self.called else ""}'


@dataclasses.dataclass(frozen=True, repr=False)
class Macro:
  """`%name`, of a macro or of a constant."""

  name: str

  def __repr__(self) -> str:
    return f'%{self.name}'


class _Delegate(config_parser.ParserDelegate):
  """Keeps what gin's parser finds, without looking it up."""

  def configurable_reference(self, scoped_configurable_name, evaluate):
    scope, _, name = scoped_configurable_name.rpartition('/')
    if evaluate and scope and name in _MACRO:
      return Macro(scope)
    return Reference(scope, Selector(name), bool(evaluate))

  def macro(self, macro_name):
    return Macro(macro_name)


def parse_value(text: str) -> Any:
  """Returns a gin value: a literal, a Reference or a Macro; or ValueError."""
  try:
    return config_parser.ConfigParser(text, _Delegate()).parse_value()
  except (SyntaxError, tokenize.TokenError) as error:
    raise ValueError(f'{text!r} is no gin value') from error


def same(one: Any, other: Any) -> bool:
  """Whether gin values are the same: 1 is 1.0, but True is not 1, nor [] ()."""
  if isinstance(one, dict) and isinstance(other, dict):
    one, other = list(one.items()), list(other.items())
  if isinstance(one, (list, tuple)) and type(one) is type(other):
    return len(one) == len(other) and all(map(same, one, other))
  if isinstance(one, bool) or isinstance(other, bool):
    return one is other
  return one == other


def convert(value: Any, function: Callable[[Any], Any]) -> Any:
  """Returns a value with the function applied to each item in it."""
  if isinstance(value, dict):
    return {
      convert(key, function): convert(item, function)
      for key, item in value.items()
    }
  if isinstance(value, (list, tuple)):
    return type(value)(convert(item, function) for item in value)
  return function(value)


def references(value: Any) -> list[Reference | Macro]:
  """Returns the references and macros in a value."""
  found: list[Any] = []
  convert(value, found.append)
  return [item for item in found if isinstance(item, (Reference, Macro))]


def _statements(path: str, within: tuple[str, ...] = ()) -> Iterator[Any]:
  """Returns the statements of a file, and those of the files it includes."""
  if path in within:
    raise UserError(f'{path!r} includes itself.')
  try:
    with gin_paths.open_file(path) as file:
      text = file.read()
  except (OSError, UnicodeDecodeError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise UserError(f'{path!r} cannot be read as gin: {reason}') from error
  yield from _with_included(_parse(text, path), (*within, path))


def _with_included(
  statements: Sequence[Any], within: tuple[str, ...] = ()
) -> Iterator[Any]:
  for statement in statements:
    if isinstance(statement, config_parser.IncludeStatement):
      path = gin_paths.config_path(statement.filename)
      yield from _statements(path, within)
    else:
      yield statement


# The runs of a sweep have most files in common.
@functools.lru_cache(maxsize=1000)
def _parse(text: str, source: str) -> tuple[Any, ...]:
  try:
    statements = tuple(config_parser.ConfigParser(text, _Delegate()))
  except (SyntaxError, tokenize.TokenError) as error:
    reason = ' '.join(str(error.args[0]).split())
    where = ''
    if isinstance(error, SyntaxError) and error.lineno:
      where = f', line {error.lineno}'
    raise UserError(
      f'{source!r}{where} cannot be read as gin: {reason}'
    ) from error
  block = config_parser.BlockDeclaration
  return tuple(found for found in statements if not isinstance(found, block))


def _meant(binding: str) -> str:
  """Suggests what a binding that cannot be parsed was meant to be."""
  name, _, value = (part.strip() for part in binding.partition('='))
  values = []
  if re.fullmatch(r'\d+,\d+', value):
    values = [value.replace(',', '.')]
  elif re.fullmatch(r'\d+(\.\d+)?\s*%', value):
    values = [f'{float(value[:-1]) / 100:g}']
  elif value in ('true', 'false', 'none'):
    values = [value.capitalize()]
  elif re.fullmatch(r'[A-Za-z_][\w.]*\(\)', value):
    values = [f'@{value}']
  elif re.fullmatch(r'[A-Za-z_][\w.:/-]*', value):
    values = [tasks.quoted(value)]
    if value.isidentifier() and name not in tasks.TASK_MACROS:
      values.insert(0, f'@{value}')
  if not name or not values:
    return ''
  return f' Did you mean {" or ".join(f"{name}={v}" for v in values)}?'


class Config:
  """The bindings of some gin files; later ones win.

  It follows no imports, so names need not exist. What cannot be read is a
  UserError.

  Attributes:
    bindings: values as written, in order.
    imports: the modules that the files import.
  """

  def __init__(
    self, gin_files: Sequence[str] = (), gin_bindings: Sequence[str] = ()
  ):
    """Reads files, as `gin_paths.config_path` takes them, and bindings."""
    self.bindings: dict[Key, Any] = {}
    self.imports: list[str] = []
    # All values, including those that a later binding replaces.
    self._written: list[Any] = []
    for name in gin_files:
      self._add(_statements(gin_paths.config_path(name)))
    self._bind(gin_bindings)

  @classmethod
  def of_text(cls, text: str) -> Config:
    """Reads a config that includes no files, such as of `gin.config_str()`."""
    config = cls()
    statements = _parse(text, 'config')
    for statement in statements:
      if isinstance(statement, config_parser.IncludeStatement):
        raise UserError(f'The config includes {statement.filename!r}.')
    config._add(statements)
    return config

  def plus(self, gin_bindings: Sequence[str]) -> Config:
    """Returns a config with further bindings, which win."""
    other = Config()
    other.bindings |= self.bindings
    other.imports += self.imports
    other._written += self._written
    other._bind(gin_bindings)
    return other

  def _bind(self, gin_bindings: Sequence[str]) -> None:
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

  def _add(self, statements: Any) -> None:
    for statement in statements:
      if isinstance(statement, config_parser.ImportStatement):
        self.imports.append(statement.module)
        continue
      key = Key.of(*statement[:3])
      # The last place counts in `arguments`, too, and the last spelling.
      self.bindings.pop(key, None)
      self.bindings[key] = statement.value
      self._written.append(statement.value)

  @property
  def macros(self) -> list[str]:
    """The names of all macros that are bound."""
    return [key.selector for key in self.bindings if not key.parameter]

  def references(self, replaced: bool = False) -> list[Reference | Macro]:
    """Returns those in all values, or in those replaced later as well."""
    return references(self._written if replaced else [*self.bindings.values()])

  def source(self, key: Key) -> str:
    """Returns what a user would change: the binding, or what it is bound to.

    Such as 'SPARSITY (sparsify.sparsity)', perhaps by way of other macros.
    """
    found, via = key, []
    while isinstance(value := self.bindings.get(found), Macro):
      found = Key.macro(value.name)
      if found in via or found not in self.bindings:
        break
      via.append(found)
    return f'{via[-1]} ({key})' if via else str(key)

  def value(self, name: str, otherwise: Any = None) -> Any:
    """Returns the value that is bound; a Reference where it cannot be called.

    Args:
      name: a macro, or a parameter with its configurable and, perhaps, scope:
        'SEED', 'UpdateSchedule.interval', 'critic/UpdateSchedule.interval'. A
        scope takes what it does not bind from the scopes around it.
      otherwise: the value if nothing is bound.
    """
    key = Key.parse(name)
    for scope in reversed(enclosing(key.scope)):
      found = key._replace(scope=scope)
      if found in self.bindings:
        return self.resolve(self.bindings[found], name)
    return otherwise

  def arguments(self, selector: str, scope: str = '') -> dict[str, Any]:
    """Returns the bound arguments of a configurable in a scope, as written."""
    return {
      key.parameter: value
      for outer in enclosing(scope)
      for key, value in self.bindings.items()
      if key.parameter and (key.scope, key.selector) == (outer, selector)
    }

  def differences(self, existing: Config) -> list[str]:
    """Compares this config with that of a run that exists.

    Comments, order, formatting and imports play no part: a module that changes
    what a run does is seen in the bindings that name it.

    Returns:
      One text per differing binding, such as 'RigL.drop_fraction is 0.3 here,
      0.5 in the existing run'; macros, which sweeps vary, first, then by name.
    """

    def shown(config: Config, key: Key) -> str:
      value = config.bindings.get(key, _NOT_SET)
      text = 'not set' if value is _NOT_SET else repr(value)
      is_long = len(text) > _MAX_VALUE_LENGTH
      return f'{text[: _MAX_VALUE_LENGTH - 1]}…' if is_long else text

    keys = sorted(
      {**self.bindings, **existing.bindings},
      key=lambda key: (bool(key.parameter), key.scope, str(key)),
    )
    return [
      f'{key} is {shown(self, key)} here, {shown(existing, key)} in the '
      'existing run'
      for key in keys
      if not same(*(c.bindings.get(key, _NOT_SET) for c in (self, existing)))
    ]

  @property
  def imports_others(self) -> bool:
    """Whether modules that are not of this package may define names."""
    return any(name.partition('.')[0] != 'rigl_rl' for name in self.imports)

  def resolve(
    self, value: Any, source: str, within: tuple[str, ...] = ()
  ) -> Any:
    """Returns a value with its macros resolved, and `by_task` called.

    Args:
      value: of the binding `source`.
      source: for messages.
      within: the macros that are being resolved.

    Raises:
      tasks.NoValueError: `by_task` has no value for the task.
      UserError: a macro is not bound, or refers to itself.
    """

    def resolved(item: Any) -> Any:
      if isinstance(item, Macro):
        return self._macro(item, source, within)
      if isinstance(item, Reference) and item.called and item.name == 'by_task':
        given = self.arguments('by_task', item.scope)
        given = self.resolve(given, source, within)
        if {'task', 'values'} <= given.keys():
          return tasks.value_of(**given, name=repr(item)[1:-2])
      return item

    return convert(value, resolved)

  def _macro(self, macro: Macro, source: str, within: tuple[str, ...]) -> Any:
    name, key = macro.name, Key.macro(macro.name)
    if name in within:
      raise UserError(
        f'{source} is {macro}, which refers to itself, but must be a value.'
      )
    if key in self.bindings:
      return self.resolve(self.bindings[key], source, (*within, name))
    if self.imports_others or '.' in name:
      return macro  # A constant.
    raise UserError(
      f'{source} is {macro}, but {name} is not bound.'
      f'{wording.did_you_mean(name, self.macros)}'
    )


def enclosing(scope: str) -> list[str]:
  """Returns '' and all beginnings of a scope: 'a' and 'a/b' of 'a/b'."""
  parts = scope.split('/') if scope else []
  return ['/'.join(parts[:n]) for n in range(len(parts) + 1)]
