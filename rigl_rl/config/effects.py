"""Finds bindings without effect, once all of a run is built.

gin applies a binding where its configurable is called in its scope, and says
nothing of one that it never applies. Its operative config records what was
called in which scope, so that the check holds for a user's own configurables
and scopes too.
"""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any, Collection, Iterable, NamedTuple, Sequence

from gin import config as gin_config
from gin import config_parser

from rigl_rl.errors import UserError

_MACRO = 'gin.macro'


class Key(NamedTuple):
  """What is bound; the name of a macro is its scope, as in gin."""

  scope: str
  selector: str  # With all modules.
  parameter: str

  @property
  def is_macro(self) -> bool:
    return self.selector == _MACRO

  @property
  def name(self) -> str:
    """The configurable, without modules."""
    return self.selector.rpartition('.')[2]

  def __str__(self) -> str:
    if self.is_macro:
      return self.scope
    scope = f'{self.scope}/' if self.scope else ''
    return f'{scope}{self.name}.{self.parameter}'


def _parse_key(binding: str) -> Key:
  """Returns the key of a binding such as 'critic/RigL.drop_fraction = 0.1'."""
  name = binding.partition('=')[0].strip()
  scope, selector, parameter = config_parser.parse_binding_key(name)
  if not parameter:
    return Key(f'{scope}/{selector}' if scope else selector, _MACRO, 'value')
  return Key(*gin_config.ParsedBindingKey.parse(name).scope_selector_arg)


@dataclasses.dataclass(frozen=True)
class Given:
  """Where the bindings that gin has parsed come from.

  Attributes:
    bindings: those of the command line.
    file_scopes: scopes of references in the gin files, also of references that
      another binding replaces: a file may bind what goes with them. None if the
      files were checked when the run began.
  """

  bindings: Sequence[str] = ()
  file_scopes: Collection[str] | None = ()

  def check(self) -> list[str]:
    """Checks the bindings of a run that has just been built.

    Returns:
      Notes, of one line each, on bindings of the command line without effect on
      this run that may have one on other runs of a sweep.

    Raises:
      UserError: on a binding that cannot have an effect: in a scope that
        nothing enters, or in which its configurable is not used; of the command
        line also where bindings of the files always win over it.
    """
    use = _Use()
    given = dict.fromkeys(map(_parse_key, self.bindings))
    if self.file_scopes is not None:
      for key in use.bound:
        if key not in given:
          use.check_scope(key, self.file_scopes)
    for key in given:
      use.check_scope(key)
      use.check_wins(key, given)
    notes = []
    for key in given:
      reason = use.why_idle(key)
      if reason:
        notes.append(f'{use.show(key)} has no effect: {reason}.')
    return notes


class _Use:
  """What gin has bound, and used so far."""

  def __init__(self):
    self.bound: dict[Key, Any] = {
      Key(scope, selector, parameter): value
      for (scope, selector), values in gin_config._CONFIG.items()
      for parameter, value in values.items()
    }
    # By configurable and by the scope that it was called in, the parameters
    # that gin supplied.
    self._used: dict[str, dict[str, set[str]]] = {}
    # Of these, the ones that another one's value ignores, and that value.
    self._ignored: dict[Key, Any] = {}
    with gin_config._OPERATIVE_CONFIG_LOCK:
      for (scope, selector), values in gin_config._OPERATIVE_CONFIG.items():
        self._used.setdefault(selector, {})[scope] = set(values)
        for value in values.values():
          for parameter in _ignored_by(value):
            self._ignored[Key(scope, selector, parameter)] = value
    self._entered = {
      scope
      for selector, scopes in self._used.items()
      if not selector.startswith('gin.')
      for scope in scopes
    }
    self._references = {
      key: list(gin_config.iterate_references(value))
      for key, value in self.bound.items()
    }

  def show(self, key: Key) -> str:
    """Writes a binding as it can be given to --gin_bindings."""
    return f'{key} = {self.bound[key]!r}'

  def check_scope(self, key: Key, other_scopes: Collection[str] = ()) -> None:
    """Refuses a scope that is not entered, or not for this configurable.

    Args:
      key: of a binding.
      other_scopes: scopes that may be entered, beside those of references.
    """
    used = self._used.get(key.selector, {})
    if not key.scope or key.is_macro or _any_within(used, key.scope):
      return
    referenced = {
      '/'.join(reference.scopes)
      for references in self._references.values()
      for reference in references
    }
    if used and _any_within(self._entered, key.scope):
      problem = f'it is not used in the scope {key.scope!r}'
    elif not _any_within(
      {*self._entered, *referenced, *other_scopes}, key.scope
    ):
      problem = f'nothing enters the scope {key.scope!r}'
    else:
      return
    scopes = sorted(used or self._entered - {''})
    names = _join(map(repr, scopes))
    if scopes == ['']:
      where = f'{key.name} is used outside of scopes'
    elif used:
      where = f'{key.name} is used in {names}'
    else:
      where = f'scopes in use are {names}' if scopes else 'no scope is in use'
    close = difflib.get_close_matches(key.scope, scopes, 1) or scopes
    hint = ''
    if used and len(close) == 1:
      hint = f' Did you mean {key._replace(scope=close[0])}?'
    raise UserError(
      f'{self.show(key)} has no effect: {problem}; {where}.{hint}'
    )

  def check_wins(self, key: Key, given: Collection[Key]) -> None:
    """Refuses a binding that the files replace wherever it could be used."""
    winners = self._winners(key)
    if key not in winners and set(winners) - set(given):
      raise UserError(
        f'{self.show(key)} has no effect: {self._outdone(key)}; bind '
        f'{"that" if len(winners) == 1 else "those"} instead.'
      )

  def _takers(self, key: Key) -> list[str]:
    """Returns the scopes in which a binding's parameter was supplied."""
    return [
      scope
      for scope, parameters in self._used.get(key.selector, {}).items()
      if not key.is_macro
      and _is_within(scope, key.scope)
      and key.parameter in parameters
    ]

  def _winners(self, key: Key) -> list[Key]:
    """Returns the bindings that decided a parameter, of the scopes within."""
    found = (self._winner(key, scope) for scope in self._takers(key))
    return list(dict.fromkeys(found))

  def _outdone(self, key: Key) -> str:
    winners = self._winners(key)
    verb = 'wins' if len(winners) == 1 else 'win'
    return f'{_join(map(str, winners))} {verb} over it'

  def _winner(self, key: Key, scope: str) -> Key:
    """Returns the binding that decides a parameter in a call within a scope."""
    parts = scope.split('/') if scope else []
    candidates = (
      key._replace(scope='/'.join(parts[:end]))
      for end in range(len(parts), -1, -1)
    )
    return next(k for k in candidates if k in self.bound)

  def why_idle(self, key: Key) -> str:
    """Says why a binding has no effect on this run; '' if it has one."""
    if key.is_macro:
      reasons = [
        self.why_idle(user)
        for user, references in self._references.items()
        if any(reference.config_key == key[:2] for reference in references)
      ]
      return reasons[0] if reasons and all(reasons) else ''
    takers = self._takers(key)
    if not takers:
      return f'nothing in this run uses {key}'
    takers = [scope for scope in takers if self._winner(key, scope) == key]
    if not takers:
      return self._outdone(key)
    values = [self._ignored.get(key._replace(scope=scope)) for scope in takers]
    return f'{values[0]} ignores {key}' if all(values) else ''


def macros(value: Any) -> list[str]:
  """Returns the macros that a value refers to."""
  return [
    '/'.join(reference.scopes)
    for reference in gin_config.iterate_references(value)
    if reference.configurable.selector == _MACRO
  ]


def _ignored_by(value: Any) -> Iterable[str]:
  """Returns the parameters beside it that an argument's value ignores.

  A class says so by an attribute `ignores`, as `SparseAlgorithm` does.
  """
  if isinstance(value, gin_config.ConfigurableReference):
    return getattr(value.configurable.wrapped, 'ignores', ())
  return ()


def _is_within(scope: str, outer: str) -> bool:
  """Whether what is bound in a scope applies in another: 'a' does in 'a/b'."""
  return not outer or f'{scope}/'.startswith(f'{outer}/')


def _any_within(scopes: Iterable[str], outer: str) -> bool:
  return any(_is_within(scope, outer) for scope in scopes)


def _join(words: Iterable[str]) -> str:
  *others, last = words
  return f'{", ".join(others)} and {last}' if others else last
