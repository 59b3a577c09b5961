"""setuptools' entry: what is code. All metadata is in pyproject.toml."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import setuptools
from setuptools.command import bdist_wheel, build_py

COMPILED = pathlib.Path('rigl_rl', 'kernels', 'compiled')


class BuildPy(build_py.build_py):
  """Puts gin files and compiled kernels into the package.

  In a checkout the gin files lie beside it, and kernels are compiled at first
  use.
  """

  def run(self):
    super().run()
    if not self.editable_mode:
      library = pathlib.Path(self.build_lib).resolve()
      shutil.copytree(
        'gin_configs', library / 'rigl_rl' / 'gin_configs', dirs_exist_ok=True
      )
      compile_kernels(library / COMPILED)


def compile_kernels(directory):
  """Compiles the kernels, where there are a compiler and TensorFlow.

  pip and uv hide an installed TensorFlow from a build without
  `--no-build-isolation`. The wheel then has no kernels, and works without.
  """
  shutil.rmtree(directory, ignore_errors=True)
  if os.environ.get('RIGL_RL_KERNELS') == '0':
    return
  done = subprocess.run(
    [sys.executable, '-m', 'rigl_rl.kernels.build', str(directory)],
    stderr=subprocess.PIPE,
    text=True,
  )
  if done.returncode:
    reason = done.stderr.strip().splitlines()[-1]
    print(f'The wheel has no compiled kernels: {reason}', file=sys.stderr)


class BdistWheel(bdist_wheel.bdist_wheel):
  """Names the platform in a wheel that has compiled kernels."""

  def get_tag(self):
    python, abi, platform = super().get_tag()
    if any(pathlib.Path(self.bdist_dir, COMPILED).glob('*.so')):
      platform = sysconfig.get_platform().replace('-', '_').replace('.', '_')
    return python, abi, platform


setuptools.setup(cmdclass={'build_py': BuildPy, 'bdist_wheel': BdistWheel})
