"""Draws the papers' figures and tables: `rigl-rl figures`."""

import sys

from rigl_rl.commands import figures

if __name__ == '__main__':
  sys.exit(figures.main())
