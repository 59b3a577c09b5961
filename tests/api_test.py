"""`import rigl_rl`: what it gives, and that it costs nothing."""

from __future__ import annotations

import ast
import importlib
import pathlib
import subprocess
import sys

import gin
import pytest

import rigl_rl

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_the_import_is_silent_and_loads_nothing_heavy():
  code = (
    'import sys; before = set(sys.modules)\n'
    'import rigl_rl\n'
    'names = set(dir(rigl_rl))\n'
    'loaded = {name.split(".")[0] for name in set(sys.modules) - before}\n'
    'loaded -= set(sys.stdlib_module_names)\n'
    'print(*sorted(loaded), "sparsify" in names)'
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.split() == ['rigl_rl', 'True']
  assert done.stderr == ''


@pytest.mark.parametrize('name', rigl_rl.__all__)
def test_every_name_is_the_object_itself(name):
  module = importlib.import_module(f'rigl_rl.{rigl_rl._MODULES[name]}')
  value = getattr(rigl_rl, name)
  assert value is getattr(module, name)
  assert value.__doc__
  assert name in dir(rigl_rl)


@pytest.mark.parametrize(
  'name',
  [
    *('Dense', 'Static', 'SET', 'RigL', 'Prune', 'DS'),
    *('uniform', 'erdos_renyi', 'erdos_renyi_kernel', 'UpdateSchedule'),
    *('sparsify', 'make_sparse_optimizer'),
  ],
)
def test_they_are_what_gin_binds(name, no_gin_config):
  gin.parse_config(f'the/probe.value = @{name}', skip_unknown=True)
  assert gin.get_configurable(name) is getattr(rigl_rl, name)


def test_type_checkers_see_the_same_names():
  tree = ast.parse((ROOT / 'rigl_rl' / '__init__.py').read_text())
  (block,) = [node for node in tree.body if isinstance(node, ast.If)]
  seen = {
    alias.asname: node.module.removeprefix('rigl_rl.')
    for node in block.body
    for alias in node.names
  }
  assert seen == rigl_rl._MODULES


def test_an_unknown_name():
  with pytest.raises(AttributeError, match="no attribute 'sparsfy'"):
    getattr(rigl_rl, 'sparsfy')  # noqa: B009
  with pytest.raises(ImportError, match='sparsfy'):
    from rigl_rl import sparsfy  # noqa: F401


def test_it_is_typed():
  assert (ROOT / 'rigl_rl' / 'py.typed').is_file()
