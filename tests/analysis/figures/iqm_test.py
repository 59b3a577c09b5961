"""Tests of interquartile means."""

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis import figures

OPTIONS = figures.Options(resamples=50)


def _write(directory, method, agent, task, score, **kwargs):
  kwargs = {'sparsity': 0.9, 'train_steps': 1_000_000, **kwargs}
  synthetic_runs.write_run(
    directory, method, agent, task, score, spread=0.0, **kwargs
  )


def test_mujoco_is_normalized_by_dense_sac(tmp_path):
  scores = {'Dense': 100.0, 'Small dense': 50.0, 'RigL': 90.0}
  for task, factor in (('Hopper-v4', 1.0), ('Ant-v4', 10.0)):
    for method, score in scores.items():
      for seed in range(4):
        _write(
          tmp_path / f'{task}{method}{seed}',
          method,
          'SAC',
          task,
          factor * score,
          seed=seed,
        )
    _write(
      tmp_path / f'{task}ppo',
      'RigL',
      'PPO',
      task,
      factor * 30.0,
    )
  results = analysis.load(tmp_path)
  drawing = figures.draw('graesser22/fig01', results, OPTIONS)
  data = drawing.data.set_index(['panel', 'method'])
  assert data.iqm.to_dict() == pytest.approx(
    {
      ('SAC', 'Dense'): 1.0,
      ('SAC', 'Small dense'): 0.5,
      ('SAC', 'RigL'): 0.9,
      ('PPO', 'RigL'): 0.3,
    }
  )
  rigl = data.loc['SAC', 'RigL']
  assert rigl.runs == 8 and rigl.tasks == 'Ant-v4:4 Hopper-v4:4'
  assert drawing.notes[0] == '26 runs.'
  name = 'IQM of scores normalized by dense SAC'
  labels = [cell.get_xlabel() for cell in drawing.figure.axes]
  assert labels == [name, name]
  # DQN's panels would have another unit.
  assert drawing.notes[-1] == (
    'Not drawn, no finished run: DQN (CNN); DQN (ResNet).'
  )
  # Given references win.
  options = figures.Options(
    resamples=50, references={'Hopper': 200.0, 'Ant': 2000.0}
  )
  again = figures.draw('graesser22/fig01', results, options).data
  assert again.set_index(['panel', 'method']).iqm['SAC', 'Dense'] == 0.5


def test_versions_of_a_task_are_not_averaged(tmp_path):
  for task, score in (('Ant-v4', 10.0), ('Ant-v5', 1000.0), ('Hopper-v4', 5.0)):
    for method, share in (('Dense', 1.0), ('RigL', 0.5)):
      _write(
        *(tmp_path / f'{task}{method}', method, 'SAC', task),
        share * score,
      )
  drawing = figures.draw('graesser22/fig01', analysis.load(tmp_path), OPTIONS)
  data = drawing.data.set_index(['panel', 'method'])
  assert data.tasks['SAC, -v4', 'RigL'] == 'Ant-v4:1 Hopper-v4:1'
  assert data.tasks['SAC, -v5', 'RigL'] == 'Ant-v5:1'
  # Each by the dense SAC of its own version.
  assert list(data.iqm) == pytest.approx([1.0, 0.5, 1.0, 0.5])
  assert 'Not pooled: Ant-v4, Ant-v5.' in drawing.notes
  titles = [axes.get_title() for axes in drawing.figure.axes]
  assert titles == ['SAC, -v4', 'SAC, -v5']


def test_atari_is_normalized_by_human_play(tmp_path):
  _write(
    tmp_path / 'r',
    'Static',
    'DQN',
    'Pong',
    14.6,
    network='CNN',
    train_steps=10_000_000,
  )
  drawing = figures.draw('graesser22/fig17', analysis.load(tmp_path), OPTIONS)
  (point,) = drawing.data.to_dict('records')
  assert (point['panel'], point['method']) == ('90 %', 'Static')
  assert point['iqm'] == pytest.approx(1.0)
  # The ResNet's runs are another figure's.
  with pytest.raises(figures.NothingToDraw, match='ResNet'):
    figures.draw('graesser22/fig18', analysis.load(tmp_path), OPTIONS)


def test_without_references_nothing_is_drawn(tmp_path):
  _write(tmp_path / 'r', 'RigL', 'PPO', 'Hopper-v4', 10.0)
  with pytest.raises(figures.NothingToDraw, match='Hopper.*dense SAC'):
    figures.draw('graesser22/fig16', analysis.load(tmp_path), OPTIONS)


def test_short_references_are_reported(tmp_path):
  _write(tmp_path / 'p', 'RigL', 'PPO', 'Ant-v4', 10.0)
  _write(
    *(tmp_path / 'd', 'Dense', 'SAC', 'Ant-v4', 10.0),
    train_steps=600,
  )
  drawing = figures.draw('graesser22/fig16', analysis.load(tmp_path), OPTIONS)
  assert list(drawing.notes)[1:] == [
    "Short runs of SAC: 600 of the paper's 1,000,000 steps.",
    'Not drawn, no finished run: 50 %; 95 %; 99 %.',
  ]


def test_tasks_of_figure_15_at_99_percent(tmp_path):
  for task in ('Hopper-v4', 'Humanoid-v4'):
    _write(tmp_path / f'd{task}', 'Dense', 'SAC', task, 10.0)
    for sparsity in (0.95, 0.99):
      _write(
        tmp_path / f'{task}{sparsity}',
        'SET',
        'SAC',
        task,
        5.0,
        sparsity=sparsity,
      )
  data = figures.draw('graesser22/fig15', analysis.load(tmp_path), OPTIONS).data
  tasks = data.set_index(['panel', 'method']).tasks
  assert tasks['95 %', 'SET'] == 'Hopper-v4:1 Humanoid-v4:1'
  assert tasks['99 %', 'SET'] == 'Hopper-v4:1'
  assert tasks['99 %', 'Dense'] == 'Hopper-v4:1'
