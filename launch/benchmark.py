"""Measures speed: `rigl-rl benchmark`."""

from rigl_rl.commands import benchmark

if __name__ == '__main__':
  raise SystemExit(benchmark.main())
