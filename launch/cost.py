"""Prints what networks cost: `rigl-rl cost`."""

from rigl_rl.commands import cost

if __name__ == '__main__':
  raise SystemExit(cost.main())
