"""What decides a run's numbers beside its config: code, versions, processor."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from collections.abc import Mapping
from typing import Any

import rigl_rl

# Installed packages by their names in run.json; of two the last one counts.
_DISTRIBUTIONS = {
  'rigl_rl': ('rigl-rl',),
  'tensorflow': ('tensorflow-cpu', 'tensorflow'),
  'tf_agents': ('tf-agents',),
  'dopamine': ('dopamine-rl',),
  'gymnasium': ('gymnasium',),
  'ale_py': ('ale-py',),
  'mujoco': ('mujoco',),
  'numpy': ('numpy',),
}


def versions() -> dict[str, str | None]:
  """Returns the versions of Python and packages; None for a missing package.

  Read from the packages' metadata: nothing is imported.
  """
  found: dict[str, str | None] = {'python': platform.python_version()}
  for name, distributions in _DISTRIBUTIONS.items():
    found[name] = None
    for distribution in distributions:
      with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found[name] = importlib.metadata.version(distribution)
  return found


def git_revision() -> str | None:
  """Returns the commit of the checkout that this package runs from.

  Returns:
    The full hash, with '+dirty' behind it if a tracked file was changed. None
    if the package was not imported from a checkout of its own, or if there is
    no git. It never fails.
  """
  package = pathlib.Path(rigl_rl.__file__).resolve().parent

  def git(*arguments: str) -> str:
    return subprocess.run(
      ('git', '-C', str(package), *arguments),
      # Inside a git hook GIT_DIR and others point at another repository.
      env={k: v for k, v in os.environ.items() if not k.startswith('GIT_')},
      check=True,
      timeout=10,
      text=True,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
    ).stdout.strip()

  try:
    # A package installed inside another repository is not tracked by it.
    git('ls-files', '--error-unmatch', '__init__.py')
    whole_hash = ('--always', '--abbrev=40', '--exclude=*')
    return git('describe', *whole_hash, '--dirty=+dirty')
  except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
    return None


def processor() -> str:
  """Returns the model of the processor, as exactly as the system names it."""
  with contextlib.suppress(OSError), open('/proc/cpuinfo') as file:
    for line in file:
      if line.startswith('model name'):
        return line.partition(':')[2].strip()
  return platform.processor() or platform.machine()


def collect() -> dict[str, Any]:
  """Returns git_revision, processor and versions, for run.json."""
  return {
    'git_revision': git_revision(),
    'processor': processor(),
    'versions': versions(),
  }


def differences(before: Mapping[str, Any], here: Mapping[str, Any]) -> str:
  """Says how two results of `collect` differ: 'numpy was 1.0, is 2.0, …'."""
  names = ('git_revision', 'processor')
  earlier, later = (
    {**{n.replace('_', ' '): made[n] for n in names}, **made['versions']}
    for made in (before, here)
  )
  return ', '.join(
    f'{name} was {earlier.get(name)}, is {later.get(name)}'
    for name in {**earlier, **later}
    if earlier.get(name) != later.get(name)
  )
