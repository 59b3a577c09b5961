"""Evaluates a trained run by its checkpoint.

  python -m launch.evaluate --run=RUN

Plays as the evaluations of training do: the same policy, as many episodes (on
Atari agent steps), the same environment. --episodes asks for a number of
episodes instead. Only --seed decides the episodes, so that runs, and levels of
noise, are compared on the same ones.

Figure 6 of Graesser et al. (2022), noise on the pixels of Atari games:

  python -m launch.evaluate --run=RUNS --observation_noise=0,1,...,30

--run is a run directory, or one that holds several at any depth; runs that show
no pixels are then left out. Each run's means are kept in its directory, in
observation_noise.csv, for launch.figures; given again, the command continues
with what is missing there. With --checkpoint or --gin_bindings nothing is kept;
--out writes the returns.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, Sequence

from rigl_rl import wording
from rigl_rl.commands import command_line
from rigl_rl.errors import UserError
from rigl_rl.training import quiet

_ELLIPSES = ('...', '…')
_MOST_LEVELS = 1000


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit code."""
  parser = command_line.make_parser('evaluate', __doc__)
  add = parser.add_argument
  add(
    '--run',
    required=True,
    action='append',
    metavar='DIR',
    help='a run directory, or one that holds some; may be repeated',
  )
  add(
    '--checkpoint',
    type=int,
    metavar='STEP',
    help='step of a checkpoint (default: the newest)',
  )
  add(
    '--episodes',
    type=int,
    metavar='N',
    help='episodes to play (default: as in training)',
  )
  add('--seed', type=int, default=0, metavar='N', help='default: 0')
  add(
    '--observation_noise',
    metavar='S,S,...',
    help='standard deviations of noise on pixels, in gray levels of 0 to 255: '
    "'0,10', or '0,1,...,30'",
  )
  add(
    '--video',
    metavar='FILE',
    help='film the first episode: .mp4 (MPEG-4 part 2) or .gif',
  )
  add('--out', metavar='CSV', help='write the return of each episode there')
  add(
    '--gin_bindings',
    action='append',
    default=[],
    metavar='BINDING',
    help="a binding that wins over the run's, such as "
    "'ObservationNoise.wrap=True'; may be repeated",
  )
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


def _evaluate_all(arguments: argparse.Namespace) -> None:
  levels = parse_levels(arguments.observation_noise)
  _check(arguments, levels)
  found = _find_runs(arguments.run)
  is_one = len(found) == 1
  if not is_one:
    for name in ('checkpoint', 'video'):
      if getattr(arguments, name) is not None:
        raise UserError(
          f'--{name} is {getattr(arguments, name)!r}, but must be left out '
          f'where --run holds several runs: there are {len(found):,}.'
        )
  _prepare_pictures(arguments)
  command_line.start_tensorflow(arguments)
  with quiet.import_quietly():
    import gin

    from rigl_rl.training import saved_run  # noqa: F401
  rows: list[dict[str, Any]] = []
  failures = []
  blind = 0
  for number, directory in enumerate(found, 1):
    if not is_one:
      print(f'[{number}/{len(found)}] ', end='')
    try:
      sees_pixels = _evaluate(arguments, directory, levels, rows, is_one)
    except UserError as error:
      if is_one:
        raise
      reason = str(error).splitlines()[0]
      failures.append(reason)
      print(f'{directory}\nleft out: {reason}', file=sys.stderr, flush=True)
      continue
    finally:
      gin.clear_config()
    blind += not sees_pixels
    if arguments.out:  # After each run: the next may take hours.
      _write_returns(arguments.out, rows)
  if arguments.out:
    print(f'Returns: {arguments.out}')
  if blind and levels is not None:
    print(
      f'Left out: {blind:,} of {wording.count(len(found), "run")}, without '
      'pixels.'
    )
  if failures:
    raise UserError(
      f'--run is {", ".join(arguments.run)!r}, where {len(failures):,} of '
      f'{wording.count(len(found), "run")} cannot be evaluated; the first: '
      f'{failures[0]}'
    )


def _check(
  arguments: argparse.Namespace, levels: Sequence[float] | None
) -> None:
  """Raises UserError on flags that are out of range, before anything loads."""
  command_line.check_at_least(arguments, checkpoint=0, episodes=1, seed=0)
  if arguments.video is not None:
    # Without TensorFlow, as the module is.
    from rigl_rl.environments import recording

    recording.check_path(arguments.video)
    if levels is not None and len(levels) != 1:
      raise UserError(
        f'--video is {arguments.video!r}, but films one episode: give one '
        f'--observation_noise, not {len(levels)}.'
      )
  if not arguments.out:
    return
  if '://' in arguments.out or os.path.isdir(arguments.out):
    raise UserError(
      f"--out is {arguments.out!r}, but must be a file of this machine's."
    )
  directory = os.path.dirname(os.path.abspath(arguments.out))
  while not os.path.lexists(directory):
    directory = os.path.dirname(directory)
  if not os.path.isdir(directory) or not os.access(directory, os.W_OK):
    raise UserError(
      f'--out needs {arguments.out!r}, which cannot be written; it must be in '
      'a directory that can be written to.'
    )


def _find_runs(directories: Sequence[str]) -> list[str]:
  """Returns the run directories in some directories, each once."""
  from rigl_rl.analysis import paths

  found: dict[str, None] = {}
  for directory in directories:
    known = len(found)
    found.update(dict.fromkeys(paths.find_runs(directory, '--run')))
    if len(found) == known:
      raise UserError(
        f'--run is {directory!r}, but must be the directory of a run, or hold '
        'some: there is no config.gin in it, nor below.'
      )
  return list(found)


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
  arguments: argparse.Namespace,
  directory: str,
  levels: Sequence[float] | None,
  rows: list[dict[str, Any]],
  is_one: bool,
) -> bool:
  """Evaluates a run, and prints how; returns whether noise could be added.

  Args:
    arguments: of the command.
    directory: of the run.
    levels: of noise, or None.
    rows: to which those of its episodes are added.
    is_one: whether it is the only one.
  """
  from rigl_rl.training import record, saved_run

  is_kept = (
    levels is not None
    and arguments.checkpoint is None
    and not arguments.gin_bindings
  )
  kept = _Kept(directory, arguments) if is_kept else None
  if kept is not None and not arguments.out:
    # Nothing is built for a run that has all.
    newest = saved_run.steps(directory)[-1:]
    if newest and all(kept.find(newest[0], level) for level in levels):
      print(f'{directory}\nis evaluated at all these levels.', flush=True)
      return True
  # run.json says whether it is a DQN run; it need not be built.
  is_one_of_many = levels is not None and not is_one
  if is_one_of_many and record.read(directory)['agent'] not in ('DQN', ''):
    print(f'{directory}\nis not of DQN: left out.', flush=True)
    return False
  run = saved_run.load(
    directory,
    arguments.checkpoint,
    arguments.episodes,
    arguments.gin_bindings,
    render=arguments.video is not None,
  )
  if is_one_of_many and not run.sees_pixels:
    print(f'{directory}\n{run.task} shows no pixels: left out.', flush=True)
    return False
  if levels is not None:
    run.check_noise(levels[0])
  print(
    f'{run.title} on {run.task}, checkpoint of step {run.step:,}: {directory}',
    flush=True,
  )
  header = f'{"noise":>8}{"return":>12}{"std":>10}{"episodes":>10}\n'
  for level in [None] if levels is None else levels:
    row = kept.find(run.step, level) if kept and not arguments.out else None
    if row is None:
      recorder, returns = _play(arguments, run, level)
      row = {
        'observation_noise': level,
        'return_mean': float(returns.mean()),
        'return_std': float(returns.std()),
        'episodes': len(returns),
      }
      rows += [
        {
          'run': directory,
          'step': run.step,
          'observation_noise': '' if level is None else f'{level:g}',
          'episode': episode,
          'return': repr(float(value)),
        }
        for episode, value in enumerate(returns)
      ]
      if kept is not None:
        kept.add(run.step, row)
    print(
      f'{header}{"–" if level is None else f"{level:g}":>8}'
      f'{row["return_mean"]:12,.2f}{row["return_std"]:10,.2f}'
      f'{row["episodes"]:10,}',
      flush=True,
    )
    header = ''  # With the first row, so that an error has none above it.
  if arguments.video is not None:
    print(
      f'Video: {arguments.video} ({wording.count(recorder.frames, "picture")})'
    )
  return run.sees_pixels


def _play(
  arguments: argparse.Namespace, run: Any, level: float | None
) -> tuple[Any, Any]:
  """Evaluates once; returns what films it, or None, and the returns."""
  if arguments.video is None:
    return None, run.evaluate(arguments.seed, level)
  from rigl_rl.environments import recording

  recorders = []

  def watch(environment):
    recorders.append(recording.Recorder(environment, arguments.video))
    return recorders[0]

  returns = run.evaluate(arguments.seed, level, watch)
  recorders[0].close_video()
  return recorders[0], returns


class _Kept:
  """observation_noise.csv of a run, which figure 6 is drawn from."""

  def __init__(self, directory: str, arguments: argparse.Namespace):
    """Reads it, if there is one."""
    from rigl_rl.analysis.figures import noise

    self._columns = noise.COLUMNS
    self._path = os.path.join(directory, noise.FILE)
    self._how = {
      'seed': str(arguments.seed),
      'asked_episodes': str(arguments.episodes or ''),
    }
    self._rows = noise.read_rows(self._path)

  def _is_same(self, row: dict[str, str], step: int) -> bool:
    how = {'step': str(step), **self._how}
    return all(row.get(name) == value for name, value in how.items())

  def find(self, step: int, level: float) -> dict[str, Any] | None:
    """Returns what there is of a level, evaluated in the same way."""
    for row in self._rows:
      if self._is_same(row, step) and float(row['observation_noise']) == level:
        return {
          'return_mean': float(row['return_mean']),
          'return_std': float(row['return_std']),
          'episodes': int(row['episodes']),
        }
    return None

  def add(self, step: int, row: dict[str, Any]) -> None:
    """Writes a level; what was evaluated otherwise is dropped."""
    from rigl_rl.analysis import paths

    texts = {name: str(value) for name, value in row.items()}
    texts['observation_noise'] = f'{row["observation_noise"]:g}'
    new = {**texts, 'step': str(step), **self._how}
    self._rows = [
      other
      for other in self._rows
      if self._is_same(other, step)
      and float(other['observation_noise']) != row['observation_noise']
    ]
    self._rows.append(new)
    self._rows.sort(key=lambda other: float(other['observation_noise']))
    paths.write(
      self._path, command_line.to_csv(self._columns, self._rows), '--run'
    )


def _write_returns(path: str, rows: Sequence[dict[str, Any]]) -> None:
  """Writes one row per episode."""
  from rigl_rl.analysis import paths

  columns = ('run', 'step', 'observation_noise', 'episode', 'return')
  paths.write(path, command_line.to_csv(columns, rows))
