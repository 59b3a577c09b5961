"""Tests of scores that can be averaged over tasks."""

import math

import pytest

from rigl_rl import tasks
from rigl_rl.analysis import normalization


def test_the_papers_games():
  games = (
    'MsPacman Pong Qbert Assault Asterix BeamRider Boxing Breakout '
    'CrazyClimber DemonAttack Enduro FishingDerby SpaceInvaders Tutankham '
    'VideoPinball'
  )
  assert sorted(tasks.GRAESSER22_GAMES) == sorted(games.split())
  for game in tasks.GRAESSER22_GAMES:
    assert math.isfinite(normalization.human_normalized(1.0, game))


def test_human_normalized_by_hand():
  assert normalization.human_normalized(-20.7, 'Pong') == 0.0
  assert normalization.human_normalized(14.6, 'Pong') == 1.0
  assert normalization.human_normalized(15.7, 'Breakout') == pytest.approx(
    14 / 28.8
  )
  assert normalization.human_normalized(0.0, 'VideoPinball') == 0.0


def test_an_unknown_game(user_error):
  with user_error('Elf', 'MsPacman'):
    normalization.human_normalized(1.0, 'Elf')


def test_family():
  assert normalization.family('Walker2d-v4') == 'Walker2d'
  assert normalization.family('Pong') == 'Pong'


def test_normalize():
  references = {'Ant': 200.0, 'Hopper': -1.0}
  assert normalization.normalize(50.0, 'Ant-v4', references) == 0.25
  assert normalization.normalize(14.6, 'Pong', references) == 1.0
  assert math.isnan(normalization.normalize(1.0, 'Walker2d-v4', references))
  # A share of a negative return means nothing.
  assert math.isnan(normalization.normalize(1.0, 'Hopper-v4', references))


def test_a_reference_of_a_version_is_of_that_version_only():
  references = {'Ant-v4': 100.0, 'Hopper': 10.0, 'Hopper-v5': 20.0}
  assert normalization.normalize(50.0, 'Ant-v4', references) == 0.5
  assert math.isnan(normalization.normalize(50.0, 'Ant-v5', references))
  assert normalization.normalize(5.0, 'Hopper-v4', references) == 0.5
  assert normalization.normalize(5.0, 'Hopper-v5', references) == 0.25


def test_read_references(tmp_path):
  path = tmp_path / 'references.csv'
  path.write_text('task,score\nHopper-v4,3387.4\n\nAnt, 5848.6\n')
  assert normalization.read_references(str(path)) == {
    'Hopper-v4': 3387.4,
    'Ant': 5848.6,
  }


@pytest.mark.parametrize(
  'text',
  ['', 'Hopper,1', 'task,score', 'task,score\nAnt', 'task,score\nAnt,x']
  + ['task,score\nAnt,nan'],
)
def test_bad_references(text, user_error, tmp_path):
  path = tmp_path / 'references.csv'
  path.write_text(text)
  with user_error('--references', 'task,score'):
    normalization.read_references(str(path))
