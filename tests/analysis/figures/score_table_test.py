"""Tests of tables of scores."""

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis import figures


@pytest.fixture
def results(tmp_path):
  def write(name, method, seed, score, task='HalfCheetah-v4', **more):
    synthetic_runs.write_run(
      tmp_path / name,
      method,
      'SAC' if 'SAC' in method else 'TD3',
      task,
      score,
      0.0,
      seed,
      distribution='erdos_renyi_lambda',
      train_steps=1_000_000,
      spread=0.0,
      more=more,
    )

  for seed, score in enumerate((90.0, 110.0)):
    write(f'td3{seed}', 'TD3', seed, score)
  for seed, score in enumerate((210.0, 190.0)):
    write(f'ds{seed}', 'DS-TD3', seed, score)
  write('hopper', 'TD3', 0, 7.0, task='Hopper-v4')
  hard = {'SparseSacAgent.target_update_tau': 1.0}
  write('soft', 'SAC', 0, 150.0)
  write('hard', 'SAC', 0, 999.0, **hard)
  write('hard_ds', 'DS-SAC', 0, 500.0, **hard)
  return analysis.load(tmp_path)


def test_table_1(results):
  drawing = figures.draw('sokar22/table01', results)
  assert drawing.figure is None
  data = drawing.data.set_index(['task', 'method'])
  td3 = data.loc['HalfCheetah-v4', 'TD3']
  assert td3['mean'] == pytest.approx(100.0)
  assert td3['std'] == pytest.approx(10.0)
  assert td3['runs'] == 2
  lines = drawing.markdown.splitlines()
  assert '| task | TD3 | Static-TD3 | DS-TD3 | SAC |' in lines
  assert (
    '| HalfCheetah-v4 | 100.00 ± 10.00 | – | **200.00 ± 10.00** '
    '| 150.00 (1 run) |' in lines
  )
  # Alone it is not the best.
  assert '| Hopper-v4 | 7.00 (1 run) | – | – | – |' in lines
  assert lines[-1] == 'Cells that do not say otherwise are of 2 runs.'


def test_single_runs_say_so(results):
  drawing = figures.draw('sokar22/table05', results)
  lines = drawing.markdown.splitlines()
  assert lines[-5] == '| HalfCheetah-v4 | **999.00** (1 run) | 500.00 (1 run) |'


def test_table_2_is_in_the_papers_unit(results):
  data = figures.draw('sokar22/table02', results).data
  runs = results.runs
  own = runs[(runs.method == 'TD3') & (runs.task == 'HalfCheetah-v4')]
  expected = own.learning_curve_area * 10 / 1_000_000
  found = data[(data.method == 'TD3') & (data.task == 'HalfCheetah-v4')]
  assert found['mean'].iloc[0] == pytest.approx(expected.mean())


@pytest.mark.parametrize('name', ['sokar22/table04', 'sokar22/table05'])
def test_tables_4_and_5_are_of_hard_targets(results, name):
  data = figures.draw(name, results).data
  assert list(data.method) == ['SAC', 'DS-SAC']
  if name.endswith('5'):
    assert list(data['mean']) == pytest.approx([999.0, 500.0])


def test_longer_runs_of_other_tables_push_none_out(tmp_path):
  for name, steps, tau in (('soft', 9_000, 0.005), ('hard', 1_000, 1.0)):
    synthetic_runs.write_run(
      tmp_path / name,
      'SAC',
      'SAC',
      'Ant-v4',
      distribution='erdos_renyi_lambda',
      train_steps=steps,
      more={'SparseSacAgent.target_update_tau': tau},
    )
  drawing = figures.draw('sokar22/table05', analysis.load(tmp_path))
  assert list(drawing.data.task) == ['Ant-v4']
  assert not any('Left out' in note for note in drawing.notes)


def test_versions_of_a_task_are_rows_of_their_own(tmp_path):
  for seed, task in enumerate(('Ant-v4', 'Ant-v5')):
    synthetic_runs.write_run(
      *(tmp_path / task, 'TD3', 'TD3', task, 100.0 * (seed + 1), 0.0, seed),
      distribution='erdos_renyi_lambda',
      train_steps=1_000_000,
      spread=0.0,
    )
  drawing = figures.draw('sokar22/table01', analysis.load(tmp_path))
  lines = drawing.markdown.splitlines()
  assert '| Ant-v4 | 100.00 (1 run) | – | – | – |' in lines
  assert '| Ant-v5 | 200.00 (1 run) | – | – | – |' in lines
  assert drawing.notes[1] == 'Not pooled: Ant-v4, Ant-v5.'


def test_no_runs(tmp_path):
  with pytest.raises(figures.NothingToDraw, match='TD3'):
    figures.draw('sokar22/table01', analysis.load(tmp_path))
