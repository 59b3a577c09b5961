"""Tests of what a run says of itself, and of runs of an earlier version."""

import json
import math
import pathlib
import shutil

import pytest

from rigl_rl import analysis
from rigl_rl.config.gin_text import Config
from rigl_rl.readers import FileError
from rigl_rl.training import attributes, record

# Short runs of the last version without run.json, without checkpoints: of
# CartPole, and of HalfCheetah by SAC with sparse storage and by DS-TD3.
_BEFORE = pathlib.Path(__file__).with_name('version_before')
_ALL = ('dqn_masked', 'sac_sparse', 'ds_td3')


def _fields(found):
  return {name: found[name] for name in attributes.FIELDS}


def test_a_dqn_run_of_the_version_before():
  found = record.read(str(_BEFORE / 'dqn_masked'))
  fields = _fields(found)
  assert math.isnan(fields.pop('budget'))
  assert fields == {
    'task': 'CartPole-v0',
    'paper': 'graesser22',
    'agent': 'DQN',
    'network': 'MLP',
    'algorithm': 'RigL',
    'method': 'RigL',
    'sparsity': 0.9,
    'sparsity_bound': True,
    'size_sparsity': 0.9,
    'distribution': 'erdos_renyi_kernel',
    'width': '1',
    'seed': 0,
    'train_steps': 3000,
    'batch_size': 128.0,
    'weight_decay': 1e-6,
    'update_interval': 200.0,
    'drop_fraction': 0.5,
    'initializer': 'sparsity_aware',
    'keep_dense': '',
    'power': 1.0,
    'observation_noise': 0.0,
    'gradient_snr': False,
    'hard_targets': False,
    'smoke': False,
    'initial_policy': '',
  }
  summary = json.loads((_BEFORE / 'dqn_masked/summary.json').read_text())
  assert found['networks']['online']['layers'] == summary['layers']
  assert found['networks']['online']['period'] == 1
  assert found['parameters'] == summary['parameters']
  (made,) = found['made_with']
  assert made['versions'] == summary['versions']
  assert made['git_revision'] == summary['git_revision']
  assert (found['title'], found['modules_from']) == ('RigL', '')


def test_bindings_that_changed_nothing_are_left_out(tmp_path):
  run = tmp_path / 'run'
  shutil.copytree(_BEFORE / 'dqn_masked', run)
  with (run / 'operative_config.gin').open('a') as file:
    # A check had read this one, and the run did not call it.
    file.write('lambdas/by_task.otherwise = None\n')
  bindings = record.read(str(run))['bindings']
  assert 'ReplayBuffer.max_sample_attempts' in bindings
  assert 'OutOfGraphReplayBuffer.keep_every' not in bindings
  assert 'lambdas/by_task.otherwise' not in bindings
  bindings = record.read(str(_BEFORE / 'sac_sparse'))['bindings']
  text = (_BEFORE / 'sac_sparse/operative_config.gin').read_text()
  assert 'SacAgent.target_critic_network = None' in text
  assert 'SacAgent.target_critic_network' not in bindings
  # This run did.
  bindings = record.read(str(_BEFORE / 'ds_td3'))['bindings']
  assert bindings['lambdas/by_task.otherwise'] == 'None'


def test_actor_critic_runs_of_the_version_before():
  sac = record.read(str(_BEFORE / 'sac_sparse'))
  assert (sac['agent'], sac['paper'], sac['method']) == (
    'SAC',
    'graesser22',
    'RigL',
  )
  assert (sac['sparsity'], sac['batch_size'], sac['width']) == (0.9, 256, '1')
  assert (sac['weight_decay'], sac['drop_fraction']) == (1e-6, 0.5)
  assert sac['bindings']['critic/sparsify.sparsity'] == '0.9'
  assert sac['bindings']['critic/RigL.drop_fraction'] == '0.5'
  assert sac['bindings']['critic/sparsify.storage'] == "'sparse'"
  # What config.gin binds and nothing used is no part of the run.
  assert 'Budget.agent' in (_BEFORE / 'sac_sparse/config.gin').read_text()
  assert not any('Budget' in name for name in sac['bindings'])

  td3 = record.read(str(_BEFORE / 'ds_td3'))
  assert (td3['agent'], td3['paper'], td3['method']) == (
    'TD3',
    'sokar22',
    'DS-TD3',
  )
  # λ decides; the optimizer has the weight decay.
  assert math.isnan(td3['sparsity']) and not td3['sparsity_bound']
  assert td3['weight_decay'] == 2e-4
  assert td3['bindings']['actor/erdos_renyi_lambda.lambdas'] == '(7, 64)'
  assert td3['networks']['actor']['period'] == 2


def test_tables_of_runs_of_the_version_before():
  results = analysis.load(_BEFORE)
  assert not len(results.problems)
  runs = results.runs.set_index('label')
  for directory, label in zip(_ALL, ('RigL', 'RigL', 'DS-TD3')):
    summary = json.loads((_BEFORE / directory / 'summary.json').read_text())
    (run,) = results.runs[
      results.runs.directory == str(_BEFORE / directory)
    ].to_dict('records')
    assert run['label'] == label and run['finished']
    for name in ('final_score', 'parameters', 'gradient_steps'):
      assert run[name] == summary[name]
    assert run['git_revision'] == summary['git_revision']
    assert 'tensorflow 2.21.0' in run['versions']
  ds = runs.loc['DS-TD3']
  networks = json.loads((_BEFORE / 'ds_td3/summary.json').read_text())
  networks = networks['networks']
  # The actor is trained every second step, a batch of 100, 1,000 steps.
  flops = sum(network['training_flops'] for network in networks.values())
  flops -= networks['actor']['training_flops'] / 2
  assert ds.training_flops == flops * 100 * 1000
  assert ds.sparsity == pytest.approx(0.5, abs=0.02)
  assert list(results.evaluations.groupby('directory').size()) == [3, 3, 3]


def test_continued_and_moved_runs_of_the_version_before(tmp_path):
  """The process that continued a run did not call its first policy."""
  run = tmp_path / 'run'
  shutil.copytree(_BEFORE / 'ds_td3', run)
  for name in ('config.gin', 'operative_config.gin'):
    text = (run / name).read_text()
    text += 'ActorCriticLoop.initial_policy = @saved_policy\n'
    (run / name).write_text(text)
  with (run / 'config.gin').open('a') as file:
    file.write("saved_policy.run = 'base/policy'\n")
  found = record.read(str(run))
  assert found['initial_policy'] == 'base/policy'
  # Nor does one that continues it now.
  described = {**found, 'initial_policy': ''}
  record.write(str(run), described, step=500)
  assert (run / 'run.json').exists()
  assert record.read(str(run))['initial_policy'] == 'base/policy'
  (run / 'run.json').unlink()
  text = (run / 'operative_config.gin').read_text()
  origin = "# Modules were imported from the current directory, '/my/place'\n"
  (run / 'operative_config.gin').write_text(origin + text)
  assert record.read(str(run))['modules_from'] == '/my/place'


@pytest.mark.parametrize(
  'name,content',
  [
    ('operative_config.gin', 'train.seed = ['),
    ('operative_config.gin', "include 'other.gin'"),
    ('operative_config.gin', 'A = 1'),
    (
      'operative_config.gin',
      '# Modules were imported from the current directory, f()\n',
    ),
    ('summary.json', '{"finished"'),
    ('summary.json', '{"networks": {"actor": 3}}'),
    ('summary.json', '{"versions": 3}'),
  ],
)
def test_damaged_runs_of_the_version_before(tmp_path, name, content):
  run = tmp_path / 'run'
  shutil.copytree(_BEFORE / 'dqn_masked', run)
  (run / name).write_text(content)
  with pytest.raises(FileError) as error:
    record.read(str(run))
  assert name in str(error.value) and '\n' not in str(error.value)


def _describe(*lines):
  return attributes.describe(Config.of_text('\n'.join(lines)))


def test_settings_do_not_tell_seeds_apart():
  found = [
    record.settings(
      _describe(
        'train.seed = %SEED',
        f'SEED = {seed}',
        'sparsify.algorithm = @RigL()',
        f'Loop.checkpoint_period = {seed}',
        f'PPOLoop.evaluation_processes = {seed}',
        'critic/RigL.drop_fraction = 0.3',
      )
    )
    for seed in (0, 1)
  ]
  assert found[0] == found[1]
  assert found[0] == {
    'sparsify.algorithm': '@RigL()',
    'critic/RigL.drop_fraction': '0.3',
  }


def test_what_no_earlier_run_could_bind_is_left_out_where_it_is_not_used():
  before = _describe('train.seed = 3')
  unused = ('train.seed = 3', 'train.smoke = False', 'train.extended = ()')
  assert _describe(*unused)['bindings'] == before['bindings']
  used = _describe('train.smoke = True', "train.extended = ((5, 'stay'),)")
  assert set(used['bindings']) == {'train.smoke', 'train.extended'}


def test_networks_that_differ_are_not_described_as_one():
  found = _describe(
    'train.runner = @ActorCriticLoop',
    'ActorCriticLoop.create_agent = @SparseSacAgent',
    'actor/sparsify.sparsity = 0.5',
    'critic/sparsify.sparsity = 0.9',
    'actor/sparsify.algorithm = @RigL()',
    'critic/sparsify.algorithm = @SET()',
    "critic/sparsify.keep_dense = ('output',)",
    'actor/sparsify.keep_dense = ()',
    'SquashedGaussianActor.width = 0.5',
    'Critic.width = 0.25',
    'actor/UpdateSchedule.interval = 10',
    'critic/UpdateSchedule.interval = 20',
  )
  assert found['algorithm'] == 'RigL SET' and found['width'] == '0.25 0.5'
  assert found['keep_dense'] == '(output)'
  assert math.isnan(found['sparsity']) and not found['sparsity_bound']
  assert math.isnan(found['update_interval'])


def test_the_agent_of_dopamines_runner():
  runner = 'train.runner = @DopamineRunner'
  own = 'DopamineRunner.agent = @'
  for lines, agent in (
    ([runner], 'DQN'),
    ([runner, f'{own}SparseDQNAgent'], 'DQN'),
    ([runner, f'{own}DoubleDQNAgent'], 'DoubleDQNAgent'),
  ):
    found = _describe(*lines, 'build_network.network = @MLPQNetwork')
    assert found['agent'] == agent


def test_a_class_that_is_not_bound_is_the_default():
  found = _describe('train.runner = @ActorCriticLoop', 'Critic.width = 2.0')
  assert found['agent'] == 'SAC'
  assert found['width'] == '2'


def test_what_is_not_ours_has_its_own_name():
  found = _describe(
    'train.runner = @ActorCriticLoop',
    'ActorCriticLoop.create_agent = @my.OwnAgent',
    'sparsify.algorithm = @my.Own()',
    'Own.rate = %my.CONSTANT',
    'import my',
  )
  assert (found['agent'], found['algorithm']) == ('OwnAgent', 'Own')
  assert (found['method'], found['paper']) == ('Own', '')
  assert found['bindings']['Own.rate'] == '%my.CONSTANT'


@pytest.mark.parametrize(
  'change',
  [
    {'agent': ['SAC']},
    {'seed': None},
    {'seed': 10**400},
    {'train_steps': 1.5},
    {'sparsity': 'x'},
    {'gradient_snr': 1},
    {'task': None},
    {'bindings': {'a.b': 1}},
    {'bindings': 3},
    {'networks': {'online': {}}},
    {'networks': []},
    {'made_with': [{}]},
    {'made_with': 1},
    {'modules_from': 1},
    {'title': None},
    {'parameters': 'x'},
  ],
)
def test_a_damaged_record_ends_in_one_line(tmp_path, change):
  sound = record.read(str(_BEFORE / 'dqn_masked'))
  path = tmp_path / 'run.json'
  path.write_text(json.dumps(sound))
  assert record.read(str(tmp_path))['seed'] == 0
  path.write_text(json.dumps({**sound, **change}))
  with pytest.raises(FileError) as error:
    record.read(str(tmp_path))
  assert 'run.json' in str(error.value) and '\n' not in str(error.value)
