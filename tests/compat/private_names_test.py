"""Private names of libraries are used in rigl_rl/compat only."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pathlib
import pkgutil
import re
import sys
import textwrap

import pytest

import rigl_rl
from rigl_rl import compat

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Of NamedTuple and os, which document them.
_PUBLIC = {'_asdict', '_exit', '_fields', '_make', '_replace'}
# Parts of a module's name that mark what is below them as private.
_PRIVATE_PARTS = {'python', 'src'}


def _is_private(name: str) -> bool:
  return name.startswith('_') and not name.endswith('__')


def overridden() -> dict[str, set[str]]:
  """Returns what the docstring of rigl_rl.compat lists, by class."""
  return {
    name: set(names.split(', '))
    for name, names in re.findall(
      r'^  ([\w.]+): (.+?)\.$',
      re.sub(r'\n {4,}', ' ', compat.__doc__),
      re.MULTILINE,
    )
  }


class _Own(ast.NodeVisitor):
  """What a module's source defines, and what it uses of others.

  Attributes:
    classes: by name, a class's bases and its private names.
    names: all private names that are defined.
    uses: (line, class, function, object, name) of each private attribute.
    imports: (line, dotted name).
  """

  def __init__(self, source: str):
    self.classes, self.names = {}, set()
    self.uses, self.imports = [], []
    self._class = self._function = None
    self.visit(ast.parse(source))

  def visit_ClassDef(self, node):
    outer, self._class = self._class, node.name
    bases = [ast.unparse(base).split('.')[-1] for base in node.bases]
    self.classes[node.name] = (bases, set())
    self.names.add(node.name)
    self.generic_visit(node)
    self._class = outer

  def visit_FunctionDef(self, node):
    outer, self._function = self._function, node.name
    self._define(node.name)
    self.generic_visit(node)
    self._function = outer

  def visit_Name(self, node):
    if isinstance(node.ctx, ast.Store):
      self._define(node.id)

  def visit_Attribute(self, node):
    owner = ast.unparse(node.value)
    if isinstance(node.ctx, ast.Store) and owner == 'self':
      self._define(node.attr)
    self._use(node, owner, node.attr)
    self.generic_visit(node)

  def visit_Call(self, node):
    """Also what getattr and its like name in a string."""
    if ast.unparse(node.func).endswith('attr') and len(node.args) > 1:
      name = node.args[1]
      if isinstance(name, ast.Constant) and isinstance(name.value, str):
        self._use(node, ast.unparse(node.args[0]), name.value)
    self.generic_visit(node)

  def visit_Import(self, node):
    self.imports += [(node.lineno, alias.name) for alias in node.names]

  def visit_ImportFrom(self, node):
    self.imports += [
      (node.lineno, f'{node.module or ""}.{alias.name}') for alias in node.names
    ]

  def _define(self, name):
    self.names.add(name)
    if self._class is not None:
      self.classes[self._class][1].add(name)

  def _use(self, node, owner, name):
    if _is_private(name) and name not in _PUBLIC:
      use = (node.lineno, self._class, self._function, owner, name)
      self.uses.append(use)


def violations(sources: dict[str, str]) -> list[str]:
  """Returns the uses of private names that modules must not have.

  Args:
    sources: of all modules, by name.
  """
  modules = {name: _Own(source) for name, source in sources.items()}
  classes: dict[str, tuple[set[str], set[str]]] = {}
  for module in modules.values():
    for name, (bases, names) in module.classes.items():
      before = classes.get(name, (set(), set()))
      classes[name] = (before[0] | set(bases), before[1] | names)
  hooks = set().union(*overridden().values())

  @functools.cache
  def ancestors(name):
    """A class of ours, and its bases that are ours."""
    found, left = set(), {name}
    while left:
      one = left.pop()
      if one in classes and one not in found:
        found.add(one)
        left |= classes[one][0]
    return found

  @functools.cache
  def relatives(name):
    """Also what derives from it, as mixins use what their subclasses have."""
    below = [one for one in classes if name in ancestors(one)]
    return set().union(*map(ancestors, below))

  wrong = []
  for name, module in modules.items():
    for line, dotted in module.imports:
      parts = dotted.split('.')
      if parts[0] not in ('rigl_rl', 'launch', '', *sys.stdlib_module_names):
        if any(p in _PRIVATE_PARTS or _is_private(p) for p in parts):
          wrong.append(f'{name}:{line} imports {dotted}')
    for line, class_, function, owner, attribute in module.uses:
      if owner in ('self', 'cls', 'super()') and class_ is not None:
        own = set().union(*(classes[one][1] for one in relatives(class_)))
        is_right = attribute in own | hooks
        if owner == 'super()':
          is_right &= attribute == function
      else:
        is_right = attribute in module.names
      if not is_right:
        wrong.append(f'{name}:{line} uses {owner}.{attribute}')
  return wrong


def _sources() -> dict[str, str]:
  return {
    str(path.relative_to(ROOT)): path.read_text(encoding='utf-8')
    for top in ('rigl_rl', 'launch', 'examples')
    for path in sorted((ROOT / top).rglob('*.py'))
    if path.parent.name != 'compat'
  }


def test_no_other_module_uses_a_private_name():
  assert not violations(_sources())


@pytest.mark.parametrize(
  'line',
  [
    'gin.config._CONFIG',
    'from tensorflow.python.framework import ops',
    'import keras.src',
    'from tf_agents.agents.ppo.ppo_agent import _normalize_advantages',
    "getattr(optimizer, '_create_all_weights')",
    'class A:\n  def f(self):\n    return self._not_its_own',
    'class A:\n  def f(self):\n    return super()._train()',
    'class A:\n  _own = 1\ndef f(other):\n  return other._weights',
  ],
)
def test_a_private_name_is_found(line):
  assert len(violations({'a': line, 'b': 'class B:\n  _weights = 0'})) == 1


@pytest.mark.parametrize(
  'line',
  [
    'step._replace(reward=1)',
    'from rigl_rl.sparsity import _private',
    'class A:\n  def f(self):\n    self._own = 1\n    return self._own',
    'class A(B):\n  def f(self):\n    return self._weights',
    'class A:\n  def f(self):\n    return self._of_c\nclass C(A):\n  _of_c = 1',
    'class A:\n  def _train(self):\n    return super()._train()',
    'class A:\n  _own = 1\ndef f(a):\n  return a._own',
  ],
)
def test_what_is_our_own_is_allowed(line):
  assert not violations({'a': line, 'b': 'class B:\n  _weights = 0'})


def _is_ours(class_: type) -> bool:
  return class_.__module__.split('.')[0] == 'rigl_rl'


def _written_names(class_: type) -> set[str]:
  """Returns the private names that a class's source defines or sets on self."""
  tree = ast.parse(textwrap.dedent(inspect.getsource(class_)))
  names = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.FunctionDef):
      names.add(node.name)
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
      if ast.unparse(node.value) == 'self':
        names.add(node.attr)
  return set(filter(_is_private, names))


def _classes() -> set[type]:
  for module in pkgutil.walk_packages(rigl_rl.__path__, 'rigl_rl.'):
    if not module.name.endswith('__main__'):
      importlib.import_module(module.name)
  return {
    class_
    for name, module in sys.modules.items()
    if name.startswith('rigl_rl.')
    for class_ in vars(module).values()
    if isinstance(class_, type) and _is_ours(class_)
  }


@pytest.mark.slow
def test_what_is_overridden_is_listed():
  """Where a library drops one of these, ours is called no more.

  Nor does a new name of ours hide a library's by accident.
  """
  found: dict[str, set[str]] = {}
  for class_ in _classes():
    libraries = [
      base
      for base in class_.__mro__
      if not _is_ours(base)
      and base.__module__.split('.')[0] not in sys.stdlib_module_names
    ]
    theirs = {
      name: base.__name__ for base in libraries for name in _written_names(base)
    }
    for own in filter(_is_ours, class_.__mro__):
      for name in _written_names(own) & set(theirs):
        found.setdefault(theirs[name], set()).add(name)
  assert found == overridden()
