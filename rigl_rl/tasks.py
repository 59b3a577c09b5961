"""Names of tasks, and values by task or by algorithm, for gin files."""

from __future__ import annotations

import copy
import math
import re
from typing import Any, Mapping

import gin

from rigl_rl.errors import UserError

# The macros that name a run's task.
TASK_MACROS = ('ENV_NAME', 'GAME')

# The fifteen games of Graesser et al. (2022): the three of their figures 2 and
# 6 first.
GRAESSER22_GAMES = (
  *('MsPacman', 'Pong', 'Qbert', 'Assault', 'Asterix', 'BeamRider', 'Boxing'),
  *('Breakout', 'CrazyClimber', 'DemonAttack', 'Enduro', 'FishingDerby'),
  *('SpaceInvaders', 'Tutankham', 'VideoPinball'),
)

# What an episode's return can be, of tasks that bound it.
_RETURNS = {
  'CartPole-v0': (0.0, 200.0),
  'CartPole-v1': (0.0, 500.0),
  'Acrobot-v1': (-500.0, 0.0),
  'MountainCar-v0': (-200.0, 0.0),
  'Pong': (-21.0, 21.0),
  'Boxing': (-100.0, 100.0),
}


def return_range(task: Any) -> tuple[float, float]:
  """Returns the least and greatest return of an episode, maybe infinite."""
  return _RETURNS.get(registered_id(task), (-math.inf, math.inf))


def registered_id(env_name: Any) -> str:
  """Returns a gymnasium id without its module: 'my_module:My-v0' → 'My-v0'."""
  return str(env_name).rpartition(':')[2]


def quoted(env_name: Any) -> str:
  """Returns a task as a user binds it, a name in quotes that shells keep."""
  return f'"{env_name}"' if isinstance(env_name, str) else repr(env_name)


def family(env_name: Any) -> str:
  """Returns a task's name without module and version: 'Ant-v4' → 'Ant'."""
  return re.sub(r'-v\d+$', '', registered_id(env_name))


class NoValueError(UserError):
  """There is no value for a task."""


@gin.configurable
def by_task(
  task: str = gin.REQUIRED,
  values: Mapping[str, Any] = gin.REQUIRED,
  otherwise: Any = None,
) -> Any:
  """Returns the value that a paper has for a task.

  Args:
    task: name of the task, such as 'Ant-v4'; its version and the module before
      a colon do not count.
    values: by task, without versions.
    otherwise: for tasks that `values` does not name; None for an error.

  Raises:
    NoValueError: if there is no value for the task.
  """
  # Several may be bound, each in a scope of its own.
  name = '/'.join([*gin.current_scope(), 'by_task'])
  return value_of(task, values, otherwise, name)


def value_of(
  task: str, values: Mapping[str, Any], otherwise: Any = None, name: str = ''
) -> Any:
  """Returns what `by_task` does; `name` is that of its binding, for errors."""
  value = values.get(family(task), otherwise)
  if value is None:
    example = next(iter(values.values()), None)
    raise NoValueError(
      f'ENV_NAME={quoted(task)} ({name}.task) has no value in {name}.values, '
      f'which has {", ".join(values)}. Bind {name}.otherwise to a value such '
      f'as {example!r}.'
    )
  return value


@gin.configurable
def by_algorithm(
  values: Mapping[str, Any] = gin.REQUIRED, otherwise: Any = gin.REQUIRED
) -> Any:
  """Returns the value for the sparse algorithm that gin binds.

  So one gin file can hold what differs between methods, and follow the file of
  any method.

  Args:
    values: by the name of the algorithm's class, such as 'Static'.
    otherwise: for all other algorithms.
  """
  bound = gin.get_bindings('sparsify', resolve_references=False)
  # gin resolves references when it copies a value.
  algorithm = copy.deepcopy(bound.get('algorithm'))
  return values.get(type(algorithm).__name__, otherwise)
