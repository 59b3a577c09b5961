"""Draws learning curves of any runs: `rigl-rl plot`."""

from rigl_rl.commands import plot

if __name__ == '__main__':
  raise SystemExit(plot.main())
