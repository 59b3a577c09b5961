"""Avoids imports that take seconds and that nothing here uses.

TensorFlow Lite imports JAX for a converter, Keras imports pandas for data
frames, TF-Agents imports Gym and OpenCV for suites of environments, MuJoCo and
gymnasium import GLFW for windows. Code that uses one of them still gets it.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Any

# Packages that are loaded when one of their attributes is first read.
_WHEN_USED = ('glfw', 'gym', 'pandas')
# Dunder names that only a use reads, as the import of a submodule reads
# `__path__`. Code that walks over all modules reads others.
_USES = ('__path__', '__version__', '__all__')
# By package, an optional module that is hidden while the package is imported.
_OPTIONAL = {'tensorflow': 'jax', 'tf_agents': 'gym.spaces'}


def install() -> None:
  """Makes later imports in this process lean."""
  if any(isinstance(finder, _Finder) for finder in sys.meta_path):
    return
  for name in _WHEN_USED:
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec is not None:
      sys.modules[name] = _Later(spec)
  sys.meta_path.insert(0, _Finder())


class _Later(ModuleType):
  """A package that is executed when one of its attributes is first read.

  Unlike importlib's LazyLoader, it is not executed by a second `import`.
  """

  def __init__(self, spec: importlib.machinery.ModuleSpec):
    super().__init__(spec.name)
    self.__spec__ = spec
    self.__loader__ = spec.loader
    self.__file__ = spec.origin

  def __getattr__(self, name: str) -> Any:
    if name.startswith('__') and name not in _USES:
      raise AttributeError(name)
    self.__class__ = ModuleType
    self.__path__ = self.__spec__.submodule_search_locations
    self.__package__ = self.__name__
    self.__spec__.loader.exec_module(self)
    return getattr(self, name)


class _Finder(importlib.abc.MetaPathFinder):
  """Finds the packages of `_OPTIONAL`."""

  def find_spec(self, fullname, path, target=None):
    if fullname not in _OPTIONAL:
      return None
    spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
    if spec is not None:
      spec.loader.exec_module = functools.partial(
        _execute_without, _OPTIONAL[fullname], spec.loader.exec_module
      )
    return spec


def _execute_without(optional, execute, package):
  """Executes a package as if an optional module were not installed."""
  if optional in sys.modules:
    execute(package)
    return
  sys.modules[optional] = None  # So that its import fails.
  try:
    execute(package)
  finally:
    del sys.modules[optional]
