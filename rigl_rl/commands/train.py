"""Trains what a gin file describes.

  python -m launch.train \\
    --gin_files=gin_configs/graesser22/dqn_classic/rigl.gin \\
    --gin_bindings='SPARSITY=0.95' --base_dir=RUN

Started again on the same --base_dir, a run that was cut off continues.
"""

from __future__ import annotations

import argparse
from typing import Sequence

from rigl_rl.commands import command_line
from rigl_rl.config import checking, memory
from rigl_rl.training import quiet


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit code."""
  parser = command_line.make_parser('train', __doc__)
  command_line.add_gin_arguments(parser)
  parser.add_argument(
    '--base_dir',
    required=True,
    metavar='DIR',
    help='the run directory; made if need be',
  )
  command_line.add_thread_arguments(parser)
  arguments = parser.parse_args(argv)
  return command_line.run(lambda: _train(arguments))


def _train(arguments: argparse.Namespace) -> None:
  # Before TensorFlow takes its seconds to load.
  checking.check(arguments.gin_files, arguments.gin_bindings)
  command_line.start_tensorflow(arguments)
  with quiet.import_quietly():
    from rigl_rl.config import parsing
    from rigl_rl.training import run

    given = parsing.parse(arguments.gin_files, arguments.gin_bindings)
  try:
    with memory.blame_sizes(arguments.gin_files, arguments.gin_bindings):
      run.train(arguments.base_dir, given=given)
  except KeyboardInterrupt as interrupt:
    step = run.newest_step(arguments.base_dir)
    how = 'starts again' if step is None else f'continues from step {step:,}'
    raise KeyboardInterrupt(f'; the same command {how}') from interrupt
