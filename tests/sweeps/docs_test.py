"""The tables of figures in docs/: counts and costs as in the sweep files."""

from __future__ import annotations

import pathlib
import re

import pytest

from rigl_rl import sweeps
from rigl_rl.sweeps import costs, definition

_DOCS = pathlib.Path(__file__).parents[2] / 'docs'
_PAPERS = ('graesser22', 'sokar22')


@pytest.fixture(scope='module')
def rows():
  """Returns the cells behind the name of each figure, by that name."""
  found = {}
  for paper in _PAPERS:
    text = (_DOCS / f'{paper}.md').read_text(encoding='utf-8')
    table = text.split('<!-- figures -->')[1].split('<!-- /figures -->')[0]
    lines = [line for line in table.splitlines() if line.startswith('| ')]
    assert lines[0] == '| figure | name | runs | million steps | core-hours |'
    for line in lines[1:]:
      _, name, *cells = (cell.strip() for cell in line.strip('|').split('|'))
      name = name.strip('`')
      assert name.startswith(f'{paper}/')
      assert name not in found
      found[name] = cells
  return found


def _cells(runs):
  cost = costs.estimate(runs)
  assert not cost.unknown
  return [
    f'{cost.runs:,}',
    f'{cost.steps / 1e6:,g}',
    f'{cost.core_hours:,.0f}',
  ]


def test_every_figure_has_a_row(rows):
  from rigl_rl.analysis import figures

  assert set(rows) == {*definition.shipped(), *figures.names()}


def test_costs_are_those_of_the_sweeps(rows):
  every = {}
  expected = {}
  for name in definition.shipped():
    runs = sweeps.load(name).runs()
    every.update({run.directory: run for run in runs})
    expected[name] = _cells(runs)
  for name in set(rows) - set(expected):  # Counted, without runs.
    expected[name] = ['0', '0', '0']
  assert rows == expected
  runs, steps, hours = _cells(every.values())
  total = f'{runs} runs, {steps} million steps and {hours} core-hours'
  assert total in ' '.join(_cost_page().split())


def _cost_page():
  return (_DOCS / 'sweeps.md').read_text(encoding='utf-8')


def test_speeds_are_those_of_the_estimate():
  (line,) = re.findall(
    r'second, evaluations included: (.*?);', _cost_page(), re.DOTALL
  )
  words = line.replace('\n', ' ').split(', ')
  names = {
    'DQN classic': 'dqn_classic',
    'CNN': 'dqn_atari_cnn',
    'ResNet': 'dqn_atari_resnet',
    'SAC': 'sac',
    'PPO': 'ppo',
    'TD3': 'td3',
  }
  found = {}
  for word in words:
    name, speed = word.rsplit(' ', 1)
    found[names[name]] = float(speed)
  assert found == costs.STEPS_PER_SECOND
