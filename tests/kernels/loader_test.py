"""Tests of how the kernels are compiled, kept and loaded."""

import os
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf

from rigl_rl.kernels import build, loader, ownership

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPILES = (
  'Compiling kernels (once per installation; minutes on a busy machine)…'
)
PROGRAM = """
from rigl_rl import quiet
with quiet.import_quietly():
  from rigl_rl.kernels import loader
for _ in range(2):
  operations = loader.load()
print(hasattr(operations, 'rigl_maintain_sparsity'))
"""


@pytest.fixture
def cache(tmp_path, monkeypatch) -> pathlib.Path:
  """An empty cache."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  return tmp_path / 'rigl_rl' / 'kernels'


def _compiler(directory: pathlib.Path, monkeypatch, body: str) -> None:
  """Puts a compiler of our own before all others."""
  path = directory / 'compiler'
  path.write_text(
    '#!/bin/sh\nif [ "$1" = --version ]; then echo 1; exit; fi\n' + body
  )
  path.chmod(0o755)
  monkeypatch.setenv('CXX', str(path))


# Stands for a compiler that takes no time: writes its arguments as output.
WRITES = 'while [ "$1" != -o ]; do shift; done; echo "$@" >"$2"\n'


def test_load_says_nothing_more_once_there_is_an_object(capfd):
  loader.load()
  capfd.readouterr()
  assert loader.load() is loader.load()
  assert capfd.readouterr() == ('', '')


def test_instructions_while_a_function_is_traced(operations):
  found = []
  tf.function(lambda: found.append(loader.instructions()), autograph=False)()
  assert found == [loader.instructions()]


def test_without_a_compiler_one_line_says_so(
  cache, nothing_loaded, monkeypatch, capfd
):
  monkeypatch.setenv('PATH', '')
  monkeypatch.delenv('CXX', raising=False)
  assert loader.load() is None
  assert loader.load() is None
  out, err = capfd.readouterr()
  assert out == '' and len(err.splitlines()) == 1
  assert 'no C++ compiler (g++, c++, clang++)' in err
  assert 'the slower TensorFlow operations are used' in err
  assert not cache.exists()


def test_a_compiler_that_fails_is_one_line(
  cache, nothing_loaded, monkeypatch, tmp_path, capfd
):
  script = 'echo errors.h; echo from errors.h: >&2; echo x.cc: error: y >&2'
  _compiler(tmp_path, monkeypatch, f'{script}; exit 1')
  assert loader.load() is None
  assert loader.load() is None
  announced, line = capfd.readouterr().err.splitlines()
  assert announced == COMPILES
  assert 'fails: x.cc: error: y;' in line
  assert [path.name for path in cache.iterdir()] == ['lock']


def test_a_cache_that_cannot_be_written_is_one_line(
  nothing_loaded, tmp_path, monkeypatch, capfd
):
  (tmp_path / 'file').touch()
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
  assert loader.load() is None
  (line,) = capfd.readouterr().err.splitlines()
  assert str(tmp_path / 'file') in line


def test_an_object_that_cannot_be_loaded_is_compiled_once_more(
  cache, nothing_loaded, monkeypatch, tmp_path, capfd
):
  _compiler(tmp_path, monkeypatch, WRITES)
  assert loader.load() is None
  *announced, line = capfd.readouterr().err.splitlines()
  assert announced == [COMPILES] * 2
  assert 'The kernels cannot be used' in line


def test_switched_off(cache, nothing_loaded, monkeypatch, capfd):
  monkeypatch.setenv('RIGL_RL_KERNELS', '0')
  assert loader.load() is None
  assert capfd.readouterr() == ('', '')
  assert not cache.exists()


def test_an_object_is_kept_by_all_it_depends_on(
  cache, monkeypatch, tmp_path, capfd
):
  _compiler(tmp_path, monkeypatch, WRITES)
  first = build.library()
  assert first.parent == cache and build.library() == first
  (tmp_path / 'another').mkdir()
  _compiler(tmp_path / 'another', monkeypatch, WRITES)
  second = build.library()
  monkeypatch.setattr(build, '_FLAGS', (*build._FLAGS, '-O1'))
  third = build.library()
  monkeypatch.setattr(build.tf.version, 'VERSION', '2.99')
  fourth = build.library()
  assert len({path.name[:32] for path in (first, second, third, fourth)}) == 4
  assert all(path.exists() for path in (first, second, third, fourth))
  assert capfd.readouterr().err.splitlines() == [COMPILES] * 4


def test_an_object_is_kept_wherever_tensorflow_lies(
  cache, monkeypatch, tmp_path
):
  _compiler(tmp_path, monkeypatch, WRITES)
  first = build.library()
  flags = build.tf.sysconfig.get_compile_flags()
  links = build.tf.sysconfig.get_link_flags()
  moved = [
    f'-I/moved{flag[2:]}' if flag[:2] == '-I' else flag for flag in flags
  ]
  assert moved != flags
  monkeypatch.setattr(build.tf.sysconfig, 'get_compile_flags', lambda: moved)
  monkeypatch.setattr(
    build.tf.sysconfig,
    'get_link_flags',
    lambda: ['-L/moved', *links[1:]],
  )
  assert build.library() == first
  monkeypatch.setattr(
    build.tf.sysconfig, 'get_compile_flags', lambda: [*moved, '-DABI=0']
  )
  assert build.library() != first


@pytest.mark.parametrize('machine', ['x86_64', 'aarch64'])
def test_each_object_has_its_flags(cache, monkeypatch, tmp_path, machine):
  log = tmp_path / 'log'
  _compiler(tmp_path, monkeypatch, f'echo "$@" >>{log}\n' + WRITES)
  monkeypatch.setattr(build.platform, 'machine', lambda: machine)
  build.library()
  *compiled, linked = [line.split() for line in log.read_text().splitlines()]
  kinds = (
    ('avx512', 'avx2', 'portable') if machine == 'x86_64' else ('portable',)
  )
  flags = {}
  for words in compiled:
    assert set(build._FLAGS) <= set(words)
    source = pathlib.Path(words[words.index('-c') + 1]).name
    flags.setdefault(source, []).append(words)
  directory = ROOT / 'rigl_rl'
  assert set(flags) == {path.name for path in directory.rglob('*.cc')}
  assert '-shared' in linked
  objects = {word for word in linked if word.endswith('.o')}
  assert len(objects) == sum(map(len, flags.values()))
  of_vectors = {'avx512': '-mavx512f', 'avx2': '-mavx2'}
  for source, calls in flags.items():
    is_simd = source.endswith('_simd.cc')
    # What is compiled for a kind of processor is chosen when it runs.
    assert len(calls) == (len(kinds) if is_simd else 1)
    found = {
      word.partition('=')[2]: words
      for words in calls
      for word in words
      if word.startswith('-DRIGL_RL_ISA=')
    }
    assert set(found) == (set(kinds) if is_simd else set())
    for kind, words in (found or {None: calls[0]}).items():
      for name, flag in of_vectors.items():
        assert (flag in words) == (kind == name)
      assert not any(word.startswith(('-march', '-mcpu')) for word in words)
      # Sums of sparse layers need not be rounded as TensorFlow's are.
      contract = [word for word in words if word.startswith('-ffp-contract')]
      is_sum = source.startswith('sparse_') and is_simd
      assert contract[-1] == f'-ffp-contract={"fast" if is_sum else "off"}'
      is_ops = source.endswith('ops.cc')
      assert any('tensorflow' in word for word in words) == is_ops


def test_an_object_is_kept_by_the_flags_of_kinds(cache, monkeypatch, tmp_path):
  _compiler(tmp_path, monkeypatch, WRITES)
  first = build.library()
  kinds = {**build._KINDS, 'portable': ('-msse4',)}
  monkeypatch.setattr(build, '_KINDS', kinds)
  assert build.library() != first


@pytest.fixture
def of_wheel(monkeypatch, tmp_path) -> pathlib.Path:
  """The library of an installed wheel, and no compiler."""
  _compiler(tmp_path, monkeypatch, WRITES)
  directory = tmp_path / 'wheel' / 'compiled'
  directory.parent.mkdir()
  assert build.main([str(directory)]) == 0
  (path,) = directory.iterdir()
  monkeypatch.setattr(build, '_COMPILED', directory)
  monkeypatch.setenv('PATH', '')
  monkeypatch.delenv('CXX')
  return path


def test_the_library_of_a_wheel_needs_no_compiler(of_wheel, cache):
  assert build.library() == of_wheel
  assert not cache.exists()


def test_the_library_of_a_wheel_is_of_one_tensorflow(
  of_wheel, cache, nothing_loaded, monkeypatch, tmp_path, capfd
):
  monkeypatch.setattr(build.tf.version, 'GIT_VERSION', 'v2.99')
  assert loader.load() is None
  (line,) = capfd.readouterr().err.splitlines()
  assert 'no C++ compiler (g++, c++, clang++), and those installed' in line
  # With a compiler it does not matter.
  _compiler(tmp_path, monkeypatch, WRITES)
  assert build.library().parent == cache


def test_a_library_of_a_wheel_that_cannot_be_loaded_is_compiled_here(
  of_wheel, cache, nothing_loaded, monkeypatch, tmp_path, capfd
):
  _compiler(tmp_path, monkeypatch, WRITES)
  assert loader.load() is None
  announced, line = capfd.readouterr().err.splitlines()
  assert announced == COMPILES and 'cannot be used' in line
  (compiled,) = cache.glob('*.so')
  # Other processes find it, and compile nothing.
  assert build.library(broken=of_wheel) == compiled
  assert capfd.readouterr().err == ''


def test_no_compiler_for_a_wheel_is_one_line(monkeypatch, tmp_path, capfd):
  monkeypatch.setenv('PATH', '')
  monkeypatch.delenv('CXX', raising=False)
  assert build.main([str(tmp_path / 'compiled')]) == 1
  (line,) = capfd.readouterr().err.splitlines()
  assert 'no C++ compiler' in line


def test_a_torn_object_is_compiled_again(cache, monkeypatch, tmp_path):
  _compiler(tmp_path, monkeypatch, WRITES)
  path = build.library()
  whole = path.read_bytes()
  path.write_bytes(whole[:-1])
  torn = path.with_name(path.name.replace('.so', '0.so'))
  torn.write_bytes(whole)
  path = build.library()
  # The compiler's temporary names differ, so that the contents may.
  assert build._digest(path.read_bytes()) == path.stem[33:]
  assert sorted(p.name for p in cache.iterdir()) == sorted([path.name, 'lock'])


def test_only_the_user_can_write_what_is_compiled(cache, monkeypatch, tmp_path):
  _compiler(tmp_path, monkeypatch, WRITES)
  before = os.umask(0)
  try:
    path = build.library()
  finally:
    os.umask(before)
  for place in (path, cache, cache.parent):
    assert place.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def private(tmp_path, monkeypatch) -> pathlib.Path:
  """Where temporary directories are made."""
  directory = tmp_path / 'tmp'
  directory.mkdir()
  monkeypatch.setattr(build.tempfile, 'tempdir', str(directory))
  return directory


@pytest.mark.parametrize('writable', ['cache', 'above'])
def test_an_object_that_others_could_replace_is_not_loaded(
  cache, private, monkeypatch, tmp_path, capfd, writable
):
  _compiler(tmp_path, monkeypatch, WRITES)
  planted = build.library()
  place = cache if writable == 'cache' else cache.parent
  place.chmod(0o770)
  capfd.readouterr()
  path = build.library()
  assert path != planted and path.parent.parent == private
  assert path.stat().st_mode & 0o777 == 0o700
  assert capfd.readouterr().err.splitlines() == [
    f'The kernels are compiled for this process only: others may write to '
    f'{place} (chmod go-w forbids it).',
    COMPILES,
  ]
  # A sticky directory is safe above the cache, and not as the cache itself.
  place.chmod(0o1777)
  assert (build.library() == planted) == (writable == 'above')


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can give files away')
def test_an_object_of_another_user_is_compiled_again(
  cache, private, monkeypatch, tmp_path, capfd
):
  _compiler(tmp_path, monkeypatch, WRITES)
  planted = build.library()
  os.chown(planted, 12345, -1)
  capfd.readouterr()
  path = build.library()
  assert path.parent == cache and path.stat().st_uid == os.geteuid()
  assert capfd.readouterr().err.splitlines() == [
    f'The kernels are compiled again: {planted} belongs to user 12345.',
    COMPILES,
  ]
  os.chown(cache, 12345, -1)
  assert build.library().parent.parent == private
  assert f'{cache} belongs to user 12345' in capfd.readouterr().err


def test_an_object_that_others_may_write_to_is_compiled_again(
  cache, monkeypatch, tmp_path, capfd
):
  _compiler(tmp_path, monkeypatch, WRITES)
  planted = build.library()
  planted.chmod(0o722)
  path = build.library()
  assert path.stat().st_mode & 0o777 == 0o700
  assert f'others may write to {planted}' in capfd.readouterr().err
  # A link is not the file that its name says.
  elsewhere = path.rename(tmp_path / path.name)
  path.symlink_to(elsewhere)
  assert not build.library().is_symlink()


def test_what_belongs_to_root_is_trusted(cache, monkeypatch, tmp_path):
  """By a user that is not root; the user's own files are then another's."""
  _compiler(tmp_path, monkeypatch, WRITES)
  path = build.library()
  owner = path.stat().st_uid
  monkeypatch.setattr(ownership.os, 'geteuid', lambda: 12345)
  monkeypatch.setattr(ownership, '_ROOT', owner)
  assert build.library() == path
  monkeypatch.setattr(ownership, '_ROOT', 54321)
  assert f'belongs to user {owner}' in ownership.threat(path)


def test_nothing_is_loaded_if_no_place_is_private(
  cache, private, nothing_loaded, monkeypatch, tmp_path, capfd
):
  _compiler(tmp_path, monkeypatch, WRITES)
  tmp_path.chmod(0o777)
  assert loader.load() is None
  assert 'The kernels cannot be used' in capfd.readouterr().err
  assert not list(private.glob('*/*.so'))


def test_the_compiler_is_the_one_chosen(monkeypatch, tmp_path):
  monkeypatch.setenv('CXX', f'{tmp_path}/none -v')
  with pytest.raises(build.BuildError, match='none'):
    build.library()
  _compiler(tmp_path, monkeypatch, WRITES)
  monkeypatch.setenv('CXX', os.environ['CXX'] + ' -v')
  assert build._compiler()[1:] == ['-v']


@pytest.mark.slow
def test_compiled_by_one_of_two_that_start_together(cache, monkeypatch):
  """A torn object in the cache is compiled again, and loaded."""
  environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
  environment.pop('RIGL_RL_KERNELS', None)

  def start():
    return subprocess.Popen(
      [sys.executable, '-c', PROGRAM],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      env=environment,
    )

  together = [start(), start()]
  texts = [process.communicate() for process in together]
  assert [out for out, _ in texts] == ['True\n'] * 2
  assert sorted(err for _, err in texts) == ['', COMPILES + '\n']
  (path,) = cache.glob('*.so')
  os.truncate(path, path.stat().st_size // 2)
  assert start().communicate() == ('True\n', COMPILES + '\n')
  assert start().communicate() == ('True\n', '')
  assert len(list(cache.glob('*.so'))) == 1
