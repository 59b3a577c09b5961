"""Spares imports that take seconds, and that nothing here uses.

TensorFlow Lite imports JAX, for a converter; Keras pandas, for data frames that
it is given; TF-Agents Gym and OpenCV, for suites of environments; MuJoCo and
gymnasium GLFW, for windows. Whoever uses one of these finds it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

# Loaded when an attribute of them is first asked for.
_WHEN_USED = ('glfw', 'gym', 'pandas')
# Asking for one of these is a use: the first is asked for by the import of a
# module within. Names like `__warningregistry__` are asked of all modules.
_USES = ('__path__', '__version__', '__all__')
# Optional to a package: it does without while it is imported.
_OPTIONAL = {'tensorflow': 'jax', 'tf_agents': 'gym.spaces'}


def install() -> None:
  """Makes the imports to come lean, in this process."""
  if any(isinstance(finder, _Finder) for finder in sys.meta_path):
    return
  for name in _WHEN_USED:
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec is not None:
      sys.modules[name] = _Later(spec)
  sys.meta_path.insert(0, _Finder())


class _Later(ModuleType):
  """A package that is executed when an attribute is asked for.

  Unlike with importlib's LazyLoader, a second `import` of it is no use of it.
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

  def find_spec(
    self, fullname: str, path: Sequence[str] | None, target: Any = None
  ) -> importlib.machinery.ModuleSpec | None:
    if fullname not in _OPTIONAL:
      return None
    spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
    if spec is not None:
      spec.loader = _Loader(fullname, spec.origin, _OPTIONAL[fullname])
    return spec


class _Loader(importlib.machinery.SourceFileLoader):
  """Executes a package as where another module is not installed."""

  def __init__(self, fullname: str, path: str, optional: str):
    super().__init__(fullname, path)
    self._optional = optional

  def exec_module(self, module: ModuleType) -> None:
    if self._optional in sys.modules:
      super().exec_module(module)
      return
    sys.modules[self._optional] = None  # So that its import fails.
    try:
      super().exec_module(module)
    finally:
      del sys.modules[self._optional]
