"""The parameters that gin can bind, read from source without running it.

TensorFlow takes seconds to load, and a mistake in a gin file should be found
before. So signatures come from syntax trees: those of this package, and of the
modules that a gin file imports.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import importlib.machinery
import inspect
import itertools
import pathlib
import re
from typing import Any, Callable, Iterator, Mapping

from rigl_rl import wording
from rigl_rl.config import domains, gin_text
from rigl_rl.errors import UserError

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
# Other packages with configurables.
_OTHERS = ('dopamine', 'gin', 'tf_agents')
_Function = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclasses.dataclass(frozen=True)
class Parameter:
  """The values of a parameter, and the source of its default, if any."""

  domain: domains.Domain
  default: str | None

  def refusal(self, source: str, value: Any) -> str:
    """Says that the value of a binding or macro is outside the domain."""
    text, hint = f'{source} is {value!r}', ''
    is_number = isinstance(value, (int, float))
    if is_number and abs(value) > domains.largest(value):
      hint = f' The largest number is {domains.largest(value):g}.'
    elif is_number and 10 <= value <= 100:
      share = value / 100  # As a percentage.
      if not isinstance(value, bool) and self.domain.holds(share):
        hint = f' Did you mean {share:g}?'
    elif isinstance(value, str) and isinstance(self.domain, domains.Function):
      hint = f' Did you mean @{value}?' if value.isidentifier() else ''
    elif isinstance(value, domains.Promise):
      promised = value.domain
      if not isinstance(promised, domains.Function):
        text += f', which is {promised}'
      elif dataclasses.replace(promised, takes=None).meets(self.domain):
        text += ', which takes other arguments'
      elif promised.makes.meets(self.domain):
        hint = f' Did you mean {value!r}()?'
      elif not isinstance(promised.makes, domains.Anything):
        text += f', which makes {promised.makes}'
    default = (self.default or '').rpartition('.')[2]
    if isinstance(self.domain, domains.Function) and default.islower():
      hint = hint or f' The default is @{default}.'
    return f'{text}, but must be {self.domain}.{hint}'


@dataclasses.dataclass(frozen=True)
class Configurable:
  """A function or class that gin can bind parameters of."""

  module: str
  name: str  # By which gin knows it, without modules.
  parameters: Mapping[str, Parameter]  # Those that can be bound.
  runtime: frozenset[str]  # Names of those that only callers may give.
  takes_more: bool  # Whether it may have parameters that are not known.
  function: domains.Function  # The value of a reference to it.

  def parameter(self, name: str, source: str) -> Parameter | None:
    """Returns what `source` binds; None where it may exist, but is undeclared.

    Raises:
      UserError: it cannot be bound, or does not exist.
    """
    if name in self.runtime:
      raise UserError(
        f'{source} cannot be bound: the program gives {name} when it calls '
        f'{self.name}.'
      )
    if name not in self.parameters and not self.takes_more:
      known = ', '.join(self.parameters) or 'none'
      raise UserError(
        f'{source} is bound, but {self.name} has no parameter {name}: it has '
        f'{known}.{wording.did_you_mean(name, self.parameters)}'
      )
    return self.parameters.get(name)


@dataclasses.dataclass(eq=False)
class _Module:
  name: str
  text: str  # Its source.

  @property
  def is_ours(self) -> bool:
    """Whether it is of this package, all of whose bases and types are known."""
    return self.name.partition('.')[0] == 'rigl_rl'

  @functools.cached_property
  def nodes(self) -> dict[str, ast.stmt]:
    """Definitions and assignments at the top level, by name."""
    found: dict[str, ast.stmt] = {}
    try:
      body = ast.parse(self.text).body
    except (SyntaxError, ValueError):  # Importing it will say so.
      body = []
    for node in body:
      if isinstance(node, (*_Function, ast.ClassDef)):
        found[node.name] = node
      elif isinstance(node, ast.Assign):
        found.update((ast.unparse(target), node) for target in node.targets)
    return found


class Library:
  """What the modules of this package declare, and others that are added."""

  def __init__(self):
    self._modules: dict[str, _Module] = {}
    # Modules by the names of classes and type aliases at their top level.
    self._homes: dict[str, list[_Module]] = {}
    self._configurables: dict[str, list[Configurable]] = {}
    for path in _PACKAGE.rglob('*.py'):
      parts = path.relative_to(_PACKAGE.parent).with_suffix('').parts
      self._read('.'.join(parts), path)
    for module in list(self._modules.values()):
      self._declare(module)

  def add(self, name: str) -> None:
    """Reads a module, if its source is on the path; it is not imported."""
    if name in self._modules:
      return
    with contextlib.suppress(ImportError, OSError, ValueError):
      spec = _find_spec(name)
      path = spec and spec.origin
      if path and path.endswith('.py'):
        self._declare(self._read(name, pathlib.Path(path)))

  def find(self, selector: str) -> list[Configurable]:
    """Returns the configurables of a name, with or without their modules."""
    return [
      found
      for found in self._configurables.get(selector.rpartition('.')[2], ())
      if f'.{found.module}.{found.name}'.endswith(f'.{selector}')
    ]

  def all(self) -> Iterator[Configurable]:
    """Returns all configurables that are known."""
    return itertools.chain.from_iterable(self._configurables.values())

  def may_exist(self, name: str) -> bool:
    """Whether some source that uses gin mentions a name without modules."""
    if name in self._configurables:
      return True
    mention = re.compile(rf'\b{name}\b')
    specs = filter(None, map(_find_spec, _OTHERS))
    return any(
      'configurable' in text and mention.search(text)
      for spec in specs
      for directory in spec.submodule_search_locations or ()
      for path in pathlib.Path(directory).rglob('*.py')
      for text in [path.read_text(encoding='utf-8', errors='replace')]
    )

  def promise(self, item: Any) -> Any:
    """Returns a `Promise` for a reference or constant; another item itself."""
    if isinstance(item, gin_text.Macro):
      return domains.Promise(domains.Anything(), str(item))
    if not isinstance(item, gin_text.Reference):
      return item
    found = self.find(item.selector)
    function = found[0].function if len(found) == 1 else domains.Function()
    made = function.makes if item.called else function
    return domains.Promise(made, str(item))

  def _read(self, name: str, path: pathlib.Path) -> _Module:
    text = path.read_text(encoding='utf-8')
    module = self._modules[name] = _Module(name, text)
    for match in re.findall(
      r'^class (\w+)|^([A-Z]\w*[a-z]\w*) = ', text, re.MULTILINE
    ):
      self._homes.setdefault(''.join(match), []).append(module)
    return module

  def _declare(self, module: _Module) -> None:
    if 'configurable' not in module.text:
      return
    for node in module.nodes.values():
      for decorator in getattr(node, 'decorator_list', ()):
        found = self._configurable(node, decorator, module)
        if found is not None:
          self._configurables.setdefault(found.name, []).append(found)

  def _configurable(
    self, node: Any, decorator: ast.expr, module: _Module
  ) -> Configurable | None:
    """Returns what a decorator makes of a definition, if it is gin's."""
    options: dict[str, ast.expr] = {}
    if isinstance(decorator, ast.Call):
      options = dict(zip(('name_or_fn', 'module'), decorator.args))
      options.update((k.arg, k.value) for k in decorator.keywords if k.arg)
      decorator = decorator.func
    if ast.unparse(decorator).rpartition('.')[2] != 'configurable':
      return None
    try:
      values = {name: ast.literal_eval(v) for name, v in options.items()}
    except ValueError:  # Computed.
      return None
    is_class = isinstance(node, ast.ClassDef)
    made: domains.Domain = (
      self._instance(node, module)
      if is_class
      else self.read(node.returns, module)
    )
    constructor, home = self._constructor(node, module)
    parameters, takes, takes_more = {}, None, home is None
    if constructor is not None:
      parameters = dict(self._parameters(constructor, home, is_class))
      takes_more |= constructor.args.kwarg is not None
    hidden = set(values.get('denylist') or ())
    if values.get('allowlist'):
      hidden |= parameters.keys() - set(values['allowlist'])
    *modules, name = (values.get('name_or_fn') or node.name).split('.')
    if constructor is not None and constructor.args.vararg is None:
      # A call need not give what gin can bind; users' annotations may be loose.
      takes = tuple(
        (
          parameter.domain if module.is_ours else domains.Anything(),
          parameter.default is None and name in hidden,
        )
        for name, parameter in parameters.items()
      )
    return Configurable(
      module=values.get('module') or '.'.join([module.name, *modules]),
      name=name,
      parameters={k: v for k, v in parameters.items() if k not in hidden},
      runtime=frozenset(hidden),
      takes_more=takes_more,
      function=domains.Function(made, takes=takes),
    )

  def _constructor(self, node, module):
    """Returns what is called, None if nothing; and its module, if known."""
    if not isinstance(node, ast.ClassDef):
      return node, module
    for item in node.body:
      if isinstance(item, _Function) and item.name in ('__init__', '__new__'):
        return item, module
    for base in node.bases:
      found = self._definition(ast.unparse(base), module)
      if found is None:
        return None, None
      constructor, home = self._constructor(*found)
      if constructor is not None or home is None:
        return constructor, home
    # A decorator such as `dataclass` may add one.
    return None, module if len(node.decorator_list) <= 1 else None

  def _parameters(self, function, module: _Module, is_method: bool):
    """Yields the name and the declaration of each parameter."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    missing = [None] * (len(positional) - len(given.defaults))
    defaults = [*missing, *given.defaults, *given.kw_defaults]
    every = list(zip([*positional, *given.kwonlyargs], defaults))
    for argument, default in every[is_method:]:
      domain = self.read(argument.annotation, module)
      if not module.is_ours and isinstance(default, ast.Constant):
        # `size: int = None` is common, and so is a default of another type.
        if not domain.holds(default.value):
          domain = domains.Anything()
      source = None if default is None else ast.unparse(default)
      yield argument.arg, Parameter(domain, source)

  def _definition(self, dotted: str, module: _Module):
    """Returns the class or alias that a module means, and its home, or None."""
    # Names are compared without modules; a module's own comes first.
    last = dotted.rpartition('.')[2]
    homes = self._homes.get(last, [])
    for home in [module] if module in homes else homes:
      node = home.nodes.get(last)
      if isinstance(node, (ast.ClassDef, ast.Assign)):
        return node, home
    return None

  def read(
    self, annotation: ast.expr | None, module: _Module
  ) -> domains.Domain:
    """Returns the domain of an annotation in a module."""

    def look_up(dotted: str) -> domains.Domain | None:
      found = self._definition(dotted, module)
      if found is not None:
        node, home = found
        is_class = isinstance(node, ast.ClassDef)
        read = self._instance if is_class else self.read
        return read(node if is_class else node.value, home)
      # A class of TensorFlow, say; every class derived from it here is known.
      last = dotted.rpartition('.')[2]
      return (
        domains.Instance(last, frozenset([last])) if module.is_ours else None
      )

    return domains.read(annotation, look_up)

  def _instance(self, node: ast.ClassDef, module: _Module) -> domains.Instance:
    ancestors = {node.name}
    is_complete = module.is_ours
    for base in node.bases:
      dotted = ast.unparse(base)
      ancestors.add(dotted.rpartition('.')[2])
      found = self._definition(dotted, module)
      if found is not None and isinstance(found[0], ast.ClassDef):
        inner = self._instance(*found)
        ancestors |= inner.ancestors
        is_complete &= inner.complete
    return domains.Instance(node.name, frozenset(ancestors), is_complete)


def _find_spec(name: str) -> importlib.machinery.ModuleSpec | None:
  """Finds a module without importing the packages that it is in."""
  parent = name.rpartition('.')[0]
  if not parent:
    return importlib.machinery.PathFinder.find_spec(name)
  path = getattr(_find_spec(parent), 'submodule_search_locations', None)
  return path and importlib.machinery.PathFinder.find_spec(name, path)


@functools.lru_cache(maxsize=None)
def of_package() -> Library:
  """Returns the library of this package, read once."""
  return Library()


def check_arguments(
  target: Callable[..., Any],
  arguments: Mapping[str, Any],
  name: str | None = None,
) -> None:
  """Raises UserError on an argument that its annotation rules out.

  Args:
    target: a configurable of this package, or a class that derives from one.
    arguments: by name, such as its `locals()`; unknown names are ignored.
    name: the target's name in messages; None for its own.
  """
  library = of_package()
  bases = inspect.getmro(target) if inspect.isclass(target) else [target]
  names = (f'{base.__module__}.{base.__name__}' for base in bases)
  found = next(filter(None, map(library.find, names)))
  for key, parameter in found[0].parameters.items():
    if key in arguments and not parameter.domain.holds(arguments[key]):
      source = f'{name or target.__name__}.{key}'
      raise UserError(parameter.refusal(source, arguments[key]))
