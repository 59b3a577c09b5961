"""Reads domains from annotations, without importing what these name."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any, Callable, Iterable, Sequence

from rigl_rl.config import domains
from rigl_rl.config.domains import SIMPLE, Anything, Domain


def read(
  annotation: ast.expr | None, look_up: Callable[[str], Domain | None]
) -> Domain:
  """Returns the domain that an annotation declares; `Anything` if unknown.

  Args:
    annotation: its syntax tree; None declares nothing.
    look_up: finds the domain of a dotted name that is not Python's own.
  """
  if annotation is None:
    return Anything(unread='')
  if isinstance(annotation, ast.Constant):
    if annotation.value is None:
      return SIMPLE['None']
    if isinstance(annotation.value, str):
      return read(ast.parse(annotation.value, mode='eval').body, look_up)
  if isinstance(annotation, (ast.Name, ast.Attribute)):
    dotted = ast.unparse(annotation)
    found = SIMPLE.get(dotted.rpartition('.')[2]) or look_up(dotted)
    return found or Anything(unread=dotted)
  if isinstance(annotation, ast.BinOp):
    sides = annotation.left, annotation.right
    return _join(read(side, look_up) for side in sides)
  if isinstance(annotation, ast.Subscript):
    return _read_subscript(annotation, look_up)
  return Anything(unread=ast.unparse(annotation))


def _read_subscript(annotation: ast.Subscript, look_up) -> Domain:
  head = ast.unparse(annotation.value).rpartition('.')[2]
  inner = annotation.slice
  parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
  if head == 'Literal':
    values = [ast.literal_eval(part) for part in parts]
    return _join(
      domains.Options(kind, tuple(v for v in values if type(v) is kind))
      for kind in dict.fromkeys(map(type, values))
    )
  if head == 'Callable':
    given = None
    if isinstance(parts[0], ast.List):
      given = tuple(read(part, look_up) for part in parts[0].elts)
    return domains.Function(read(parts[-1], look_up), given)
  if head == 'Annotated':
    return _narrow(read(parts[0], look_up), parts[1:])
  if head == 'Optional':
    return _join([read(parts[0], look_up), SIMPLE['None']])
  if head == 'Union':
    return _join(read(part, look_up) for part in parts)
  outer = SIMPLE.get(head)
  if isinstance(outer, domains.Items):
    if head in ('tuple', 'Tuple') and ast.unparse(parts[-1]) != '...':
      fixed = tuple(read(part, look_up) for part in parts)
      return domains.Items(_join(fixed), fixed=fixed)
    return domains.Items(read(parts[0], look_up))
  if isinstance(outer, domains.Table):
    keys, content = (read(part, look_up) for part in parts)
    return domains.Table(keys, content)
  return Anything(unread=ast.unparse(annotation))


def _narrow(domain: Any, metadata: Sequence[ast.expr]) -> Domain:
  """Applies what `Annotated` adds to a type."""
  for item in metadata:
    if not isinstance(item, ast.Call):
      continue
    name = ast.unparse(item.func).rpartition('.')[2]
    arguments = [ast.literal_eval(argument) for argument in item.args]
    if name == 'Range' and isinstance(domain, domains.Number):
      domain = dataclasses.replace(domain, range=domains.Range(*arguments))
    elif name == 'Length' and hasattr(domain, 'least'):
      domain = dataclasses.replace(domain, least=arguments[0])
  return domain


def _join(parts: Iterable[Domain]) -> Domain:
  members: list[Domain] = []
  for domain in parts:
    inner = domain.members if isinstance(domain, domains.Either) else (domain,)
    members += [member for member in inner if member not in members]
  return members[0] if len(members) == 1 else domains.Either(tuple(members))
