"""Draws learning curves of any runs.

  python -m launch.plot RUN RUN ... --out=curves.png

Each RUN is a run directory, or a directory of runs, such as that of a sweep.
Runs are grouped by what differs among them, except their seeds; a line is the
mean over the runs of a group, with its 95 % confidence interval. Each task has
a panel. The file is a PNG or PDF, or a CSV of exactly what would be drawn.
"""

from __future__ import annotations

import argparse
import os
from typing import Sequence

from rigl_rl.analysis import statistics, tables
from rigl_rl.analysis.figures import base, comparison, style
from rigl_rl.commands import command_line, figures
from rigl_rl.errors import UserError
from rigl_rl.training import paths


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit code."""
  parser = command_line.make_parser('plot', __doc__)
  add = parser.add_argument
  add('runs', nargs='+', metavar='RUN', help='directory of a run, or of runs')
  add('--out', required=True, metavar='FILE', help='a .png, .pdf or .csv file')
  add(
    '--statistic',
    default='mean',
    metavar='NAME',
    help='over the runs of a group: mean (default) or iqm',
  )
  add(
    '--x',
    default='steps',
    metavar='AXIS',
    help='steps (default), seconds or flops; FLOPs of finished runs only',
  )
  figures.add_resamples(parser)
  add('--title', default='Learning curves', help='above the figure')
  arguments = parser.parse_intermixed_args(argv)
  return command_line.run(lambda: _plot(arguments))


def _plot(arguments: argparse.Namespace) -> None:
  ending = os.path.splitext(arguments.out)[1].lower()
  for flag, value, allowed in (
    ('statistic', arguments.statistic, statistics.STATISTICS),
    ('x', arguments.x, comparison.AXES),
    ('out', ending, ('.png', '.pdf', '.csv')),
  ):
    if value not in allowed:
      raise UserError(
        f'--{flag} is {getattr(arguments, flag)!r}, but must '
        f'{"end in" if flag == "out" else "be"} one of {", ".join(allowed)}.'
      )
  command_line.check_at_least(arguments, resamples=1)
  paths.check_writable(arguments.out)
  results = figures.load(arguments.runs, 'RUN')
  figure = comparison.Comparison(
    arguments.title, arguments.statistic, arguments.x
  )
  options = base.Options(resamples=arguments.resamples)
  request = base.Request('plot', results, options)
  try:
    drawing = figure.draw(request)
  except base.NothingToDraw as reason:
    raise UserError(
      f'RUN is {", ".join(arguments.runs)}, but holds too little: {reason}.'
    ) from reason
  if ending == '.csv':
    content = tables.to_csv(drawing.data)
  else:
    content = style.rendered(drawing.figure, ending[1:])
  paths.write(arguments.out, content)
  print(f'{arguments.out}: {" ".join(drawing.notes)}')
