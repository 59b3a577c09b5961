"""The shell scripts: how they make the environment, and what they hand on."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCRIPTS = ('launch/setup_venv.sh', 'launch/demo.sh', 'tests/run.sh', '.ci/run')
METADATA = ('pyproject.toml', 'requirements.txt', 'setup.py', 'uv.lock')
# All that the shell scripts may take from PATH beside a Python and uv.
TOOLS = ('bash', 'cat', 'chmod', 'cksum', 'cp', 'dirname', 'env', 'mkdir', 'rm')
TOOLS += ('tail', 'tee')

# Stands for a Python of a version: notes how it was called, and makes a venv
# that holds a copy of itself. Installs uv where that is not refused.
FAKE_PYTHON = """#!/usr/bin/env bash
echo "$*" >>"$CALLS"
case "$*" in
  *version_info*) [[ "$2" == *VERSION* ]]; exit ;;
  '-m venv '*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *"${FAIL_ON-nothing}"*) exit 1 ;;
  '-m pip install uv') cp "$FAKE_UV" "${0%/*}/uv" ;;
esac
"""
# Makes a venv of its Python.
FAKE_UV = """#!/usr/bin/env bash
echo "uv $*" >>"$CALLS"
for last; do :; done
case "$*" in
  *"${FAIL_ON-nothing}"*) exit 1 ;;
  venv*) mkdir -p "$last/bin" && cp "$FAKE_PYTHON" "$last/bin/python" ;;
esac
"""


@pytest.mark.parametrize('script', SCRIPTS)
def test_shell_scripts_parse(script):
  subprocess.run(['bash', '-n', str(ROOT / script)], check=True)


class Checkout:
  """A copy of what the two commands read, in a world with few programs."""

  def __init__(self, directory: pathlib.Path):
    self.root = directory / 'a checkout'
    self.calls = directory / 'calls'
    self.bin = directory / 'bin'
    for name in (*SCRIPTS, *METADATA):
      (self.root / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(ROOT / name, self.root / name)
    self.bin.mkdir()
    for tool in TOOLS:
      (self.bin / tool).symlink_to(shutil.which(tool))
    self.add_program('sleep', '#!/usr/bin/env bash\n')
    self.fake_python = directory / 'fake_python'
    self.fake_uv = directory / 'fake_uv'
    self.fake_uv.write_text(FAKE_UV)
    self.fake_uv.chmod(0o755)
    self.set_python('3.12')

  def set_python(self, version: str) -> None:
    """Sets the version of the Python that fakes make and are."""
    self.fake_python.write_text(FAKE_PYTHON.replace('VERSION', version))
    self.fake_python.chmod(0o755)

  def add_program(self, name: str, text: str) -> None:
    path = self.bin / name
    path.write_text(text)
    path.chmod(0o755)

  def add_python(self, name: str, version: str) -> None:
    self.set_python(version)
    shutil.copy(self.fake_python, self.bin / name)

  def run(self, script: str, *arguments: str, **variables: str):
    """Returns the finished process and the calls of the fakes."""
    self.calls.write_text('')
    done = subprocess.run(
      ['bash', str(self.root / script), *arguments],
      env={
        'PATH': str(self.bin),
        'CALLS': str(self.calls),
        'FAKE_UV': str(self.fake_uv),
        'FAKE_PYTHON': str(self.fake_python),
        **variables,
      },
      cwd=self.root.parent,
      capture_output=True,
      text=True,
    )
    calls = self.calls.read_text().splitlines()
    return done, [
      call for call in calls if not call.startswith(('-c ', 'sys.exit'))
    ]


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
  assert 'needs Python 3.12, 3.13, 3.11, 3.10' in line
  assert not (checkout.root / '.venv').exists()


def _installs(calls):
  """Returns those calls that make an environment or install into it."""
  begins = ('-m venv', 'uv venv', 'uv sync')
  return [c for c in calls if c.startswith(begins) or ' install ' in c]


def test_uv_from_path_installs_the_lock(checkout):
  checkout.add_python('python3.13', '3.13')
  checkout.add_program('uv', FAKE_UV)
  done, calls = checkout.run('tests/run.sh')
  assert done.returncode == 0, done.stderr
  made, kernels, rest = _installs(calls)
  assert made.startswith('uv venv ') and '--python python3.13' in made
  assert kernels == 'uv sync --frozen --inexact --only-group kernels'
  assert rest.startswith('uv sync --frozen --inexact --extra test')
  # Compiled between the two, or beside the second.
  assert '-m rigl_rl.kernels.build' in calls[calls.index(kernels) :]
  assert len(done.stderr.splitlines()) == 5


def test_uv_comes_from_the_index_where_path_has_none(checkout):
  checkout.add_python('python3', '3.10')
  done, calls = checkout.run('tests/run.sh')
  assert done.returncode == 0, done.stderr
  assert _installs(calls)[0].startswith('-m venv')
  assert _installs(calls)[1] == '-m pip install uv'
  assert sum(call.startswith('uv sync') for call in calls) == 2


@pytest.mark.parametrize('refused', ['install uv', 'sync'])
def test_pip_installs_the_same_where_uv_cannot(checkout, refused):
  checkout.add_python('python3.10', '3.10')
  done, calls = checkout.run('tests/run.sh', FAIL_ON=refused)
  assert done.returncode == 0, done.stderr
  *_, packages, project = _installs(calls)
  assert packages.endswith('--no-deps --require-hashes -r requirements.txt')
  assert project.endswith('--no-deps --no-build-isolation -e .')
  # A download that fails is tried again.
  assert sum(refused in call for call in calls) == 3
  assert done.stderr.count('trying again') == 2


@pytest.mark.parametrize('on_path', [False, True])
def test_uv_provides_a_python_where_none_fits(checkout, on_path):
  checkout.set_python('3.12')
  if on_path:
    checkout.add_program('uv', FAKE_UV)
  else:
    checkout.add_program('python3', FAKE_PYTHON.replace('VERSION', '3.9'))
  done, calls = checkout.run('tests/run.sh')
  assert done.returncode == 0, done.stderr
  (made,) = [call for call in calls if call.startswith('uv venv')]
  assert '--python 3.12 ' in made
  done, calls = checkout.run('tests/run.sh')
  assert _installs(calls) == []


def test_a_python_that_cannot_be_downloaded_is_named(checkout):
  checkout.add_program('uv', FAKE_UV)
  done, _ = checkout.run('tests/run.sh', FAIL_ON='venv')
  assert done.returncode == 1
  assert 'uv could not download one' in done.stderr


def test_an_install_is_made_kept_and_repaired(checkout):
  checkout.add_python('python3', '3.12')
  checkout.add_program('uv', FAKE_UV)
  venv = checkout.root / '.venv'

  def made_and_installed(calls):
    made = [call for call in calls if call.startswith('uv venv')]
    synced = [call for call in calls if call.startswith('uv sync')]
    return len(made), len(synced)

  done, calls = checkout.run('launch/demo.sh')
  assert done.returncode == 0, done.stderr
  assert made_and_installed(calls) == (1, 2)
  # Up to date: nothing is made, installed or said.
  done, calls = checkout.run('tests/run.sh')
  assert made_and_installed(calls) == (0, 0)
  assert done.stdout + done.stderr == ''
  # Other versions: installed again, in the same .venv.
  (venv / 'kept').touch()
  with open(checkout.root / 'uv.lock', 'a') as f:
    f.write('# changed\n')
  _, calls = checkout.run('tests/run.sh')
  assert made_and_installed(calls) == (0, 2) and (venv / 'kept').exists()
  # A failed install says so, ends with 1, and is tried again.
  (venv / '.rigl_rl').unlink()
  done, calls = checkout.run('tests/run.sh', FAIL_ON='s')
  assert done.returncode == 1 and 'install failed' in done.stderr
  assert not any('pytest' in call for call in calls)
  _, calls = checkout.run('tests/run.sh')
  assert made_and_installed(calls) == (0, 2)
  # Killed during the install: it starts from scratch.
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
    'case "$*" in *version_info*) exit 1 ;; --version) echo Python 3.9.1 ;; '
    'esac\n'
  )
  python.chmod(0o755)
  done, _ = checkout.run('launch/demo.sh')
  assert done.returncode == 1 and python.exists()
  assert len(done.stderr.splitlines()) == 1 and '3.9.1' in done.stderr


def test_demo_hands_on_its_arguments(checkout):
  checkout.add_python('python3.10', '3.10')
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
  checkout.add_python('python3.11', '3.11')
  pytest_call = '-m pytest -n 2 --dist=loadfile'
  _, calls = checkout.run('tests/run.sh', 'tests/a_test.py', '-k', 'x')
  assert calls[-1] == f'{pytest_call} -m not slow tests/a_test.py -k x'
  assert any('ruff check' in call for call in calls)
  _, calls = checkout.run('.ci/run', '--slow')
  assert calls[-1] == pytest_call
  failing = checkout.fake_python.read_text()
  failing = failing.replace('esac', '  *pytest*) exit 5 ;;\nesac')
  (checkout.root / '.venv' / 'bin' / 'python').write_text(failing)
  done, _ = checkout.run('.ci/run')
  assert done.returncode == 5


@pytest.mark.parametrize('flag', [['--python', '3.13'], ['--python=3.13']])
def test_run_makes_the_environment_of_another_python(checkout, flag):
  checkout.add_python('python3.12', '3.12')
  checkout.add_python('python3.13', '3.13')
  done, calls = checkout.run('tests/run.sh', *flag, '-x')
  assert done.returncode == 0, done.stderr
  assert (checkout.root / '.venv-3.13' / 'bin' / 'python').exists()
  assert not (checkout.root / '.venv').exists()
  assert '-m pytest' in calls[-1] and calls[-1].endswith(' -x')


@pytest.mark.parametrize('version', ['3.9', '3', ''])
def test_an_unsupported_python_is_refused(checkout, version):
  checkout.add_python('python3.12', '3.12')
  done, calls = checkout.run('tests/run.sh', f'--python={version}')
  if version:
    assert done.returncode == 1 and calls == []
    assert f'Python {version} is not one of 3.12,' in done.stderr
  else:  # As without the flag.
    assert done.returncode == 0


@pytest.mark.skipif(os.name != 'posix', reason='permissions are for POSIX')
def test_the_commands_are_executable():
  for script in ('launch/demo.sh', 'tests/run.sh', '.ci/run'):
    assert os.access(ROOT / script, os.X_OK), script
