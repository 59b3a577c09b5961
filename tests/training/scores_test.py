"""Final score and learning curve area on curves one can add up by eye."""

import gin
import pytest

from rigl_rl import errors
from rigl_rl.training import scores

pytestmark = pytest.mark.usefixtures('no_gin_config')


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


@pytest.mark.parametrize(
  'returns, last, expected',
  [
    ([0.0] * 10 + [9.0] * 10, 10, 9.0),
    ([5.0] + [9.0] * 10, 10, 9.0),
    ([1.0, 2.0, 6.0], 10, 3.0),  # fewer: all of them
    ([1.0, 2.0, 6.0], 1, 6.0),  # one evaluation,
    ([1.0, 2.0, 6.0], 1.0, 3.0),  # and all of them
    ([1.0, 2.0, 6.0], 0.34, 4.0),
    ([9.0] * 93 + [1.0] * 7, 0.07, 1.0),  # 7, not 8: 100 * 0.07 is above 7
    ([1.0, 2.0, 6.0], 1e-7, 6.0),
  ],
)
def test_final_score_of_a_share_or_a_number(returns, last, expected):
  assert scores.final_score(returns, last=last) == expected


@pytest.mark.parametrize(
  'last, words, expected',
  [
    ('0.1', 'last 10 %', 94.5),
    ('0.07', 'last 7 %', 96.0),
    ('0.125', 'last 12.5 %', 93.0),
    ('1.0', 'last 100 %', 49.5),
    ('10', 'last 10 evaluations', 94.5),
    ('1', 'last evaluation', 99.0),
  ],
)
def test_the_binding_and_its_words(last, words, expected):
  gin.parse_config(f'final_score.last = {last}')
  assert scores.describe_final_score() == words
  assert scores.final_score(list(range(100))) == expected


def test_the_default_in_words():
  assert scores.describe_final_score() == 'last 10 %'


@pytest.mark.parametrize(
  'last', [0, -3, 0.0, 1.5, 10.0, -0.1, float('nan'), True, None, '10', [10]]
)
def test_bad_last_is_refused(last):
  gin.bind_parameter('final_score.last', last)
  for score in (
    scores.describe_final_score,
    lambda: scores.final_score([1.0, 2.0]),
  ):
    with pytest.raises(errors.UserError) as error:
      score()
    line = str(error.value).splitlines()[0]
    assert line.startswith(f'final_score.last is {last!r}, but must be ')
    assert '(0, 1]' in line and 'whole number of at least 1' in line


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
