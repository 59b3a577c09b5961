"""Tests of loading run directories."""

import json
import math
import pathlib
import subprocess
import sys

import pandas as pd
import pytest

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis import tables

ROOT = pathlib.Path(__file__).parents[2]


def test_a_run_without_a_sweep(tmp_path):
  synthetic_runs.write_run(tmp_path / 'a' / 'b', 'RigL', seed=3)
  results = analysis.load(tmp_path)
  (run,) = results.runs.to_dict('records')
  assert run['label'] == run['method'] == run['algorithm'] == 'RigL'
  assert (run['task'], run['agent'], run['seed']) == ('CartPole-v0', 'DQN', 3)
  assert (run['sparsity'], run['width'], run['sweep']) == (0.9, '1', '')
  assert run['distribution'] == 'erdos_renyi_kernel'
  assert run['directory'] == str(tmp_path / 'a' / 'b')
  # 4 · 512 + 512 · 512 + 512 · 2 weights, 1026 biases.
  weights = [2048, 262144, 1024]
  active = sum(n - int(0.9 * n) for n in weights)
  assert run['weights'] == sum(weights)
  assert run['active_weights'] == active
  assert run['parameters'] == active + 1026
  assert run['forward_flops'] == 2 * active
  # Three forward passes, 128 examples, 99,000 gradient steps.
  assert run['training_flops'] == 6.0 * active * 128 * 99_000
  assert run['finished'] and run['steps'] == 100_000
  assert (run['update_interval'], run['drop_fraction']) == (1000, 0.3)
  assert len(results.evaluations) == 10
  first = results.evaluations.iloc[0]
  assert (first.step, first.episodes, first.label) == (10_000, 20, 'RigL')
  evaluations, runs = results
  assert evaluations is results.evaluations and runs is results.runs


def test_scores_are_those_of_the_summary(tmp_path):
  path = synthetic_runs.write_run(tmp_path / 'r')
  summary = json.loads((path / 'summary.json').read_text())
  (run,) = analysis.load(tmp_path).runs.to_dict('records')
  for name in (
    'final_score',
    'learning_curve_area',
    'learning_curve_area_per_step',
  ):
    assert run[name] == summary[name]
  # A summary of before that was written has no area by step.
  del summary['learning_curve_area_per_step']
  (path / 'summary.json').write_text(json.dumps(summary))
  (again,) = analysis.load(tmp_path).runs.to_dict('records')
  assert again['learning_curve_area_per_step'] == pytest.approx(
    run['learning_curve_area_per_step']
  )


def test_a_sweep_gives_labels_and_columns(tmp_path):
  synthetic_runs.write_run(
    tmp_path / 'fig13' / 'a',
    'SET',
    sweep='fig13',
    more={'SET.drop_fraction': 0.1},
    scale=0.5,
  )
  synthetic_runs.write_run(tmp_path / 'plain', 'Static')
  runs = analysis.load(tmp_path).runs.set_index('label')
  assert runs.loc['SET', 'SET.drop_fraction'] == 0.1
  assert runs.loc['SET', 'drop_fraction'] == 0.1
  assert runs.loc['SET', 'scale'] == 0.5
  assert runs.loc['SET', 'sweep'] == 'fig13'
  assert runs.loc['SET', 'swept'] == 'SEED,ENV_NAME,SET.drop_fraction'
  assert math.isnan(runs.loc['Static', 'SET.drop_fraction'])
  assert runs.loc['Static', 'scale'] == 1.0


def test_swept_values_lose_gins_marks(tmp_path):
  synthetic_runs.write_run(
    tmp_path / 'r',
    sweep='s',
    swept={'GAME': '"Pong"', 'sparsify.distribution': '@uniform', 'X': [1, 2]},
  )
  (run,) = analysis.load(tmp_path).runs.to_dict('records')
  assert run['GAME'] == 'Pong'
  assert run['sparsify.distribution'] == 'uniform'
  assert run['X'] == '[1, 2]'


def test_an_unfinished_run_has_evaluations_and_no_score(tmp_path):
  synthetic_runs.write_run(tmp_path / 'r', finished=False)
  results = analysis.load(tmp_path)
  (run,) = results.runs.to_dict('records')
  assert not run['finished']
  assert run['steps'] == 50_000
  assert math.isnan(run['final_score']) and math.isnan(run['gradient_steps'])
  # As it began.
  assert run['parameters'] == 27549 and run['weights'] == 265_216
  assert math.isnan(run['training_flops'])
  assert len(results.evaluations) == 5


def test_an_actor_critic_run(tmp_path):
  synthetic_runs.write_run(
    tmp_path / 'r',
    'DS-TD3',
    agent='TD3',
    task='HalfCheetah-v4',
    sparsity=0.5,
    distribution='erdos_renyi_lambda',
    train_steps=1_000_000,
    more={'SPARSITY': None},
  )
  (run,) = analysis.load(tmp_path).runs.to_dict('records')
  assert (run['agent'], run['method']) == ('TD3', 'DS-TD3')
  assert run['weights'] == 214_784
  assert run['active_weights'] == 214_784 // 2
  # No sparsity was asked for: it is what came out.
  assert run['sparsity'] == run['size_sparsity'] == 0.5
  # Half of 1.0744e14 with a batch of 100; here it is 256.
  assert run['training_flops_by_weights'] == pytest.approx(
    0.5 * 1.0744e14 * 2.56, rel=1e-4
  )


@pytest.mark.parametrize(
  'method,agent,distribution,expected',
  [
    ('Dense', 'SAC', 'erdos_renyi_kernel', 'Dense'),
    ('Small dense', 'SAC', 'erdos_renyi_kernel', 'Small dense'),
    ('Pruning', 'PPO', 'uniform', 'Pruning'),
    ('TD3', 'TD3', 'erdos_renyi_lambda', 'TD3'),
    ('Static-TD3', 'TD3', 'erdos_renyi_lambda', 'Static-TD3'),
    ('SAC', 'SAC', 'erdos_renyi_lambda', 'SAC'),
    ('DS-SAC', 'SAC', 'erdos_renyi_lambda', 'DS-SAC'),
    ('SaliencyRigL', 'DQN', 'uniform', 'SaliencyRigL'),
  ],
)
def test_methods(tmp_path, method, agent, distribution, expected):
  synthetic_runs.write_run(
    tmp_path / 'r', method, agent, 'T-v4', distribution=distribution
  )
  (run,) = analysis.load(tmp_path).runs.to_dict('records')
  assert run['method'] == run['label'] == expected
  if method == 'Small dense':
    assert (run['sparsity'], run['size_sparsity']) == (0.0, 0.9)


def test_what_cannot_be_read_is_reported(tmp_path):
  synthetic_runs.write_run(tmp_path / 'good')
  synthetic_runs.write_run(tmp_path / 'bad').joinpath('run.json').write_text(
    '{"seed": 1}'
  )
  old = tmp_path / 'old'
  old.mkdir()
  (old / 'config.gin').write_text('train.seed = [')
  torn = synthetic_runs.write_run(tmp_path / 'torn')
  (torn / 'summary.json').write_text('{"finished"')
  results = analysis.load(tmp_path)
  assert list(results.runs.directory) == [str(tmp_path / 'good')]
  assert list(results.problems.directory) == [
    str(tmp_path / 'bad'),
    str(tmp_path / 'old'),
    str(tmp_path / 'torn'),
  ]
  assert all(results.problems.reason)


def test_links_are_followed_once(tmp_path):
  synthetic_runs.write_run(tmp_path / 'elsewhere' / 'r')
  (tmp_path / 'here').mkdir()
  (tmp_path / 'here' / 'link').symlink_to(tmp_path / 'elsewhere')
  (tmp_path / 'here' / 'circle').symlink_to(tmp_path / 'here')
  assert len(analysis.load(tmp_path / 'here').runs) == 1


def test_no_directory_is_a_users_mistake(tmp_path, user_error):
  with user_error('--results', 'none'):
    analysis.load(tmp_path / 'none')


def test_no_runs_give_empty_tables(tmp_path):
  results = analysis.load(tmp_path)
  assert len(results.runs) == len(results.evaluations) == 0
  assert {*tables.RUN_COLUMNS, *tables.RESULT_COLUMNS} <= set(results.runs)


def test_saved_tables_read_back_to_the_bit(tmp_path):
  for seed in range(3):
    synthetic_runs.write_run(tmp_path / 'runs' / str(seed), seed=seed)
  results = analysis.load(tmp_path / 'runs')
  written = analysis.save(results, tmp_path / 'out')
  names = [pathlib.Path(path).name for path in written]
  assert {'evaluations.csv', 'runs.csv'} <= set(names)
  for name in ('evaluations', 'runs'):
    table = pd.read_csv(
      tmp_path / 'out' / f'{name}.csv', float_precision='round_trip'
    )
    expected = getattr(results, name)
    assert list(table) == list(expected)
    for column in expected.select_dtypes('number'):
      pd.testing.assert_series_equal(
        table[column], expected[column], check_exact=True, check_dtype=False
      )


def test_saving_where_nothing_can_be_written(tmp_path, user_error):
  synthetic_runs.write_run(tmp_path / 'r')
  (tmp_path / 'file').write_text('')
  with user_error('--out', 'file'):
    analysis.save(analysis.load(tmp_path), tmp_path / 'file')


def test_nothing_imports_tensorflow(tmp_path):
  synthetic_runs.write_run(tmp_path / 'r')
  code = (
    'import sys\n'
    'from rigl_rl import analysis\n'
    'from rigl_rl.analysis import normalization, statistics\n'
    f'assert len(analysis.load({str(tmp_path)!r}).runs) == 1\n'
    'assert "tensorflow" not in sys.modules\n'
  )
  subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
