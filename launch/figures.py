"""Draws the papers' figures and tables: `rigl-rl figures`."""

from rigl_rl.commands import figures

if __name__ == '__main__':
  raise SystemExit(figures.main())
