"""Compiles the kernels, and keeps what was compiled.

A wheel may bring a compiled library, which is used with the TensorFlow that it
was compiled for. Any other is in the user's cache, under a name that depends on
sources, flags, compiler and TensorFlow. Runs that start together wait for the
one that compiles; a killed run leaves no torn object that another would load.
Loading an object runs its code, so an object that somebody else could have
written is not used.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent import futures
from typing import Iterator, Sequence

import tensorflow as tf

from rigl_rl import locks
from rigl_rl.kernels import ownership

# Ending of the files that include TensorFlow's headers. They are compiled for
# no processor in particular, as TensorFlow is: both must lay out memory alike.
_OPS = 'ops.cc'
# Ending of the files that are compiled for several kinds of processors; one is
# chosen at run time, see kernels.h.
_SIMD = '_simd.cc'
_KINDS = {
  'avx512': (
    *('-mavx512f', '-mavx512dq', '-mavx512vl', '-mfma'),
    '-mprefer-vector-width=512',
  ),
  'avx2': ('-mavx2', '-mfma'),
  'portable': (),
}
# The sums in these files need not be rounded as TensorFlow rounds them.
_SUMS = ('sparse_layers_simd.cc', 'sparse_convolution_simd.cc')
_DIRECTORY = pathlib.Path(__file__).resolve().parent
# Where the library is in a wheel.
_COMPILED = _DIRECTORY / 'compiled'
# A product and a sum are not contracted into one operation, which would round
# once: so numbers are those of TensorFlow's operations.
_FLAGS = (
  *('-std=c++17', '-O3', '-fPIC', '-ffp-contract=off'),
  *('-fno-math-errno', '-fno-trapping-math'),
)
# How long to wait for another run that compiles, in seconds.
_PATIENCE = 180
# Beginning of the directories that the compiler writes to.
_BUILD = 'build-'


class BuildError(Exception):
  """The kernels cannot be compiled; the message is one line that says why."""


def library(broken: pathlib.Path | None = None) -> pathlib.Path:
  """Returns the path of the compiled kernels; compiles them if needed.

  Args:
    broken: what this returned before, and cannot be loaded here.

  Raises:
    BuildError: there is no compiler, it fails, or the cache cannot be written.
  """
  of_wheel = _COMPILED / f'{_key()}.so'
  if of_wheel.exists() and of_wheel != broken:
    return of_wheel
  try:
    compiler = _compiler()
    key = _key(*compiler, _run([*compiler, '--version']))
    cache = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache')
    directory = _private(cache.expanduser() / 'rigl_rl' / 'kernels')
    path = _find(directory, key, broken)
    # A killed process left these, unless one is still compiling.
    if path is None or any(directory.glob(f'{_BUILD}*')):
      with _lock(directory / 'lock', _PATIENCE if path is None else 0):
        if path is None:
          # Another run may have compiled it meanwhile.
          path = _find(directory, key, broken)
        if path is None:
          path = _build(compiler, directory, key)
  except OSError as error:
    raise BuildError(str(error)) from error
  return path


def _private(directory: pathlib.Path) -> pathlib.Path:
  """Makes a directory, or a temporary one if others can change that."""
  ownership.make_directory(directory)
  threat = ownership.threat(directory.resolve())
  if threat is not None:
    _say(f'The kernels are compiled for this process only: {threat}.')
    directory = pathlib.Path(tempfile.mkdtemp(prefix='rigl_rl-kernels-'))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    threat = ownership.threat(directory.resolve())
  if threat is not None:
    raise BuildError(threat)
  return directory.resolve()


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


def _compiler() -> list[str]:
  """Returns the command of a C++ compiler."""
  text = os.environ.get('CXX', '')
  try:
    chosen = shlex.split(text)
  except ValueError as error:
    raise BuildError(f'CXX is {text!r}: {error}') from error
  names = chosen[:1] or ['g++', 'c++', 'clang++']
  for name in names:
    if shutil.which(name):
      return [name, *chosen[1:]]
  reason = f'there is no C++ compiler ({", ".join(names)})'
  if _COMPILED.exists():
    reason += (
      ', and those installed are for another system, or another TensorFlow '
      f'than {tf.__version__}'
    )
  raise BuildError(reason)


def _sources() -> list[pathlib.Path]:
  return sorted(
    path
    for directory in (_DIRECTORY, _DIRECTORY.parent / 'runtime')
    for path in directory.iterdir()
    if path.suffix in ('.cc', '.h')
  )


def objects() -> dict[str, tuple[pathlib.Path, list[str]]]:
  """Returns the source and the flags of each object, by the object's name."""
  kinds = _KINDS if platform.machine() == 'x86_64' else {'portable': ()}
  found = {}
  for source in _sources():
    flags = list(_FLAGS)
    if source.name in _SUMS:
      flags.append('-ffp-contract=fast')
    if source.name.endswith(_SIMD):
      for kind, more in kinds.items():
        kind_flags = [*flags, *more, f'-DRIGL_RL_ISA={kind}']
        found[f'{source.stem}_{kind}'] = source, kind_flags
    elif source.suffix == '.cc':
      if source.name.endswith(_OPS):
        flags += tf.sysconfig.get_compile_flags()
      found[source.stem] = source, flags
  return found


def _key(*more: str) -> str:
  """Returns a digest of all that the library depends on, and more."""
  flags = [flag for _, flags in objects().values() for flag in flags]
  flags += tf.sysconfig.get_link_flags()
  parts = (
    *more,
    platform.machine(),
    # TensorFlow's path does not matter: the object does not contain it.
    *(flag for flag in flags if not flag.startswith(('-I', '-L'))),
    tf.version.VERSION,
    tf.version.GIT_VERSION,
    tf.version.COMPILER_VERSION,
    *(f'{path.name}\n{path.read_text("utf-8")}' for path in _sources()),
  )
  return _digest(''.join(f'{part}\0' for part in parts).encode())


def _digest(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()[:32]


def _find(
  directory: pathlib.Path, key: str, broken: pathlib.Path | None
) -> pathlib.Path | None:
  """Returns the object in the cache, if it is whole and the user's own."""
  # Its name has its digest: to load a torn object may end the process.
  for path in {*directory.glob(f'{key}-*.so')} - {broken}:
    with contextlib.suppress(OSError):
      threat = ownership.threat(path)
      if threat is not None:
        _say(f'The kernels are compiled again: {threat}.')
        path.unlink()
      elif path.stem == f'{key}-{_digest(path.read_bytes())}':
        return path
  return None


@contextlib.contextmanager
def _lock(path: pathlib.Path, patience: float) -> Iterator[None]:
  """Lets one process at a time compile, and remove what killed ones left."""
  try:
    descriptor = locks.acquire(str(path), patience)
  except locks.Locked:
    yield
    return
  try:
    for left in path.parent.glob(f'{_BUILD}*'):
      shutil.rmtree(left, ignore_errors=True)
    yield
  finally:
    os.close(descriptor)


def _build(
  compiler: Sequence[str], directory: pathlib.Path, key: str
) -> pathlib.Path:
  """Compiles the kernels into the cache; returns their path."""
  _say('Compiling kernels (once per installation; minutes on a busy machine)…')
  # In the cache itself: a rename cannot cross file systems.
  with tempfile.TemporaryDirectory(prefix=_BUILD, dir=directory) as temporary:
    made = _compile(compiler, temporary)
    made.chmod(0o700)  # Regardless of the umask.
    path = directory / f'{key}-{_digest(made.read_bytes())}.so'
    os.replace(made, path)
  for old in {*directory.glob(f'{key}-*.so')} - {path}:
    with contextlib.suppress(OSError):  # It is torn, or could not be loaded.
      old.unlink()
  return path


def _compile(compiler: Sequence[str], temporary: str) -> pathlib.Path:
  """Compiles the kernels inside a temporary directory; returns their path."""

  def compile_object(job):
    name, (source, flags) = job
    made = os.path.join(temporary, f'{name}.o')
    command = [*compiler, *flags, '-c', str(source), '-o', made]
    _run(command, TMPDIR=temporary)  # For the compiler's own files.
    return made

  with futures.ThreadPoolExecutor(os.cpu_count()) as threads:
    made = list(threads.map(compile_object, objects().items()))
  library_path = pathlib.Path(temporary) / 'kernels.so'
  link = ['-shared', '-o', str(library_path), *made]
  _run([*compiler, *link, *tf.sysconfig.get_link_flags()], TMPDIR=temporary)
  if not library_path.exists():
    raise BuildError(f'{compiler[0]} makes no library')
  return library_path


def _run(command: Sequence[str], **environment: str) -> str:
  """Runs the compiler; returns what it prints."""
  done = subprocess.run(
    command,
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
    errors='replace',
    env={**os.environ, **environment},
  )
  if done.returncode:
    lines = (done.stderr + done.stdout).splitlines()
    errors = [line for line in lines if 'error:' in line.lower()]
    reason = [*errors, *lines, f'exit code {done.returncode}'][0].strip()
    raise BuildError(f'{command[0]} fails: {reason}')
  return done.stdout


def compile_for_wheel(directory: pathlib.Path) -> None:
  """Compiles the kernels into a directory that a wheel will have them in."""
  directory.mkdir(parents=True)
  with tempfile.TemporaryDirectory(dir=directory.parent) as temporary:
    made = _compile(_compiler(), temporary)
    os.replace(made, directory / f'{_key()}.so')


def main(arguments: Sequence[str]) -> int:
  """Compiles the kernels before they are needed; returns the exit code.

  Args:
    arguments: none, or the directory for `compile_for_wheel`.
  """
  try:
    if arguments:
      compile_for_wheel(pathlib.Path(arguments[0]))
    else:
      print(library())
  except BuildError as error:
    print(f'The kernels cannot be compiled: {error}.', file=sys.stderr)
    return 1
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
