"""When masks change and by how much: the oracle file, windows, bad input."""

import json
import math
import pathlib

import pytest
import tensorflow as tf

from rigl_rl.sparsity import schedules

_ORACLES = json.loads(
  (pathlib.Path(__file__).parent / 'oracles' / 'schedules.json').read_text()
)


def _update_steps(schedule, total_steps):
  steps = [
    step for step in range(total_steps) if bool(schedule.is_update_step(step))
  ]
  assert schedule.update_steps().tolist() == steps
  return steps


def _last_steps(schedule, total_steps):
  return [
    step for step in range(total_steps) if bool(schedule.is_last_step(step))
  ]


@pytest.mark.parametrize(
  ('step', 'expected'), _ORACLES['prune_cubic_0_0.9_200k_800k']
)
def test_polynomial_sparsity_equals_released_code(step, expected):
  actual = schedules.polynomial_sparsity(step, 0.9, 200_000, 800_000)
  assert actual.dtype == tf.float64
  assert float(actual) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
  ('step', 'expected'), _ORACLES['cosine_drop_0.5_end_800k']
)
def test_cosine_drop_fraction_equals_released_code(step, expected):
  actual = schedules.cosine_drop_fraction(step, 0.5, 800_000)
  assert float(actual) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(('step', 'expected'), _ORACLES['is_update_1000_800k'])
def test_update_steps_equal_released_code(step, expected):
  schedule = schedules.UpdateSchedule(1_000_000, end=0.8, interval=1000)
  assert bool(schedule.is_update_step(step)) == expected
  in_graph = tf.function(schedule.is_update_step)
  assert bool(in_graph(tf.constant(step, tf.int64))) == expected


def test_polynomial_sparsity_by_hand():
  def sparsity(step, **kwargs):
    return float(schedules.polynomial_sparsity(step, 0.8, 10, 20, **kwargs))

  assert sparsity(0) == 0.0
  assert sparsity(10) == 0.0
  assert sparsity(15) == pytest.approx(0.8 * (1 - 1 / 8), abs=1e-15)
  assert sparsity(20) == 0.8
  assert sparsity(10**9) == 0.8
  assert sparsity(10, initial=0.2) == pytest.approx(0.2, abs=1e-15)
  assert sparsity(15, initial=0.2, power=1) == pytest.approx(0.5, abs=1e-15)


def test_cosine_drop_fraction_by_hand():
  def fraction(step):
    return float(schedules.cosine_drop_fraction(step, 0.4, 110, 10))

  assert fraction(0) == pytest.approx(0.4)
  assert fraction(10) == pytest.approx(0.4)
  assert fraction(35) == pytest.approx(0.2 * (1 + math.cos(math.pi / 4)))
  assert fraction(60) == pytest.approx(0.2)
  assert fraction(110) == 0.0
  assert fraction(111) == 0.0


def test_window_and_interval():
  schedule = schedules.UpdateSchedule(100, begin=0.2, end=0.8, interval=20)
  assert (schedule.begin_step, schedule.end_step) == (20, 80)
  assert _update_steps(schedule, 100) == [20, 40, 60, 80]


def test_last_step_of_the_window_is_no_update_off_the_interval():
  schedule = schedules.UpdateSchedule(100, begin=0.2, end=0.75, interval=20)
  assert _update_steps(schedule, 100) == [20, 40, 60]
  assert _last_steps(schedule, 100) == [75]


@pytest.mark.parametrize('total_steps', [1, 2, 99, 100])
def test_last_step_of_the_window_is_one_that_is_taken(total_steps):
  schedule = schedules.UpdateSchedule(total_steps, end=1.0)
  assert _last_steps(schedule, total_steps) == [total_steps - 1]


def test_window_at_the_very_end_of_training():
  schedule = schedules.UpdateSchedule(100, begin=0.999, end=1.0, interval=7)
  assert (schedule.begin_step, schedule.end_step) == (99, 99)
  assert _update_steps(schedule, 100) == [99]


def test_interval_longer_than_the_window():
  schedule = schedules.UpdateSchedule(100, interval=1000)
  assert _update_steps(schedule, 100) == [0]


def test_offset_shifts_all_updates():
  schedule = schedules.UpdateSchedule(50, end=0.8, interval=10, offset=2)
  assert _update_steps(schedule, 50) == [2, 12, 22, 32]
  # The whole window may be shifted away.
  schedule = schedules.UpdateSchedule(50, end=0.1, interval=10, offset=9)
  assert _update_steps(schedule, 50) == []


def test_windows_are_fractions_of_training():
  long = schedules.UpdateSchedule(1_000_000, begin=0.2)
  short = schedules.UpdateSchedule(1_000, begin=0.2)
  assert (long.begin_step, long.end_step) == (200_000, 800_000)
  assert (short.begin_step, short.end_step) == (200, 800)


def test_window_of_a_single_step_prunes_fully():
  schedule = schedules.UpdateSchedule(10, begin=0.5, end=0.51)
  assert schedule.begin_step == schedule.end_step == 5
  assert _update_steps(schedule, 10) == [5]
  assert float(schedules.polynomial_sparsity(4, 0.9, 5, 5)) == 0.0
  assert float(schedules.polynomial_sparsity(5, 0.9, 5, 5)) == 0.9


@pytest.mark.parametrize('begin, end', [(0.0, 0.8), (0.3, 1.0), (0.55, 0.6)])
@pytest.mark.parametrize(
  'steps_before, interval, offset',
  [
    (0, 1, 0),
    (0, 7, 0),
    (20, 5, 0),  # The interval divides what came before.
    (23, 5, 0),
    (23, 5, 2),
    (4, 10, 9),
    (5, 1000, 0),  # t never comes to a multiple.
    (970, 1000, 0),  # It does once.
  ],
)
def test_steps_before_counts_environment_steps(
  begin, end, steps_before, interval, offset
):
  total_steps = 40
  schedule = schedules.UpdateSchedule(
    total_steps,
    begin=begin,
    end=end,
    interval=interval,
    offset=offset,
    steps_before=steps_before,
  )
  expected = []
  t = steps_before
  for step in range(total_steps):
    t += 1  # Algorithm 1 counts the present step too.
    is_inside = schedule.begin_step <= step <= schedule.end_step
    if is_inside and t % interval == offset:
      expected.append(step)
  assert _update_steps(schedule, total_steps) == expected
  # The window is where it is without.
  plain = schedules.UpdateSchedule(total_steps, begin=begin, end=end)
  window = schedule.begin_step, schedule.end_step
  assert window == (plain.begin_step, plain.end_step)


def test_steps_before_by_hand():
  def steps(**kwargs):
    schedule = schedules.UpdateSchedule(20, end=1.0, interval=8, **kwargs)
    return _update_steps(schedule, 20)

  assert steps() == [0, 8, 16]
  assert steps(steps_before=0) == [7, 15]  # Gradient steps 8 and 16.
  assert steps(steps_before=25) == [6, 14]  # t = 32 and 40.
  assert steps(steps_before=25, offset=2) == [0, 8, 16]  # t = 26, 34 and 42.
  assert steps(steps_before=25, begin=0.35) == [14]


def test_update_steps_of_the_released_ds_td3():
  """Section 4.4: from t = 26,000 on, each 1,000 environment steps."""
  schedule = schedules.UpdateSchedule(
    975_000, end=1.0, interval=1000, steps_before=25_000
  )
  t = schedule.update_steps() + 25_001
  assert t.tolist() == list(range(26_000, 1_000_001, 1000))


@pytest.mark.parametrize('steps_before', [None, 3])
@pytest.mark.parametrize('offset', [0, 2])
def test_update_steps_are_integers(steps_before, offset):
  """Of an empty window too: they are cast to int64, and joined with others."""
  schedule = schedules.UpdateSchedule(
    10, end=0.1, interval=50, offset=40 + offset, steps_before=steps_before
  )
  assert schedule.update_steps().tolist() == []
  assert schedule.update_steps().dtype.kind == 'i'


@pytest.mark.parametrize(
  ('arguments', 'parts'),
  [
    ({'total_steps': 0}, ('TRAIN_STEPS', '0', 'at least 1')),
    ({'total_steps': -5}, ('TRAIN_STEPS', '-5', 'at least 1')),
    ({'begin': -0.1}, ('UpdateSchedule.begin', '-0.1', '[0, 1]')),
    ({'end': 80}, ('UpdateSchedule.end', '80', '[0, 1]', '0.8?')),
    ({'end': '.8'}, ('UpdateSchedule.end', "'.8'", '[0, 1]')),
    ({'end': float('nan')}, ('UpdateSchedule.end', 'nan', '[0, 1]')),
    (
      {'begin': 0.8, 'end': 0.8},
      ('UpdateSchedule.begin', '0.8', 'less than UpdateSchedule.end'),
    ),
    ({'interval': 0}, ('UpdateSchedule.interval', '0', 'at least 1')),
    ({'interval': '9'}, ('UpdateSchedule.interval', "'9'", 'whole number')),
    ({'interval': 2.5}, ('UpdateSchedule.interval', '2.5', 'whole number')),
    (
      {'interval': 10, 'offset': 10},
      ('UpdateSchedule.offset', '10', 'a whole number in [0, 9]'),
    ),
    ({'offset': -1}, ('UpdateSchedule.offset', '-1', 'at least 0')),
    ({'offset': 2.5}, ('UpdateSchedule.offset', '2.5', 'whole number')),
    ({'steps_before': -1}, ('UpdateSchedule.steps_before', '-1', 'at least 0')),
    ({'steps_before': 2.5}, ('UpdateSchedule.steps_before', '2.5', 'whole')),
    ({'steps_before': '9'}, ('UpdateSchedule.steps_before', "'9'", 'whole')),
    ({'steps_before': True}, ('UpdateSchedule.steps_before', 'True', 'whole')),
    (
      {'interval': 10, 'offset': 10, 'steps_before': 3},
      ('UpdateSchedule.offset', '10', 'a whole number in [0, 9]'),
    ),
  ],
)
def test_bad_arguments(arguments, parts, user_error):
  with user_error(*parts):
    schedules.UpdateSchedule(**{'total_steps': 100, **arguments})
