"""Tests of means and interquartile means with their intervals."""

import math

import numpy as np
import pandas as pd
import pytest

from rigl_rl import seeding
from rigl_rl.analysis import statistics


def test_mean_by_hand():
  estimate = statistics.mean([1.0, math.nan, 3.0], 'a')
  assert (estimate.value, estimate.runs) == (2.0, 2)
  # Of two runs the resamples are 1, 2 and 3, a quarter, a half, a quarter.
  assert (estimate.low, estimate.high) == (1.0, 3.0)


def test_mean_of_one_run_has_no_interval():
  estimate = statistics.mean([5.0], 'a')
  assert (estimate.value, estimate.runs) == (5.0, 1)
  assert math.isnan(estimate.low) and math.isnan(estimate.high)
  assert statistics.mean([], 'a').runs == 0


def test_mean_interval_is_about_the_normal_one():
  scores = np.random.default_rng(0).normal(size=400)
  estimate = statistics.mean(scores, 'a')
  half = 1.96 * scores.std() / 20
  assert estimate.low == pytest.approx(scores.mean() - half, abs=0.01)
  assert estimate.high == pytest.approx(scores.mean() + half, abs=0.01)


def test_intervals_repeat_and_streams_differ():
  scores = list(np.random.default_rng(0).normal(size=10))
  first = statistics.mean(scores, 'a', 1)
  assert statistics.mean(scores, 'a', 1) == first
  # The order in which runs were found plays no part.
  assert statistics.mean(scores[::-1], 'a', 1) == first
  assert statistics.mean(scores, 'a', 2) != first


def test_iqm_by_hand():
  # The middle half of 0..7 is 2, 3, 4, 5.
  scores = np.array([[0.0, 1], [2, 3], [4, 5], [6, 7]])
  estimate = statistics.interquartile_mean(scores, 'a', resamples=50)
  assert (estimate.value, estimate.runs) == (3.5, 8)
  assert estimate.low < 3.5 < estimate.high


@pytest.mark.skipif(
  int(pd.__version__.split('.')[0]) >= 3,
  reason='arch 7, which its library imports, knows no pandas 3',
)
def test_iqm_agrees_with_rliable():
  from rliable import library, metrics

  scores = np.random.default_rng(3).normal(size=(10, 3))
  estimate = statistics.interquartile_mean(scores, 'a', resamples=1500)
  points, intervals = library.get_interval_estimates(
    {'a': scores},
    lambda values: np.array([metrics.aggregate_iqm(values)]),
    reps=1500,
  )
  assert estimate.value == pytest.approx(points['a'][0], rel=1e-12)
  # Their random numbers differ; the interval is 0.8 long.
  found = [estimate.low, estimate.high]
  np.testing.assert_allclose(found, intervals['a'][:, 0], atol=0.06)


@pytest.mark.parametrize('shape', [(10, 5), (10, 15), (5, 1)])
def test_iqm_of_all_resamples_at_once_is_that_of_each(shape):
  from rliable import metrics

  scores = np.random.default_rng(0).normal(size=shape)
  estimate = statistics.interquartile_mean(scores, 'a', resamples=200)
  rng = seeding.generator(0, 'bootstrap', 'a')
  scores = np.sort(scores, axis=0)
  means = [
    metrics.aggregate_iqm(np.take_along_axis(scores, drawn, axis=0))
    for drawn in (rng.integers(shape[0], size=shape) for _ in range(200))
  ]
  tail = (1 - 0.95) / 2
  expected = np.percentile(means, [100 * tail, 100 * (1 - tail)])
  assert [estimate.low, estimate.high] == list(expected)  # To the bit.


def test_iqm_repeats_whatever_the_global_generator_does():
  scores = np.random.default_rng(0).normal(size=(5, 2))
  first = statistics.interquartile_mean(scores, 'a', resamples=40)
  np.random.seed(1)
  state = np.random.get_state()[1].copy()
  assert statistics.interquartile_mean(scores, 'a', resamples=40) == first
  np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_iqm_of_an_incomplete_sweep():
  nan = math.nan
  scores = np.array([[1.0, 5.0, nan], [2.0, nan, nan], [3.0, nan, nan]])
  estimate = statistics.interquartile_mean(scores, 'a', resamples=200)
  # Four scores, 1, 2, 3 and 5: the middle two.
  assert (estimate.value, estimate.runs) == (2.5, 4)
  # The single run of the second task is in each resample, so the others are
  # never the largest.
  assert 1.0 <= estimate.low < 2.5 < estimate.high <= 3.0


def test_iqm_without_an_interval():
  estimate = statistics.interquartile_mean(np.array([[1.0, 3.0]]), 'a')
  assert (estimate.value, estimate.runs) == (2.0, 2)
  assert math.isnan(estimate.low)
  none = statistics.interquartile_mean(np.full((2, 2), np.nan), 'a')
  assert none.runs == 0 and math.isnan(none.value)


def test_probability_of_improvement_by_hand():
  # In the first task 3 of 4 pairs are won; in the second one is, one is tied.
  pairs = [([1.0, 3.0], [2.0, 0.0]), ([5.0], [5.0, 4.0])]
  estimate = statistics.probability_of_improvement(pairs, 'a')
  assert (estimate.value, estimate.runs) == (0.75, 7)
  assert 0 <= estimate.low < 0.75 < estimate.high <= 1
  back = [(y, x) for x, y in pairs]
  assert statistics.probability_of_improvement(back, 'a').value == 0.25


def test_probability_of_improvement_without_an_interval():
  single = statistics.probability_of_improvement([([2.0], [1.0])], 'a')
  assert single.value == 1 and math.isnan(single.low)
  none = statistics.probability_of_improvement([], 'a')
  assert none.runs == 0 and math.isnan(none.value)


def test_probability_of_improvement_agrees_with_rliable():
  from rliable import metrics

  x, y = np.random.default_rng(4).integers(9, size=(2, 10, 3)).astype(float)
  estimate = statistics.probability_of_improvement(zip(x.T, y.T), 'a')
  expected = metrics.probability_of_improvement(x, y)
  assert estimate.value == pytest.approx(expected, rel=1e-12)
  # Of equal methods its standard deviation is √(21 / 1200 / 3), about .076.
  assert estimate.high - estimate.low == pytest.approx(0.3, abs=0.06)
