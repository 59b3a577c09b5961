"""Git leaves out what the commands of the documentation write."""

import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


def _written():
  """Returns the paths that commands of the documentation write to."""
  found = set()
  for page in (ROOT / 'README.md', *(ROOT / 'docs').rglob('*.md')):
    for block in re.findall(r'```bash\n(.*?)```', page.read_text(), re.DOTALL):
      found.update(
        re.findall(r'--(?:base_dir|out|csv|video)=["\']?([\w./]+)', block)
      )
  return sorted(path for path in found if path.islower())


@pytest.mark.parametrize('path', _written())
def test_git_ignores_what_is_written(path):
  if shutil.which('git') is None or not (ROOT / '.git').exists():
    pytest.skip('not a checkout')
  # A file below it, since a pattern may name directories.
  done = subprocess.run(
    ['git', 'check-ignore', '-q', path if '.' in path else f'{path}/x'],
    cwd=ROOT,
  )
  assert done.returncode == 0
