"""Tests of the command that prints costs."""

import csv
import io

import gin
import pytest

from launch import cost

CNN = 'gin_configs/graesser22/dqn_atari_cnn'
CLASSIC = 'gin_configs/graesser22/dqn_classic'


@pytest.fixture(autouse=True)
def no_gin_config():
  gin.clear_config()
  yield
  gin.clear_config()


@pytest.fixture(autouse=True)
def threads_as_they_are(monkeypatch):
  """TensorFlow, which other tests have started, would refuse new ones."""
  monkeypatch.setattr(
    cost.command_line, 'start_tensorflow', lambda arguments: None
  )


def _run(*arguments):
  return cost.main([str(argument) for argument in arguments])


def _bind(*bindings):
  return [f'--gin_bindings={binding}' for binding in bindings]


def test_table_of_a_sparse_cnn(capsys):
  assert _run(f'--gin_files={CNN}/rigl.gin', '--gin_bindings=SPARSITY=0.9') == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == (
    'NatureQNetwork on Pong, 6 actions, width 1: RigL, sparsity 0.9'
  )
  row = next(line.split() for line in lines if line.startswith('dense1'))
  assert row[1:3] == ['7744×512', '0.9022']
  assert row[4:6] == ['3,964,928', '512']
  total = next(line.split() for line in lines if line.startswith('total'))
  assert total[1:5] == ['0.9000', '404,588', '4,045,824', '678']
  parameters = next(line for line in lines if line.startswith('parameters'))
  assert '405,266' in parameters
  assert any('2,495,000 gradient steps of 32' in line for line in lines)


def test_sparsities_are_figure_7(tmp_path, capsys):
  path = tmp_path / 'costs.csv'
  code = _run(
    f'--gin_files={CNN}/static.gin',
    *_bind('GAME="MsPacman"', 'sparsify.distribution = @uniform'),
    '--sparsities=0.5,0.95',
    f'--csv={path}',
  )
  assert code == 0
  assert 'MsPacman, 9 actions' in capsys.readouterr().out
  rows = list(csv.DictReader(io.StringIO(path.read_text())))
  assert [(row['distribution'], row['sparsity']) for row in rows] == [
    ('uniform', '0.5'),
    ('uniform', '0.95'),
    ('erdos_renyi_kernel', '0.5'),
    ('erdos_renyi_kernel', '0.95'),
  ]
  share = [float(row['forward_share']) for row in rows]
  assert share[0] == pytest.approx(0.5, abs=1e-4)
  assert share[2] / share[0] == pytest.approx(1.55, abs=0.005)
  # Static training costs three sparse forward passes.
  for row in rows:
    assert float(row['training_flops']) == 3 * float(row['forward_flops'])
    assert row['training_share'] == row['forward_share']


def test_csv_by_layer_and_keep_dense(tmp_path):
  path = tmp_path / 'layers.csv'
  code = _run(
    f'--gin_files={CLASSIC}/set.gin',
    *_bind('SPARSITY=0.5', 'sparsify.keep_dense=("dense2",)'),
    f'--csv={path}',
  )
  assert code == 0
  rows = list(csv.DictReader(io.StringIO(path.read_text())))
  assert [row['layer'] for row in rows] == [
    'dense1',
    'dense2',
    'output',
    'total',
  ]
  assert rows[1]['active'] == rows[1]['of'] == '262144'
  # Half of dense1 and output together, up to rounding.
  active = int(rows[0]['active']) + int(rows[2]['active'])
  assert 1536 <= active <= 1538
  assert float(rows[1]['training_flops']) == 3 * float(rows[1]['forward_flops'])


def test_small_dense_network(capsys):
  code = _run(
    f'--gin_files={CLASSIC}/dense.gin', *_bind('WIDTH = @matched_width')
  )
  assert code == 0
  out = capsys.readouterr().out
  assert 'width 0.317: Dense' in out
  assert '27,542 (27,216 active weights' in out


def test_builds_no_environment(monkeypatch, capsys):
  from rigl_rl.environments import atari

  def refuse(*args, **kwargs):
    raise AssertionError('An environment was built.')

  monkeypatch.setattr(atari, 'AleGame', refuse)
  assert _run(f'--gin_files={CNN}/prune.gin') == 0


def test_number_of_actions(capsys):
  assert _run(f'--gin_files={CNN}/dense.gin', '--num_actions=4') == 0
  assert '512×4' in capsys.readouterr().out


def test_task_that_the_papers_do_not_have(capsys):
  code = _run(
    f'--gin_files={CLASSIC}/dense.gin', *_bind('ENV_NAME = "CartPole-v1"')
  )
  assert code == 0
  assert '4×512' in capsys.readouterr().out


@pytest.mark.parametrize(
  'arguments,message',
  [
    ([f'--gin_files={CNN}/rigl.gin', '--sparsities=0.5,1'], '--sparsities'),
    ([f'--gin_files={CNN}/rigl.gin', '--num_actions=0'], '--num_actions'),
    ([f'--gin_files={CNN}/rigl.gin', *_bind('SPARSITY=1.5')], 'SPARSITY'),
    ([f'--gin_files={CNN}/rigl.gin', *_bind('GAME="Pnog"')], 'Pong'),
    ([f'--gin_files={CNN}/rigl.gin', *_bind('WIDTH=0')], 'WIDTH'),
    ([f'--gin_files={CNN}/rigl.gin', *_bind('TRAIN_STEPS=9')], 'TRAIN_ST'),
    (['--gin_files=gin_configs/algorithms/rigl.gin'], 'a whole run'),
    ([f'--gin_files={CNN}/rigl.gin', '--csv=/no/such/dir/a.csv'], '--csv'),
  ],
)
def test_a_mistake_is_one_line(arguments, message, capsys):
  assert _run(*arguments) == 2
  error = capsys.readouterr().err
  assert error.startswith('error: ') and error.count('\n') == 1
  assert message in error


def test_gin_files_are_needed():
  with pytest.raises(SystemExit) as exit_info:
    cost.main(['--sparsities=0.5'])
  assert exit_info.value.code == 2
