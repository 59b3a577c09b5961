"""The console script: `rigl-rl COMMAND ARGS`.

Nothing is imported but the command asked for, so that a usage error costs no
import of TensorFlow.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import re
import sys


def commands() -> list[str]:
  """Returns the names of the modules of this package that have a `main`."""
  names = []
  for module in pkgutil.iter_modules([os.path.dirname(__file__)]):
    if module.name.startswith('_'):
      continue
    # Read, not imported: an import would load TensorFlow for each of them.
    spec = module.module_finder.find_spec(module.name, None)
    source = spec.loader.get_source(spec.name) or ''
    if re.search(r'^def main\(', source, re.MULTILINE):
      names.append(module.name)
  return sorted(names)


def main(argv: list[str] | None = None) -> int:
  """Runs one command.

  Args:
    argv: The command's name and its arguments; those of the process if None.

  Returns:
    The exit code: the command's own, or 2 if there is no such command.
  """
  argv = sys.argv[1:] if argv is None else argv
  available = commands()
  usage = f'usage: rigl-rl {{{",".join(available)}}} ARGS'
  if argv and argv[0] in ('-h', '--help'):
    print(usage)
    return 0
  if not argv:
    print(usage, file=sys.stderr)
    return 2
  name = argv[0]
  if name not in available:
    print(f'rigl-rl: no command {name!r}; {usage}', file=sys.stderr)
    return 2
  return importlib.import_module(f'rigl_rl.commands.{name}').main(argv[1:])


if __name__ == '__main__':
  sys.exit(main())
