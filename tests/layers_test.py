"""Imports point downwards only, and the core knows no agent."""

from __future__ import annotations

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

# A package may import itself and those on lines above its own.
LAYERS = (
  ('rigl_rl.compat',),
  ('rigl_rl.config',),
  ('rigl_rl.kernels',),
  ('rigl_rl.runtime',),
  ('rigl_rl.sparsity',),
  ('rigl_rl.networks', 'rigl_rl.replay', 'rigl_rl.environments'),
  ('rigl_rl.agents',),
  ('rigl_rl.training',),
  ('rigl_rl.sweeps',),
  ('rigl_rl.costs',),
  ('rigl_rl.analysis', 'rigl_rl.benchmarks', 'rigl_rl.export'),
  ('rigl_rl.runs',),
  ('rigl_rl.commands',),
  ('launch',),
)
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# Below all layers: importable by all, importing none of them. These are the
# other modules that lie directly in rigl_rl.
FREE = tuple(
  f'rigl_rl.{path.stem}'
  for path in sorted((ROOT / 'rigl_rl').glob('*.py'))
  if path.stem != '__init__' and f'rigl_rl.{path.stem}' not in RANKS
)
# The core's only imports beside the standard library and itself; absl, which
# TensorFlow brings, is for its log.
CORE_IMPORTS = {'absl', 'gin', 'numpy', 'tensorflow'}


def imported_names(source: str, module: str, is_package: bool) -> list[str]:
  """Returns the absolute dotted names that a module's source imports.

  `from a import b` gives 'a.b', since b may be a module of a.

  Args:
    source: The module's source text.
    module: Its dotted name, which relative imports start from.
    is_package: Whether it is an `__init__.py`.
  """
  names = []
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      base = node.module or ''
      if node.level:
        parts = module.split('.')
        parts = parts[: len(parts) - node.level + is_package]
        base = '.'.join(parts + ([base] if base else []))
      names += [f'{base}.{alias.name}' for alias in node.names]
  return names


def without_type_checking(source: str) -> str:
  """Returns a module's source without its `if TYPE_CHECKING` blocks."""
  tree = ast.parse(source)
  tree.body = [
    node
    for node in tree.body
    if not (
      isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING'
    )
  ]
  return ast.unparse(tree)


def layer_of(name: str) -> str | None:
  """Returns the layer (or free module) that a dotted name belongs to."""
  for layer in (*RANKS, *FREE):
    if name == layer or name.startswith(layer + '.'):
      return layer
  return None


def violation(module: str, imported: str) -> str | None:
  """Says what is wrong with one import, or returns None."""
  if imported.split('.')[0] not in ('rigl_rl', 'launch'):
    return None
  own, other = layer_of(module), layer_of(imported)
  if own == other or other in FREE or imported in ('rigl_rl', 'launch'):
    return None
  if other is None:
    return f'{module} imports {imported}, which is in no layer'
  if own is None or own in FREE:
    return f'{module}, below all layers, imports {imported}'
  if RANKS[other] >= RANKS[own]:
    return f'{module} imports {imported}, which is not below it'
  return None


def _modules() -> list[tuple[str, bool, pathlib.Path]]:
  found = []
  for top in ('rigl_rl', 'launch'):
    for path in sorted((ROOT / top).rglob('*.py')):
      parts = path.relative_to(ROOT).with_suffix('').parts
      is_package = parts[-1] == '__init__'
      found.append(
        ('.'.join(parts[: len(parts) - is_package]), is_package, path)
      )
  return found


@pytest.mark.parametrize(
  'module,is_package,path', _modules(), ids=[m[0] for m in _modules()]
)
def test_imports_point_down(module, is_package, path):
  source = path.read_text(encoding='utf-8')
  if module == 'rigl_rl':
    # It imports the names that it gives when they are used.
    source = without_type_checking(source)
  names = imported_names(source, module, is_package)
  wrong = [v for v in (violation(module, name) for name in names) if v]
  assert not wrong, '\n'.join(wrong)
  if module.startswith('rigl_rl.sparsity'):
    tops = {name.split('.')[0] for name in names} - {'rigl_rl'}
    assert tops - set(sys.stdlib_module_names) <= CORE_IMPORTS


@pytest.mark.parametrize(
  'module,imported',
  [
    ('rigl_rl.sparsity.masks', 'rigl_rl.agents.dqn'),
    ('rigl_rl.replay.ring', 'rigl_rl.networks.widths'),
    ('rigl_rl.agents.dqn', 'rigl_rl.training.loop'),
    ('rigl_rl.training.loop', 'launch.train'),
    ('rigl_rl.errors', 'rigl_rl.sparsity.masks'),
    ('rigl_rl', 'rigl_rl.sparsity'),
    ('rigl_rl.agents.dqn', 'rigl_rl.misplaced'),
  ],
)
def test_an_import_up_is_found(module, imported):
  assert violation(module, imported)


@pytest.mark.parametrize(
  'module,imported',
  [
    ('rigl_rl.sparsity.wrappers', 'rigl_rl.sparsity.masks'),
    ('rigl_rl.sparsity.masks', 'rigl_rl.errors.UserError'),
    ('rigl_rl.agents.dqn', 'rigl_rl.replay.ring'),
    ('launch.train', 'rigl_rl.training.loop'),
    ('rigl_rl.sparsity.masks', 'numpy'),
  ],
)
def test_an_import_down_is_allowed(module, imported):
  assert violation(module, imported) is None


def test_every_form_of_import_is_read():
  source = (
    'import a.b as c\n'
    'from d import e\n'
    'def f():\n'
    '  from . import g\n'
    '  from ..h import i\n'
  )
  assert imported_names(source, 'rigl_rl.agents.dqn', False) == [
    'a.b',
    'd.e',
    'rigl_rl.agents.g',
    'rigl_rl.h.i',
  ]
  assert imported_names('from . import g', 'rigl_rl.agents', True) == [
    'rigl_rl.agents.g'
  ]
