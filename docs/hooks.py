"""Hooks of the documentation's build: pages that are made from the code."""

from __future__ import annotations

import ast
import inspect
import pathlib
import re
import sys
from typing import Iterator

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_PACKAGE = _ROOT / 'rigl_rl'


def on_config(config):
  """Lists the pages of the API reference, which `on_files` makes."""
  reference = [f'api/{name}.md' for name in ('index', *_subpackages())]
  for section in config.nav:
    if 'API' in section:
      section['API'] = reference
  return config


def on_files(files, config):
  """Adds what is made here, and what lies elsewhere in the repository."""
  # Not above: a test reads this module without the extra `docs`.
  from mkdocs.structure import files as files_lib

  for path, content in pages().items():
    files.append(files_lib.File.generated(config, path, content=content))
  for path in sorted((_ROOT / 'results').iterdir()):
    if path.suffix in ('.csv', '.png'):
      copy = f'results/{path.name}'
      files.append(
        files_lib.File.generated(config, copy, abs_src_path=str(path))
      )
  return files


def on_page_markdown(markdown, **_):
  """Leads links to results/ to the copies that `on_files` adds."""
  return markdown.replace('](../results/', '](results/')


def pages() -> dict[str, str]:
  """Returns the text of each page that is made, by its path below docs/."""
  made = {
    'bindings.md': bindings_page(),
    'changelog.md': (_ROOT / 'CHANGELOG.md').read_text('utf-8'),
    'contributing.md': _contributing(),
  }
  for name, modules in _subpackages().items():
    made[f'api/{name}.md'] = _api_page(name, modules)
  return made


def _contributing() -> str:
  text = (_ROOT / 'CONTRIBUTING.md').read_text('utf-8')
  return text.replace('](docs/', '](')  # Links from the top of the repository.


def _subpackages() -> dict[str, list[str]]:
  """Returns the modules to document, by the package that they are in."""
  found: dict[str, list[str]] = {}
  for path in sorted(_PACKAGE.rglob('*.py')):
    *parents, name = path.relative_to(_ROOT).with_suffix('').parts
    if not name.startswith('_'):
      package = parents[1] if len(parents) > 1 else 'modules'
      found.setdefault(package, []).append('.'.join([*parents, name]))
  found['modules'] = found.pop('modules')  # Last.
  return found


def _api_page(name: str, modules: list[str]) -> str:
  if name == 'modules':
    lines = ['# Other modules', '', 'Those that all packages may import.', '']
  else:
    package = ast.parse((_PACKAGE / name / '__init__.py').read_text('utf-8'))
    summary = _first_paragraph(ast.get_docstring(package))
    lines = [f'# rigl_rl.{name}', '', summary, '']
  for module in modules:
    lines += [
      f'## {module}',
      '',
      f'::: {module}',
      '    options:',
      '      show_root_heading: false',
      '      show_root_toc_entry: false',
      '',
    ]
  return '\n'.join(lines)


def bindings_page() -> str:
  """Returns a page of all that gin can bind, as the code declares it."""
  # Not above: MkDocs undoes what a hook's import does to the path.
  if str(_ROOT) not in sys.path:
    sys.path.insert(0, str(_ROOT))
  from rigl_rl.config import declarations

  configurables = sorted(
    declarations.of_package().all(), key=lambda c: (c.module, c.name)
  )
  lines = [
    '# All bindings',
    '',
    'This page is made from the code. `NAME.parameter = value` in a gin file,',
    "or `--gin_bindings='NAME.parameter=value'`, sets a parameter; `@NAME`",
    'refers to a configurable. [Configuration](configuration.md) explains gin',
    'and lists the bindings that most runs need. A value outside the third',
    'column is refused before anything runs.',
    '',
  ]
  group = None
  for configurable in configurables:
    package = '.'.join(configurable.module.split('.')[:2])
    if package != group:
      group = package
      lines += [f'## {package}', '']
    lines += _configurable_lines(configurable)
  return '\n'.join(lines)


def _configurable_lines(configurable) -> Iterator[str]:
  source = _Source(configurable.module)
  yield f'### {configurable.name}'
  yield ''
  yield f'`{configurable.module}`. {source.summary(configurable.name)}'
  yield ''
  if not configurable.parameters:
    yield 'No parameters.'
    yield ''
    return
  texts = source.arguments(configurable.name)
  yield '| parameter | default | allowed | meaning |'
  yield '|---|---|---|---|'
  for name, parameter in configurable.parameters.items():
    default = (parameter.default or '–').replace('gin.REQUIRED', 'required')
    cells = [
      f'`{name}`',
      f'`{default}`',
      str(parameter.domain),
      texts.get(name, ''),
    ]
    yield f'| {" | ".join(_cell(cell) for cell in cells)} |'
  yield ''


def _cell(text: str) -> str:
  return ' '.join(text.split()).replace('|', r'\|')


def _first_paragraph(docstring: str | None) -> str:
  return ' '.join((docstring or '').partition('\n\n')[0].split())


class _Source:
  """The docstrings of a module's classes and functions."""

  def __init__(self, module: str):
    path = _ROOT.joinpath(*module.split('.')).with_suffix('.py')
    tree = ast.parse(path.read_text('utf-8')) if path.exists() else None
    self._nodes = {
      node.name: node
      for node in (tree.body if tree else ())
      if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    }

  def summary(self, name: str) -> str:
    """Returns the first paragraph of a docstring."""
    node = self._nodes.get(name)
    return _first_paragraph(ast.get_docstring(node)) if node else ''

  def arguments(self, name: str) -> dict[str, str]:
    """Returns what docstrings say of each argument, inherited ones too."""
    node = self._nodes.get(name)
    if node is None:
      return {}
    texts: dict[str, str] = {}
    if isinstance(node, ast.ClassDef):
      for base in node.bases:
        texts |= self._inherited(ast.unparse(base))
      constructors = [
        item
        for item in node.body
        if isinstance(item, ast.FunctionDef) and item.name == '__init__'
      ]
      for constructor in constructors:
        texts |= _arguments(ast.get_docstring(constructor, clean=False))
    return texts | _arguments(ast.get_docstring(node, clean=False))

  def _inherited(self, base: str) -> dict[str, str]:
    name = base.rpartition('.')[2]
    if name in self._nodes:
      return self.arguments(name)
    for path in _PACKAGE.rglob('*.py'):
      if re.search(rf'^class {name}\b', path.read_text('utf-8'), re.MULTILINE):
        module = '.'.join(path.relative_to(_ROOT).with_suffix('').parts)
        return _Source(module).arguments(name)
    return {}


def _arguments(docstring: str | None) -> dict[str, str]:
  """Reads the section `Args:` of a Google docstring."""
  text = inspect.cleandoc(docstring or '') + '\n'
  section = re.search(r'^Args:\n((?:(?: .*)?\n)*)', text, re.MULTILINE)
  if not section:
    return {}
  found = re.findall(
    r'^  (\*{0,2}\w[\w, ]*):((?:.|\n)*?)(?=^  \S|\Z)',
    section[1],
    re.MULTILINE,
  )
  return {
    name.strip(' *'): ' '.join(description.split())
    for names, description in found
    for name in names.split(',')
  }
