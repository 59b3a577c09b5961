"""Trains what a gin file describes: `rigl-rl train`."""

import sys

from rigl_rl.commands import train

if __name__ == '__main__':
  sys.exit(train.main())
