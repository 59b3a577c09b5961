"""Draws learning curves of any runs: `rigl-rl plot`."""

import sys

from rigl_rl.commands import plot

if __name__ == '__main__':
  sys.exit(plot.main())
