"""Finds bindings without effect, once all of a run is built.

gin applies a binding where its configurable is called in its scope, and says
nothing of one that it never applies. Its operative config records what was
called in which scope, so that the check holds for a user's own configurables
and scopes too.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from typing import Any, Collection, Iterable, Sequence

import gin

from rigl_rl import wording
from rigl_rl.compat import gin as gin_compat
from rigl_rl.config import gin_text
from rigl_rl.config.gin_text import Config, Key, Reference
from rigl_rl.errors import UserError


@dataclasses.dataclass(frozen=True)
class Given:
  """The bindings of a run, and which of them the user has typed."""

  config: Config
  gin_bindings: Sequence[str] = ()  # Those of the command line.
  is_saved: bool = False  # Whether the others were checked when the run began.

  @functools.cached_property
  def _used(self) -> dict[str, dict[str, set[str]]]:
    """By configurable and scope, the parameters that gin has supplied."""
    found: dict[str, dict[str, set[str]]] = {}
    for (scope, selector), parameters in gin_compat.used().items():
      found.setdefault(gin_text.Selector(selector), {})[scope] = parameters
    return found

  @functools.cached_property
  def _entered(self) -> set[str]:
    """The scopes in which anything was called."""
    return {
      scope
      for selector, scopes in self._used.items()
      if not selector.startswith('gin.')
      for scope in scopes
    }

  def check(self) -> list[str]:
    """Checks the bindings of a run that has just been built.

    Returns:
      One note per binding of the command line that has no effect on this run,
      but may have one on other runs of a sweep.

    Raises:
      UserError: on a binding that cannot have an effect: in a scope that
        nothing enters, or in which its configurable is not used; of the command
        line also where bindings of the files always win over it.
    """
    given = dict.fromkeys(map(Key.parse, self.gin_bindings))
    for key in () if self.is_saved else self.config.bindings:
      if key not in given:
        # A file may bind parameters of a reference that another file replaces.
        self._check_scope(key, replaced=True)
    for key in given:
      self._check_scope(key, replaced=False)
      winners = self._winners(key)
      if key not in winners and set(winners) - set(given):
        raise UserError(
          f'{self._show(key)} has no effect: {_outdone(winners)}; bind '
          f'{"that" if len(winners) == 1 else "those"} instead.'
        )
    reasons = {key: self._why_idle(key) for key in given}
    return [
      f'{self._show(key)} has no effect: {reason}.'
      for key, reason in reasons.items()
      if reason
    ]

  def _show(self, key: Key) -> str:
    """Writes a binding as it can be given to --gin_bindings."""
    return f'{key} = {self.config.bindings[key]!r}'

  def _check_scope(self, key: Key, replaced: bool) -> None:
    """Refuses a scope that is not entered, or not for its configurable.

    A reference may enter its scope later; `replaced` is whether one that
    another binding replaces counts.
    """
    used = self._used.get(key.selector, {})
    if not key.scope or _any_within(used, key.scope):
      return
    later = {
      getattr(item, 'scope', '') for item in self.config.references(replaced)
    }
    if used and _any_within(self._entered, key.scope):
      problem = f'it is not used in the scope {key.scope!r}'
    elif not _any_within(self._entered | later, key.scope):
      problem = f'nothing enters the scope {key.scope!r}'
    else:
      return
    scopes = sorted(used or self._entered - {''})
    names = wording.join(map(repr, scopes), 'and')
    if used:
      place = f'in {names}' if scopes != [''] else 'outside of scopes'
      where = f'{key.selector} is used {place}'
    else:
      where = f'scopes in use are {names}' if scopes else 'no scope is in use'
    close = difflib.get_close_matches(key.scope, scopes, 1) or scopes
    hint = ''
    if used and len(close) == 1:
      hint = f' Did you mean {key._replace(scope=close[0])}?'
    raise UserError(
      f'{self._show(key)} has no effect: {problem}; {where}.{hint}'
    )

  def _winners(self, key: Key) -> dict[Key, list[str]]:
    """Returns what decides a parameter, and where, of the scopes within its."""
    found: dict[Key, list[str]] = {}
    for scope, parameters in self._used.get(key.selector, {}).items():
      if key.parameter in parameters and _is_within(scope, key.scope):
        around = (
          key._replace(scope=s) for s in gin_text.enclosing(scope)[::-1]
        )
        winner = next(k for k in around if k in self.config.bindings)
        found.setdefault(winner, []).append(scope)
    return found

  def _why_idle(self, key: Key) -> str:
    """Says why a binding has no effect on this run; '' if it has one."""
    if not key.parameter:
      reasons = [
        self._why_idle(user)
        for user, value in self.config.bindings.items()
        if gin_text.Macro(key.selector) in gin_text.references(value)
      ]
      return reasons[0] if reasons and all(reasons) else ''
    winners = self._winners(key)
    if not winners:
      return f'nothing in this run uses {key}'
    if key not in winners:
      return _outdone(winners)
    ignoring = [self._ignoring(key, scope) for scope in winners[key]]
    return f'{ignoring[0]} ignores {key}' if all(ignoring) else ''

  def _ignoring(self, key: Key, scope: str) -> Any:
    """Returns the argument beside it whose `ignores` names it, if one does."""
    arguments = self.config.arguments(key.selector, scope)
    for name in self._used[key.selector][scope] & arguments.keys():
      value = arguments[name]
      if isinstance(value, Reference):
        made = gin.get_configurable(str(value.selector))
        if key.parameter in getattr(made, 'ignores', ()):
          return value
    return None


def _outdone(winners: Collection[Key]) -> str:
  verb = 'wins' if len(winners) == 1 else 'win'
  return f'{wording.join(winners, "and")} {verb} over it'


def _is_within(scope: str, outer: str) -> bool:
  """Whether what is bound in a scope applies in another: 'a' does in 'a/b'."""
  return not outer or f'{scope}/'.startswith(f'{outer}/')


def _any_within(scopes: Iterable[str], outer: str) -> bool:
  return any(_is_within(scope, outer) for scope in scopes)
