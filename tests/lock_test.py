"""pyproject.toml, uv.lock and requirements.txt say the same."""

from __future__ import annotations

import pathlib
import re
import sys

import pytest
from packaging import markers, requirements, specifiers

# tomllib came with Python 3.11; pytest brings tomli before.
tomllib = pytest.importorskip(
  'tomllib' if sys.version_info >= (3, 11) else 'tomli'
)

ROOT = pathlib.Path(__file__).resolve().parents[1]
PYTHONS = ('3.10', '3.11', '3.12', '3.13')


def _toml(name: str) -> dict:
  return tomllib.loads((ROOT / name).read_text('utf-8'))


PROJECT = _toml('pyproject.toml')['project']
UV = _toml('pyproject.toml')['tool']['uv']
LOCK = _toml('uv.lock')
PACKAGES = {package['name']: package for package in LOCK['package']}
OURS = PACKAGES['rigl-rl']


def _environment(python: str) -> dict[str, str]:
  return {
    'python_version': python,
    'python_full_version': f'{python}.0',
    'sys_platform': 'linux',
    'platform_machine': 'x86_64',
    'extra': '',
  }


def _applies(marker: str | None, python: str) -> bool:
  return marker is None or markers.Marker(marker).evaluate(_environment(python))


def _as_text(entry: dict) -> str:
  """Writes an entry of the lock as a requirement."""
  extras = ','.join(entry.get('extras', ()))
  text = entry['name'] + (f'[{extras}]' if extras else '')
  text += entry.get('specifier', '')
  return text + (f' ; {entry["marker"]}' if 'marker' in entry else '')


def _parsed(requirement: str) -> requirements.Requirement:
  return requirements.Requirement(requirement)


def _locked(python: str, extra: str) -> set[str]:
  """Returns the names that the lock installs for an extra, ours left out."""
  found: set[tuple[str, str | None]] = set()
  todo = OURS['dependencies'] + OURS['optional-dependencies'][extra]
  while todo:
    entry = todo.pop()
    if not _applies(entry.get('marker'), python):
      continue
    package = PACKAGES[entry['name']]
    for wanted in (None, *entry.get('extra', ())):
      if (package['name'], wanted) in found:
        continue
      found.add((package['name'], wanted))
      if wanted is None:
        todo = todo + package.get('dependencies', [])
      else:
        todo = todo + package['optional-dependencies'][wanted]
  return {name for name, _ in found}


def _exported() -> dict[str, tuple[requirements.Requirement, set[str]]]:
  """Returns the requirements that pip reads, and their hashes, by name."""
  text = (ROOT / 'requirements.txt').read_text('utf-8')
  text = re.sub(r'^#.*\n', '', text, flags=re.MULTILINE)
  found = {}
  for line in text.replace('\\\n', ' ').splitlines():
    words, *hashes = line.split('--hash=')
    requirement = requirements.Requirement(words)
    found[requirement.name] = requirement, {h.strip() for h in hashes}
  return found


EXPORTED = _exported()


def test_the_lock_holds_the_requirements_of_the_project():
  declared = {_parsed(text) for text in PROJECT['dependencies']}
  for extra, texts in PROJECT['optional-dependencies'].items():
    declared |= {_parsed(f'{text} ; extra == "{extra}"') for text in texts}
  locked = {_parsed(_as_text(e)) for e in OURS['metadata']['requires-dist']}
  assert locked == declared
  assert LOCK['requires-python'] == PROJECT['requires-python']
  overrides = {_parsed(_as_text(e)) for e in LOCK['manifest']['overrides']}
  assert overrides == {_parsed(text) for text in UV['override-dependencies']}


def test_the_lock_satisfies_the_requirements_of_the_project():
  for entry in OURS['metadata']['requires-dist']:
    version = PACKAGES[entry['name']]['version']
    specifier = specifiers.SpecifierSet(entry.get('specifier', ''))
    assert specifier.contains(version), entry


def test_the_lock_names_the_public_index_only():
  text = (ROOT / 'uv.lock').read_text('utf-8')
  hosts = set(re.findall(r'https?://[^/"]+', text))
  assert hosts == {'https://pypi.org', 'https://files.pythonhosted.org'}
  assert '://' not in (ROOT / 'requirements.txt').read_text('utf-8')


@pytest.mark.parametrize('python', PYTHONS)
def test_pip_installs_what_uv_installs(python):
  assert specifiers.SpecifierSet(PROJECT['requires-python']).contains(python)
  assert f'Programming Language :: Python :: {python}' in PROJECT['classifiers']
  wanted = {
    name
    for name, (requirement, _) in EXPORTED.items()
    if requirement.marker.evaluate(_environment(python))
  }
  assert wanted == _locked(python, 'test')


@pytest.mark.parametrize('name', sorted(EXPORTED))
def test_an_exported_version_and_its_hashes_are_those_of_the_lock(name):
  requirement, hashes = EXPORTED[name]
  package = PACKAGES[name]
  assert str(requirement.specifier) == f'=={package["version"]}'
  files = [*package.get('wheels', ()), package.get('sdist')]
  assert hashes == {file['hash'] for file in files if file}
