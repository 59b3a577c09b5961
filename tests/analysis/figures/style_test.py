"""Tests of how figures look."""

import itertools

import pytest

from rigl_rl.analysis.figures import style

PAPERS = (
  ('Dense', 'Small dense', 'Static', 'SET', 'RigL', 'Pruning'),
  ('TD3', 'Static-TD3', 'DS-TD3', 'SAC', 'DS-SAC'),
)


@pytest.mark.parametrize('methods', PAPERS)
def test_methods_differ_without_color(methods):
  looks = [style.of_method(method) for method in methods]
  for one, other in itertools.combinations(looks, 2):
    assert one.color != other.color
    assert one.marker != other.marker or one.line != other.line
    assert one.hatch != other.hatch
  markers = {look.marker for look in looks}
  assert len(markers) == len(looks)


def test_settings_differ():
  looks = [style.of_setting(index) for index in range(7)]
  assert len({look.color for look in looks}) == 7
  assert len({look.marker for look in looks}) == 7


def test_other_methods_come_last_and_differ():
  methods = ['Zeta', 'RigL', 'Alpha', 'Dense']
  assert style.ordered(methods) == ['Dense', 'RigL', 'Alpha', 'Zeta']
  alpha = style.of_method('Alpha', methods)
  zeta = style.of_method('Zeta', methods)
  assert alpha != zeta
  # The same wherever it is drawn together with the same ones.
  assert style.of_method('Alpha', methods[::-1]) == alpha


@pytest.mark.parametrize(
  'value,text',
  [
    (0, '0'),
    (950, '950'),
    (-1500, '−1.5k'),
    (30_000, '30k'),
    (2_500_000, '2.5M'),
    (1.074e14, '1.07e14'),
    (0.25, '0.25'),
  ],
)
def test_short_numbers(value, text):
  assert style.short_number(value) == text


@pytest.mark.parametrize(
  'value,text',
  [
    (0.0, '0'),
    (1e-6, '1e−6'),
    (2.5e-4, '2.5e−4'),
    (0.3, '0.3'),
    (1e3, '1,000'),
  ],
)
def test_settings(value, text):
  assert style.setting(value) == text


def test_intervals_of_single_runs():
  assert style.intervals('Bars.', [3, 2]) == 'Bars.'
  assert style.intervals('Bars.', [3, 1]) == (
    'Bars. Points of one run have none.'
  )
  assert 'without intervals' in style.intervals('Bars.', [1, 1])


def test_the_header_wraps():
  with style.settings():
    figure, axes = style.grid(1, 1)
    style.add_header(figure, 'A title', ['a note ' * 40, 'the end.'])
  lines = figure.get_suptitle().split('\n')
  assert lines[0] == 'A title' and len(lines) > 3
  assert lines[-1].endswith('the end.')
  assert axes.shape == (1, 1)
