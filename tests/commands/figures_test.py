"""Tests of the command that draws figures."""

import csv
import io
import types

import pandas as pd
import pytest

from helpers import synthetic_runs
from rigl_rl.analysis.figures import counted
from rigl_rl.commands import figures

pytestmark = pytest.mark.usefixtures('no_gin_config', 'threads_as_they_are')


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  """Two tasks of figure 8, and TD3 on one task."""
  root = tmp_path_factory.mktemp('results')
  for task, score in (('CartPole-v0', 150.0), ('Acrobot-v1', -90.0)):
    for method in ('Dense', 'RigL'):
      for seed in range(2):
        synthetic_runs.write_run(
          root / task / method / str(seed),
          method,
          'DQN',
          task,
          score,
          seed=seed,
        )
  synthetic_runs.write_run(
    root / 'td3',
    'TD3',
    'TD3',
    'Hopper-v4',
    distribution='erdos_renyi_lambda',
  )
  (root / 'torn').mkdir()
  (root / 'torn' / 'config.gin').write_text('train.seed = [')
  return root


def _run(*arguments):
  return figures.main([str(argument) for argument in arguments])


def _error(capsys):
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('error: ')
  return line


def test_a_figure(results, tmp_path, capsys):
  out = tmp_path / 'new' / 'out'
  code = _run(
    '--figure=fig08', f'--results={results}', f'--out={out}', '--resamples=20'
  )
  assert code == 0
  written = sorted(path.name for path in out.iterdir())
  assert written == [
    f'graesser22_fig08.{kind}' for kind in ('csv', 'pdf', 'png')
  ]
  assert (out / 'graesser22_fig08.png').read_bytes().startswith(b'\x89PNG')
  assert (out / 'graesser22_fig08.pdf').read_bytes().startswith(b'%PDF')
  rows = list(csv.DictReader((out / 'graesser22_fig08.csv').open()))
  assert {row['method'] for row in rows} == {'Dense', 'RigL'}
  assert {row['runs'] for row in rows} == {'2'}
  printed = capsys.readouterr()
  assert '9 runs in' in printed.out
  # Dense and small dense at four sparsities; four methods, under ERK and
  # uniform; three tasks, ten seeds.
  assert f'8 of {3 * 10 * (1 + 4 + 2 * 4 * 4):,} runs.' in printed.out
  assert 'torn: ' in printed.err


def test_a_table(results, tmp_path):
  code = _run(
    '--figure=table01', f'--results={results}', f'--out={tmp_path / "out"}'
  )
  assert code == 0
  written = sorted(path.name for path in (tmp_path / 'out').iterdir())
  assert written == ['sokar22_table01.csv', 'sokar22_table01.md']
  text = (tmp_path / 'out' / 'sokar22_table01.md').read_text()
  assert '1 of 100 runs.' in text


def test_all_with_a_report(results, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(counted, 'read_costs', _no_costs)
  monkeypatch.setattr(counted, 'read_job', _no_job)
  out = tmp_path / 'out'
  code = _run(
    '--figure=all', f'--results={results}', f'--out={out}', '--resamples=20'
  )
  assert code == 0
  written = {path.name for path in out.iterdir()}
  assert {
    'report.html',
    'runs.csv',
    'evaluations.csv',
    'problems.csv',
    'graesser22_fig08.png',
    'sokar22_fig01.pdf',
    'sokar22_table02.md',
  } <= written
  assert len(pd.read_csv(out / 'runs.csv')) == 9
  page = (out / 'report.html').read_text()
  for text in (
    'Figure 8: DQN on classic control',
    'What is missing',
    'no finished run of SAC',
    'torn',
    'python -m launch.figures --figure=all',
    'tensorflow',
    'rliable',
    '<th>Static-TD3</th>',
  ):
    assert text in page
  assert 'graesser22/fig02_sac: missing: no finished' in capsys.readouterr().out


def _no_costs(gin_file, gin_binding, sparsities):
  return [
    {
      'distribution': 'uniform',
      'sparsity': sparsity,
      'forward_flops': 1 - sparsity,
      'forward_share': 1 - sparsity,
    }
    for sparsity in sparsities
  ]


def _no_job(gin_file, gin_binding):
  counts = {'actor': types.SimpleNamespace(active_weights=1)}
  return types.SimpleNamespace(
    counts=counts,
    dense_counts=counts,
    training_flops_by_weights=lambda counts: 1.0,
  )


def test_figure_7_without_training(tmp_path):
  (tmp_path / 'none').mkdir()
  code = _run(
    '--figure=fig07', f'--results={tmp_path / "none"}', f'--out={tmp_path}'
  )
  assert code == 0
  text = (tmp_path / 'graesser22_fig07.csv').read_text()
  rows = list(csv.DictReader(io.StringIO(text)))
  flops = {
    (row['panel'], row['distribution'], float(row['sparsity'])): row
    for row in rows
  }

  def ratio(panel, sparsity):
    erk = flops[panel, 'erdos_renyi_kernel', sparsity]
    uniform = flops[panel, 'uniform', sparsity]
    return float(erk['forward_flops']) / float(uniform['forward_flops'])

  # ERK doubles FLOPs, about (appendix A.2).
  for panel, low, high in (
    ('Nature CNN', 1.55, 1.77),
    ('IMPALA ResNet', 1.80, 2.77),
  ):
    found = [ratio(panel, sparsity) for sparsity in (0.5, 0.8, 0.9, 0.95)]
    assert min(found) == pytest.approx(low, abs=0.01)
    assert max(found) == pytest.approx(high, abs=0.01)
  dense = flops['Nature CNN', 'uniform', 0.0]
  # Of 9 actions, and 84 x 84 pixels under "same" padding.
  assert float(dense['forward_share']) == 1.0


def test_costs_of_the_second_paper(tmp_path):
  code = _run(
    '--figure=sokar22/costs', f'--results={tmp_path}', f'--out={tmp_path}'
  )
  assert code == 0
  with (tmp_path / 'sokar22_costs.csv').open() as file:
    rows = {(row['task'], row['method']): row for row in csv.DictReader(file)}
  cheetah = rows['HalfCheetah-v4', 'TD3']
  assert cheetah['weights'] == '214784'
  assert float(cheetah['training_flops']) == pytest.approx(1.0744e14, rel=1e-4)
  ds = rows['HalfCheetah-v4', 'DS-TD3']
  assert float(ds['weights']) == pytest.approx(106_169, abs=3)
  assert float(ds['share']) == pytest.approx(0.492, abs=5e-4)
  sparsities = {
    key: round(float(row['sparsity']), 3)
    for key, row in rows.items()
    if key[1].startswith('DS')
  }
  for task, td3, sac in (
    ('HalfCheetah', 0.506, 0.369),
    ('Hopper', 0.494, 0.816),
    ('Ant', 0.496, 0.530),
    ('Humanoid', 0.557, 0.552),
  ):
    assert sparsities[f'{task}-v4', 'DS-TD3'] == td3
    assert sparsities[f'{task}-v4', 'DS-SAC'] == sac
  assert (
    '| HalfCheetah-v4 | DS-TD3 | 0.506 |'
    in (tmp_path / 'sokar22_costs.md').read_text()
  )


def test_what_is_missing_is_an_error(results, tmp_path, capsys):
  code = _run(
    '--figure=fig02_sac',
    '--figure=fig08',
    f'--results={results}',
    f'--out={tmp_path}',
    '--resamples=20',
  )
  assert code == 2
  last = capsys.readouterr().err.splitlines()[-1]
  assert last.startswith('error: --results')
  assert 'too little for graesser22/fig02_sac (no finished run of SAC' in last
  # The other one is drawn all the same.
  assert (tmp_path / 'graesser22_fig08.png').exists()


@pytest.mark.parametrize(
  'argument,name',
  [
    ('--figure=fig99', '--figure'),
    ('--x=weights', '--x'),
    ('--resamples=0', '--resamples'),
    ('--comparable_policies=-1', '--comparable_policies'),
    ('--references=/none', '--references'),
    ('--results=/none', '--results'),
  ],
)
def test_mistakes_are_one_line(tmp_path, capsys, argument, name):
  given = {
    '--figure': 'fig08',
    '--results': tmp_path,
    '--out': tmp_path / 'out',
  }
  key, _, value = argument.partition('=')
  given[key] = value
  assert _run(*(f'{key}={value}' for key, value in given.items())) == 2
  assert name in _error(capsys)


def test_a_directory_that_cannot_be_written_to(results, tmp_path, capsys):
  (tmp_path / 'file').write_text('')
  code = _run(
    '--figure=table01', f'--results={results}', f'--out={tmp_path / "file"}'
  )
  assert code == 2
  assert '--out' in capsys.readouterr().err.splitlines()[-1]
