"""Prints what networks cost: `rigl-rl cost`."""

import sys

from rigl_rl.commands import cost

if __name__ == '__main__':
  sys.exit(cost.main())
