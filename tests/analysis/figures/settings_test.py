"""Tests of return by a setting."""

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis import figures

OPTIONS = figures.Options(resamples=20)


@pytest.fixture
def write(tmp_path):
  def write(name, method='RigL', score=100.0, task='Walker2d-v4', **kwargs):
    kwargs = {
      'agent': 'SAC',
      'sparsity': 0.8,
      'train_steps': 1_000_000,
      'sweep': 's',
      'spread': 0.0,
      **kwargs,
    }
    synthetic_runs.write_run(
      tmp_path / name, method, task=task, score=score, **kwargs
    )

  return write


def _values(name, tmp_path, panel):
  data = figures.draw(name, analysis.load(tmp_path), OPTIONS).data
  data = data[data.panel == panel]
  return {
    (row.method, row.value): round(row.return_mean, 6)
    for row in data.itertuples()
  }


def test_figure_4(write, tmp_path):
  write('own', swept={'SPARSITY': 0.8})
  write('uniform', score=80.0, distribution='uniform')
  write('dense', 'Dense', 110.0)
  # A name that the sweep gives to two bindings.
  write('wd', score=70.0, seed=1)
  config = (tmp_path / 'wd' / 'config.gin').read_text()
  synthetic_runs.write_config(
    tmp_path / 'wd',
    config.replace('weight_decay = 0.0001', 'weight_decay = 0.0'),
  )
  sweep = tmp_path / 'wd' / 'sweep.json'
  sweep.write_text(sweep.read_text().replace('"SEED"', '"WEIGHT_DECAY"'))
  write('init', score=60.0, more={'sparsify.initializer': '@layer_default'})
  # On this task nothing was varied.
  write('hopper', score=1.0, task='Hopper-v4')
  write('other', score=1.0, sparsity=0.9)
  name = 'graesser22/fig04'
  assert _values(name, tmp_path, 'Distribution') == {
    ('Dense', ''): 110.0,
    ('RigL', 'erdos_renyi_kernel'): 100.0,
    ('RigL', 'uniform'): 80.0,
  }
  assert _values(name, tmp_path, 'Weight decay') == {
    ('Dense', 1e-4): 110.0,
    ('RigL', 0.0): 70.0,
    ('RigL', 1e-4): 100.0,
  }
  assert _values(name, tmp_path, 'Initialization, ERK') == {
    ('RigL', 'layer_default'): 60.0,
    ('RigL', 'sparsity_aware'): 100.0,
  }


def test_one_version_of_a_task_is_drawn_and_the_other_named(write, tmp_path):
  for task in ('HalfCheetah-v4', 'HalfCheetah-v5'):
    for sparsity in (0.5, 0.9) if task == 'HalfCheetah-v5' else (0.9,):
      write(f'{task}{sparsity}', task=task, sparsity=sparsity)
  drawing = figures.draw('graesser22/fig14', analysis.load(tmp_path), OPTIONS)
  assert set(drawing.data.task) == {'HalfCheetah-v5'}
  assert set(drawing.data.runs) == {1}
  assert (
    'ERK: SAC, HalfCheetah, all layers: HalfCheetah-v5; not drawn: '
    'HalfCheetah-v4.'
  ) in drawing.notes


def test_figure_13(write, tmp_path):
  write('own')
  write('static', 'Static', 50.0)
  write('drop', score=90.0, more={'RigL.drop_fraction': 0.0})
  write('interval', score=95.0, more={'UpdateSchedule.interval': 100})
  write('batch', score=70.0, more={'TransitionBuffer.batch_size': 32})
  name = 'graesser22/fig13'
  assert _values(name, tmp_path, 'Drop fraction') == {
    ('RigL', 0.0): 90.0,
    ('RigL', 0.3): 100.0,
  }
  assert _values(name, tmp_path, 'Update interval') == {
    ('Static', ''): 50.0,
    ('RigL', 100.0): 95.0,
    ('RigL', 1000.0): 100.0,
  }
  assert _values(name, tmp_path, 'Batch size') == {
    ('Static', 256): 50.0,
    ('RigL', 32): 70.0,
    ('RigL', 256): 100.0,
  }
  # As whole numbers, by which the bootstrap's streams are named, too.
  data = figures.draw(name, analysis.load(tmp_path)).data
  values = data.value[data.setting == 'batch_size']
  assert set(map(str, values)) == {'32', '256'}


def test_figure_14(write, tmp_path):
  task = {'task': 'HalfCheetah-v4'}
  write('own', **task)
  write('uniform', score=80.0, distribution='uniform', **task)
  write(
    'dense_output',
    score=120.0,
    more={'sparsify.keep_dense': ('output',)},
    **task,
  )
  write('dense', 'Dense', 130.0, **task)
  write(
    'dqn',
    score=-90.0,
    agent='DQN',
    task='Acrobot-v1',
    train_steps=100_000,
  )
  name = 'graesser22/fig14'
  results = analysis.load(tmp_path)
  drawing = figures.draw(name, results, OPTIONS)
  assert drawing.notes[0] == '5 runs.'
  assert _values(name, tmp_path, 'ERK: SAC, HalfCheetah, all layers') == {
    ('Dense', ''): 130.0,
    ('RigL', 0.8): 100.0,
  }
  assert _values(name, tmp_path, 'ERK: last layers dense') == {
    ('Dense', ''): 130.0,
    ('RigL', 0.8): 120.0,
  }
  assert _values(name, tmp_path, 'Uniform: SAC, HalfCheetah, all layers') == {
    ('Dense', ''): 130.0,
    ('RigL', 0.8): 80.0,
  }
  assert _values(name, tmp_path, 'ERK: DQN, Acrobot') == {('RigL', 0.8): -90.0}


def test_a_single_level_is_not_drawn(write, tmp_path):
  write('dense', 'Dense', task='HalfCheetah-v4')
  with pytest.raises(figures.NothingToDraw):
    figures.draw('graesser22/fig14', analysis.load(tmp_path), OPTIONS)
  write('uniform', distribution='uniform', task='HalfCheetah-v4')
  drawing = figures.draw('graesser22/fig14', analysis.load(tmp_path), OPTIONS)
  panel = 'Uniform: SAC, HalfCheetah, all layers'
  assert set(drawing.data.panel) == {panel}
  assert list(drawing.data.method) == ['Dense', 'RigL']


@pytest.mark.parametrize('number', ['04', '13', '14'])
def test_no_runs(tmp_path, number):
  with pytest.raises(figures.NothingToDraw):
    figures.draw(f'graesser22/fig{number}', analysis.load(tmp_path), OPTIONS)
