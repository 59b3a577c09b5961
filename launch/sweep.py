"""Trains the runs of a sweep: `rigl-rl sweep`."""

import sys

from rigl_rl.commands import sweep

if __name__ == '__main__':
  sys.exit(sweep.main())
