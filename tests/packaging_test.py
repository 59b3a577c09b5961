"""The wheel, its gin files, and the console script."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import gin
import pytest

from rigl_rl import errors
from rigl_rl.config import gin_paths

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> pathlib.Path:
  """A wheel of this checkout plus two gin files and a command of our own."""
  source = tmp_path_factory.mktemp('source')
  _copy_sources(source)
  probe = source / 'gin_configs' / 'probe'
  (probe / 'deeper').mkdir(parents=True)
  (probe / 'outer.gin').write_text(
    "include 'gin_configs/probe/deeper/inner.gin'\n"
  )
  (probe / 'deeper' / 'inner.gin').write_text('PROBE = 41\n')
  (source / 'rigl_rl' / 'commands' / 'probe.py').write_text(
    'def main(argv=None):\n  print(argv)\n  return 7\n'
  )
  return _build(source, tmp_path_factory.mktemp('wheel'), RIGL_RL_KERNELS='0')


def _copy_sources(directory):
  ignore = shutil.ignore_patterns('__pycache__')
  for name in ('rigl_rl', 'gin_configs'):
    shutil.copytree(ROOT / name, directory / name, ignore=ignore)
  for path in ROOT.iterdir():
    if path.is_file():
      shutil.copy(path, directory)


def _build(source, out, **environment) -> pathlib.Path:
  build = 'from setuptools import build_meta as b; import sys; '
  build += 'b.build_wheel(sys.argv[1])'
  done = subprocess.run(
    [sys.executable, '-c', build, str(out)],
    cwd=source,
    capture_output=True,
    text=True,
    env={**os.environ, **environment},
  )
  assert done.returncode == 0, done.stdout + done.stderr
  (path,) = out.glob('*.whl')
  return path


@pytest.fixture(scope='module')
def unpacked(wheel, tmp_path_factory) -> pathlib.Path:
  """The directory that an install of the wheel would fill."""
  directory = tmp_path_factory.mktemp('site')
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(directory)
  return directory


def _run(unpacked, code, cwd, *arguments, **environment):
  """Runs code against the unpacked wheel, before any other install of it."""
  code = f'import sys; sys.path[0] = {str(unpacked)!r}\n{code}'
  return subprocess.run(
    [sys.executable, '-c', code, *arguments],
    cwd=cwd,
    capture_output=True,
    text=True,
    env={**os.environ, **environment},
  )


def test_the_wheel_carries_everything_and_no_more(wheel):
  with zipfile.ZipFile(wheel) as archive:
    names = set(archive.namelist())
  expected = {
    path.relative_to(ROOT).as_posix()
    for pattern in ('*.py', '*.cc', '*.h', 'py.typed')
    for path in (ROOT / 'rigl_rl').rglob(pattern)
  } | {
    f'rigl_rl/{path.relative_to(ROOT).as_posix()}'
    for path in (ROOT / 'gin_configs').rglob('*.gin')
  }
  assert expected - names == set()
  assert wheel.name.endswith('-py3-none-any.whl')
  tops = {name.split('/')[0] for name in names}
  assert {t for t in tops if not t.endswith('.dist-info')} == {'rigl_rl'}
  assert any(re.search(r'\.dist-info/(.*/)?LICENSE$', n) for n in names)


@pytest.mark.slow
def test_a_wheel_with_kernels_needs_no_compiler(operations, tmp_path):
  source = tmp_path / 'source'
  _copy_sources(source)
  wheel = _build(source, tmp_path / 'wheel', RIGL_RL_KERNELS='')
  system = sysconfig.get_platform().replace('-', '_').replace('.', '_')
  assert wheel.name.endswith(f'-py3-none-{system}.whl')
  unpacked = tmp_path / 'site'
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(unpacked)
  code = (
    'from rigl_rl import quiet\n'
    'with quiet.import_quietly():\n'
    '  from rigl_rl.kernels import loader\n'
    'print(hasattr(loader.load(), "rigl_adam"), loader.__file__)\n'
  )
  cache = tmp_path / 'cache'
  environment = {'PATH': '/nonexistent', 'XDG_CACHE_HOME': str(cache)}
  done = _run(unpacked, code, tmp_path, RIGL_RL_KERNELS='', **environment)
  assert done.stderr == ''
  path = unpacked / 'rigl_rl' / 'kernels' / 'loader.py'
  assert done.stdout == f'True {path}\n'
  assert not cache.exists()


def test_the_wheel_finds_its_gin_files_from_anywhere(unpacked, tmp_path):
  code = (
    'import gin\n'
    'from rigl_rl.config import gin_paths\n'
    'path = gin_paths.config_path("gin_configs/probe/outer.gin")\n'
    'gin_paths.add_search_path()\n'
    'gin.parse_config_file(path)\n'
    'print(path, gin.query_parameter("PROBE/macro.value"))\n'
  )
  done = _run(unpacked, code, tmp_path)
  assert done.returncode == 0, done.stderr
  assert done.stderr == ''
  found = str(unpacked / 'rigl_rl' / 'gin_configs' / 'probe' / 'outer.gin')
  assert done.stdout.split() == [found, '41']
  # One of the same name in the current directory goes first.
  mine = tmp_path / 'gin_configs' / 'probe' / 'deeper' / 'inner.gin'
  mine.parent.mkdir(parents=True)
  mine.write_text('PROBE = 42\n')
  done = _run(unpacked, code, tmp_path)
  assert done.stdout.split() == [found, '42']


def test_gin_reads_a_url_and_the_search_path_is_added_once(tmp_path):
  path = tmp_path / 'url.gin'
  path.write_text('PROBE_URL = 43\n')
  gin_paths.add_search_path()
  before = list(gin.config._FILE_READERS)
  gin_paths.add_search_path()
  assert gin.config._FILE_READERS == before
  with gin.unlock_config():
    gin.parse_config_file(f'file://{path}')
  assert gin.query_parameter('PROBE_URL/macro.value') == 43
  gin.clear_config()


def test_config_path_prefers_the_current_directory(tmp_path, monkeypatch):
  (tmp_path / 'gin_configs').mkdir()
  (tmp_path / 'gin_configs' / 'mine.gin').write_text('')
  monkeypatch.chdir(tmp_path)
  assert gin_paths.config_path('gin_configs/mine.gin') == 'gin_configs/mine.gin'
  absolute = str(tmp_path / 'gin_configs' / 'mine.gin')
  assert gin_paths.config_path(absolute) == absolute
  assert gin_paths.config_path(f'file://{absolute}') == f'file://{absolute}'


@pytest.mark.parametrize(
  'name',
  [
    'gin_configs/none.gin',
    'gin_configs',
    'setup.py/x',
    'file:///none',
    'nope://x',
  ],
)
def test_config_path_names_the_missing_file(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(errors.UserError, match=re.escape(name)) as raised:
    gin_paths.config_path(name)
  assert '\n' not in str(raised.value)


MAIN = 'import rigl_rl.commands.__main__ as m; sys.exit(m.main())'


def test_the_console_script_dispatches(unpacked, tmp_path):
  done = _run(unpacked, MAIN, tmp_path, 'probe', '--a=1', 'b')
  assert (done.returncode, done.stdout) == (7, "['--a=1', 'b']\n")
  entry = (
    unpacked / 'rigl_rl-0.1.0.dist-info' / 'entry_points.txt'
  ).read_text()
  assert 'rigl-rl = rigl_rl.commands.__main__:main' in entry


@pytest.mark.parametrize('arguments', [[], ['nonsense'], ['__main__'], ['-x']])
def test_no_such_command_is_one_line(unpacked, tmp_path, arguments):
  done = _run(unpacked, MAIN, tmp_path, *arguments)
  assert done.returncode == 2
  assert done.stdout == ''
  assert len(done.stderr.splitlines()) == 1
  assert re.search(r'usage: rigl-rl \{.*\bprobe\b.*\}', done.stderr)


def test_the_usage_imports_no_framework(unpacked, tmp_path):
  code = 'import rigl_rl.commands.__main__ as m\n'
  code += 'm.main([]); print(*sys.modules)'
  done = _run(unpacked, code, tmp_path)
  assert not {'tensorflow', 'gym', 'gin'} & set(done.stdout.split())
