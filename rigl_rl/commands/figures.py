"""Draws the papers' figures and tables from run directories.

  python -m launch.figures --figure=fig02_sac --results=RUNS --out=FIGURES

A figure is a PNG and a PDF, and a CSV of exactly what is drawn, with the number
of runs behind each point; a table is a CSV and Markdown. Its name is that of
its sweep file: graesser22/fig02_sac, sokar22/table01 and so on; fig02_sac is
Graesser et al.'s. --figure=all draws all figures that have runs, saves all
runs and evaluations as two tables, and writes report.html, one page of
everything, with what is missing and why.

Runs are found in --results and all directories below it, whether a sweep made
them or not, finished or not. An incomplete figure is drawn from what there is,
and says so on its face.

Figure 7 and sokar22/costs count FLOPs, and need no runs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shlex
import sys
from typing import Sequence

from rigl_rl import analysis, sweeps, wording
from rigl_rl.analysis import figures, normalization, report, statistics, tables
from rigl_rl.analysis.figures import style
from rigl_rl.commands import command_line
from rigl_rl.errors import UserError
from rigl_rl.training import paths, provenance


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit code."""
  parser = command_line.make_parser('figures', __doc__)
  add = parser.add_argument
  add(
    '--figure',
    required=True,
    action='append',
    metavar='NAME',
    help='a figure or table, or all; may be repeated',
  )
  add(
    '--results', required=True, metavar='DIR', help='directory that holds runs'
  )
  add(
    '--out', required=True, metavar='DIR', help='where to; created if missing'
  )
  add(
    '--x',
    default='parameters',
    metavar='AXIS',
    help='axis of figures 2 and 8 to 12: parameters (default), forward_flops '
    'or training_flops',
  )
  add(
    '--references',
    metavar='FILE',
    help='CSV with the columns task,score: what MuJoCo scores are normalized '
    'by (default: those of dense SAC among the results)',
  )
  add_resamples(parser)
  add(
    '--comparable_policies',
    type=int,
    default=3,
    metavar='N',
    help='figure 6: of each line draw the N policies whose final scores are '
    'nearest to a level that all lines reach (default: 3); 0 for all policies',
  )
  arguments = parser.parse_args(argv)
  # What was typed, for the report.
  typed = list(sys.argv[1:] if argv is None else argv)
  return command_line.run(lambda: _draw_all(arguments, typed))


def _draw_all(arguments: argparse.Namespace, typed: Sequence[str]) -> None:
  wants_all = 'all' in arguments.figure
  names = figures.names()
  if not wants_all:
    names = list(dict.fromkeys(map(figures.find, arguments.figure)))
  options = _options(arguments, names)
  results = load([arguments.results], '--results')
  sections, missing = [], []
  for name in names:
    section = report.Section(name, figures.title_of(name))
    try:
      drawing = figures.draw(name, results, options)
      written, png = _write(name, drawing, arguments.out)
      print(f'{name}: {" ".join(drawing.notes)} {written}')
      section = section._replace(drawing=drawing, png=png)
    except (figures.NothingToDraw, UserError) as reason:
      if isinstance(reason, UserError) and not wants_all:
        raise
      section = section._replace(missing=str(reason).rstrip('.'))
      missing.append(section)
    sections.append(section)
  if wants_all:
    page = report.make_report(
      sections, results.runs, results.problems, _about(typed)
    )
    path = os.path.join(arguments.out, 'report.html')
    paths.write(path, page)
    tables.save(results, arguments.out)
    print(f'report: {path}')
    for section in missing:
      print(f'{section.name}: missing: {section.missing}.')
  elif missing:
    # One line, as for other mistakes; what could be drawn has been.
    text = '; '.join(f'{s.name} ({s.missing})' for s in missing)
    raise UserError(
      f'--results is {arguments.results!r}, but holds too little for {text}.'
    )


def add_resamples(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--resamples',
    type=int,
    default=statistics.RESAMPLES,
    metavar='N',
    help='of each bootstrap (default: %(default)s)',
  )


def load(directories: Sequence[str], flag: str) -> analysis.Results:
  """Loads runs; says how many there are, and which are left out."""
  results = analysis.load(*directories, flag=flag)
  for problem in results.problems.itertuples():
    left_out = f'left out: {problem.directory}: {problem.reason}'
    print(left_out, file=sys.stderr)
  where = ', '.join(directories)
  print(f'{wording.count(len(results.runs), "run")} in {where}')
  return results


def _options(
  arguments: argparse.Namespace, names: Sequence[str]
) -> figures.Options:
  """What a user may choose, checked before anything is read."""
  command_line.check_at_least(arguments, resamples=1, comparable_policies=0)
  references = None
  if arguments.references:
    references = normalization.read_references(arguments.references)
  return figures.Options(
    x=arguments.x,
    references=references,
    resamples=arguments.resamples,
    comparable_policies=arguments.comparable_policies,
    planned={name: _planned(name) for name in names},
  )


def _planned(name: str) -> int:
  """Counts the runs of a figure's sweep, except those others start from."""
  try:
    runs = sweeps.load(name).runs()
  except UserError:  # What is only counted has none.
    return 0
  needed = {directory for run in runs for directory in run.needs}
  return sum(run.directory not in needed for run in runs)


def _write(
  name: str, drawing: figures.Drawing, out: str
) -> tuple[str, bytes | None]:
  """Writes a figure's files; returns their common path, and the PNG."""
  contents = {'csv': tables.to_csv(drawing.data)}
  if drawing.figure is None:
    contents['md'] = drawing.markdown
  else:
    for kind in ('pdf', 'png'):
      contents[kind] = style.rendered(drawing.figure, kind)
  stem = os.path.join(out, name.replace('/', '_'))
  for kind, content in contents.items():
    paths.write(f'{stem}.{kind}', content)
  return f'{stem}.{", .".join(contents)}', contents.get('png')


def _about(typed: Sequence[str]) -> dict[str, str]:
  """Command and versions."""
  found = {
    'command': f'{command_line.invocation("figures")} {shlex.join(typed)}',
    'git revision': provenance.git_revision() or 'not known',
  }
  for name in ('matplotlib', 'pandas', 'rliable'):
    found[name] = importlib.metadata.version(name)
  for name, version in provenance.versions().items():
    found[name] = version or 'not installed'
  return found
