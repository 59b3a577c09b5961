"""Writes a trained run in a form that other programs read.

  python -m launch.export --run=RUN --out=FILE

The ending of FILE says which:

  .npz      the weights of all networks by layer, dense and as compressed
            sparse rows: 'actor/dense1/kernel', 'actor/dense1/kernel/data', ...
  .h        the greedy policy in C99, by its active weights: one header without
            dependencies, which defines one function, policy
  none      a directory, the greedy policy as a SavedModel:
            tf.saved_model.load(DIR).policy(observations)

The C header is compiled, if there is a compiler, timed, and compared with the
policy that launch.evaluate plays.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from typing import Any, Sequence

import numpy as np

from rigl_rl import files, quiet
from rigl_rl.commands import command_line
from rigl_rl.errors import UserError
from rigl_rl.training import paths, record, run_directory

# On which a compiled policy is compared with the run's.
_OBSERVATIONS = 1000


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit code."""
  parser = command_line.make_parser('export', __doc__)
  add = parser.add_argument
  add('--run', required=True, metavar='DIR', help='the run directory')
  add('--out', required=True, metavar='FILE', help='file or directory to write')
  add(
    '--checkpoint',
    type=int,
    metavar='STEP',
    help='step of a checkpoint (default: the newest)',
  )
  command_line.add_thread_arguments(parser)
  arguments = parser.parse_args(argv)
  return command_line.run(lambda: _export(arguments))


def _export(arguments: argparse.Namespace) -> None:
  out = arguments.out
  ending = os.path.splitext(out)[1]
  if ending not in _WRITERS:
    raise UserError(
      f'--out is {out!r}, but must end in .npz or .h, or be a directory, '
      'without an ending.'
    )
  if ending:
    paths.check_writable(out)
  elif os.path.lexists(out) and (not os.path.isdir(out) or os.listdir(out)):
    raise UserError(f'--out is {out!r}, but must be a new or empty directory.')
  record.check_run(arguments.run, '--run')
  title = record.heading(record.describe(arguments.run))
  print(f'{title}: {arguments.run}', flush=True)
  run_directory.checkpoints(arguments.run, arguments.checkpoint)
  command_line.start_tensorflow(arguments)
  with quiet.import_quietly():
    from rigl_rl.training import saved_run
  run = saved_run.load(arguments.run, arguments.checkpoint, as_masked=True)
  title = f'{title}, checkpoint of step {run.step:,}'
  print(f'Checkpoint of step {run.step:,}')
  _WRITERS[ending](saved_run.Policy(run.runner.agent), out, title)


def _write_arrays(policy: Any, out: str, title: str) -> None:
  from rigl_rl import npz
  from rigl_rl.export import weights

  del title
  arrays = weights.arrays(policy)
  content = npz.pack(arrays)
  paths.write(out, content)
  print(f'{out}: {len(arrays)} arrays, {len(content):,} bytes')


def _write_saved_model(policy: Any, out: str, title: str) -> None:
  from rigl_rl.export import saved_model

  del title
  temporary = files.temporary_name(out.rstrip(os.sep))
  with quiet.import_quietly():
    saved_model.write(policy, temporary)
  files.rename(temporary, out)
  print(f'{out}: tf.saved_model.load({out!r}).policy maps observations')


def _write_header(policy: Any, out: str, title: str) -> None:
  from rigl_rl.export import c_header

  header = c_header.make(policy, title)
  paths.write(out, header.text.encode('utf-8'))
  print(
    f'{out}: {header.active:,} of {header.all_weights:,} weights, '
    f'{header.size:,} bytes of constants, {len(header.text):,} of text'
  )
  rng = np.random.default_rng(0)
  shape = (_OBSERVATIONS, *policy.observation_shape)
  observations = rng.standard_normal(shape, np.float32)
  try:
    actions, microseconds = c_header.measure(header, observations)
  except (OSError, subprocess.CalledProcessError) as error:
    print(f'Not compiled, and not compared with the run: {error}')
    return
  expected = policy(observations)
  if expected.dtype.kind == 'i':
    agreement = f"{np.sum(actions == expected):,} equal the run's own"
  else:
    difference = np.abs(actions - expected).max()
    agreement = f"at most {difference:.2g} from the run's own"
  print(
    f'Compiled: {microseconds:.2f} µs per action; {_OBSERVATIONS:,} '
    f'actions, {agreement}'
  )


_WRITERS = {'.npz': _write_arrays, '.h': _write_header, '': _write_saved_model}
