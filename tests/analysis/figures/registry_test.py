"""Tests of the list of figures."""

import os
import pathlib

import pytest

from rigl_rl.analysis import figures

SWEEPS = pathlib.Path(__file__).parents[3] / 'gin_configs' / 'sweeps'


def test_every_figure_and_table_of_the_papers():
  names = set(figures.names())
  graesser = {name.partition('/')[2][:5] for name in names if name[0] == 'g'}
  assert graesser == {f'fig{number:02}' for number in range(1, 19)}
  assert {name for name in names if name[0] == 's'} == {
    f'sokar22/{name}'
    for name in ('fig01', 'fig02', 'fig03', 'fig04')
    + ('costs', 'table01', 'table02', 'table04', 'table05')
  }


def test_the_order_is_the_papers():
  names = figures.names()
  rows = ['fig01', 'fig02_dqn', 'fig02_sac', 'fig02_ppo', 'fig03']
  assert names[:5] == [f'graesser22/{name}' for name in rows]
  assert names[-1] == 'sokar22/table05'


def test_every_sweep_file_of_a_figure_has_a_figure():
  files = {
    f'{path.parent.name}/{path.stem}'
    for path in SWEEPS.glob('*/*.gin')
    if not path.stem.startswith('search')
  }
  # These train nothing.
  counted = {'graesser22/fig07', 'sokar22/costs'}
  assert files == set(figures.names()) - counted


@pytest.mark.parametrize(
  'name,full',
  [
    ('fig02_sac', 'graesser22/fig02_sac'),
    ('graesser22/fig02_sac', 'graesser22/fig02_sac'),
    ('graesser22_fig02_sac', 'graesser22/fig02_sac'),
    ('fig01', 'graesser22/fig01'),
    ('sokar22/fig01', 'sokar22/fig01'),
    ('table02', 'sokar22/table02'),
  ],
)
def test_names_may_be_short(name, full):
  assert figures.find(name) == full


@pytest.mark.parametrize('name', ['fig99', '', 'sokar22/fig05', os.sep])
def test_an_unknown_name(name, user_error):
  with user_error('--figure', 'graesser22/fig02_sac'):
    figures.find(name)


def test_titles_name_the_paper():
  assert figures.title_of('sokar22/fig01') == (
    'Sokar et al. (2022). Figure 1: learning curves.'
  )
