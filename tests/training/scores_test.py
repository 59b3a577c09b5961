"""Final score and learning curve area on curves one can add up by eye."""

import pytest

from rigl_rl.training import scores


@pytest.mark.parametrize(
  'returns, expected',
  [
    ([7.0], 7.0),
    ([1.0, 2.0, 6.0], 6.0),  # fewer than ten: the last one
    ([0.0] * 9 + [5.0], 5.0),
    ([0.0] * 9 + [4.0, 6.0], 5.0),  # 11: rounded up to 2
    ([0.0] * 18 + [1.0, 3.0], 2.0),
    ([9.0] * 27 + [1.0, 2.0, 6.0], 3.0),  # 30: exactly 3, not 4
    (list(range(100)), 94.5),
  ],
)
def test_final_score_is_the_mean_of_the_last_tenth(returns, expected):
  assert scores.final_score(returns) == expected


def test_learning_curve_area_is_the_mean_return_over_training():
  assert scores.learning_curve_area([0.0, 2.0, 4.0]) == 2.0
  # The same end reached sooner has the larger area.
  assert scores.learning_curve_area([4.0, 4.0, 4.0]) == 4.0


def test_learning_curve_area_as_the_paper_prints_it():
  # 1 M steps, evaluated every 5,000: table 2 prints 1.7686 for a mean return
  # of 8,843.
  assert scores.learning_curve_area([8843.0] * 200, 1_000_000) == (
    pytest.approx(1.7686)
  )


@pytest.mark.parametrize('returns', [[], [[1.0], [2.0]]])
def test_bad_returns_are_refused(returns):
  for score in (scores.final_score, scores.learning_curve_area):
    with pytest.raises(ValueError, match='non-empty list'):
      score(returns)


def test_bad_train_steps_are_refused():
  with pytest.raises(ValueError, match='train_steps must be > 0, got 0'):
    scores.learning_curve_area([1.0], 0)
