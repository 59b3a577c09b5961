"""Trains several seeds of one configuration: `launch.train --seeds`.

Each seed is a run of its own, in seed0, seed1, … of --base_dir, executed as the
runs of a sweep are.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import shlex
from typing import Callable, Sequence

from rigl_rl import wording
from rigl_rl.commands import command_line, sweep
from rigl_rl.config import checking, gin_text
from rigl_rl.errors import UserError
from rigl_rl.sweeps import definition, runs
from rigl_rl.sweeps.executors import jobs


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds --seeds, and the flags that say where runs are executed."""
  group = parser.add_argument_group('several seeds')
  group.add_argument(
    '--seeds',
    help='train several seeds, each on one thread and in a directory of its '
    f'own in --base_dir: {sweep.SEEDS_HELP}',
  )
  sweep.add_executor_arguments(group)


def check(arguments: argparse.Namespace) -> None:
  """Raises UserError if a flag is given that only --seeds uses."""
  for name in ('workers', 'workers_per_gpu', 'ray_address'):
    value = getattr(arguments, name)
    if value is not None:
      raise UserError(
        f'--{name} is {value!r}, but a run of one seed does not use it: give '
        '--seeds, too.'
      )


def train(
  arguments: argparse.Namespace,
  argv: Sequence[str],
  outline: Callable[[gin_text.Config, bool], str],
  command: Sequence[str] = sweep.TRAIN,
) -> int:
  """Trains the seeds that are not finished, and prints all final scores.

  Args:
    arguments: of launch.train.
    argv: the same as typed, for the command that continues.
    outline: says in words what a config trains, and, if true, its seed.
    command: trains a run; tests have one of their own.

  Returns:
    The exit code, see `sweep.main`.
  """
  base_dir = sweep.absolute(arguments.base_dir)
  if os.path.exists(os.path.join(base_dir, 'config.gin')):
    raise UserError(
      f'--base_dir is {arguments.base_dir!r}, which holds a run; with --seeds '
      'it must be a directory for several runs.'
    )
  seeds = sweep.parse_seeds(arguments.seeds)
  config = checking.check(arguments.gin_files, arguments.gin_bindings)
  method = getattr(config.value('sparsify.algorithm'), 'name', 'Run')
  grid = runs.Grid(method, arguments.gin_files, over={})
  planned = definition.Sweep('seeds', (grid,)).runs(
    seeds=seeds, gin_bindings=arguments.gin_bindings
  )
  all_jobs = sweep.make_jobs(
    [dataclasses.replace(run, directory=f'seed{run.seed}') for run in planned],
    base_dir,
    command,
  )
  count = wording.count(len(all_jobs), 'seed')
  print(f'{outline(config, False)}, {count}: {base_dir}', flush=True)
  typed = f'{command_line.invocation("train")} {shlex.join(argv)}'
  code = sweep.train_jobs(all_jobs, base_dir, arguments, typed)
  _print_scores(all_jobs)
  return code


def _print_scores(all_jobs: Sequence[jobs.Job]) -> None:
  """Prints the final scores of finished runs, their mean and their IQM."""
  from rigl_rl.analysis import statistics

  found = {job.run.seed: job.summary() for job in all_jobs}
  scores = {
    seed: math.nan if summary['final_score'] is None else summary['final_score']
    for seed, summary in found.items()
    if summary
  }
  if not scores:
    return
  is_smoke = any(summary and summary.get('smoke') for summary in found.values())
  meaning = 'of smoke runs: it means nothing' if is_smoke else ''
  rows = [['seed', 'final score', meaning]]
  rows += [[str(seed), _number(score), ''] for seed, score in scores.items()]
  values = [[score] for score in scores.values()]
  for name, estimate in (
    ('mean', statistics.mean([*scores.values()], 'seeds')),
    ('IQM', statistics.interquartile_mean(values, 'seeds')),
  ):
    low, high = _number(estimate.low), _number(estimate.high)
    is_one = math.isnan(estimate.low)
    interval = '' if is_one else f'95 % interval {low} to {high}'
    rows.append([name, _number(estimate.value), interval])
  print(f'\n{wording.columns(rows, right=(1,))}')


def _number(value: float) -> str:
  return f'{value:,.2f}' if math.isfinite(value) else 'unknown'
