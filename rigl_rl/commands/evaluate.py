"""Evaluates a trained run by its checkpoint.

  python -m launch.evaluate --run=RUN

Plays as the evaluations of training do: the same policy, as many episodes (on
Atari agent steps), the same environment. Only --seed decides the episodes, so
runs and levels of noise are compared on the same ones.

Figure 6 of Graesser et al. (2022), noise on the pixels of Atari games:

  python -m launch.evaluate --run=RUNS --observation_noise=0,1,...,30

Runs that show no pixels are then left out. Each run's means are kept in its
directory, in observation_noise.csv, for launch.figures; given again, the
command continues with what is missing there. With --checkpoint or
--gin_bindings nothing is kept; --out writes the returns.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import Any, Sequence

import numpy as np

from rigl_rl import quiet, wording
from rigl_rl.commands import command_line
from rigl_rl.compat import linking
from rigl_rl.environments import recording
from rigl_rl.errors import UserError
from rigl_rl.training import paths, record, run_directory

_ELLIPSES = ('...', '…')
_MOST_LEVELS = 1000
_COLUMNS = ('run', 'step', 'observation_noise', 'episode', 'return')
# Name, type, what is shown for the value, help.
_FLAGS = (
  ('checkpoint', int, 'STEP', 'step of a checkpoint (default: the newest)'),
  ('episodes', int, 'N', 'episodes to play (default: as in training)'),
  ('seed', int, 'N', 'decides the episodes (default: 0)'),
  ('video', str, 'FILE', 'film the first episode: .mp4 or .gif'),
  ('out', str, 'CSV', 'write the return of each episode there'),
  (
    *('observation_noise', str, 'S,S,...'),
    'standard deviations of noise on pixels, in gray levels of 0 to 255: '
    "'0,10', or '0,1,...,30'",
  ),
)


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit code."""
  parser = command_line.make_parser('evaluate', __doc__)
  parser.add_argument(
    '--run',
    required=True,
    action='append',
    metavar='DIR',
    help='a run directory, or one that holds some; may be repeated',
  )
  for name, kind, metavar, text in _FLAGS:
    parser.add_argument(f'--{name}', type=kind, metavar=metavar, help=text)
  parser.set_defaults(seed=0)
  command_line.add_bindings_argument(parser)
  command_line.add_thread_arguments(parser)
  arguments = parser.parse_args(argv)
  return command_line.run(lambda: _evaluate_all(arguments))


def parse_levels(text: str | None) -> list[float] | None:
  """Returns levels of noise: '0,1,...,30' is 31 of them.

  Args:
    text: numbers of at least 0, separated by commas; '...' (or '…') between two
      numbers and a last one means those in between.

  Raises:
    UserError: it is something else.
  """
  if text is None:
    return None
  error = UserError(
    f'--observation_noise is {text!r}, but must be numbers of at least 0, '
    "separated by commas, as '0,10,20' or '0,1,...,30'."
  )
  parts = [part.strip() for part in text.split(',')]
  levels: list[float] = []
  try:
    for index, part in enumerate(parts):
      if part not in _ELLIPSES:
        levels.append(float(part))
        continue
      first, second, last = levels[-2], levels[-1], float(parts[index + 1])
      count = (last - second) / (second - first)
      if not 1 <= count <= _MOST_LEVELS or abs(count - round(count)) > 1e-6:
        raise error
      levels += [second + i * (second - first) for i in range(1, round(count))]
  except (ValueError, LookupError, ZeroDivisionError):
    raise error from None
  if not all(0 <= level < float('inf') for level in levels):
    raise error
  return list(dict.fromkeys(round(level, 9) for level in levels))


class _NoPixelsError(UserError):
  """Noise is asked for, but the run's observations are no pixels."""


def _evaluate_all(arguments: argparse.Namespace) -> None:
  levels = parse_levels(arguments.observation_noise)
  _check(arguments, levels)
  found = _find_runs(arguments.run)
  is_one = len(found) == 1
  for name in ('checkpoint', 'video'):
    if not is_one and getattr(arguments, name) is not None:
      raise UserError(
        f'--{name} is {getattr(arguments, name)!r}, but must be left out '
        f'where --run holds several runs: there are {len(found):,}.'
      )
  # At once: TensorFlow takes seconds to load.
  runs = f'{len(found):,} runs'
  print(_outline(found[0], arguments) if is_one else runs, flush=True)
  if is_one:
    run_directory.checkpoints(found[0], arguments.checkpoint)
  _prepare_pictures(arguments)
  with linking.own_symbols() if arguments.video else contextlib.nullcontext():
    command_line.start_tensorflow(arguments)
  with quiet.import_quietly():
    import gin

    from rigl_rl.training import saved_run  # noqa: F401
  rows: list[dict[str, Any]] = []
  failures = []
  blind = 0
  for number, directory in enumerate(found, 1):
    try:
      if not is_one:
        outline = _outline(directory, arguments)
        print(f'[{number}/{len(found)}] {outline}', flush=True)
      rows += _evaluate(arguments, directory, levels)
    except _NoPixelsError:
      blind += 1
    except UserError as error:
      if is_one:
        raise
      failures.append(str(error).splitlines()[0])
      print(f'{directory} is left out: {failures[-1]}', file=sys.stderr)
    finally:
      gin.clear_config()
    if arguments.out:  # After each run: the next may take hours.
      paths.write(arguments.out, command_line.to_csv(_COLUMNS, rows))
  if arguments.out:
    print(f'Returns: {arguments.out}')
  if blind:
    print(f'Left out: {blind:,} of {runs}, which show no pixels.')
  if failures:
    raise UserError(
      f'--run is {", ".join(arguments.run)!r}, where {len(failures):,} of '
      f'{runs} cannot be evaluated; the first: {failures[0]}'
    )


def _check(
  arguments: argparse.Namespace, levels: Sequence[float] | None
) -> None:
  """Raises UserError on flags that are out of range, before anything loads."""
  command_line.check_at_least(arguments, checkpoint=0, episodes=1, seed=0)
  if arguments.video is not None:
    recording.check_path(arguments.video)
    if levels is not None and len(levels) != 1:
      raise UserError(
        f'--video is {arguments.video!r}, but films one episode: give one '
        f'--observation_noise, not {len(levels)}.'
      )
  if arguments.out:
    paths.check_writable(arguments.out)


def _find_runs(directories: Sequence[str]) -> list[str]:
  """Returns the run directories in some directories, each once."""
  found: dict[str, None] = {}
  for directory in directories:
    below = dict.fromkeys(paths.find_runs(directory, '--run'))
    if not below:
      raise UserError(
        f'--run is {directory!r}, but must be the directory of a run, or hold '
        'some: there is no config.gin in it, nor below.'
      )
    found.update(below)
  return list(found)


def _outline(directory: str, arguments: argparse.Namespace) -> str:
  """Says what a run is; raises _NoPixelsError if noise needs pixels."""
  described = record.describe(directory)
  is_noisy = arguments.observation_noise is not None
  if is_noisy and described['network'] == 'MLP':
    raise _NoPixelsError(
      f'--observation_noise is {arguments.observation_noise}, but must be left '
      f'out for {directory!r}: its task, {described["task"]}, shows no pixels.'
    )
  return f'{record.heading(described)}: {directory}'


def _prepare_pictures(arguments: argparse.Namespace) -> None:
  """Lets a machine without a display draw; before MuJoCo is imported."""
  if arguments.video is None:
    return
  if not (os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')):
    if sys.platform.startswith('linux'):
      os.environ.setdefault('MUJOCO_GL', 'egl')
    os.environ.setdefault('SDL_VIDEODRIVER', 'dummy')
  os.environ.setdefault('SDL_AUDIODRIVER', 'dummy')


def _evaluate(
  arguments: argparse.Namespace, directory: str, levels: Sequence[float] | None
) -> list[dict[str, Any]]:
  """Evaluates a run, and prints how.

  Returns:
    A row of _COLUMNS for each episode that was played.
  """
  from rigl_rl.training import saved_run

  kept = _Kept(directory, arguments)
  newest = run_directory.checkpoints(directory).steps()[-1]
  if levels and all(kept.find(newest, level) for level in levels):
    print('Evaluated at all these levels already.', flush=True)
    return []
  run = saved_run.load(
    directory,
    arguments.checkpoint,
    arguments.episodes,
    arguments.gin_bindings,
    render=arguments.video is not None,
  )
  print(f'Checkpoint of step {run.step:,}', flush=True)
  print(f'{"noise":>8}{"return":>12}{"std":>10}{"episodes":>10}')
  rows = []
  for level in levels or (None,):
    row = kept.find(run.step, level)
    if row is None:
      returns = _play(arguments, run.runner, level)
      row = kept.add(run.step, level, returns)
      what = directory, run.step, _written(level)
      rows += [
        dict(zip(_COLUMNS, (*what, episode, float(value))))
        for episode, value in enumerate(returns)
      ]
    print(
      f'{_written(level) or "–":>8}{row["return_mean"]:12,.2f}'
      f'{row["return_std"]:10,.2f}{row["episodes"]:10,}',
      flush=True,
    )
  return rows


def _play(
  arguments: argparse.Namespace, runner: Any, level: float | None
) -> np.ndarray:
  """Plays an evaluation, and films its first episode if that is asked for."""
  noise = {} if level is None else {'noise_std': level}
  if arguments.video is None:
    return runner.evaluate(arguments.seed, **noise)
  with recording.Recorder(arguments.video) as recorder:
    returns = runner.evaluate(arguments.seed, recorder.film, **noise)
  frames = wording.count(recorder.frames, 'frame')
  print(f'Video: {arguments.video} ({frames})')
  return returns


def _written(level: float | None) -> str:
  return '' if level is None else f'{level:g}'


class _Kept:
  """observation_noise.csv of a run, which figure 6 is drawn from.

  It holds levels of noise only, and only those of the run's own policy.
  """

  def __init__(self, directory: str, arguments: argparse.Namespace):
    """Reads what was evaluated in the same way, if there is any."""
    self._plays_again = bool(arguments.out or arguments.video)
    self._how = {
      'seed': str(arguments.seed),
      'asked_episodes': str(arguments.episodes or ''),
    }
    self._rows = {}
    self._is_used = (
      arguments.observation_noise is not None
      and arguments.checkpoint is None
      and not arguments.gin_bindings
    )
    if self._is_used:
      from rigl_rl.analysis.figures import noise

      self._path = os.path.join(directory, noise.FILE)
      self._columns = noise.COLUMNS
      for row in noise.read_rows(self._path):
        if all(row.get(name) == value for name, value in self._how.items()):
          self._rows[row.get('step'), row['observation_noise']] = row

  def find(self, step: int, level: float | None) -> dict[str, Any] | None:
    """Returns the row of a level, unless it must be played in any case."""
    return None if self._plays_again else self._rows.get((str(step), level))

  def add(
    self, step: int, level: float | None, returns: np.ndarray
  ) -> dict[str, Any]:
    """Returns a level's row; writes it, and drops what was played otherwise."""
    row = {
      'observation_noise': level,
      'return_mean': float(returns.mean()),
      'return_std': float(returns.std()),
      'episodes': len(returns),
      'step': str(step),
      **self._how,
    }
    if self._is_used:
      self._rows[str(step), level] = row
      kept = sorted(key for key in self._rows if key[0] == str(step))
      rows = [
        {**self._rows[key], 'observation_noise': _written(key[1])}
        for key in kept
      ]
      paths.write(self._path, command_line.to_csv(self._columns, rows), '--run')
    return row
