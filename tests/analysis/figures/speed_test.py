"""Tests of the figure of time against sparsity."""

import pytest

from rigl_rl.analysis.figures import speed

_RATES = {
  'dense': [100.0, 50.0, 80.0],
  'sparse_90': [200.0, 200.0, 160.0],
  'masked_90': [100.0, 50.0, 100.0],
  'sparse_50': [80.0, 50.0, 80.0],
  'torch': [1.0, 1.0, 1.0],
}


def test_times_are_of_the_same_turn():
  times = speed.relative_times(_RATES).set_index(['storage', 'sparsity'])
  assert list(times.index) == [
    ('sparse', 0.9),
    ('masked', 0.9),
    ('sparse', 0.5),
  ]
  row = times.loc['sparse', 0.9]
  assert (row.time, row.low, row.high) == (0.5, 0.25, 0.5)
  assert (row.steps_per_second, row.turns) == (200, 3)
  assert times.loc['sparse', 0.5].time == 1
  assert times.loc['sparse', 0.5].high == 1.25


def test_without_a_dense_contender_there_are_none():
  assert speed.relative_times({'sparse_90': [1.0]}).empty


def test_figure():
  times = speed.relative_times(_RATES)
  figure = speed.time_against_sparsity(times, 'Title', ['Note.'])
  (cell,) = figure.axes
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels == [
    'masked storage',
    'sparse storage',
    'dense',
    'ideal: active weights',
  ]
  drawn = {
    tuple(container.lines[0].get_xdata()): container.lines[0].get_ydata()
    for container in cell.containers
  }
  assert drawn[50, 90] == pytest.approx([1, 0.5])
  assert drawn[(90,)] == pytest.approx([1])
  assert cell.get_ylim()[1] > 1.25
