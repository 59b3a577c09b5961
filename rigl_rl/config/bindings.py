"""Reads what gin would give a configurable, without calling it."""

from __future__ import annotations

import copy
import inspect
from typing import Any, Callable, Collection

import gin

from rigl_rl.compat import gin as gin_compat
from rigl_rl.errors import UserError


def read(
  configurable: Callable[..., Any], names: Collection[str] | None = None
) -> dict[str, Any]:
  """Returns a configurable's arguments as gin binds them, or their defaults.

  Bindings are those of the current gin scope, references and macros resolved.
  What is read is part of gin's operative config, as if it had been called.

  Args:
    configurable: what gin knows.
    names: the arguments wanted, since reading a value may compute it; None for
      all that are bound or have a default.

  Raises:
    UserError: a wanted argument is required and not bound.
  """
  parameters = inspect.signature(configurable).parameters
  values = {
    name: parameter.default
    for name, parameter in parameters.items()
    if parameter.default is not parameter.empty
  }
  values.update(gin.get_bindings(configurable, resolve_references=False))
  if names is not None:
    values = {name: values[name] for name in names if name in values}
  for name, value in values.items():
    if value is gin.REQUIRED:
      raise UserError(
        f'{configurable.__name__}.{name} is not bound, but must be: the gin '
        'files have to describe a whole run.'
      )
  gin_compat.note_as_used(configurable, values)
  # A copy is how gin resolves references.
  return copy.deepcopy(values)
