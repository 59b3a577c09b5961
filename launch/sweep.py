"""Trains the runs of a sweep: `rigl-rl sweep`."""

from rigl_rl.commands import sweep

if __name__ == '__main__':
  raise SystemExit(sweep.main())
