"""Prints the winners of a search of hyper-parameters.

  python -m launch.sweep --sweep=graesser22/search_dqn --base_dir=RUNS
  python -m launch.search_winner --results=RUNS --sweep=graesser22/search_dqn

Graesser et al. (2022), appendix A.3: of each method the setting with the best
final score (mean of the last 10 % of evaluations), averaged over seeds, among
those with the most finished runs; for several games, the mean human-normalized
score. Settings are listed, the best first, with the number of runs behind each;
settings without runs are only counted. '*' marks the winner, 'paper' the
setting of the paper's tables 1 to 3 and 5.
"""

from __future__ import annotations

import argparse
import math
import os
from typing import Any, Sequence

import pandas as pd

from rigl_rl import analysis, sweeps, wording
from rigl_rl.analysis import search, tables
from rigl_rl.commands import command_line
from rigl_rl.errors import UserError
from rigl_rl.sweeps import definition
from rigl_rl.training import paths


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit code."""
  parser = command_line.make_parser('search_winner', __doc__)
  add = parser.add_argument
  add(
    '--results', required=True, metavar='DIR', help='--base_dir of launch.sweep'
  )
  add(
    '--sweep',
    action='append',
    metavar='FILE',
    help="a sweep file, or the short name of one, as 'graesser22/search_dqn'; "
    'may be repeated (default: all searches of the paper of which there are '
    'runs)',
  )
  add('--top', type=int, metavar='N', help="print a method's N best settings")
  add('--out', metavar='CSV', help='write all settings, those without runs too')
  arguments = parser.parse_args(argv)
  return command_line.run(lambda: _search(arguments))


def _search(arguments: argparse.Namespace) -> None:
  command_line.check_at_least(arguments, top=1)
  given = arguments.sweep
  names = given or [name for name in definition.shipped() if '/search_' in name]
  searches = [sweeps.load(name) for name in names]
  for name, sweep in zip(names, searches):
    if not search.is_search(sweep):
      raise UserError(
        f'--sweep is {name!r}, but must be a search: its runs differ only in '
        'task, sparsity and seed.'
      )
  results = analysis.load(arguments.results)
  found, missing = {}, []
  for sweep in searches:
    table = search.settings(sweep, results, arguments.results)
    if table.runs.sum():
      found[sweep.name] = table
      print(sweep.name)
      print(' '.join(search.notes(sweep, results, arguments.results)))
      _print(table, arguments.top)
    else:
      missing.append(sweep.name)
  if missing and (given or not found):
    raise UserError(
      f'--results is {arguments.results!r}, but holds no finished run of '
      f'{", ".join(missing)}: it must be the --base_dir of launch.sweep.'
    )
  if arguments.out:
    if os.path.isdir(arguments.out):
      raise UserError(f'--out is {arguments.out!r}, but must be a file.')
    table = pd.concat(found, names=['sweep', None]).reset_index('sweep')
    paths.write(arguments.out, tables.to_csv(table))
    print(f'All settings: {arguments.out}')


def _print(table: pd.DataFrame, top: int | None) -> None:
  """Prints each method's settings, the best first, and its winner."""
  parameters = [
    name for name in table.columns if name not in ('method', *search.COLUMNS)
  ]
  for method, own in table.groupby('method', sort=False):
    own = own.reset_index(drop=True)
    used = [name for name in parameters if own[name].notna().any()]
    marks = own.winner.map({True: '* ', False: ''})
    marks = (marks + own.in_paper.map({True: 'paper', False: ''})).str.strip()
    is_shown = (own.runs > 0) & (own.index < (top or len(own))) | (marks != '')
    lines = [[method, *used, 'score', 'std', 'runs', '']]
    for rank, row in own[is_shown].iterrows():
      lines.append(
        [
          str(rank + 1) if math.isfinite(row.score) else '–',
          *map(_written, row[used]),
          *map(_number, row[['score', 'score_std']]),
          f'{row.runs} of {row.planned}',
          marks[rank],
        ]
      )
    print(f'\n{wording.columns(lines)}')
    left_out = int(((own.runs == 0) & (marks == '')).sum())
    if left_out:
      left = wording.count(left_out, 'setting')
      print(f'and {left} without a finished run')
    winner = f'Winner: {method}: none (no finished runs)'
    for _, row in own[own.winner].iterrows():
      values = ', '.join(f'{name} {_written(row[name])}' for name in used)
      winner = f'Winner: {method}, {values} ({_number(row.score)})'
    print(winner)
  print()


def _written(value: Any) -> str:
  return value if isinstance(value, str) else f'{value:g}'


def _number(value: float) -> str:
  return f'{value:,.4g}' if math.isfinite(value) else '–'
