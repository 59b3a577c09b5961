"""Tests of return against size."""

import math

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis import figures
from rigl_rl.analysis.figures import style


def _write(root, **kwargs):
  """Hopper and Ant under SAC: three seeds, two sparsities, five methods."""
  scores = {'Dense': 100.0, 'Small dense': 40.0, 'RigL': 80.0, 'Pruning': 90.0}
  for task in ('Hopper-v4', 'Ant-v4'):
    for method, score in scores.items():
      for sparsity in (0.9,) if method == 'Dense' else (0.8, 0.9):
        for seed in range(3):
          synthetic_runs.write_run(
            root / task / method / str(sparsity) / str(seed),
            method,
            'SAC',
            task,
            score + seed,
            sparsity,
            seed,
            train_steps=1_000_000,
            sweep='graesser22/sac_mujoco',
            swept={'SPARSITY': sparsity},
            spread=0.0,
            **kwargs,
          )


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  root = tmp_path_factory.mktemp('runs')
  _write(root)
  return root


@pytest.fixture(scope='module')
def drawing(runs):
  options = figures.Options(planned={'graesser22/fig09': 1000}, resamples=100)
  return figures.draw('graesser22/fig09', analysis.load(runs), options)


def test_points(drawing):
  data = drawing.data
  # Two tasks, one dense point and three methods of two sizes.
  assert len(data) == 2 * 7
  assert set(data.runs) == {3} and set(data.seeds) == {'0 1 2'}
  rigl = data[(data.task == 'Ant-v4') & (data.method == 'RigL')]
  assert list(rigl.sparsity) == [0.9, 0.8]
  assert rigl.parameters.is_monotonic_increasing
  assert list(rigl.return_mean) == [81.0, 81.0]
  assert (rigl.return_low >= 80).all() and (rigl.return_high <= 82).all()
  dense = data[data.method == 'Dense']
  assert list(dense.return_mean) == [101.0, 101.0]
  assert list(dense.distribution) == ['', '']


def test_it_says_how_complete_it_is(drawing):
  assert drawing.notes[0] == '42 of 1,000 runs.'


@pytest.mark.parametrize('kind,start', [('png', b'\x89PNG'), ('pdf', b'%PDF')])
def test_files_are_the_same_each_time(runs, kind, start):
  results = analysis.load(runs)
  files = []
  for _ in range(2):
    drawing = figures.draw(
      'graesser22/fig09', results, figures.Options(resamples=10)
    )
    files.append(style.rendered(drawing.figure, kind))
  assert files[0].startswith(start)
  assert files[0] == files[1]


def test_dense_line_and_80_percent_line(drawing):
  axes = drawing.figure.axes[0]
  levels = [line for line in axes.lines if list(line.get_xdata()) == [0, 1]]
  assert [line.get_ydata()[0] for line in levels] == [101.0]
  data = drawing.data
  marked = data[
    (data.task == 'Hopper-v4')
    & (data.method == 'RigL')
    & (data.sparsity == 0.8)
  ].parameters.iloc[0]
  upright = [line for line in axes.lines if list(line.get_ydata()) == [0, 1]]
  assert [line.get_xdata()[0] for line in upright] == [marked]
  assert axes.get_xscale() == 'log'


def test_annotations_are_along_pruning(drawing):
  axes = drawing.figure.axes[0]
  assert sorted(text.get_text() for text in axes.texts) == ['80 %', '90 %']
  assert {text.xy[1] for text in axes.texts} == {91.0}


@pytest.mark.parametrize('x', ['forward_flops', 'training_flops'])
def test_other_axes(runs, x):
  options = figures.Options(x=x, resamples=10)
  drawing = figures.draw('graesser22/fig09', analysis.load(runs), options)
  line = drawing.figure.axes[0].collections[0]
  assert line is not None
  assert drawing.data[x].min() > 0


def test_an_unknown_axis(runs, user_error):
  with user_error('--x', 'parameters'):
    figures.draw(
      'graesser22/fig09', analysis.load(runs), figures.Options(x='weights')
    )


def test_without_a_sparse_run_80_percent_is_counted(tmp_path):
  synthetic_runs.write_run(
    tmp_path / 'r', 'Dense', task='CartPole-v0', score=100.0
  )
  drawing = figures.draw('graesser22/fig08', analysis.load(tmp_path))
  (upright,) = [
    line
    for line in drawing.figure.axes[0].lines
    if list(line.get_ydata()) == [0, 1]
  ]
  # A fifth of 265,216 weights, and 1,026 biases.
  assert upright.get_xdata()[0] == pytest.approx(0.2 * 265_216 + 1026)
  # A single run has no interval.
  assert math.isnan(drawing.data.return_low.iloc[0])


def test_runs_of_other_figures_are_left_out(tmp_path):
  def write(name, **kwargs):
    synthetic_runs.write_run(
      tmp_path / name, 'RigL', train_steps=100_000, **kwargs
    )

  write('own', seed=0, sweep='graesser22/dqn_classic')
  write('drop', seed=1, sweep='s', more={'RigL.drop_fraction': 0.1})
  write('dense_output', seed=2, more={'sparsify.keep_dense': ('output',)})
  write('noise', seed=3, more={'DopamineRunner.evaluation_noise': 3.0})
  write('uniform', seed=4, distribution='uniform')
  synthetic_runs.write_run(tmp_path / 'short', 'RigL', seed=5, train_steps=900)
  write('unfinished', seed=6, finished=False)
  # The same again, in another sweep.
  write('again', seed=0, sweep='other')
  drawing = figures.draw('graesser22/fig08', analysis.load(tmp_path))
  seeds = dict(zip(drawing.data.row, drawing.data.seeds))
  assert seeds == {'ERK': '0', 'Uniform': '4'}
  assert drawing.notes[0] == '2 runs, 1 begun and not finished.'
  assert (
    drawing.notes[1] == 'Left out: 1 run shorter than others of CartPole-v0.'
  )


def test_a_seed_counts_once(tmp_path):
  for name, decay in (('a', 1e-6), ('b', 1e-4)):
    synthetic_runs.write_run(
      tmp_path / name, 'RigL', more={'MLPQNetwork.weight_decay': decay}
    )
  drawing = figures.draw('graesser22/fig08', analysis.load(tmp_path))
  assert list(drawing.data.runs) == [1]
  assert any('in another config' in note for note in drawing.notes)


def test_versions_of_a_task_have_panels_of_their_own(tmp_path):
  for seed, task in enumerate(
    ['Walker2d-v4', 'Walker2d-v4', 'Walker2d-v5', 'Walker2d-v5']
  ):
    synthetic_runs.write_run(
      *(tmp_path / str(seed), 'RigL', 'SAC', task, 100.0 * seed),
      seed=seed,
      train_steps=1_000_000,
      spread=0.0,
    )
  drawing = figures.draw('graesser22/fig02_sac', analysis.load(tmp_path))
  data = drawing.data.set_index('task')
  assert data.return_mean.to_dict() == {
    'Walker2d-v4': 50.0,
    'Walker2d-v5': 250.0,
  }
  assert drawing.notes[1] == 'Not pooled: Walker2d-v4, Walker2d-v5.'
  titles = [axes.get_title() for axes in drawing.figure.axes]
  assert titles == ['SAC, Walker2d-v4', 'SAC, Walker2d-v5']
  assert drawing.notes[-1] == (
    'Not drawn, no finished run: SAC, HalfCheetah; SAC, Humanoid.'
  )


def test_runs_of_a_point_that_differ_are_reported(tmp_path):
  for seed, decay in enumerate((1e-6, 1e-4)):
    synthetic_runs.write_run(
      *(tmp_path / str(seed), 'RigL'),
      seed=seed,
      more={'MLPQNetwork.weight_decay': decay},
    )
  drawing = figures.draw('graesser22/fig08', analysis.load(tmp_path))
  assert list(drawing.data.runs) == [2]
  assert (
    'Runs of one point differ beside their seed: MLPQNetwork.weight_decay '
    '(1e-06, 0.0001).'
  ) in drawing.notes


def test_short_runs_say_so(tmp_path):
  synthetic_runs.write_run(tmp_path / 'r', 'RigL', train_steps=10_000)
  drawing = figures.draw('graesser22/fig08', analysis.load(tmp_path))
  assert drawing.notes[1] == (
    "Short runs of DQN: 10,000 of the paper's 100,000 steps."
  )


def test_a_users_own_method_is_drawn(tmp_path):
  synthetic_runs.write_run(tmp_path / 'r', 'SaliencyRigL')
  drawing = figures.draw('graesser22/fig08', analysis.load(tmp_path))
  assert list(drawing.data.method) == ['SaliencyRigL']


def test_nothing_to_draw(tmp_path):
  with pytest.raises(figures.NothingToDraw, match='SAC.*Hopper'):
    figures.draw('graesser22/fig09', analysis.load(tmp_path))
