"""Trains the runs of a sweep: a figure or table of the papers, or one's own.

  python -m launch.sweep --sweep=graesser22/fig08 --base_dir=RUNS

Given again, the command continues: finished runs are skipped, those that were
cut off continue, and those that failed are tried again. Figures that share runs
share them in one base directory. --dry_run lists the runs, and what they cost.

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

_LOCK = '.sweep.lock'
_TRAIN = (sys.executable, '-m', 'rigl_rl.commands', 'train')


def main(
  argv: Sequence[str] | None = None, train: Sequence[str] = _TRAIN
) -> int:
  """Runs the command.

  Args:
    argv: its arguments; those of the process if None.
    train: the command that trains a run; tests have one of their own.

  Returns:
    The exit code: 1 if a run failed, 128 + the signal's number if one came.
  """
  argv = sys.argv[1:] if argv is None else list(argv)
  arguments = _parser().parse_args(argv)
  codes = []
  code = command_line.run(lambda: codes.append(_sweep(arguments, argv, train)))
  return code or codes[0]


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
    metavar='S',
    help='train for this share of TRAIN_STEPS, in (0, 1]',
  )
  add(
    '--filter',
    action='append',
    default=[],
    metavar='CONDITION',
    help="only runs of which it holds: 'NAME=VALUE', 'NAME=VALUE|VALUE' or "
    "'NAME!=VALUE', NAME being label, seed, sweep or a binding; may be "
    'repeated, then all must hold',
  )
  add(
    '--seeds',
    metavar='SEEDS',
    help="how many, from 0 on, or which: '3' or '0,1,2' ('7,' for only 7)",
  )
  add(
    '--gin_bindings',
    action='append',
    default=[],
    metavar='BINDING',
    help='a binding for all runs, which wins; may be repeated',
  )
  add(
    '--executor',
    choices=('local', 'ray'),
    default='local',
    help='a pool of processes, or a Ray cluster (default: local)',
  )
  add(
    '--workers',
    type=int,
    metavar='N',
    help='runs at a time (default: one a core)',
  )
  add(
    '--workers_per_gpu',
    type=int,
    metavar='N',
    help='runs that share a GPU',
  )
  add(
    '--no_affinity',
    action='store_true',
    help='do not keep each run to a core of its own',
  )
  add(
    '--ray_address',
    metavar='ADDRESS',
    help="an existing Ray cluster, or 'auto' (default: one on this machine)",
  )
  add(
    '--steps_per_second',
    action='append',
    default=[],
    metavar='FAMILY=N',
    help='the speed of a core, to estimate costs by: '
    + ', '.join(f'{name}={n:g}' for name, n in costs.STEPS_PER_SECOND.items()),
  )
  return parser


def _sweep(
  arguments: argparse.Namespace, argv: Sequence[str], train: Sequence[str]
) -> int:
  command_line.check_at_least(arguments, workers=1, workers_per_gpu=1)
  speeds = costs.parse_speeds(arguments.steps_per_second)
  sweep = sweeps.load(arguments.sweep)
  runs = sweep.runs(
    seeds=_parse_seeds(arguments.seeds),
    filters=arguments.filter,
    gin_bindings=arguments.gin_bindings,
    scale=arguments.scale,
  )
  if not runs:
    raise UserError(
      f'--filter is {" and ".join(arguments.filter)!r}, which no run fulfills.'
    )
  _check_bindings(runs)
  base_dir = _base_dir(arguments)
  if arguments.dry_run:
    _print_plan(_make_jobs(runs, base_dir, train, ()), base_dir, speeds)
    return 0
  with _alone(base_dir):
    for job in _make_jobs(runs, base_dir, train, ()):
      job.check()
    executor = _make_executor(arguments)
    all_jobs = _make_jobs(runs, base_dir, train, executor.threads_per_run)
    command = f'{command_line.invocation("sweep")} {shlex.join(argv)}'
    return _train(all_jobs, executor, speeds, command)


def _check_bindings(runs: Sequence[sweeps.Run]) -> None:
  """Refuses what the runs would refuse, before a process is started."""
  seen = set()
  for run in runs:
    bindings = run.gin_bindings()
    kind = tuple(b for b in bindings if not b.startswith('SEED='))
    if (run.gin_files, kind) not in seen:
      seen.add((run.gin_files, kind))
      checking.check(run.gin_files, bindings)


def _parse_seeds(text: str | None) -> tuple[int, ...] | None:
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
      f"--seeds is {text!r}, but must be how many, as '3', or which, as "
      "'0,1,2': whole numbers of at least 0."
    )
  return tuple(seeds)


def _base_dir(arguments: argparse.Namespace) -> str:
  if not arguments.base_dir:
    if arguments.dry_run:
      return ''
    raise UserError('--base_dir is not given, but must name a directory.')
  if '://' in arguments.base_dir:
    raise UserError(
      f'--base_dir is {arguments.base_dir!r}, but must be a directory of this '
      "machine's file system."
    )
  return os.path.abspath(os.path.expanduser(arguments.base_dir))


@contextlib.contextmanager
def _alone(base_dir: str) -> Iterator[None]:
  """Keeps other sweeps out of the base directory.

  The lock goes with the process, however it ends.
  """
  try:
    os.makedirs(base_dir, exist_ok=True)
    descriptor = locks.acquire(os.path.join(base_dir, _LOCK))
  except locks.Locked as holder:
    raise UserError(
      f'--base_dir is {base_dir!r}, where another sweep is at work '
      f'({holder}); wait for it, or give another --base_dir.'
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


def _make_jobs(
  runs: Sequence[sweeps.Run],
  base_dir: str,
  train: Sequence[str],
  flags: Sequence[str],
) -> list[jobs.Job]:
  made = []
  for run in runs:
    directory = os.path.join(base_dir, *run.directory.split('/'))
    command = [*train, *flags]
    command += [f'--gin_files={name}' for name in run.gin_files]
    command += [f'--gin_bindings={b}' for b in run.gin_bindings(base_dir)]
    command.append(f'--base_dir={directory}')
    made.append(jobs.Job(run, directory, tuple(command)))
  return made


def _make_executor(arguments: argparse.Namespace):
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
  all_jobs: Sequence[jobs.Job], base_dir: str, speeds: Mapping[str, float]
) -> None:
  """Lists the runs, and what they cost."""
  states = [''] * len(all_jobs)
  if base_dir:
    for job in all_jobs:
      job.check()
    states = [_state(job) for job in all_jobs]
  width, state_width = len(str(len(all_jobs))), max(map(len, states))
  for number, (job, state) in enumerate(zip(all_jobs, states), 1):
    print(f'{number:{width}}  {state:{state_width}}'.rstrip(), job.run.name)
  print()
  labels: dict[str, list[sweeps.Run]] = {}
  for job in all_jobs:
    labels.setdefault(job.run.label, []).append(job.run)
  everything = costs.estimate([job.run for job in all_jobs], speeds)
  rows = [
    *((label, costs.estimate(runs, speeds)) for label, runs in labels.items()),
    ('all', everything),
  ]
  if 'finished' in states:
    left = [
      job.run for job, state in zip(all_jobs, states) if state != 'finished'
    ]
    rows.append(('to do', costs.estimate(left, speeds)))
  lines = [
    (
      label,
      wording.count(cost.runs, 'run'),
      wording.count(cost.steps, 'step'),
      f'{_hours(cost.core_hours)} core-hours',
    )
    for label, cost in rows
  ]
  print(wording.columns(lines, right=(1, 2, 3)))
  families = sorted({job.run.family for job in all_jobs if job.run.family})
  used = ', '.join(f'{name} {speeds[name]:g}' for name in families)
  print(
    '\nSteps are environment steps of training (agent steps, of 4 frames, on '
    'Atari).'
  )
  if used:
    print(
      f'Core-hours are estimated, by steps/s of one core: {used}; '
      '--steps_per_second gives others.'
    )
  if everything.unknown:
    print(
      f'Of {wording.count(everything.unknown, "run")} the speed is not known.'
    )


def _state(job: jobs.Job) -> str:
  if job.summary() is not None:
    return 'finished'
  return 'started' if job.is_started else 'new'


def _hours(hours: float) -> str:
  return f'{hours:,.0f}' if hours >= 10 else f'{hours:.1f}'


def _train(
  all_jobs: Sequence[jobs.Job],
  executor: Any,
  speeds: Mapping[str, float],
  command: str,
) -> int:
  """Trains the unfinished runs; returns the exit code."""
  work = loop.Loop(all_jobs, executor, speeds)
  before = len(work.outcome.before)
  print(
    f'{wording.count(len(all_jobs), "run")}, {before:,} of them finished '
    f'before; {executor.workers} at a time.',
    flush=True,
  )
  outcome = work.run()
  print(
    f'{wording.count(len(all_jobs), "run")}: '
    f'{before + len(outcome.finished):,} finished, '
    f'{len(outcome.failed):,} failed.'
  )
  for job, reason in outcome.failed:
    print(f'failed: {job.run.name}: {reason}\n  log: {job.log}')
  if outcome.stopped is not None:
    name = signal.Signals(outcome.stopped).name
    print(
      f'Stopped by {name}. The same command goes on: {command}',
      file=sys.stderr,
    )
    return 128 + outcome.stopped
  return 1 if outcome.failed else 0
