"""Evaluates a trained run: `rigl-rl evaluate`."""

import sys

from rigl_rl.commands import evaluate

if __name__ == '__main__':
  sys.exit(evaluate.main())
