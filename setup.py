"""setuptools' entry: what is code. All metadata is in pyproject.toml."""

import pathlib
import shutil

import setuptools
from setuptools.command import build_py


class BuildPy(build_py.build_py):
  """Puts the gin files into the package; a checkout has them beside it."""

  def run(self):
    super().run()
    if not self.editable_mode:
      shutil.copytree(
        'gin_configs',
        pathlib.Path(self.build_lib, 'rigl_rl', 'gin_configs'),
        dirs_exist_ok=True,
      )


setuptools.setup(cmdclass={'build_py': BuildPy})
