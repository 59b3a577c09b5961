"""Measures speed: `rigl-rl benchmark`."""

import sys

from rigl_rl.commands import benchmark

if __name__ == '__main__':
  sys.exit(benchmark.main())
