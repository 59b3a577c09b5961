"""What decides a run's numbers beside its config: code, versions, processor."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

import rigl_rl


def _distribution_version(names: Iterable[str]) -> str | None:
  for name in names:
    try:
      return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return None


def versions() -> dict[str, str | None]:
  """Returns the versions of what decides a run's numbers.

  Read from the installed packages' metadata: nothing is imported.

  Returns:
    {name: version}, None for a package that is not installed.
  """
  distributions = {
    'rigl_rl': ('rigl_rl', 'rigl-rl'),
    'tensorflow': ('tensorflow', 'tensorflow-cpu'),
    'tf_agents': ('tf-agents',),
    'dopamine': ('dopamine-rl',),
    'gymnasium': ('gymnasium',),
    'ale_py': ('ale-py',),
    'mujoco': ('mujoco',),
    'numpy': ('numpy',),
  }
  found = {'python': platform.python_version()}
  for name, candidates in distributions.items():
    found[name] = _distribution_version(candidates)
  return found


def git_revision() -> str | None:
  """Returns the commit of the checkout that this package runs from.

  Returns:
    The full hash, with '+dirty' behind it if a tracked file was changed. None
    if the package was not imported from a checkout of its own, or if there is
    no git. It never fails.
  """
  package = pathlib.Path(rigl_rl.__file__).resolve().parent
  # Inside a git hook these point at another repository.
  environment = {
    key: value
    for key, value in os.environ.items()
    if not key.startswith('GIT_')
  }

  def git(*arguments: str) -> str:
    return subprocess.run(
      ('git', '-C', str(package), *arguments),
      env=environment,
      check=True,
      timeout=10,
      text=True,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
    ).stdout.strip()

  try:
    # A package installed in somebody's repository is not tracked by it.
    git('ls-files', '--error-unmatch', '__init__.py')
    revision = git('rev-parse', 'HEAD')
    changed = git('status', '--porcelain', '--untracked-files=no')
  except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
    return None
  return revision + ('+dirty' if changed else '')


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
  """Says what two results of `collect` differ in: 'numpy was 1.0, is 2.0'.

  Returns:
    Differences by commas, '' if there are none.
  """
  earlier, later = (
    {
      'git revision': made['git_revision'],
      'processor': made['processor'],
      **made['versions'],
    }
    for made in (before, here)
  )
  return ', '.join(
    f'{name} was {earlier.get(name)}, is {later.get(name)}'
    for name in {**earlier, **later}
    if earlier.get(name) != later.get(name)
  )
