"""What values a parameter may take, and names for what many may.

An annotation is the only place where a parameter's type and range are written:

  gamma: Probability = 0.99
  interval: Annotated[int, Range('[1, inf)')] = 1000
  actor: Callable[..., Actor] = GaussianActor

`read` makes a `Domain` of it, without importing what it names.
"""

from __future__ import annotations

import ast
import collections.abc
import dataclasses
import numbers
import re
from typing import Annotated, Any, Callable, Iterable, Sequence

from rigl_rl import wording
from rigl_rl.errors import UserError

# The largest int64.
_LARGEST_WHOLE = 2**63 - 1
# The largest float32; networks compute in float32.
_LARGEST = 3.4028234e38


@dataclasses.dataclass(frozen=True)
class Range:
  """Bounds of a number, as mathematics writes them: `Range('[0, 1)')`."""

  text: str

  def __post_init__(self):
    if not re.fullmatch(r'[\[(][^,]+, [^,]+[\])]', self.text):
      raise ValueError(f'{self.text!r} is no range such as "[0, 1)"')

  @property
  def low(self) -> float:
    return float(self.text[1:-1].split(', ')[0])

  @property
  def high(self) -> float:
    return float(self.text[1:-1].split(', ')[1])

  def __contains__(self, value: float) -> bool:
    excluded = {'(': self.low, ')': self.high}
    is_end = any(
      value == end for mark, end in excluded.items() if mark in self.text
    )
    return self.low <= value <= self.high and not is_end

  def __str__(self) -> str:
    low, high = self.text[1:-1].split(', ')
    if low == '-inf':
      word = 'below' if ')' in self.text else 'of at most'
      return '' if high == 'inf' else f' {word} {high}'
    word = 'above' if '(' in self.text else 'of at least'
    return f' {word} {low}' if high == 'inf' else f' in {self.text}'


@dataclasses.dataclass(frozen=True)
class Length:
  """The fewest items that a sequence may have."""

  least: int


# Domains that many parameters share.
Probability = Annotated[float, Range('[0, 1]')]
Sparsity = Annotated[float, Range('[0, 1)')]
Positive = Annotated[float, Range('(0, inf)')]
NonNegative = Annotated[float, Range('[0, inf)')]
# A number of steps or examples.
Count = Annotated[int, Range('[1, inf)')]
CountOrZero = Annotated[int, Range('[0, inf)')]
BatchSize = Annotated[int, Range('[1, 1000000]')]
# Capacity of a replay buffer, in transitions.
Capacity = Annotated[int, Range('[1, 1000000000]')]
# Episodes of an evaluation, each in its own environment at the same time.
Episodes = Annotated[int, Range('[1, 10000]')]
Units = Annotated[int, Range('[1, 100000]')]
# A factor on units.
Width = Annotated[float, Range('(0, 100]')]
HiddenUnits = Annotated[Sequence[Units], Length(1)]
Seed = Annotated[int, Range('[0, inf)')]


class Domain:
  """The values that a parameter may take; `str` says which they are."""

  def holds(self, value: Any) -> bool:
    """Whether a value is in the domain."""
    is_promise = isinstance(value, Promise)
    return value.domain.meets(self) if is_promise else self._holds(value)

  def _holds(self, value: Any) -> bool:
    raise NotImplementedError

  def meets(self, other: Domain) -> bool:
    """Whether a value of this domain may also be in the other."""
    if isinstance(other, (Anything, Either)):
      return other.meets(self)
    return type(self) is type(other)


@dataclasses.dataclass(frozen=True)
class Promise:
  """A value of which only the domain is known, and how it is written."""

  domain: Domain
  text: str

  def __repr__(self) -> str:
    return self.text


@dataclasses.dataclass(frozen=True)
class Anything(Domain):
  """All values; `unread` is an annotation that names something unknown."""

  unread: str | None = None

  def _holds(self, value):
    return True

  def meets(self, other):
    return True

  def __str__(self):
    return 'any value'


@dataclasses.dataclass(frozen=True)
class Number(Domain):
  """Finite numbers, but no bools."""

  whole: bool
  range: Range = Range('(-inf, inf)')

  def _holds(self, value):
    kind: Any = numbers.Integral if self.whole else numbers.Real
    if not isinstance(value, kind) or isinstance(value, bool):
      return False
    return abs(value) <= largest(value) and value in self.range

  def __str__(self):
    return f'{"a whole number" if self.whole else "a number"}{self.range}'


def largest(value: numbers.Real) -> float:
  """Returns the magnitude up to which numbers of a type are accepted."""
  return _LARGEST_WHOLE if isinstance(value, numbers.Integral) else _LARGEST


COUNT = Number(whole=True, range=Range('[1, inf)'))
COUNT_OR_ZERO = Number(whole=True, range=Range('[0, inf)'))
SPARSITY = Number(whole=False, range=Range('[0, 1)'))


def check(binding: str, value: Any, domain: Domain) -> None:
  """Raises UserError unless what a user bound is in a domain."""
  if not domain.holds(value):
    raise UserError(f'{binding} is {value!r}, but must be {domain}.')


@dataclasses.dataclass(frozen=True)
class Options(Domain):
  """Some literals, or all of one type."""

  type: type
  values: tuple[Any, ...] = ()

  def _holds(self, value):
    return isinstance(value, self.type) and value in (self.values or (value,))

  def meets(self, other):
    if isinstance(other, Options):
      return self.type is other.type
    return super().meets(other)

  def __str__(self):
    if self.values:
      return wording.join(map(repr, self.values), 'or')
    kinds = {bool: 'True or False', str: 'a text in quotes'}
    return kinds.get(self.type, 'None')


@dataclasses.dataclass(frozen=True)
class Items(Domain):
  """Sequences of at least so many items, or of a fixed number of them."""

  item: Domain
  least: int = 0
  fixed: tuple[Domain, ...] | None = None

  def _holds(self, value):
    is_array = hasattr(value, 'tolist')
    if not isinstance(value, collections.abc.Sequence) and not is_array:
      return False
    if isinstance(value, (str, bytes)):
      return False
    if self.fixed is not None:
      return len(value) == len(self.fixed) and all(
        domain.holds(item) for domain, item in zip(self.fixed, value)
      )
    return len(value) >= self.least and all(map(self.item.holds, value))

  def __str__(self):
    if self.fixed is not None:
      return f'a tuple of {", ".join(map(str, self.fixed))}'
    some = f'at least {self.least} item{"s" * (self.least > 1)}'
    text = f'a tuple of {some}' if self.least else 'a tuple'
    return f'{text}, each {self.item}'


@dataclasses.dataclass(frozen=True)
class Table(Domain):
  """Mappings."""

  keys: Domain
  values: Domain

  def _holds(self, value):
    return (
      isinstance(value, collections.abc.Mapping)
      and all(map(self.keys.holds, value.keys()))
      and all(map(self.values.holds, value.values()))
    )

  def __str__(self):
    return f'a dict, each key {self.keys}, each value {self.values}'


@dataclasses.dataclass(frozen=True)
class Function(Domain):
  """Functions and classes: in gin, references that are not called."""

  makes: Domain = Anything()  # What a call returns.
  given: tuple[Domain, ...] | None = None  # Arguments of a call, if declared.
  # Each argument that a known function accepts, and whether it is required.
  takes: tuple[tuple[Domain, bool], ...] | None = None

  def _holds(self, value):
    return callable(value)

  def meets(self, other):
    if not isinstance(other, Function):
      return super().meets(other)
    if not self.makes.meets(other.makes):
      return False
    given = other.given
    if self.takes is None or given is None:
      return True
    rest = self.takes[len(given) :]
    return (
      len(given) <= len(self.takes)
      and not any(is_required for _, is_required in rest)
      and all(one.meets(taken) for one, (taken, _) in zip(given, self.takes))
    )

  def __str__(self):
    if isinstance(self.makes, Anything) or self.makes == Options(type(None)):
      return 'a function'
    return f'a function that makes {self.makes}'


@dataclasses.dataclass(frozen=True)
class Instance(Domain):
  """Objects of a class."""

  name: str  # Without modules.
  ancestors: frozenset[str]  # The class, and those of its bases that are known.
  complete: bool = True  # Whether it has no other base of this package.

  def _holds(self, value):
    if value is None or isinstance(value, _LITERALS) or isinstance(value, type):
      return False
    bases = type(value).__mro__
    if not bases[0].__module__.startswith('rigl_rl.'):
      return True
    return self.name in {base.__name__ for base in bases}

  def meets(self, other):
    if not isinstance(other, Instance):
      # A class may derive from `dict`, say.
      bases = [SIMPLE[name] for name in self.ancestors if name in SIMPLE]
      return super().meets(other) or any(base.meets(other) for base in bases)
    return (
      self.name in other.ancestors
      or other.name in self.ancestors
      or not (self.complete and other.complete)
    )

  def __str__(self):
    article = 'an' if self.name[0] in 'AEIOU' else 'a'
    return f'{article} {self.name}'


_LITERALS = (numbers.Number, str, bytes, list, tuple, set, dict)


@dataclasses.dataclass(frozen=True)
class Either(Domain):
  """The values of several domains together."""

  members: tuple[Domain, ...]

  def _holds(self, value):
    return any(member.holds(value) for member in self.members)

  def meets(self, other):
    return any(member.meets(other) for member in self.members)

  def __str__(self):
    return wording.join(self.members, 'or')


# Domains of Python's own types, by name.
SIMPLE = {
  'float': Number(whole=False),
  'int': Number(whole=True),
  'bool': Options(bool),
  'str': Options(str),
  'None': Options(type(None)),
  'Any': Anything(),
  'object': Anything(),
  'Callable': Function(),
  **dict.fromkeys('Sequence list List tuple Tuple'.split(), Items(Anything())),
  **dict.fromkeys('Mapping dict Dict'.split(), Table(Anything(), Anything())),
}


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
      Options(kind, tuple(v for v in values if type(v) is kind))
      for kind in dict.fromkeys(map(type, values))
    )
  if head == 'Callable':
    given = None
    if isinstance(parts[0], ast.List):
      given = tuple(read(part, look_up) for part in parts[0].elts)
    return Function(read(parts[-1], look_up), given)
  if head == 'Annotated':
    return _narrow(read(parts[0], look_up), parts[1:])
  if head == 'Optional':
    return _join([read(parts[0], look_up), SIMPLE['None']])
  if head == 'Union':
    return _join(read(part, look_up) for part in parts)
  outer = SIMPLE.get(head)
  if isinstance(outer, Items):
    if head in ('tuple', 'Tuple') and ast.unparse(parts[-1]) != '...':
      fixed = tuple(read(part, look_up) for part in parts)
      return Items(_join(fixed), fixed=fixed)
    return Items(read(parts[0], look_up))
  if isinstance(outer, Table):
    keys, content = (read(part, look_up) for part in parts)
    return Table(keys, content)
  return Anything(unread=ast.unparse(annotation))


def _narrow(domain: Any, metadata: Sequence[ast.expr]) -> Domain:
  """Applies what `Annotated` adds to a type."""
  for item in metadata:
    if not isinstance(item, ast.Call):
      continue
    name = ast.unparse(item.func).rpartition('.')[2]
    arguments = [ast.literal_eval(argument) for argument in item.args]
    if name == 'Range' and isinstance(domain, Number):
      domain = dataclasses.replace(domain, range=Range(*arguments))
    elif name == 'Length' and isinstance(domain, Items):
      domain = dataclasses.replace(domain, least=arguments[0])
  return domain


def _join(parts: Iterable[Domain]) -> Domain:
  members: list[Domain] = []
  for domain in parts:
    inner = domain.members if isinstance(domain, Either) else (domain,)
    members += [member for member in inner if member not in members]
  return members[0] if len(members) == 1 else Either(tuple(members))
