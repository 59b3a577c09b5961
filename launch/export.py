"""Writes a trained run for other programs: `rigl-rl export`."""

from rigl_rl.commands import export

if __name__ == '__main__':
  raise SystemExit(export.main())
