"""What is imported late, and what a package does without."""

import importlib
import sys

import pytest

from rigl_rl.training import lean

_WANTS = """
try:
  import optional_probe
except ImportError:
  optional_probe = None
"""


@pytest.fixture(autouse=True)
def probes(tmp_path, monkeypatch):
  """Modules to import, and imports as they were afterwards."""
  for name, text in (
    ('optional_probe', 'print("loaded")\nVALUE = 1\n__version__ = "3"\n'),
    ('wants_probe', _WANTS),
  ):
    (tmp_path / name).mkdir()
    (tmp_path / name / '__init__.py').write_text(text)
    (tmp_path / name / 'part.py').write_text('from . import __name__ as IN\n')
  monkeypatch.syspath_prepend(str(tmp_path))
  # A command that ran in this process before has installed it.
  finders = [f for f in sys.meta_path if not isinstance(f, lean._Finder)]
  monkeypatch.setattr(sys, 'meta_path', finders)
  monkeypatch.setattr(lean, '_OPTIONAL', {'wants_probe': 'optional_probe'})
  monkeypatch.setattr(lean, '_WHEN_USED', ('optional_probe', 'no_such_probe'))
  yield
  for name in ('optional_probe', 'wants_probe'):
    for module in (name, f'{name}.part'):
      sys.modules.pop(module, None)


def _import(name):
  return importlib.import_module(name)


def test_a_package_is_imported_when_it_is_used(capsys):
  lean.install()
  probe = _import('optional_probe')
  assert _import('optional_probe') is probe
  assert capsys.readouterr().out == ''
  assert probe.VALUE == 1 and 'no_such_probe' not in sys.modules
  assert capsys.readouterr().out == 'loaded\n'


def test_its_version_is_a_use():
  lean.install()
  assert not hasattr(_import('optional_probe'), '__warningregistry__')
  assert _import('optional_probe').__version__ == '3'


def test_a_module_within_is_a_use(capsys):
  lean.install()
  assert _import('optional_probe.part').IN == 'optional_probe'
  assert _import('optional_probe').part is _import('optional_probe.part')
  assert capsys.readouterr().out == 'loaded\n'


def test_a_package_works_without_an_optional_one(monkeypatch):
  monkeypatch.setattr(lean, '_WHEN_USED', ())
  lean.install()
  assert _import('wants_probe.part').__name__ == 'wants_probe.part'
  assert _import('wants_probe').optional_probe is None
  # Others have it.
  assert _import('optional_probe').VALUE == 1


def test_what_is_imported_before_is_used(monkeypatch):
  monkeypatch.setattr(lean, '_WHEN_USED', ())
  before = _import('optional_probe')
  lean.install()
  assert _import('wants_probe').optional_probe is before


def test_it_is_installed_once():
  lean.install()
  before = list(sys.meta_path)
  lean.install()
  assert sys.meta_path == before
