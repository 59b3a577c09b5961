"""Tests of the report."""

import re

import pandas as pd

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis import report
from rigl_rl.analysis.figures import Drawing

_END = ('final score', 'hours')


def _make(sections, runs, problems=None):
  if problems is None:
    problems = pd.DataFrame({'directory': [], 'reason': []})
  return report.make_report(sections, runs, problems, {'command': 'x <y>'})


def test_a_page_of_its_own(tmp_path):
  synthetic_runs.write_run(tmp_path / 'a')
  synthetic_runs.write_run(tmp_path / 'b', seed=1, finished=False)
  runs = analysis.load(tmp_path).runs
  data = pd.DataFrame({'method': ['RigL'], 'runs': [3]})
  page = _make(
    [
      report.Section(
        'p/f', 'Figure <1>.', Drawing(data, ['3 of 9 runs.']), b'PNG'
      ),
      report.Section('p/g', 'Figure 2.', missing='no finished run of SAC'),
      report.Section('p/t', 'Table 1.', Drawing(data, [])),
    ],
    runs,
  )
  assert '2 runs, 1 of them finished; 2 of 3 figures and tables.' in page
  assert 'Figure &lt;1&gt;.' in page and 'x &lt;y&gt;' in page
  assert 'data:image/png;base64,UE5H' in page
  assert '3 of 9 runs.' in page
  assert re.search(r'Figure 2\.</b> no finished run of SAC', page)
  # Nothing is fetched: no link leads out of the page.
  assert not re.findall(r'(?:src|href)="(?!#|data:)', page)
  assert page.count('<details>') == 3  # The data of both, and each run.
  # Every part can be reached from the top.
  for anchor in ('missing', 'p_f', 'p_t', 'runs', 'about'):
    assert f'href="#{anchor}"' in page and f'id="{anchor}"' in page


def test_a_table_is_shown_as_it_is_printed(tmp_path):
  data = pd.DataFrame({'task': ['Ant'], 'method': ['TD3'], 'mean': [1.0]})
  markdown = '**T.**\n\n| task | TD3 |\n|---|---|\n| A<t | **1.0** |\n\nOf 2.\n'
  page = _make(
    [report.Section('p/t', 'T', Drawing(data, [], markdown=markdown))],
    analysis.load(tmp_path).runs,
  )
  assert (
    '<table><tr><th>task</th><th>TD3</th></tr>'
    '<tr><td>A&lt;t</td><td><b>1.0</b></td></tr></table><p>Of 2.</p>'
  ) in page
  assert page.count('<summary>data') == 1  # What it is made of.


def test_versions_of_the_runs(tmp_path):
  for seed, version in enumerate(['2.15', '2.15', '2.16', None]):
    path = synthetic_runs.write_run(tmp_path / str(seed), seed=seed)
    if version:
      made = {
        'step': 0,
        'git_revision': 'abc+dirty',
        'processor': 'P',
        'versions': {'tensorflow': version, 'mujoco': None},
      }
      synthetic_runs.change_record(path, made_with=[made])
  synthetic_runs.write_run(tmp_path / 'on', seed=9, finished=False)
  runs = analysis.load(tmp_path).runs
  assert list(runs.git_revision) == ['abc+dirty'] * 3 + ['', '']
  page = re.sub(r'\s+', ' ', _make([], runs))
  cells = '<td>tensorflow {}</td> <td>abc+dirty</td> <td>{}</td>'
  assert cells.format('2.15', 2) in page and cells.format('2.16', 1) in page
  assert '<td>not known</td> <td>not known</td> <td>1</td>' in page


def _rows(page: str) -> list[list[str]]:
  rows = re.findall(r'<tr[^>]*>(.*?)</tr>', page, re.DOTALL)
  return [re.findall(r'<t[dh][^>]*>(.*?)</t[dh]>', row) for row in rows]


def test_the_report_describes_each_run(tmp_path):
  write = synthetic_runs.write_run
  for seed in (0, 12345):
    write(tmp_path / str(seed), seed=seed, sparsity=0.95, spread=0.0)
  write(tmp_path / 'u', distribution='uniform', seed=2, train_steps=1_000_000)
  write(tmp_path / 'w', 'Small dense', seed=3, finished=False)
  rows = _rows(_make([], analysis.load(tmp_path).runs))
  what = ['agent', 'network', 'task', 'label', 'sparsity', 'distribution']
  what += ['width', 'train steps']
  overview = rows.index([*what, 'runs', 'seeds', 'finished', *_END])
  cartpole = ['DQN', 'MLP', 'CartPole-v0']
  rigl = [*cartpole, 'RigL', '0.95', 'erdos_renyi_kernel', '1', '100,000']
  # Runs of one sparsity or distribution are never averaged with others.
  assert rows[overview + 1][:8] == [*cartpole, 'RigL', '0.9', 'uniform'] + [
    *('1', '1,000,000')
  ]
  assert [*rigl, '2', '0 12345', '2', '100', '0.03333'] in rows
  each = rows.index([*what, 'seed', 'finished', *_END, 'directory'])
  seeds = {row[8]: row for row in rows[each + 1 : each + 5]}
  path = str(tmp_path / '12345')
  assert seeds['12345'] == [*rigl, '12345', 'yes', '100', '0.01667', path]
  assert seeds['3'][6] == 'matched_width'
  assert seeds['3'][9:12] == ['no', '–', '–']


def test_numbers_are_rounded_for_people(tmp_path):
  data = pd.DataFrame(
    {
      'name': ['a<b', 'c'],
      'seed': [1234, 5],
      'score': [5218.372918, -0.0123456],
      'flops': [1.0743921e14, float('nan')],
      'done': [True, False],
    }
  )
  sections = [report.Section('p/t', 'T', Drawing(data, []), b'')]
  page = _make(sections, analysis.load(tmp_path).runs)
  assert _rows(page)[1:3] == [
    ['a&lt;b', '1234', '5,218', '1.074e14', 'yes'],
    ['c', '5', '-0.01235', '–', 'no'],
  ]
  assert '<summary>data, 2 rows</summary>' in page


def test_one_row_is_one_row(tmp_path):
  synthetic_runs.write_run(tmp_path / 'a')
  data = pd.DataFrame({'x': [1]})
  page = _make(
    [report.Section('p/t', 'T', Drawing(data, []), b'')],
    analysis.load(tmp_path).runs,
  )
  assert 'data, 1 row<' in page and 'each run, 1 row<' in page
  assert '<p>1 run, 1 of them finished;' in page


def test_what_cannot_be_read_is_listed(tmp_path):
  synthetic_runs.write_run(tmp_path / 'a')
  problems = pd.DataFrame({'directory': ['/x'], 'reason': ['torn']})
  page = _make([], analysis.load(tmp_path).runs, problems)
  assert 'Directories left out' in page and 'torn' in page


def test_no_runs(tmp_path):
  page = _make([], analysis.load(tmp_path).runs)
  assert '0 runs, 0 of them finished' in page


def test_a_long_table_is_cut(tmp_path):
  data = pd.DataFrame({'row': [f'r{n}' for n in range(1000)]})
  page = _make(
    [report.Section('p/f', 'F', Drawing(data, []), b'')],
    analysis.load(tmp_path).runs,
  )
  assert 'r399' in page and 'r400' not in page
  assert 'The first 400 of 1,000 rows.' in page
