"""Tests of the command that prints costs."""

import csv
import io

import pytest

from rigl_rl.commands import cost

pytestmark = pytest.mark.usefixtures('no_gin_config', 'threads_as_they_are')

CNN = 'gin_configs/graesser22/dqn_atari_cnn'
CLASSIC = 'gin_configs/graesser22/dqn_classic'
SAC = 'gin_configs/graesser22/sac_mujoco'
PPO = 'gin_configs/graesser22/ppo_mujoco'
SOKAR = 'gin_configs/sokar22'


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
  assert any('2,494,999 gradient steps of 32' in line for line in lines)


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
  assert '  -0.02 % of the parameters' in _lines(out)['mismatch']


def _rows(text):
  """The table by layer, by network and layer."""
  return {
    tuple(words[:2]): words[2:]
    for words in (line.split() for line in text.splitlines())
    if words and words[0] in ('actor', 'critic_1', 'critic_2', 'value', 'all')
  }


def _lines(text):
  """The totals, by their first word."""
  return {line.split()[0]: line for line in text.splitlines() if line}


def test_table_of_sac(capsys):
  assert _run(f'--gin_files={SAC}/rigl.gin') == 0
  out = capsys.readouterr().out
  assert out.splitlines()[0] == (
    'SparseSacAgent on HalfCheetah-v4, 6 actions, width 1: RigL, sparsity 0.9'
  )
  rows = _rows(out)
  assert list(rows) == [
    (network, layer)
    for network in ('actor', 'critic_1', 'critic_2')
    for layer in ('dense1', 'dense2', 'output', 'total')
  ] + [('all', 'total')]
  # The actor has 2 outputs for each action.
  assert rows['actor', 'output'][0] == '256×12'
  assert rows['critic_2', 'dense1'][0] == '23×256'
  assert rows['critic_1', 'total'] == rows['critic_2', 'total']
  assert rows['all', 'total'][2] == '216,320'
  lines = _lines(out)
  assert '23,190 (21,640 active weights, 1,550 biases)' in lines['parameters']
  assert 'share   0.3374 of the parameters; 0.3373 if' in lines["actor's"]
  assert '990,000 gradient steps of 256' in lines['training']


def test_table_of_ppo(capsys):
  assert _run(f'--gin_files={PPO}/set.gin', *_bind('SPARSITY=0.5')) == 0
  out = capsys.readouterr().out
  rows = _rows(out)
  assert rows['actor', 'output'][0] == '64×6'
  assert rows['value', 'output'][0] == '64×1'
  assert rows['all', 'total'][2] == '10,816'
  # 489 rollouts of 320 gradient steps.
  assert '156,480 gradient steps of 64' in _lines(out)['training']


def test_training_flops_add_up_over_networks(tmp_path):
  path = tmp_path / 'layers.csv'
  assert _run(f'--gin_files={SAC}/static.gin', f'--csv={path}') == 0
  rows = list(csv.DictReader(io.StringIO(path.read_text())))
  totals = {row['network']: row for row in rows if row['layer'] == 'total'}
  for column in ('active', 'of', 'biases', 'forward_flops', 'training_flops'):
    parts = [
      float(totals[n][column]) for n in ('actor', 'critic_1', 'critic_2')
    ]
    assert float(totals['all'][column]) == sum(parts)
  for row in rows:
    assert float(row['forward_flops']) == 2 * int(row['active'])
    assert float(row['training_flops']) == 3 * float(row['forward_flops'])


def test_scoped_bindings_are_honored(capsys):
  code = _run(
    f'--gin_files={SAC}/prune.gin',
    *_bind(
      'ACTOR_SPARSITY=0.5',
      'CRITIC_WIDTH=0.5',
      'critic/sparsify.distribution=@uniform',
      'actor/sparsify.keep_dense=("output",)',
      'actor/erdos_renyi_kernel.custom={"dense1": 0.25}',
      'actor/UpdateSchedule.end=0.3',
    ),
    '--sparsities=0.75',
  )
  assert code == 0
  out = capsys.readouterr().out
  assert 'width 1 (actor), 0.5 (critic_1, critic_2): Prune' in out
  rows = _rows(out)
  assert rows['actor', 'output'][1] == '0.0000'
  assert rows['actor', 'dense1'][1] == '0.2500'
  assert rows['actor', 'dense2'][1] == '0.5000'
  assert [rows['critic_1', n][:2] for n in ('dense1', 'dense2', 'output')] == [
    ['23×128', '0.9000'],
    ['128×128', '0.9000'],
    ['128×1', '0.9000'],
  ]
  # Pruned from 20 to 30 % of training, the actor's large layer is dense for a
  # quarter of it; the critics' until 80 %.
  share = {
    name: float(rows[name, 'dense2'][-1])
    / (3 * float(rows[name, 'dense2'][-2]))
    for name in ('actor', 'critic_1')
  }
  assert 1.2 < share['actor'] < 1.3
  assert share['critic_1'] > 3
  # The sweep: what is kept dense or has a sparsity of its own stays so.
  table = [line.split() for line in out.splitlines()[-4:]]
  assert table[0][0] == 'distribution'
  own = out.splitlines()[-3]
  assert own.startswith(
    'erdos_renyi_kernel (actor), uniform (critic_1, critic_2)'
  )
  kept = 4352 - 1088 + 3072
  active = kept + 65536 // 4 + 2 * (23 * 128 + 128**2 + 128) // 4
  biases = 256 + 256 + 12 + 2 * 257
  assert f' {active + biases:,} ' in own


def test_a_budget_by_sparsity(capsys):
  """Figure 3: 20 % of 217,870 parameters, a tenth of it in the actor."""
  code = _run(
    f'--gin_files={SAC}/rigl.gin',
    *_bind(
      'Budget.total=0.2',
      'Budget.actor_share=0.1',
      'ACTOR_SPARSITY=@actor/budget_sparsity()',
      'CRITIC_SPARSITY=@critic/budget_sparsity()',
    ),
  )
  assert code == 0
  lines = _lines(capsys.readouterr().out)
  assert lines['parameters'].split()[1] == '43,573'
  assert 'share   0.1000 of the parameters' in lines["actor's"]


def test_a_budget_by_width(capsys):
  code = _run(
    f'--gin_files={SAC}/dense.gin',
    *_bind('Budget.total=0.2', 'Budget.actor_share=0.1', 'WIDTH=@budget_width'),
  )
  assert code == 0
  out = capsys.readouterr().out
  assert 'width 0.205 (actor), 0.5 (critic_1, critic_2): Dense' in out
  assert 'share   0.0989 of the parameters' in _lines(out)["actor's"]
  mismatches = '-0.67 % (actor), +0.53 % (critic_1, critic_2)'
  assert mismatches in _lines(out)['mismatch']


def test_td3_as_the_paper_counts_it(capsys):
  """Sokar et al. (2022), section 4.5: #params and FLOPs on HalfCheetah."""
  assert _run(f'--gin_files={SOKAR}/td3/td3.gin') == 0
  out = capsys.readouterr().out
  assert out.splitlines()[0] == (
    'SparseTd3Agent on HalfCheetah-v4, 6 actions, width 1: Dense, sparsity 0'
  )
  lines = _lines(out)
  assert '(214,784 active weights, ' in lines['parameters']
  assert lines['by'] == (
    'by Sokar et al. 1.0744e+14 training FLOPs in all, 1.000 of dense '
    '(1,000,000 environment steps)'
  )
  # Our own count is of the steps that are taken, 25,000 fewer.
  assert (
    '487,500 (actor), 975,000 (critic_1, critic_2) gradient steps of 100'
  ) in lines['training']
  in_all = 6 * (143_360 * 975_000 + 71_424 * 487_500) * 100
  assert f'{in_all:.4g} in all' in lines['training']


def test_ds_td3_as_the_paper_counts_it(capsys):
  assert _run(f'--gin_files={SOKAR}/td3/ds_td3.gin') == 0
  lines = _lines(capsys.readouterr().out)
  assert '(106,169 active weights, ' in lines['parameters']
  words = lines['by'].split()
  assert float(words[4]) == pytest.approx(0.492 * 1.0744e14, rel=1e-3)
  assert ' 0.492 of dense' in lines['by']


def test_sac_trains_its_actor_at_every_step(capsys):
  assert _run(f'--gin_files={SOKAR}/sac/sac.gin') == 0
  by_weights = float(_lines(capsys.readouterr().out)['by'].split()[4])
  assert by_weights == pytest.approx(6 * 216_320 * 256 * 1_000_000, rel=1e-4)


@pytest.mark.parametrize('directory', [PPO, CLASSIC])
def test_other_agents_are_not_counted_so(directory, capsys):
  assert _run(f'--gin_files={directory}/dense.gin') == 0
  assert 'by' not in _lines(capsys.readouterr().out)


@pytest.mark.parametrize(
  'config,task,sparsity',
  [
    ('td3/ds_td3', 'HalfCheetah', 0.506),
    ('td3/ds_td3', 'Walker2d', 0.506),
    ('td3/ds_td3', 'Hopper', 0.494),
    ('td3/ds_td3', 'Ant', 0.496),
    ('td3/ds_td3', 'Humanoid', 0.557),
    ('sac/ds_sac', 'HalfCheetah', 0.369),
    ('sac/ds_sac', 'Walker2d', 0.369),
    ('sac/ds_sac', 'Hopper', 0.816),
    ('sac/ds_sac', 'Ant', 0.530),
    ('sac/ds_sac', 'Humanoid', 0.552),
  ],
)
def test_sparsity_by_lambda(config, task, sparsity, capsys):
  code = _run(
    f'--gin_files={SOKAR}/{config}.gin', *_bind(f'ENV_NAME="{task}-v4"')
  )
  assert code == 0
  title = capsys.readouterr().out.splitlines()[0]
  # Both are rounded.
  assert float(title.split()[-1]) == pytest.approx(sparsity, abs=6e-4)


def test_sparsities_scale_lambda(tmp_path):
  """Figure 2b: other sparsities at one ratio of λ."""
  path = tmp_path / 'costs.csv'
  code = _run(
    f'--gin_files={SOKAR}/td3/ds_td3.gin',
    '--sparsities=0.25,0.5,0.8',
    f'--csv={path}',
  )
  assert code == 0
  rows = list(csv.DictReader(io.StringIO(path.read_text())))
  own = [row for row in rows if row['distribution'] == 'erdos_renyi_lambda']
  assert [row['sparsity'] for row in own] == ['0.25', '0.5', '0.8']
  biases = 518 + 2 * 513
  for row in own:
    share = (int(row['parameters']) - biases) / 214_784
    assert share == pytest.approx(1 - float(row['sparsity']), abs=1e-4)


def test_rigl_of_a_delayed_actor(tmp_path):
  """Its mask changes as often in fewer gradient steps: ΔT is half as long."""
  path = tmp_path / 'layers.csv'
  code = _run(
    f'--gin_files={SOKAR}/td3/td3.gin',
    '--gin_files=gin_configs/algorithms/rigl.gin',
    *_bind(
      'SPARSITY=0.5',
      'sparsify.distribution=@uniform',
      'UpdateSchedule.interval=10',
    ),
    f'--csv={path}',
  )
  assert code == 0
  rows = list(csv.DictReader(io.StringIO(path.read_text())))
  share = {
    row['network']: float(row['training_flops']) / float(row['forward_flops'])
    for row in rows
    if row['layer'] == 'dense2'
  }
  # f_D = 2 f_S: (3 ΔT + 2 + 2) / (ΔT + 1), ΔT 5 and 10.
  assert share['actor'] == pytest.approx(19 / 6)
  assert share['critic_1'] == share['critic_2'] == pytest.approx(34 / 11)


@pytest.mark.parametrize(
  'bindings,inputs',
  [
    (['ENV_NAME="Ant-v4"'], 111),
    (['ENV_NAME="Ant-v4"', 'create_mujoco_environment.ant_padding=False'], 27),
    (['ENV_NAME="Humanoid-v4"'], 376),
  ],
)
def test_observations_of_mujoco_tasks(bindings, inputs, capsys):
  assert _run(f'--gin_files={SAC}/set.gin', *_bind(*bindings)) == 0
  out = capsys.readouterr().out
  assert _rows(out)['actor', 'dense1'][0] == f'{inputs}×256'


def test_another_task_with_continuous_actions(capsys):
  bindings = _bind('ENV_NAME="Pendulum-v1"')
  assert _run(f'--gin_files={PPO}/dense.gin', *bindings) == 0
  rows = _rows(capsys.readouterr().out)
  assert rows['actor', 'dense1'][0] == '3×64'
  assert rows['actor', 'output'][0] == '64×1'


def test_number_of_dimensions_of_actions(capsys):
  assert _run(f'--gin_files={PPO}/dense.gin', '--num_actions=4') == 0
  assert '64×4' in capsys.readouterr().out


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
    ([f'--gin_files={SAC}/rigl.gin', *_bind('ENV_NAME="Antt-v4"')], 'Antt-v4'),
    ([f'--gin_files={PPO}/rigl.gin', *_bind('ENV_NAME="Antt-v4"')], 'Ant-v4'),
    ([f'--gin_files={SAC}/rigl.gin', *_bind('TRAIN_STEPS=9')], 'TRAIN_ST'),
    ([f'--gin_files={SAC}/rigl.gin', *_bind('ACTOR_SPARSITY=2')], 'SPARSITY'),
    (
      [f'--gin_files={PPO}/rigl.gin', *_bind('train.runner=@sparsify')],
      'TrainingLoop',
    ),
    (
      [
        f'--gin_files={SAC}/rigl.gin',
        *_bind('ACTOR_SPARSITY=@actor/budget_sparsity()'),
      ],
      'total',
    ),
    # The output layers, which have no λ, are more than a hundredth.
    ([f'--gin_files={SOKAR}/td3/ds_td3.gin', '--sparsities=0.99'], '0.99'),
    ([f'--gin_files={CNN}/rigl.gin', '--csv=README.md/a.csv'], '--csv'),
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
