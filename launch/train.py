"""Trains what a gin file describes: `rigl-rl train`."""

from rigl_rl.commands import train

if __name__ == '__main__':
  raise SystemExit(train.main())
