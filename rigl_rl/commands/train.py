"""Trains what a gin file describes.

  python -m launch.train \\
    --gin_files=gin_configs/graesser22/dqn_classic/rigl.gin \\
    --gin_bindings='SPARSITY=0.95' --base_dir=RUN

Started again on the same --base_dir, a run that was cut off continues.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Sequence

from rigl_rl import files, quiet, wording
from rigl_rl.commands import command_line, seeds, sweep
from rigl_rl.config import checking, gin_text
from rigl_rl.errors import UserError
from rigl_rl.training import (
  attributes,
  extension,
  run_directory,
  smoke,
  tracking,
)


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit code."""
  argv = sys.argv[1:] if argv is None else list(argv)
  parser = command_line.make_parser('train', __doc__)
  command_line.add_gin_arguments(parser)
  parser.add_argument(
    '--base_dir',
    required=True,
    metavar='DIR',
    help='the run directory; created if missing',
  )
  parser.add_argument(
    '--smoke',
    action='store_true',
    help='only try the gin files: less than a minute, by the bindings of '
    'gin_configs/smoke/; all results say so, and figures leave the run out',
  )
  parser.add_argument(
    '--extend',
    choices=extension.CHOICES,
    help='continue a finished run to a higher TRAIN_STEPS. stay: windows of '
    'mask updates and decays end where they ended; stretch: they count by the '
    'new length from there on',
  )
  parser.add_argument(
    '--track',
    choices=tracking.TRACKERS,
    help='send what TensorBoard shows to this tracker, too',
  )
  command_line.add_thread_arguments(parser)
  seeds.add_arguments(parser)
  arguments = parser.parse_args(argv)
  if arguments.seeds is not None:
    return command_line.run(lambda: _train_seeds(arguments, argv))
  return command_line.run(lambda: _train(arguments))


def _train_seeds(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
  if arguments.extend:
    raise UserError(
      f'--extend is {arguments.extend!r}, but cannot be given with --seeds: '
      "extend each seed's run by a command of its own."
    )
  tracking.check(arguments.track)
  _add_smoke_file(arguments)
  track = [f'--track={arguments.track}'] if arguments.track else []
  return seeds.train(arguments, argv, _outline, [*sweep.TRAIN, *track])


def _add_smoke_file(arguments: argparse.Namespace) -> None:
  if arguments.smoke:
    config = checking.check(arguments.gin_files, arguments.gin_bindings)
    arguments.gin_files = smoke.add_file(arguments.gin_files, config)


def _train(arguments: argparse.Namespace) -> None:
  seeds.check(arguments)
  tracking.check(arguments.track)
  # Before TensorFlow loads, which takes seconds.
  directory = run_directory.RunDirectory(arguments.base_dir)
  if not files.is_url(arguments.base_dir):
    directory.check_writable()
  _add_smoke_file(arguments)
  config = checking.check(arguments.gin_files, arguments.gin_bindings)
  print(f'{_outline(config)}: {directory.path()}', flush=True)
  command_line.start_tensorflow(arguments)
  with quiet.import_quietly():
    from rigl_rl.training import run
  try:
    run.train_files(
      arguments.gin_files,
      arguments.gin_bindings,
      arguments.base_dir,
      arguments.extend,
      arguments.track,
    )
    evaluate = command_line.invocation('evaluate')
    print(f'Next:    tensorboard --logdir {shlex.quote(directory.events)}')
    print(f'         {evaluate} --run={shlex.quote(directory.path())}')
  except KeyboardInterrupt as interrupt:
    steps = directory.checkpoints.steps()
    how = f'continues from step {steps[-1]:,}' if steps else 'starts again'
    raise KeyboardInterrupt(f'; the same command {how}') from interrupt


def _outline(config: gin_text.Config, is_one: bool = True) -> str:
  """Says what is about to run, as far as the text of its config tells."""
  bound = attributes.Bindings(config)
  method = bound.text('sparsify.algorithm')
  agent = attributes.short_name(bound.agent())
  text = ' '.join(filter(None, (method, agent))) or 'A run'
  if task := bound.text('train.task'):
    text += f' on {task}'
  sparsities = filter(attributes.is_number, bound.all('sparsify.sparsity'))
  if method != 'Dense' and (numbers := sorted(sparsities)):
    text += f', sparsity {" and ".join(f"{x:g}" for x in numbers)}'
  steps, seed = (
    bound.values.get(f'train.{x}') for x in ('train_steps', 'seed')
  )
  if attributes.is_number(steps):  # A user's own constant is not known yet.
    text += f', {wording.count(steps, "step")}'
  if True in bound.all('train.smoke'):
    text = f'Smoke run: {text}'
  return f'{text}, seed {seed}' if is_one and seed is not None else text
