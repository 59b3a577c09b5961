"""Tests of learning curves."""

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis import figures

LAMBDAS = 'erdos_renyi_lambda'


def _write(directory, method, seed=0, **kwargs):
  kwargs = {
    'agent': method.rpartition('-')[2],
    'task': 'HalfCheetah-v4',
    'score': 100.0 + 10 * seed,
    'sparsity': 0.506,
    'distribution': LAMBDAS,
    'train_steps': 1_000_000,
    'spread': 0.0,
    'more': {},
    **kwargs,
  }
  # SPARSITY is bound only where a sweep varies it.
  more = {'SPARSITY': None, **kwargs.pop('more')}
  if 'SPARSITY' in kwargs.get('swept', {}):
    del more['SPARSITY']
  path = synthetic_runs.write_run(directory, method, seed=seed, **kwargs)
  lines = (path / 'config.gin').read_text()
  lines += ''.join(f'{name} = {value!r}\n' for name, value in more.items())
  synthetic_runs.write_config(
    path, lines.replace("'@", '@').replace("saved_policy'", 'saved_policy')
  )
  return path


def test_figure_1_by_hand(tmp_path):
  for seed in (0, 1):
    _write(tmp_path / f'td3{seed}', 'TD3', seed)
  _write(tmp_path / 'ds', 'DS-TD3', task='Ant-v4')
  _write(
    tmp_path / 'half',
    'DS-TD3',
    1,
    task='Ant-v4',
    finished=False,
  )
  drawing = figures.draw('sokar22/fig01', analysis.load(tmp_path))
  data = drawing.data
  td3 = data[data.line == 'TD3']
  assert list(td3.step) == [100_000 * n for n in range(1, 11)]
  last = td3.iloc[-1]
  # 100 and 110; the standard deviation is that of two, not one less.
  assert last.return_mean == pytest.approx(105.0)
  assert last.return_std == pytest.approx(5.0)
  assert last.runs == 2
  ds = data[data.line == 'DS-TD3']
  assert list(ds.task.unique()) == ['Ant-v4']
  # As far as the unfinished run came.
  assert list(ds.runs) == [2] * 5 + [1] * 5
  assert drawing.notes[0] == '3 runs, 1 begun and not finished.'


def test_figure_1_is_of_the_papers_settings(tmp_path):
  _write(tmp_path / 'own', 'DS-TD3', 0)
  _write(
    tmp_path / 'level',
    'DS-TD3',
    1,
    sparsity=0.25,
    swept={'SPARSITY': 0.25},
  )
  _write(
    tmp_path / 'schedule',
    'DS-TD3',
    2,
    sweep='s',
    swept={'UpdateSchedule.interval': 200},
  )
  drawing = figures.draw('sokar22/fig01', analysis.load(tmp_path))
  assert set(drawing.data.runs) == {1}


def test_versions_of_a_task_have_panels_of_their_own(tmp_path):
  for seed, version in enumerate(('v4', 'v5', 'v5')):
    for method in ('TD3', 'DS-TD3'):
      _write(
        *(tmp_path / f'{method}{seed}', method, seed),
        task=f'Ant-{version}',
      )
  _write(tmp_path / 'half', 'TD3')
  drawing = figures.draw('sokar22/fig01', analysis.load(tmp_path))
  runs = drawing.data.groupby(['panel', 'line']).runs.unique().map(list)
  assert runs.to_dict() == {
    ('Ant-v4', 'TD3'): [1],
    ('Ant-v4', 'DS-TD3'): [1],
    ('Ant-v5', 'TD3'): [2],
    ('Ant-v5', 'DS-TD3'): [2],
    ('HalfCheetah-v4', 'TD3'): [1],
  }
  assert drawing.notes[1] == 'Not pooled: Ant-v4, Ant-v5.'
  titles = [axes.get_title() for axes in drawing.figure.axes]
  assert titles == ['HalfCheetah-v4', 'Ant-v4', 'Ant-v5']
  # Panels that would be empty are named, not drawn.
  assert drawing.notes[2] == 'Not drawn, no run: Walker2d; Hopper; Humanoid.'


def test_figure_2(tmp_path):
  _write(tmp_path / 'own', 'DS-TD3')
  for interval in (200, 2000):
    _write(
      tmp_path / str(interval),
      'DS-TD3',
      sweep='s',
      swept={'UpdateSchedule.interval': interval},
      more={'UpdateSchedule.interval': interval},
    )
  for sparsity in (0.25, 0.8):
    _write(
      tmp_path / str(sparsity),
      'DS-TD3',
      sparsity=sparsity,
      sweep='s',
      swept={'SPARSITY': sparsity},
    )
  data = figures.draw('sokar22/fig02', analysis.load(tmp_path)).data
  lines = data.groupby('panel').line.unique().map(list).to_dict()
  assert lines == {
    '(a) schedule e, HalfCheetah-v4': [
      'DS-TD3, e = 200',
      'DS-TD3, e = 1000',
      'DS-TD3, e = 2000',
    ],
    '(b) sparsity, HalfCheetah-v4': [
      'DS-TD3, 25 %',
      'DS-TD3, 50 %',
      'DS-TD3, 80 %',
    ],
  }


def test_figure_3_goes_by_the_length_of_the_policys_run(tmp_path):
  for steps in (500_000, 700_000):
    _write(
      tmp_path / f'policy{steps}' / 'seed0',
      'TD3',
      train_steps=steps,
      sweep='s',
      swept={'TRAIN_STEPS': steps},
    )
    _write(
      tmp_path / f'continued{steps}',
      'TD3',
      sweep='s',
      swept={'saved_policy.run': 'x'},
      more={
        'ActorCriticLoop.initial_policy': '@saved_policy',
        # Where it was when the sweep ran.
        'saved_policy.run': f'/before/policy{steps}/seed0',
      },
    )
  results = analysis.load(tmp_path)
  shares = results.runs.set_index('swept').initial_policy_share.dropna()
  assert sorted(shares) == [0.5, 0.7]
  data = figures.draw('sokar22/fig03', results).data
  assert sorted(data.panel.unique()) == [
    '(a) policy of 500k steps, HalfCheetah-v4',
    '(b) policy of 700k steps, HalfCheetah-v4',
  ]
  # Neither is a run of figure 1.
  with pytest.raises(figures.NothingToDraw):
    figures.draw(
      'sokar22/fig01',
      analysis.load(tmp_path / 'continued500000'),
    )


def test_longer_runs_of_other_figures_push_none_out(tmp_path):
  for name, steps in (('policy', 500), ('other', 9_000)):
    _write(tmp_path / name / 'seed0', 'TD3', train_steps=steps)
  _write(
    tmp_path / 'continued',
    'TD3',
    train_steps=1000,
    more={
      'ActorCriticLoop.initial_policy': '@saved_policy',
      'saved_policy.run': str(tmp_path / 'policy' / 'seed0'),
    },
  )
  drawing = figures.draw('sokar22/fig03', analysis.load(tmp_path))
  assert set(drawing.data.panel) == {'(a) policy of 500k steps, HalfCheetah-v4'}
  assert not any('Left out' in note for note in drawing.notes)


def test_figure_4_is_of_hard_targets(tmp_path):
  hard = {'SparseSacAgent.target_update_tau': 1.0}
  _write(tmp_path / 'soft', 'SAC', 0)
  _write(tmp_path / 'hard', 'SAC', 1, more=hard)
  _write(tmp_path / 'ds', 'DS-SAC', 1, more=hard)
  results = analysis.load(tmp_path)
  data = figures.draw('sokar22/fig04', results).data
  last = data[data.step == 1_000_000].set_index('line')
  assert last.return_mean.to_dict() == pytest.approx(
    {'SAC': 110.0, 'DS-SAC': 110.0}
  )
  data = figures.draw('sokar22/fig01', results).data
  assert set(data.line) == {'SAC'}
  assert data.return_mean.max() == pytest.approx(100.0)
