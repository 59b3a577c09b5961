"""Tests of the arithmetic, without TensorFlow, under the sanitizers."""

import os
import pathlib
import shutil
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
  """The tests in C++, with all that needs no TensorFlow."""
  directory = tmp_path_factory.mktemp('arithmetic')
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
  jobs = {
    **{
      name: job
      for name, job in build.objects().items()
      if not job[0].name.endswith(build._OPS)
    },
    **{path.stem: (path, build._FLAGS) for path in _DIRECTORY.glob('*.cc')},
  }
  objects = []
  for name, (source, flags) in jobs.items():
    objects.append(directory / f'{name}.o')
    done = run(*flags, f'-I{build._DIRECTORY}', '-c', source, '-o', objects[-1])
    assert done.returncode == 0, done.stdout
  done = run(*objects, '-pthread', '-o', directory / 'tests')
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


@pytest.mark.slow
def test_code_for_one_kind_of_processor_is_used_by_no_other(tmp_path):
  """A shared (weak) symbol could be linked from the kind that cannot run."""
  if shutil.which('nm') is None:
    pytest.skip('there is no nm')
  compiler = build._compiler()
  for name, (source, flags) in build.objects().items():
    if source.name.endswith(build._SIMD):
      made = tmp_path / f'{name}.o'
      subprocess.run([*compiler, *flags, '-c', source, '-o', made], check=True)
      symbols = subprocess.run(
        ['nm', '--defined-only', '--extern-only', made],
        capture_output=True,
        text=True,
        check=True,
      ).stdout.splitlines()
      assert symbols
      kind = name.rpartition('_')[2]
      assert [line for line in symbols if kind not in line] == []
