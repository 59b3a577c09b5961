"""The wheel, the pinned versions, the console script and the two commands."""

from __future__ import annotations

import email
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import gin
import pytest
from packaging import requirements, specifiers, utils

from rigl_rl import config_files, errors

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCRIPTS = ('launch/setup_venv.sh', 'launch/demo.sh', 'tests/run.sh', '.ci/run')
# All that the shell scripts may take from PATH beside a Python.
TOOLS = ('bash', 'cat', 'chmod', 'cksum', 'cp', 'dirname', 'env', 'mkdir', 'rm')
TOOLS += ('tail',)

# Stands for a Python 3.11: notes how it was called, and makes a venv that
# holds a copy of itself.
FAKE_PYTHON = """#!/usr/bin/env bash
echo "$*" >>"$CALLS"
case "$*" in
  '-m venv '*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *'install '*"${FAIL_ON-nothing}"*) exit 1 ;;
esac
"""


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> pathlib.Path:
  """A wheel of this checkout plus two gin files and a command of our own."""
  source = tmp_path_factory.mktemp('source')
  ignore = shutil.ignore_patterns('__pycache__')
  for name in ('rigl_rl', 'launch', 'gin_configs'):
    shutil.copytree(ROOT / name, source / name, ignore=ignore)
  for path in ROOT.iterdir():
    if path.is_file():
      shutil.copy(path, source)
  probe = source / 'gin_configs' / 'probe'
  (probe / 'deeper').mkdir(parents=True)
  (probe / 'outer.gin').write_text(
    "include 'gin_configs/probe/deeper/inner.gin'\n"
  )
  (probe / 'deeper' / 'inner.gin').write_text('PROBE = 41\n')
  (source / 'launch' / 'probe.py').write_text(
    'def main(argv=None):\n  print(argv)\n  return 7\n'
  )
  out = tmp_path_factory.mktemp('wheel')
  command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-index']
  command += ['--no-build-isolation', '--wheel-dir', str(out), str(source)]
  done = subprocess.run(command, capture_output=True, text=True)
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


def _run(unpacked, code, cwd, *arguments):
  """Runs code against the unpacked wheel, before any other install of it."""
  code = f'import sys; sys.path[0] = {str(unpacked)!r}\n{code}'
  return subprocess.run(
    [sys.executable, '-c', code, *arguments],
    cwd=cwd,
    capture_output=True,
    text=True,
  )


def test_the_wheel_carries_everything_and_no_more(wheel):
  with zipfile.ZipFile(wheel) as archive:
    names = set(archive.namelist())
  expected = {
    path.relative_to(ROOT).as_posix()
    for top, pattern in (
      ('rigl_rl', '*.py'),
      ('rigl_rl', '*.cc'),
      ('rigl_rl', '*.h'),
      ('launch', '*.py'),
      ('gin_configs', '*.py'),
      ('gin_configs', '*.gin'),
    )
    for path in (ROOT / top).rglob(pattern)
  }
  assert expected - names == set()
  tops = {name.split('/')[0] for name in names}
  assert {t for t in tops if not t.endswith('.dist-info')} == {
    'rigl_rl',
    'launch',
    'gin_configs',
  }
  assert any(re.search(r'\.dist-info/(.*/)?LICENSE$', n) for n in names)


def test_the_wheel_finds_its_gin_files_from_anywhere(unpacked, tmp_path):
  code = (
    'import gin\n'
    'from rigl_rl import config_files\n'
    'path = config_files.config_path("gin_configs/probe/outer.gin")\n'
    'config_files.add_search_path()\n'
    'gin.parse_config_file(path)\n'
    'print(path, gin.query_parameter("PROBE/macro.value"))\n'
  )
  done = _run(unpacked, code, tmp_path)
  assert done.returncode == 0, done.stderr
  assert done.stderr == ''
  found = str(unpacked / 'gin_configs' / 'probe' / 'outer.gin')
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
  config_files.add_search_path()
  before = list(gin.config._FILE_READERS)
  config_files.add_search_path()
  assert gin.config._FILE_READERS == before
  with gin.unlock_config():
    gin.parse_config_file(f'file://{path}')
  assert gin.query_parameter('PROBE_URL/macro.value') == 43
  gin.clear_config()


def test_config_path_prefers_the_current_directory(tmp_path, monkeypatch):
  (tmp_path / 'gin_configs').mkdir()
  (tmp_path / 'gin_configs' / 'mine.gin').write_text('')
  monkeypatch.chdir(tmp_path)
  assert (
    config_files.config_path('gin_configs/mine.gin') == 'gin_configs/mine.gin'
  )
  absolute = str(tmp_path / 'gin_configs' / 'mine.gin')
  assert config_files.config_path(absolute) == absolute
  assert config_files.config_path(f'file://{absolute}') == f'file://{absolute}'


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
    config_files.config_path(name)
  assert '\n' not in str(raised.value)


MAIN = 'import launch.__main__ as m; sys.exit(m.main())'


def test_the_console_script_dispatches(unpacked, tmp_path):
  done = _run(unpacked, MAIN, tmp_path, 'probe', '--a=1', 'b')
  assert (done.returncode, done.stdout) == (7, "['--a=1', 'b']\n")
  entry = (
    unpacked / 'rigl_rl-0.1.0.dist-info' / 'entry_points.txt'
  ).read_text()
  assert 'rigl-rl = launch.__main__:main' in entry


@pytest.mark.parametrize('arguments', [[], ['nonsense'], ['__main__'], ['-x']])
def test_no_such_command_is_one_line(unpacked, tmp_path, arguments):
  done = _run(unpacked, MAIN, tmp_path, *arguments)
  assert done.returncode == 2
  assert done.stdout == ''
  assert len(done.stderr.splitlines()) == 1
  assert re.search(r'usage: rigl-rl \{.*\bprobe\b.*\}', done.stderr)


def test_the_usage_imports_no_framework(unpacked, tmp_path):
  code = 'import launch.__main__ as m; m.main([]); print(*sys.modules)'
  done = _run(unpacked, code, tmp_path)
  assert not {'tensorflow', 'gym', 'gin'} & set(done.stdout.split())


def _constraints() -> list[requirements.Requirement]:
  lines = (ROOT / 'constraints.txt').read_text().splitlines()
  lines = [line for line in lines if line and not line.startswith('#')]
  return [requirements.Requirement(line) for line in lines]


def test_constraints_pin_exactly():
  for pin in _constraints():
    assert re.fullmatch(r'==[^*,]+', str(pin.specifier)), pin
    assert pin.url is None and not pin.extras, pin
  assert '://' not in (ROOT / 'constraints.txt').read_text()


@pytest.mark.parametrize('python', ['3.9', '3.10', '3.11'])
def test_constraints_pin_every_requirement_once(unpacked, python):
  environment = {
    'python_version': python,
    'python_full_version': python + '.0',
  }
  pins = {}
  for pin in _constraints():
    if pin.marker is None or pin.marker.evaluate(environment):
      name = utils.canonicalize_name(pin.name)
      assert name not in pins, f'{name} is pinned twice'
      pins[name] = str(pin.specifier)[2:]
  metadata = email.message_from_string(
    (unpacked / 'rigl_rl-0.1.0.dist-info' / 'METADATA').read_text()
  )
  assert specifiers.SpecifierSet(metadata['Requires-Python']).contains(python)
  assert set(metadata.get_all('Provides-Extra')) == {
    'gpu',
    'ray',
    'reverb',
    'test',
  }
  required = [
    requirements.Requirement(r) for r in metadata.get_all('Requires-Dist')
  ]
  assert len(required) > 10
  for requirement in required:
    version = pins[utils.canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version), requirement


@pytest.mark.parametrize('script', SCRIPTS)
def test_shell_scripts_parse(script):
  subprocess.run(['bash', '-n', str(ROOT / script)], check=True)


class Checkout:
  """A copy of what the two commands read, in a world with few programs."""

  def __init__(self, directory: pathlib.Path):
    self.root = directory / 'a checkout'
    self.calls = directory / 'calls'
    self.bin = directory / 'bin'
    for name in (*SCRIPTS, 'constraints.txt', 'setup.py', 'pyproject.toml'):
      (self.root / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(ROOT / name, self.root / name)
    self.bin.mkdir()
    for tool in TOOLS:
      (self.bin / tool).symlink_to(shutil.which(tool))

  def add_program(self, name: str, text: str) -> None:
    path = self.bin / name
    path.write_text(text)
    path.chmod(0o755)

  def run(self, script: str, *arguments: str, **variables: str):
    """Returns the finished process and the calls of the fake Python."""
    self.calls.write_text('')
    done = subprocess.run(
      ['bash', str(self.root / script), *arguments],
      env={'PATH': str(self.bin), 'CALLS': str(self.calls), **variables},
      cwd=self.root.parent,
      capture_output=True,
      text=True,
    )
    calls = self.calls.read_text().splitlines()
    return done, [call for call in calls if not call.startswith('-c ')]


@pytest.fixture
def checkout(tmp_path) -> Checkout:
  return Checkout(tmp_path)


@pytest.mark.parametrize('script', ['launch/demo.sh', 'tests/run.sh'])
def test_without_a_python_one_line_says_what_is_needed(checkout, script):
  # As pyenv's shims do where no version is set.
  checkout.add_program('python3.11', '#!/usr/bin/env bash\nexit 127\n')
  done, _ = checkout.run(script)
  assert done.returncode == 1
  (line,) = (done.stdout + done.stderr).splitlines()
  assert 'needs Python 3.9, 3.10 or 3.11' in line
  assert not (checkout.root / '.venv').exists()


def test_uv_provides_a_python_where_there_is_none(checkout):
  checkout.add_program('fake', FAKE_PYTHON)
  checkout.add_program(
    'uv',
    '#!/usr/bin/env bash\necho "uv $*" >>"$CALLS"\n'
    'for last; do :; done\nmkdir "$last/bin"\n'
    'cp "$(dirname "$0")/fake" "$last/bin/python"\n',
  )
  done, calls = checkout.run('tests/run.sh')
  assert done.returncode == 0, done.stderr
  assert calls[0].startswith('uv venv --quiet --python 3.11 --seed')


def test_an_install_is_made_kept_and_repaired(checkout):
  checkout.add_program('python3', FAKE_PYTHON)
  venv = checkout.root / '.venv'

  def made_and_installed(calls):
    made = [call for call in calls if call.startswith('-m venv')]
    installs = [call for call in calls if ' install ' in call]
    assert all('-c constraints.txt' in call for call in installs)
    return len(made), len(installs)

  done, calls = checkout.run('launch/demo.sh')
  assert done.returncode == 0, done.stderr
  assert made_and_installed(calls) == (1, 2)
  assert any(call.endswith('-e .[test]') for call in calls)
  # Up to date: nothing is made, installed or said.
  done, calls = checkout.run('tests/run.sh')
  assert made_and_installed(calls) == (0, 0)
  assert done.stdout + done.stderr == ''
  # Other pins: installed again, in the same .venv.
  (venv / 'kept').touch()
  with open(checkout.root / 'constraints.txt', 'a') as f:
    f.write('# changed\n')
  _, calls = checkout.run('tests/run.sh')
  assert made_and_installed(calls) == (0, 2) and (venv / 'kept').exists()
  # A failed install says so, ends with 1, and is tried again.
  (venv / '.rigl_rl').unlink()
  done, calls = checkout.run('tests/run.sh', FAIL_ON='.[test]')
  assert done.returncode == 1 and 'install failed' in done.stderr
  assert not any('pytest' in call for call in calls)
  _, calls = checkout.run('tests/run.sh')
  assert made_and_installed(calls) == (0, 2)
  # Killed while it installed: started anew.
  (venv / '.rigl_rl').write_text('installing\n')
  _, calls = checkout.run('tests/run.sh')
  assert made_and_installed(calls) == (1, 2) and not (venv / 'kept').exists()
  # Its Python is gone.
  (venv / 'bin' / 'python').unlink()
  _, calls = checkout.run('tests/run.sh')
  assert made_and_installed(calls) == (1, 2)
  # Moved: an editable install would still point to where it was.
  checkout.root = checkout.root.rename(checkout.root.with_name('moved'))
  _, calls = checkout.run('tests/run.sh')
  assert made_and_installed(calls) == (0, 2)


def test_a_venv_of_another_python_is_left_alone(checkout):
  python = checkout.root / '.venv' / 'bin' / 'python'
  python.parent.mkdir(parents=True)
  python.write_text(
    '#!/usr/bin/env bash\n'
    'case "$*" in *version_info*) exit 1 ;; --version) echo Python 3.13.0 ;; '
    'esac\n'
  )
  python.chmod(0o755)
  done, _ = checkout.run('launch/demo.sh')
  assert done.returncode == 1 and python.exists()
  assert len(done.stderr.splitlines()) == 1 and '3.13.0' in done.stderr


def test_demo_hands_on_its_arguments(checkout):
  checkout.add_program('python3.10', FAKE_PYTHON)
  for arguments, run in (
    ([], checkout.root / 'demo_run'),
    (['--x'], checkout.root / 'demo_run'),
    (['my run', '--x'], checkout.root.parent / 'my run'),
    (['/abs', '--x'], '/abs'),
    (['gs://bucket/r'], 'gs://bucket/r'),
  ):
    _, calls = checkout.run('launch/demo.sh', *arguments)
    call = calls[-1]
    assert call.startswith('-m launch.train --gin_files=gin_configs/')
    assert f' --base_dir={run}' in call
    assert call.endswith('--x') == ('--x' in arguments)


def test_run_hands_on_its_arguments_and_status(checkout):
  checkout.add_program('python3.9', FAKE_PYTHON)
  _, calls = checkout.run('tests/run.sh', 'tests/a_test.py', '-k', 'x')
  assert calls[-1] == '-m pytest -m not slow tests/a_test.py -k x'
  assert any('ruff check' in call for call in calls)
  _, calls = checkout.run('.ci/run', '--slow')
  assert calls[-1] == '-m pytest'
  failing = FAKE_PYTHON.replace('esac', '  *pytest*) exit 5 ;;\nesac')
  (checkout.root / '.venv' / 'bin' / 'python').write_text(failing)
  done, _ = checkout.run('.ci/run')
  assert done.returncode == 5


@pytest.mark.skipif(os.name != 'posix', reason='permissions are for POSIX')
def test_the_commands_are_executable():
  for script in ('launch/demo.sh', 'tests/run.sh', '.ci/run'):
    assert os.access(ROOT / script, os.X_OK), script
