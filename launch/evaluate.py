"""Evaluates a trained run: `rigl-rl evaluate`."""

from rigl_rl.commands import evaluate

if __name__ == '__main__':
  raise SystemExit(evaluate.main())
