"""Tests of learning curves of any runs."""

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis.figures import base, comparison


@pytest.fixture
def write(tmp_path):
  def write(name, method='RigL', **kwargs):
    return synthetic_runs.write_run(
      tmp_path / name, method, spread=0.0, **kwargs
    )

  return write


def _labels(directory):
  runs = analysis.load(directory).runs
  return dict(
    zip(runs.directory.str.rpartition('/')[2], comparison.labels(runs))
  )


def _draw(directory, **kwargs):
  request = base.Request(
    'plot',
    analysis.load(directory),
    base.Options(resamples=20),
  )
  return comparison.Comparison('Title', **kwargs).draw(request)


def test_what_differs_is_named(write, tmp_path):
  write('a', seed=0)
  write('b', seed=1)
  assert set(_labels(tmp_path).values()) == {'RigL'}
  write('dense', 'Dense')
  # That a dense network has no sparsity goes without saying.
  assert _labels(tmp_path) == {'a': 'RigL', 'b': 'RigL', 'dense': 'Dense'}
  write('c', sparsity=0.95)
  assert _labels(tmp_path) == {
    'a': 'RigL, 90 %',
    'b': 'RigL, 90 %',
    'c': 'RigL, 95 %',
    'dense': 'Dense',
  }


def test_other_bindings_are_named_where_they_differ(write, tmp_path):
  for seed in (0, 1):
    write(f'plain{seed}', seed=seed)
    write(f'drop{seed}', seed=seed, more={'RigL.drop_fraction': 0.1})
  write('set', 'SET')
  # A binding that a run lacks is not named.
  write('dense', 'SET', seed=1, more={'sparsify.keep_dense': ('a',)})
  assert _labels(tmp_path) == {
    'plain0': 'RigL, RigL.drop_fraction = 0.3',
    'plain1': 'RigL, RigL.drop_fraction = 0.3',
    'drop0': 'RigL, RigL.drop_fraction = 0.1',
    'drop1': 'RigL, RigL.drop_fraction = 0.1',
    'set': 'SET',
    'dense': "SET, sparsify.keep_dense = ('a',)",
  }


def test_tasks_are_compared_each_by_itself(write, tmp_path):
  write('dqn')
  write('sac', agent='SAC', task='Ant-v4')
  assert set(_labels(tmp_path).values()) == {'RigL'}


def test_a_panel_per_task_and_a_line_per_method(write, tmp_path):
  for seed, score in enumerate((100.0, 110.0)):
    write(f'rigl{seed}', score=score, seed=seed)
  write('dense', 'Dense', score=50.0)
  write('sac', 'SET', agent='SAC', task='Ant-v4', finished=False)
  drawing = _draw(tmp_path)
  titles = [axes.get_title() for axes in drawing.figure.axes]
  assert titles == ['Ant-v4', 'CartPole-v0']
  last = drawing.data[drawing.data.steps == 100_000].set_index('line')
  assert last.return_mean.to_dict() == {'RigL': 105.0, 'Dense': 50.0}
  assert last.runs.to_dict() == {'RigL': 2, 'Dense': 1}
  assert last.return_low['RigL'] >= 100 and last.return_high['RigL'] <= 110
  assert list(drawing.notes) == ['4 runs.', '1 run not finished.']
  legend = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
  assert legend == ['Dense', 'SET', 'RigL']


def test_the_interquartile_mean(write, tmp_path):
  scores = [0.0, 1.0, 2.0, 30.0]
  for seed, score in enumerate(scores):
    write(str(seed), score=score, seed=seed)
  data = _draw(tmp_path, statistic='iqm').data
  assert data.return_iqm.iloc[-1] == pytest.approx(1.5)
  assert data.runs.iloc[-1] == 4


def test_a_run_that_is_there_twice_counts_once(write, tmp_path):
  write('a')
  write('b', finished=False)
  data = _draw(tmp_path).data
  assert set(data.runs) == {1} and len(data) == 10


def test_seconds(write, tmp_path):
  path = write('a')
  (path / 'timing.csv').write_text(
    'step,seconds,steps_per_second\n10000,2.5,1.0\n20000,5.0,1.0\n'
  )
  write('without', seed=1)
  drawing = _draw(tmp_path, x='seconds')
  assert list(drawing.data.seconds) == [2.5, 5.0]
  assert list(drawing.notes) == [
    '1 run.',
    '1 run left out, without evaluations or seconds of training.',
  ]


def test_flops(write, tmp_path):
  write('a')
  write('unfinished', seed=1, finished=False)
  data = _draw(tmp_path, x='flops').data
  (run,) = analysis.load(tmp_path / 'a').runs.itertuples()
  assert list(data.flops) == pytest.approx(
    [run.training_flops * n / 10 for n in range(1, 11)]
  )


def test_no_runs(tmp_path):
  with pytest.raises(base.NothingToDraw, match='no run'):
    _draw(tmp_path)
