"""Compares two gin configs, binding by binding."""

from __future__ import annotations

import tokenize
from collections.abc import Collection, Mapping
from typing import Any

from gin import config_parser

# A value is shown at most so long.
_MAX_VALUE_LENGTH = 60


class _Reference:
  """`@scope/name`, `@scope/name()` or `%name` in a gin config.

  The same configurable may be written with more or fewer of its modules:
  gin writes as many as tell it apart. So names are equal if one ends in the
  other.
  """

  def __init__(self, prefix: str, name: str, suffix: str):
    self._prefix = prefix
    scope, _, self._selector = name.rpartition('/')
    self._scope = scope + '/' if scope else ''
    self._suffix = suffix

  def __eq__(self, other) -> bool:
    return (
      isinstance(other, _Reference)
      and (self._prefix, self._scope, self._suffix)
      == (other._prefix, other._scope, other._suffix)
      and _same_selector(self._selector, other._selector)
    )

  def __hash__(self) -> int:
    return hash((self._prefix, self._scope, self._selector.split('.')[-1]))

  def __repr__(self) -> str:
    return f'{self._prefix}{self._scope}{self._selector}{self._suffix}'


class _Delegate(config_parser.ParserDelegate):
  """Lets gin's parser read a config without looking up what it names."""

  def configurable_reference(self, scoped_configurable_name, evaluate):
    scope, _, name = scoped_configurable_name.rpartition('/')
    if evaluate and name in ('macro', 'gin.macro') and scope:
      return self.macro(scope)
    return _Reference('@', scoped_configurable_name, '()' if evaluate else '')

  def macro(self, macro_name):
    return _Reference('%', macro_name, '')


def _same_selector(one: str, other: str) -> bool:
  """Whether two dotted names are the same, or one ends in the other."""
  return one == other or one.endswith('.' + other) or other.endswith('.' + one)


def _same_value(one: Any, other: Any) -> bool:
  """Equality of two gin values: 1 is 1.0, but True is not 1, nor [] ()."""
  if isinstance(one, dict) and isinstance(other, dict):
    return list(one) == list(other) and all(
      _same_value(one[key], other[key]) for key in one
    )
  for kind in (list, tuple):
    if isinstance(one, kind) and isinstance(other, kind):
      return len(one) == len(other) and all(map(_same_value, one, other))
  if isinstance(one, bool) or isinstance(other, bool):
    return one is other
  return one == other


# A binding is known by its scope ('' or 'a/b/') and its dotted name.
_Key = tuple[str, str]


def parse_bindings(config: str) -> dict[_Key, Any]:
  """Reads a gin config as a set of bindings.

  Comments, order, formatting, line breaks, blocks, and the imports play no
  part: gin writes bindings of modules that were imported, and a module that
  changes what a run does is seen in the bindings that name it.

  Args:
    config: a complete gin config, such as `gin.config_str()` returns. Nothing
      that it names has to be registered.

  Returns:
    {(scope, name): value}. `scope` is '' or ends in '/', `name` is the dotted
    name of configurable and parameter, or that of a macro. Of two bindings of
    the same name the last one counts, as in gin.

  Raises:
    SyntaxError: `config` is no gin config.
    ValueError: `config` includes other files, so it is not complete.
  """
  bindings = {}
  try:
    statements = list(config_parser.ConfigParser(config, _Delegate()))
  except tokenize.TokenError as error:
    # What ends inside a bracket or a string.
    raise SyntaxError(str(error)) from error
  for statement in statements:
    if isinstance(statement, config_parser.IncludeStatement):
      raise ValueError(f'the config includes {statement.filename!r}')
    if not isinstance(statement, config_parser.BindingStatement):
      continue
    scope, selector, name = statement[:3]
    if selector in ('macro', 'gin.macro') and name == 'value':
      # `NAME/macro.value = 1` is the long form of `NAME = 1`.
      scope, _, selector = scope.rpartition('/')
      name = ''
    key = (scope + '/' if scope else '', f'{selector}.{name}'.rstrip('.'))
    bindings[key] = statement.value
  return bindings


def _matching(key: _Key, bindings: Mapping[_Key, Any]) -> _Key | None:
  """The key in `bindings` of the same binding, perhaps with more modules."""
  if key in bindings:
    return key
  # A macro has no parameter, hence no dot, and is never shortened.
  if '.' not in key[1]:
    return None
  found = [
    other
    for other in bindings
    if other[0] == key[0]
    and '.' in other[1]
    and _same_selector(key[1], other[1])
  ]
  return found[0] if len(found) == 1 else None


def _shown(value: Any) -> str:
  text = repr(value)
  if len(text) > _MAX_VALUE_LENGTH:
    text = text[: _MAX_VALUE_LENGTH - 1] + '…'
  return text


def differing_bindings(
  here: str, existing: str, ignore: Collection[str] = ()
) -> list[str]:
  """Compares two gin configs binding by binding.

  Args:
    here: complete gin config of this start.
    existing: complete gin config of the run in the directory.
    ignore: names of bindings that may differ, with or without scope and
      leading modules: 'Runner.verbose', 'THREADS'.

  Returns:
    One text per differing binding, such as 'RigL.drop_fraction is 0.3 here,
    0.5 in the existing run', ordered by name; macros, which are what a sweep
    varies, first.

  Raises:
    SyntaxError: one of them is no gin config.
  """
  ours, theirs = parse_bindings(here), parse_bindings(existing)

  def ignored(key: _Key) -> bool:
    return any(
      name == key[0] + key[1]
      or (
        name == key[1]
        if '.' not in key[1]
        else '.' in name and _same_selector(name, key[1])
      )
      for name in ignore
    )

  # What is in one of them only has no value in the other.
  pairs: dict[_Key, tuple[str, str]] = {}
  matched = set()
  for key, value in ours.items():
    other = _matching(key, theirs)
    if other is None:
      pairs[key] = (_shown(value), 'not set')
      continue
    matched.add(other)
    if not _same_value(value, theirs[other]):
      pairs[key] = (_shown(value), _shown(theirs[other]))
  for key, value in theirs.items():
    if key not in matched:
      pairs[key] = ('not set', _shown(value))
  return [
    f'{key[0]}{key[1]} is {pairs[key][0]} here, {pairs[key][1]} in the '
    'existing run'
    for key in sorted(pairs, key=lambda key: ('.' in key[1], key))
    if not ignored(key)
  ]
