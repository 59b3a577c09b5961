"""README's table of figures: counts and costs as the sweep files have them."""

from __future__ import annotations

import pathlib
import re

import pytest

from rigl_rl import sweeps
from rigl_rl.sweeps import costs, definition

_README = pathlib.Path(__file__).parents[2] / 'README.md'


@pytest.fixture(scope='module')
def rows():
  """Of each figure the cells behind its name; that of all has the name ''."""
  text = _README.read_text(encoding='utf-8')
  table = text.split('<!-- figures -->')[1].split('<!-- /figures -->')[0]
  lines = [line for line in table.splitlines() if line.startswith('| ')]
  assert lines[0] == '| figure | name | runs | million steps | core-hours |'
  found = {}
  for line in lines[1:]:
    _, name, *cells = (cell.strip() for cell in line.strip('|').split('|'))
    assert name not in found
    found[name.strip('`')] = cells
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

  assert set(rows) == {*definition.shipped(), *figures.names(), ''}


def test_costs_are_those_of_the_sweeps(rows):
  every = {}
  expected = {}
  for name in definition.shipped():
    runs = sweeps.load(name).runs()
    every.update({run.directory: run for run in runs})
    expected[name] = _cells(runs)
  expected[''] = _cells(every.values())
  for name in set(rows) - set(expected):  # Counted, without runs.
    expected[name] = ['0', '0', '0']
  assert rows == expected


def test_speeds_are_those_of_the_estimate():
  text = _README.read_text(encoding='utf-8')
  (line,) = re.findall(r'second, evaluations included: (.*?);', text, re.DOTALL)
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
