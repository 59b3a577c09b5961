"""The console script: `rigl-rl COMMAND ARGS`.

Nothing is imported but the command asked for, so that a usage error costs no
import of TensorFlow.
"""

from __future__ import annotations

import importlib
import pathlib
import sys


def commands() -> list[str]:
  """Returns the names of the modules of this package that have a `main`."""
  # Read, not imported: an import would load TensorFlow for each of them.
  modules = pathlib.Path(__file__).parent.glob('[a-z]*.py')
  mains = (m for m in modules if '\ndef main(' in f'\n{m.read_text("utf-8")}')
  return sorted(module.stem for module in mains)


def main(argv: list[str] | None = None) -> int:
  """Runs the command that `argv`, or the process, names; returns its exit code.

  The code is 2 if there is no such command.
  """
  argv = sys.argv[1:] if argv is None else argv
  available = commands()
  usage = f'usage: rigl-rl {{{",".join(available)}}} ARGS'
  if not argv:
    print(usage, file=sys.stderr)
    return 2
  name = argv[0]
  if name in ('-h', '--help'):
    print(usage)
    return 0
  if name not in available:
    print(f'rigl-rl: no command {name!r}; {usage}', file=sys.stderr)
    return 2
  return importlib.import_module(f'rigl_rl.commands.{name}').main(argv[1:])


if __name__ == '__main__':
  sys.exit(main())
