"""One HTML page of every figure and table, that needs no other file."""

from __future__ import annotations

import base64
import html
import math
import numbers
import re
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np
import pandas as pd

from rigl_rl.analysis.figures.base import Drawing
from rigl_rl.wording import count

_text = html.escape
_TITLE = 'Sparse training in deep RL: results'
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1100px;
  margin: 2em auto; padding: 0 1em; color: #1a1a1a; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2.2em; }
img { max-width: 100%; }
table { border-collapse: collapse; font-size: 13px; }
th, td { padding: .2em .7em; border-bottom: 1px solid #ddd; text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child, .about td { text-align: left; }
.data { overflow-x: auto; max-height: 32em; overflow-y: auto; }
.missing { color: #8a3b12; }
summary { cursor: pointer; color: #2a5d9c; }
"""
# Below a figure at most this many rows of its data are shown; its CSV has all.
_MAX_ROWS = 400
# What tells the runs of the overview apart, and each run from the others.
_WHAT = (
  *('agent', 'network', 'task', 'label', 'sparsity', 'distribution'),
  *('width', 'train_steps'),
)


class Section(NamedTuple):
  """A figure or table of the report."""

  name: str  # Such as 'graesser22/fig02_sac'.
  title: str  # In words.
  drawing: Drawing | None = None  # None if there is nothing to draw.
  png: bytes | None = None  # The figure; None for a table.
  missing: str = ''  # Why there is nothing, without a full stop.


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
  drawn = [section for section in sections if section.drawing]
  missing = [
    f'<li><b>{_text(section.title)}</b> {_text(section.missing)}.</li>'
    for section in sections
    if not section.drawing
  ]
  chapters = []  # Of each its anchor, title and content.
  if missing:
    content = f'<ul class="missing">{"".join(missing)}</ul>'
    chapters.append(('missing', 'What is missing', content))
  if len(problems):
    chapters.append(('problems', 'Directories left out', _table(problems)))
  chapters += [(s.name.replace('/', '_'), s.title, _section(s)) for s in drawn]
  chapters.append(('runs', 'Runs', _runs(runs)))
  chapters.append(('about', 'Where this comes from', _origins(runs, about)))
  contents = ''.join(
    f'<li><a href="#{anchor}">{_text(title)}</a></li>'
    for anchor, title, _ in chapters
  )
  body = '\n'.join(
    f'<h2 id="{anchor}">{_text(title)}</h2>\n{content}'
    for anchor, title, content in chapters
  )
  summary = (
    f'{count(len(runs), "run")}, {runs.finished.sum():,} of them finished; '
    f'{len(drawn)} of {len(sections)} figures and tables.'
  )
  return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<title>{_TITLE}</title>
<style>{_STYLE}</style></head><body>
<h1>{_TITLE}</h1>
<p>{summary}</p>
<ul class="">{contents}</ul>
{body}
</body></html>
"""


def _section(section: Section) -> str:
  drawing: Any = section.drawing
  notes = f'<p>{_text(" ".join(drawing.notes))}</p>'
  table = _table(drawing.data, _MAX_ROWS)
  data = _details(f'data, {count(len(drawing.data), "row")}', table)
  if section.png is not None:
    encoded = base64.b64encode(section.png).decode('ascii')
    source = f'data:image/png;base64,{encoded}'
    return f'{notes}<img alt="{_text(section.title)}" src="{source}">{data}'
  return f'{notes}{_printed(drawing.markdown)}{data}'


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


def _runs(runs: pd.DataFrame) -> str:
  """Counts runs of each kind, with scores and hours; lists each run."""
  runs = runs.assign(hours=runs.seconds / 3600)
  pooled = runs.groupby([*_WHAT, 'setting'], dropna=False).agg(
    runs=('seed', 'size'),
    seeds=('seed', lambda seeds: ' '.join(map(str, sorted(set(seeds))))),
    finished=('finished', 'sum'),
    final_score=('final_score', 'mean'),
    hours=('hours', 'sum'),
  )
  each = runs.sort_values([*_WHAT, 'seed', 'directory'])
  each = each[[*_WHAT, 'seed', 'finished', 'final_score', 'hours', 'directory']]
  return (
    '<p>Runs that differ in their seed only are one row.</p>'
    + _table(pooled.reset_index().drop(columns='setting'))
    + _details(f'each run, {count(len(each), "row")}', _table(each))
  )


def _origins(runs: pd.DataFrame, about: Mapping[str, str]) -> str:
  """With which versions the finished runs were made, and the page."""
  rows = ''.join(
    f'<tr><td>{_text(name)}</td><td>{_text(value)}</td></tr>'
    for name, value in about.items()
  )
  page = f'<p>This page:</p><table class="about">{rows}</table>'
  if not runs.finished.any():
    return page
  known = runs[runs.finished][['versions', 'git_revision']]
  counts = (
    known.replace('', 'not known').value_counts().reset_index(name='runs')
  )
  return f'<p>Finished runs:</p>{_table(counts)}{page}'


def _table(table: pd.DataFrame, most_rows: int | None = None) -> str:
  """A table for people; full precision is in the CSV files."""
  shown = table.head(most_rows or len(table))
  # Seeds are names, though they are numbers.
  formatters = {c: str if c == 'seed' else _cell for c in shown.columns}
  shown = shown.rename(columns=lambda name: name.replace('_', ' '))
  text = shown.to_html(
    index=False, border=0, na_rep='–', formatters=list(formatters.values())
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
