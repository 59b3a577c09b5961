"""Compares two gin configs, binding by binding."""

from __future__ import annotations

from typing import Any

from rigl_rl.config.gin_text import Config, same

# In characters; messages cut longer values.
_MAX_VALUE_LENGTH = 60
_NOT_SET = object()


def differing_bindings(here: Config, existing: Config) -> list[str]:
  """Compares the config of this start with that of the run in the directory.

  Comments, order, formatting, blocks and imports play no part: a module that
  changes what a run does is seen in the bindings that name it.

  Returns:
    One text per differing binding, such as 'RigL.drop_fraction is 0.3 here,
    0.5 in the existing run', ordered by name; macros, which sweeps vary, first.
  """
  ours, theirs = here.bindings, existing.bindings
  keys = sorted(
    {**ours, **theirs},
    key=lambda key: (bool(key.parameter), key.scope, str(key)),
  )
  differing = []
  for key in keys:
    one, other = ours.get(key, _NOT_SET), theirs.get(key, _NOT_SET)
    if not same(one, other):
      differing.append(
        f'{key} is {_shown(one)} here, {_shown(other)} in the existing run'
      )
  return differing


def _shown(value: Any) -> str:
  text = 'not set' if value is _NOT_SET else repr(value)
  if len(text) > _MAX_VALUE_LENGTH:
    text = text[: _MAX_VALUE_LENGTH - 1] + '…'
  return text
