"""Trains the runs of a sweep: a figure or table of the papers, or your own.

  python -m launch.sweep --sweep=graesser22/fig08 --base_dir=RUNS

The same command continues a sweep: finished runs are skipped, those that were
cut off continue, and those that failed are tried again. Figures that share runs
share them in one base directory. --dry_run lists the runs and their cost.

A sweep file is gin: it binds a Sweep of Grids. See gin_configs/sweeps/.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import sys
from typing import Any, Iterator, Mapping, Sequence

from rigl_rl import locks, sweeps, wording
from rigl_rl.commands import command_line
from rigl_rl.config import checking
from rigl_rl.errors import UserError
from rigl_rl.sweeps import costs
from rigl_rl.sweeps.executors import jobs, local, loop

TRAIN = (sys.executable, '-m', 'rigl_rl.commands', 'train')


def main(
  argv: Sequence[str] | None = None, train: Sequence[str] = TRAIN
) -> int:
  """Runs the command; `train` trains a run, and tests have one of their own.

  Returns:
    The exit code: 1 if a run failed, 128 + the signal's number if one came.
  """
  argv = sys.argv[1:] if argv is None else list(argv)
  arguments = _parser().parse_args(argv)
  return command_line.run(lambda: _sweep(arguments, argv, train))


def _parser() -> argparse.ArgumentParser:
  parser = command_line.make_parser('sweep', __doc__)
  add = parser.add_argument
  add(
    '--sweep',
    required=True,
    metavar='FILE',
    help="a sweep file, or the short name of one, as 'graesser22/fig02_sac'",
  )
  add(
    '--base_dir',
    metavar='DIR',
    help='where the run directories are; created if missing',
  )
  add(
    '--dry_run',
    action='store_true',
    help='list the runs and what they cost, and train nothing',
  )
  add(
    '--scale',
    type=float,
    default=1.0,
    help='train for this share of TRAIN_STEPS, in (0, 1]',
  )
  add(
    '--filter',
    action='append',
    default=[],
    metavar='CONDITION',
    help="only runs that fulfill it: 'NAME=VALUE', 'NAME=VALUE|VALUE' or "
    "'NAME!=VALUE', NAME being label, seed, sweep or a binding; may be "
    'repeated, then all must hold',
  )
  add('--seeds', help=SEEDS_HELP)
  command_line.add_bindings_argument(parser, ' of all runs')
  add_executor_arguments(parser)
  add(
    '--steps_per_second',
    action='append',
    default=[],
    metavar='FAMILY=N',
    help='the speed of a core, to estimate costs by: '
    + ', '.join(f'{name}={n:g}' for name, n in costs.STEPS_PER_SECOND.items()),
  )
  return parser


SEEDS_HELP = (
  "how many seeds, counted from 0, as '3'; or a list, as '0,1,2' or '7,'"
)


def add_executor_arguments(parser: Any) -> None:
  """Adds the flags that say where runs are executed, and how many at a time."""
  add = parser.add_argument
  add(
    '--executor',
    choices=('local', 'ray'),
    default='local',
    help='a pool of processes, or a Ray cluster (default: local)',
  )
  add('--workers', type=int, help='runs at a time (default: one per core)')
  add('--workers_per_gpu', type=int, help='runs that share a GPU')
  add(
    '--no_affinity',
    action='store_true',
    help='do not keep each run to a core of its own',
  )
  add(
    '--ray_address',
    help="an existing Ray cluster, or 'auto' (default: one on this machine)",
  )


def _sweep(
  arguments: argparse.Namespace, argv: Sequence[str], train: Sequence[str]
) -> int:
  speeds = costs.parse_speeds(arguments.steps_per_second)
  runs = sweeps.load(arguments.sweep).runs(
    seeds=parse_seeds(arguments.seeds),
    filters=arguments.filter,
    gin_bindings=arguments.gin_bindings,
    scale=arguments.scale,
  )
  if not runs:
    raise UserError(
      f'--filter is {" and ".join(arguments.filter)!r}, which no run fulfills.'
    )
  if arguments.dry_run:
    _check_bindings(runs)
    _print_plan(runs, arguments.base_dir, speeds)
    return 0
  if not arguments.base_dir:
    raise UserError('--base_dir is not given, but must name a directory.')
  base_dir = absolute(arguments.base_dir)
  typed = f'{command_line.invocation("sweep")} {shlex.join(argv)}'
  all_jobs = make_jobs(runs, base_dir, train)
  return train_jobs(all_jobs, base_dir, arguments, typed, speeds)


def _check_bindings(runs: Sequence[sweeps.Run]) -> None:
  """Refuses what the runs would refuse, before a process is started."""
  seen = set()
  for run in runs:
    bindings = run.gin_bindings()
    kind = tuple(b for b in bindings if not b.startswith('SEED='))
    if (run.gin_files, kind) not in seen:
      seen.add((run.gin_files, kind))
      checking.check(run.gin_files, bindings)


def parse_seeds(text: str | None) -> tuple[int, ...] | None:
  """Returns the seeds that --seeds names; None if it is not given."""
  if text is None:
    return None
  try:
    seeds = [int(part) for part in text.split(',') if part.strip()]
  except ValueError:
    seeds = []
  if len(seeds) == 1 and ',' not in text:
    seeds = list(range(seeds[0]))
  if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
    raise UserError(
      f"--seeds is {text!r}, but must be a number of seeds, such as '3', or a "
      "list, such as '0,1,2', of whole numbers of at least 0."
    )
  return tuple(seeds)


def absolute(base_dir: str) -> str:
  """Returns the path that --base_dir names; runs need a local one."""
  if '://' in base_dir:
    raise UserError(
      f"--base_dir is {base_dir!r}, but must be a directory of this machine's "
      'file system.'
    )
  return os.path.abspath(os.path.expanduser(base_dir))


@contextlib.contextmanager
def _alone(base_dir: str) -> Iterator[None]:
  """Keeps other sweeps out of the base directory."""
  try:
    os.makedirs(base_dir, exist_ok=True)
    descriptor = locks.acquire(os.path.join(base_dir, '.sweep.lock'))
  except locks.Locked as holder:
    raise UserError(
      f'--base_dir is {base_dir!r}, where another sweep is at work '
      f'({holder}); wait until it ends, or give another --base_dir.'
    ) from None
  except OSError as error:
    raise UserError(
      f'--base_dir is {base_dir!r}, which cannot be written to '
      f'({error.strerror}); it must be a writable directory.'
    ) from error
  try:
    yield
  finally:
    os.close(descriptor)


def make_jobs(
  runs: Sequence[sweeps.Run], base_dir: str, train: Sequence[str] = TRAIN
) -> list[jobs.Job]:
  """Returns what trains the runs in a base directory."""
  made = []
  for run in runs:
    directory = os.path.join(base_dir, *run.directory.split('/'))
    command = (
      *train,
      *jobs.ONE_THREAD_FLAGS,
      *(f'--gin_files={name}' for name in run.gin_files),
      *(f'--gin_bindings={b}' for b in run.gin_bindings(base_dir)),
      f'--base_dir={directory}',
    )
    recorded = jobs.as_recorded(run, directory)
    made.append(jobs.Job(recorded, directory, command))
  return made


def _make_executor(arguments: argparse.Namespace) -> jobs.Executor:
  if arguments.executor == 'ray':
    from rigl_rl.sweeps.executors import ray

    return ray.RayExecutor(
      arguments.workers, arguments.workers_per_gpu, arguments.ray_address
    )
  if arguments.ray_address is not None:
    raise UserError(
      f'--ray_address is {arguments.ray_address!r}, but --executor is '
      f"{arguments.executor!r}; it must be 'ray'."
    )
  return local.LocalExecutor(
    arguments.workers, arguments.workers_per_gpu, not arguments.no_affinity
  )


def _print_plan(
  runs: Sequence[sweeps.Run], base_dir: str | None, speeds: Mapping[str, float]
) -> None:
  """Lists the runs, and what they cost."""
  states = [''] * len(runs)
  if base_dir:
    base_dir = absolute(base_dir)
    all_jobs = make_jobs(runs, base_dir)
    states = [_state(job) for job in all_jobs]
    runs = [job.run for job in all_jobs]
  width, state_width = len(str(len(runs))), max(map(len, states))
  groups: dict[str, list[sweeps.Run]] = {}
  for number, (run, state) in enumerate(zip(runs, states), 1):
    print(f'{number:{width}}  {state:{state_width}}'.rstrip(), run.name)
    groups.setdefault(run.label, []).append(run)
  rows = [*groups.items(), ('all', runs)]
  if 'finished' in states:
    left = [run for run, state in zip(runs, states) if state != 'finished']
    rows.append(('to do', left))
  lines = []
  for label, some in rows:
    cost = costs.estimate(some, speeds)
    hours = cost.core_hours
    shown = f'{hours:,.0f}' if hours >= 10 else f'{hours:.1f}'
    counts = wording.count(cost.runs, 'run'), wording.count(cost.steps, 'step')
    lines.append((label, *counts, f'{shown} core-hours'))
  print(f'\n{wording.columns(lines, right=(1, 2, 3))}')
  print(
    '\nSteps are environment steps of training (agent steps, of 4 frames, on '
    'Atari).'
  )
  families = sorted({run.family for run in runs if run.family})
  if families:
    used = ', '.join(f'{name} {speeds[name]:g}' for name in families)
    print(
      f'Core-hours are estimated from the steps/s of one core: {used}; '
      '--steps_per_second gives others.'
    )
  unknown = costs.estimate(runs, speeds).unknown
  if unknown:
    print(f'The speed of {wording.count(unknown, "run")} is not known.')


def _state(job: jobs.Job) -> str:
  job.check()
  if job.summary() is not None:
    return 'finished'
  return 'started' if job.is_started else 'new'


def train_jobs(
  all_jobs: Sequence[jobs.Job],
  base_dir: str,
  arguments: argparse.Namespace,
  typed: str,
  speeds: Mapping[str, float] = costs.STEPS_PER_SECOND,
) -> int:
  """Trains the runs that are not finished, in order; returns the exit code.

  Args:
    all_jobs: what trains them.
    base_dir: the directory of all runs.
    arguments: those of `add_executor_arguments`.
    typed: the command that continues.
    speeds: steps per second of one core, by family.

  Raises:
    UserError: on a mistake in the arguments or in the runs' bindings.
  """
  command_line.check_at_least(arguments, workers=1, workers_per_gpu=1)
  _check_bindings([job.run for job in all_jobs])
  with _alone(base_dir):
    for job in all_jobs:
      job.check()
    executor = _make_executor(arguments)
    work = loop.Loop(all_jobs, executor, speeds)
    before = len(work.before)
    count = wording.count(len(all_jobs), 'run')
    print(
      f'{count}, {before:,} of them finished before; {executor.workers} at a '
      'time.',
      flush=True,
    )
    work.run()
  print(
    f'{count}: {before + len(work.finished):,} finished, '
    f'{len(work.failed):,} failed.'
  )
  for job, reason in work.failed:
    print(f'failed: {job.run.name}: {reason}\n  log: {job.log}')
  if work.stopped is not None:
    name = signal.Signals(work.stopped).name
    print(
      f'Stopped by {name}. The same command continues: {typed}', file=sys.stderr
    )
    return 128 + work.stopped
  return 1 if work.failed else 0
