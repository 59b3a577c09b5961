"""Writes a trained run for other programs: `rigl-rl export`."""

import sys

from rigl_rl.commands import export

if __name__ == '__main__':
  sys.exit(export.main())
