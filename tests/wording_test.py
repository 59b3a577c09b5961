"""Tests of how commands write numbers and tables."""

import pytest

from rigl_rl import wording


@pytest.mark.parametrize(
  'number,text',
  [(0, '0 runs'), (1, '1 run'), (2, '2 runs'), (1200, '1,200 runs')],
)
def test_count(number, text):
  assert wording.count(number, 'run') == text


def test_columns():
  rows = [('', 'runs', 'mark'), ('RigL', '12', '*'), ('Pruning', '1,200', '')]
  assert wording.columns(rows, right=(1,)).splitlines() == [
    '          runs  mark',
    'RigL        12  *',
    'Pruning  1,200',
  ]


@pytest.mark.parametrize(
  'seconds,text',
  [
    (0, '0 s'),
    (59.9, '59 s'),
    (60, '1 min'),
    (3600 + 62, '1 h 1 min'),
    (90000, '1 d 1 h'),
  ],
)
def test_durations(seconds, text):
  assert wording.duration(seconds) == text
