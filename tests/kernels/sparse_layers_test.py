"""Tests of the arithmetic of sparse layers, alone, under the sanitizers."""

import os
import pathlib
import subprocess

import pytest

from rigl_rl.kernels import build

_DIRECTORY = pathlib.Path(__file__).resolve().parent
_SANITIZERS = (
  '-fsanitize=address,undefined',
  '-fno-sanitize-recover=all',
  '-fno-omit-frame-pointer',
  '-g1',
)


@pytest.fixture(scope='module')
def program(tmp_path_factory) -> pathlib.Path:
  """The tests in C++, each file compiled with its own flags."""
  directory = tmp_path_factory.mktemp('sparse_layers')
  try:
    compiler = build._compiler()
  except build.BuildError as error:
    pytest.skip(str(error))

  def run(*arguments):
    return subprocess.run(
      [*compiler, *_SANITIZERS, *map(str, arguments)],
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )

  empty = directory / 'empty.cc'
  empty.write_text('int main() {}\n')
  if run(empty, '-o', directory / 'empty').returncode:
    pytest.skip('the compiler has no address sanitizer')
  sources = sorted(build._DIRECTORY.glob('sparse_layers*.cc'))
  assert len(sources) == 4
  objects = []
  for source in (*sources, _DIRECTORY / 'sparse_layers_test.cc'):
    objects.append(directory / f'{source.stem}.o')
    done = run(
      *build._FLAGS,
      *build._flags_of(source),
      f'-I{build._DIRECTORY}',
      '-c',
      source,
      '-o',
      objects[-1],
    )
    assert done.returncode == 0, done.stdout
  done = run(*objects, '-o', directory / 'tests')
  assert done.returncode == 0, done.stdout
  return directory / 'tests'


def _run(program, *arguments, **environment):
  return subprocess.run(
    [str(program), *arguments],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    env={**os.environ, **environment},
  )


@pytest.mark.slow
def test_arithmetic(program):
  done = _run(program)
  assert done.returncode == 0, done.stdout
  tested = done.stdout.split()
  assert tested[0] == 'portable'
  assert tested == ['portable', 'avx2', 'avx512'][: len(tested)]
  # The best is used, unless the environment asks for another one.
  environment = {'RIGL_RL_SIMD': 'avx512'}
  assert _run(program, '--best', **environment).stdout.split() == tested[-1:]
  for name in tested:
    done = _run(program, '--best', RIGL_RL_SIMD=name)
    assert done.stdout.split() == [name]
