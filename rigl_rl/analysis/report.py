"""One HTML page of every figure and table, that needs no other file."""

from __future__ import annotations

import base64
import dataclasses
import html
import math
import numbers
import re
from typing import Any, Mapping, Sequence

import numpy as np
import pandas as pd

from rigl_rl.wording import count

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1100px;
  margin: 2em auto; padding: 0 1em; color: #1a1a1a; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2.2em; }
img { max-width: 100%; }
table { border-collapse: collapse; font-size: 13px; }
th, td { padding: .2em .7em; border-bottom: 1px solid #ddd; text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.data { overflow-x: auto; max-height: 32em; overflow-y: auto; }
.missing { color: #8a3b12; }
summary { cursor: pointer; color: #2a5d9c; }
"""
# Behind a figure at most so many rows of its data are shown; its CSV has all.
_MAX_ROWS = 400
# What tells the runs of the overview apart, and each run from the others.
_WHAT = (
  *('agent', 'network', 'task', 'label', 'sparsity', 'distribution'),
  *('width', 'train_steps'),
)
# Numbers that are names.
_NAMES = ('seed',)


@dataclasses.dataclass(frozen=True)
class Section:
  """A figure or table of the report.

  Attributes:
    name: such as 'graesser22/fig02_sac'.
    title: in words.
    notes: how complete it is.
    png: the figure, or None.
    data: what is drawn, or None if nothing is.
    markdown: the table as it is printed; '' for a figure.
    missing: why there is nothing; '' if there is something.
  """

  name: str
  title: str
  notes: Sequence[str] = ()
  png: bytes | None = None
  data: pd.DataFrame | None = None
  missing: str = ''
  markdown: str = ''


def make_report(
  sections: Sequence[Section],
  runs: pd.DataFrame,
  problems: pd.DataFrame,
  about: Mapping[str, str],
) -> str:
  """Returns the page.

  Args:
    sections: in order; those that are missing too.
    runs: the table of runs.
    problems: the table of directories that could not be read.
    about: what to say of where it comes from, by name: command, versions.
  """
  drawn = [section for section in sections if not section.missing]
  missing = [section for section in sections if section.missing]
  finished = int(runs.finished.astype(bool).sum())
  parts = [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8">',
    '<title>Sparse training in deep RL: results</title>',
    f'<style>{_STYLE}</style></head><body>',
    '<h1>Sparse training in deep RL: results</h1>',
    f'<p>{count(len(runs), "run")}, {finished:,} of them finished; '
    f'{len(drawn)} of {len(sections)} figures and tables.</p>',
    _contents(drawn, bool(missing)),
  ]
  if missing:
    parts.append('<h2 id="missing">What is missing</h2><ul class="missing">')
    parts += [
      f'<li><b>{_text(section.title)}</b> {_text(section.missing)}</li>'
      for section in missing
    ]
    parts.append('</ul>')
  if len(problems):
    parts += [
      '<h2>Directories that cannot be read</h2>',
      _table(problems),
    ]
  for section in drawn:
    parts += _section(section)
  parts += [
    '<h2 id="runs">Runs</h2>',
    '<p>Runs that differ in their seed only are one row.</p>',
    _table(_in_words(_overview(runs))),
    _details(
      f'each run, {count(len(runs), "row")}', _table(_in_words(_each(runs)))
    ),
    '<h2 id="about">Where this comes from</h2>',
    *_origins(runs),
    '<p>This page:</p><table>',
    *(
      f'<tr><td>{_text(name)}</td><td style="text-align:left">{_text(value)}'
      '</td></tr>'
      for name, value in about.items()
    ),
    '</table>',
    '</body></html>',
  ]
  return '\n'.join(parts) + '\n'


def _contents(drawn: Sequence[Section], has_missing: bool) -> str:
  targets = {'missing': 'What is missing'} if has_missing else {}
  targets.update((_anchor(section), section.title) for section in drawn)
  targets.update(runs='Runs', about='Where this comes from')
  links = [
    f'<li><a href="#{anchor}">{_text(title)}</a></li>'
    for anchor, title in targets.items()
  ]
  return f'<ul>{"".join(links)}</ul>'


def _section(section: Section) -> list[str]:
  parts = [
    f'<h2 id="{_anchor(section)}">{_text(section.title)}</h2>',
    f'<p>{_text(" ".join(section.notes))}</p>',
  ]
  if section.png is not None:
    encoded = base64.b64encode(section.png).decode('ascii')
    parts.append(
      f'<img alt="{_text(section.title)}" '
      f'src="data:image/png;base64,{encoded}">'
    )
  table = _table(section.data, _MAX_ROWS)
  if section.markdown:
    parts.append(_printed(section.markdown))
  if section.png is not None or section.markdown:
    rows = 0 if section.data is None else len(section.data)
    table = _details(f'data, {count(rows, "row")}', table)
  return [*parts, table]


def _details(summary: str, table: str) -> str:
  return f'<details><summary>{summary}</summary>{table}</details>'


def _printed(markdown: str) -> str:
  """The rows of a table in Markdown, bold as there, and what is below it."""
  lines = [line for line in markdown.splitlines() if line.startswith('|')]
  rows = []
  for tag, line in zip(['th', '', *['td'] * len(lines)], lines):
    if tag:  # The second line holds no cells.
      cells = [_text(cell.strip()) for cell in line.strip('|').split('|')]
      row = ''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)
      rows.append(re.sub(r'\*\*(.+?)\*\*', r'<b>\1</b>', f'<tr>{row}</tr>'))
  below = markdown.rpartition('|\n')[2].strip()
  more = f'<p>{_text(below)}</p>' if below else ''
  return f'<table>{"".join(rows)}</table>{more}'


def _overview(runs: pd.DataFrame) -> pd.DataFrame:
  """How many runs there are of what, and how they ended."""
  if not len(runs):
    return pd.DataFrame({'runs': []})
  groups = runs.assign(finished=runs.finished.astype(bool)).groupby(
    [*_WHAT, 'setting'], dropna=False
  )
  return groups.agg(
    runs=('seed', 'size'),
    seeds=('seed', lambda seeds: ' '.join(map(str, sorted(set(seeds))))),
    finished=('finished', 'sum'),
    final_score=('final_score', 'mean'),
    hours=('seconds', lambda seconds: seconds.sum() / 3600),
  ).reset_index()


def _each(runs: pd.DataFrame) -> pd.DataFrame:
  """A row per run."""
  runs = runs.assign(hours=runs.seconds / 3600)
  columns = [*_WHAT, 'seed', 'finished', 'final_score', 'hours', 'directory']
  return runs.sort_values([*_WHAT, 'seed', 'directory'])[columns]


def _in_words(table: pd.DataFrame) -> pd.DataFrame:
  """Writes columns as words, without those that only tell rows apart."""
  table = table.drop(columns='setting', errors='ignore')
  return table.rename(columns=lambda name: name.replace('_', ' '))


def _origins(runs: pd.DataFrame) -> list[str]:
  """With which versions the finished runs were made, and how many."""
  finished = runs[runs.finished.astype(bool)]
  if not len(finished):
    return []
  columns = ['versions', 'git_revision']
  known = finished[columns].replace('', 'not known')
  counts = known.value_counts().rename('runs').reset_index()
  return ['<p>Finished runs:</p>', _table(counts)]


def _table(table: pd.DataFrame, most_rows: int | None = None) -> str:
  """A table for people; full precision is in the CSV files."""
  shown = table if most_rows is None else table.head(most_rows)
  text = shown.to_html(
    index=False,
    border=0,
    na_rep='–',
    formatters={
      name: str if name in _NAMES else _cell for name in shown.columns
    },
  )
  more = ''
  if len(shown) < len(table):
    more = f'<p>The first {len(shown)} of {count(len(table), "row")}.</p>'
  return f'<div class="data">{text}</div>{more}'


def _cell(value: Any) -> str:
  """Writes a value: numbers in four digits, or whole with separators."""
  if isinstance(value, (bool, np.bool_)):
    return 'yes' if value else 'no'
  if value is None or value != value:
    return '–'
  if not isinstance(value, numbers.Real):
    return str(value)
  size = abs(float(value))
  if size >= 1e9 or not math.isfinite(size):
    return f'{value:.4g}'.replace('e+', 'e')
  return f'{value:,.0f}' if size >= 1000 else f'{value:.4g}'


def _anchor(section: Section) -> str:
  return section.name.replace('/', '_')


def _text(value: str) -> str:
  return html.escape(value)
