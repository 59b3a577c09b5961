"""Grids, their products, names and filters; sweep files of one's own."""

from __future__ import annotations

import itertools

import pytest

from rigl_rl import sweeps
from rigl_rl.sweeps import costs, definition, runs, settings

_RIGL = 'gin_configs/graesser22/dqn_classic/rigl.gin'
_SAC = 'gin_configs/graesser22/sac_mujoco/rigl.gin'


def _grid(**kwargs):
  defaults = {
    'label': 'RigL',
    'gin_files': [_RIGL],
    'over': {'SPARSITY': (0.5, 0.9), 'SEED': (0, 1)},
  }
  return runs.Grid(**{**defaults, **kwargs})


def _names(grid, **kwargs):
  return [run.directory for run in grid.runs('mine', **kwargs)]


def test_product_and_directories():
  grid = _grid(over={'SPARSITY': (0.5, 0.9), 'A.b': (1, 2), 'SEED': (0, 1)})
  assert _names(grid) == [
    f'mine/rigl/SPARSITY={s},A.b={b}/seed{seed}'
    for s, b, seed in itertools.product((0.5, 0.9), (1, 2), (0, 1))
  ]
  assert _names(grid, seeds=[7])[0] == 'mine/rigl/SPARSITY=0.5,A.b=1/seed7'
  assert _names(_grid(directory='else'))[0].startswith('else/rigl/')
  assert _names(_grid(over={})) == ['mine/rigl/default/seed0']
  assert _names(_grid(over={'SEED': 3})) == ['mine/rigl/default/seed3']


def test_what_the_gin_files_say_is_left_out():
  """So a figure's own point is the other figure's run."""
  grid = _grid(
    over={
      'SPARSITY': 0.9,
      'UpdateSchedule.interval': (1000, 250),
      'sparsify.initializer': ('@sparsity_aware', '@layer_default'),
      'SEED': 0,
    },
    bindings={'RigL.drop_fraction': 0.5, 'SparseDQNAgent.gamma': 0.9},
  )
  found = grid.runs('mine')
  assert [run.directory.split('/')[2] for run in found] == [
    'SPARSITY=0.9',
    'SPARSITY=0.9,sparsify.initializer=layer_default',
    'SPARSITY=0.9,UpdateSchedule.interval=250',
    'SPARSITY=0.9,UpdateSchedule.interval=250,'
    'sparsify.initializer=layer_default',
  ]
  assert found[0].gin_bindings() == [
    'SparseDQNAgent.gamma=0.9',
    'SPARSITY=0.9',
    'SEED=0',
  ]
  assert found[3].gin_bindings()[2:4] == [
    'UpdateSchedule.interval=250',
    'sparsify.initializer=@layer_default',
  ]
  # Yet known, for filters and figures.
  assert found[0].values['UpdateSchedule.interval'] == 1000
  assert dict(found[0].bindings) == {'SPARSITY': 0.9}


def test_a_name_for_several_bindings():
  grid = _grid(
    gin_files=[_SAC],
    over={'WEIGHT_DECAY': (1e-6, 1e-4), 'SEED': 0},
    names={
      'WEIGHT_DECAY': [
        'SquashedGaussianActor.weight_decay',
        'Critic.weight_decay',
      ]
    },
  )
  own, other = grid.runs('mine')
  assert own.gin_bindings() == ['SEED=0']
  assert other.directory == 'mine/rigl/WEIGHT_DECAY=0.0001/seed0'
  assert other.gin_bindings() == [
    'SquashedGaussianActor.weight_decay=0.0001',
    'Critic.weight_decay=0.0001',
    'SEED=0',
  ]
  assert other.description()['bindings'] == {'WEIGHT_DECAY': 1e-4}


def test_values_of_all_kinds():
  values = [('output',), 'a b', None, True, '@f', '%G', '@a/g()']
  grid = _grid(over={'X.y': values, 'SEED': 0})
  found = grid.runs('mine')
  assert [run.gin_bindings()[0] for run in found] == [
    "X.y=('output',)",
    "X.y='a b'",
    'X.y=None',
    'X.y=True',
    'X.y=@f',
    'X.y=%G',
    'X.y=@a/g()',
  ]
  assert [run.directory.split('/')[2] for run in found] == [
    'X.y=output',
    'X.y=a_b',
    'X.y=None',
    'X.y=True',
    'X.y=f',
    'X.y=G',
    'X.y=a_g',
  ]


def test_long_names_are_cut_and_stay_apart():
  grid = _grid(over={'X.y': ['a' * 300 + 'b', 'a' * 300 + 'c'], 'SEED': 0})
  one, other = (name.split('/')[2] for name in _names(grid))
  assert one != other
  assert len(one) == len(other) == 150


def test_exclude():
  over = {'SPARSITY': (0.5, 0.9), 'ENV_NAME': ('A', 'B', 'C'), 'SEED': (0, 1)}
  grid = _grid(over=over, exclude=[{'SPARSITY': 0.9, 'ENV_NAME': ['A', 'B']}])
  left = {(r.values['SPARSITY'], r.values['ENV_NAME']) for r in grid.runs('m')}
  assert left == {(0.5, 'A'), (0.5, 'B'), (0.5, 'C'), (0.9, 'C')}
  grid = _grid(over=over, exclude=[{'SEED': 1}])
  assert {run.seed for run in grid.runs('m')} == {0}


@pytest.mark.parametrize(
  'kwargs,parts',
  [
    ({'label': ''}, ['Grid.label']),
    ({'gin_files': []}, ['Grid.gin_files', 'must name a file']),
    ({'gin_files': _RIGL}, ['Grid.gin_files', 'a list']),
    ({'over': [1]}, ['Grid.over']),
    ({'names': {'A': 'B.c'}}, ['Grid.names']),
    ({'exclude': [{'NONE': 1}]}, ['Grid.exclude', 'NONE', 'SPARSITY']),
    ({'over': {'SEED': (0, -1)}}, ['SEED is -1']),
    ({'over': {'SEED': True}}, ['SEED is True']),
    ({'gin_files': ['gin_configs/none.gin']}, ['none.gin', 'no such file']),
  ],
)
def test_bad_grids(kwargs, parts, user_error):
  with user_error(*parts):
    _grid(**kwargs).runs('mine')


# ---------------------------------------------------------------- sweep files


@pytest.fixture
def load(tmp_path):
  def from_text(text):
    path = tmp_path / 'mine.gin'
    path.write_text(text)
    return sweeps.load(str(path))

  return from_text


_TWO = f"""
SPARSITIES = (0.5, 0.9)
Grid.gin_files = ['{_RIGL}']
Grid.over = {{'SPARSITY': %SPARSITIES, 'SEED': (0, 1)}}
rigl/Grid.label = 'RigL'
other/Grid.label = 'Other'
other/Grid.over = {{'SEED': (0, 1)}}
Sweep.grids = [@rigl/Grid(), %REST]
REST = [@other/Grid()]
"""


def test_a_file_of_ones_own(load):
  sweep = load(_TWO)
  assert sweep.name == 'mine'
  # All of one seed before those of the next.
  assert [run.directory for run in sweep.runs()] == [
    'mine/rigl/SPARSITY=0.5/seed0',
    'mine/rigl/SPARSITY=0.9/seed0',
    'mine/other/default/seed0',
    'mine/rigl/SPARSITY=0.5/seed1',
    'mine/rigl/SPARSITY=0.9/seed1',
    'mine/other/default/seed1',
  ]


@pytest.mark.parametrize(
  'filters,count',
  [
    (['label=RigL'], 4),
    (['label!=RigL'], 2),
    (['label=R*|Oth*'], 6),
    (['SPARSITY=0.90'], 2),
    (['SPARSITY!=0.5'], 4),
    (['SPARSITY=0.5|0.9', 'seed=1'], 2),
    (['SEED=0'], 3),
    (['SPARSITY=0.7'], 0),
    (['sweep=mine'], 6),
  ],
)
def test_filters(filters, count, load):
  assert len(load(_TWO).runs(filters=filters)) == count


def test_a_run_keeps_what_it_needs():
  found = sweeps.load('sokar22/fig03').runs(filters=['label=DS-TD3', 'seed=4'])
  assert [run.label for run in found] == ['Policy of DS-TD3'] * 2 + [
    'DS-TD3'
  ] * 2
  found = sweeps.load('graesser22/fig04').runs(
    filters=['sparsify.distribution=uniform', 'seed=0']
  )
  assert len(found) == 4 + 3


@pytest.mark.parametrize(
  'arguments,parts',
  [
    ({'filters': ['SPARSITY']}, ['--filter', "'SPARSITY'"]),
    ({'filters': ['SPARSTY=1']}, ['--filter', 'SPARSTY', 'SPARSITY', 'label']),
    ({'scale': 0.0}, ['--scale is 0.0', '(0, 1]']),
    ({'scale': 1.5}, ['--scale is 1.5']),
    ({'scale': float('nan')}, ['--scale is nan']),
    ({'gin_bindings': ['SPARSITY=0.5']}, ['SPARSITY', '--filter']),
    ({'gin_bindings': ['SEED=3']}, ['SEED', '--seeds']),
    ({'gin_bindings': ['A = ']}, ['--gin_bindings']),
    ({'gin_bindings': ['TRAIN_STEPS=1.5']}, ['TRAIN_STEPS is 1.5']),
  ],
)
def test_bad_arguments(arguments, parts, load, user_error):
  with user_error(*parts):
    load(_TWO).runs(**arguments)


@pytest.mark.parametrize(
  'text,parts',
  [
    ('A = 1\n', ['mine.gin', 'is no sweep', 'Sweep.grids']),
    ('Sweep.grids = [3]\n', ['Sweep.grids holds 3']),
    ('Sweep.grids = [@a/Grd()]\n', ['@a/Grd()', '@rigl/Grid()']),
    ('Sweep.grids = [@a/Grid()]\n', ['a/Grid.label', 'not bound']),
    ('Sweep.grids = []\nGrid.labl = 3\n', ['Grid.labl', 'Grid.label']),
    ('RigL.drop_fraction = 3\n', ['RigL.drop_fraction', 'Sweep.grids']),
    ('Sweep.name = 3\n', ['Sweep.name is 3']),
    (
      _TWO + "other/Grid.label = 'RigL'\nGrid.bindings = {'A.b': 1}\n"
      "other/Grid.over = {'SPARSITY': 0.5, 'SEED': 0}\n"
      "other/Grid.bindings = {'A.b': 2}\n",
      ['two different runs', 'mine/rigl/SPARSITY=0.5/seed0'],
    ),
  ],
)
def test_bad_files(text, parts, load, user_error):
  with user_error(*parts):
    load(text).runs()


def test_names_of_sweeps(user_error):
  for name in (
    'sokar22/fig04',
    'sokar22/fig04.gin',
    'gin_configs/sweeps/sokar22/fig04.gin',
  ):
    assert sweeps.load(name).name == 'sokar22/fig04'
  with user_error("--sweep is 'sokar22/fig4'", 'mean sokar22/fig04'):
    sweeps.load('sokar22/fig4')
  assert not [n for n in definition.shipped() if 'grids' in n]


# ----------------------------------------------------------------- scale, cost


def test_scale():
  grid = _grid(over={'SEED': 0})
  (run,) = grid.runs('mine', scale=0.1)
  assert run.train_steps == 10000
  assert run.gin_bindings() == ['SEED=0', 'TRAIN_STEPS=10000']
  assert run.description()['scale'] == 0.1
  # Shortens what is asked for otherwise; the directory does not tell.
  bindings = ['TRAIN_STEPS=50000']
  (again,) = grid.runs('mine', gin_bindings=bindings, scale=0.1)
  assert again.gin_bindings() == ['SEED=0', *bindings, 'TRAIN_STEPS=5000']
  assert again.directory == run.directory
  (full,) = grid.runs('mine')
  assert full.train_steps == 100000 and full.gin_bindings() == ['SEED=0']


@pytest.mark.parametrize(
  'gin_file,binding,least',
  [
    ('graesser22/dqn_classic/rigl', "ENV_NAME='Acrobot-v1'", 1002),
    ('graesser22/dqn_atari_cnn/rigl', "GAME='Pong'", 20005),
    ('graesser22/sac_mujoco/rigl', "ENV_NAME='Ant-v4'", 10001),
    ('graesser22/sac_mujoco/rigl', "ENV_NAME='Hopper-v4'", 1001),
    ('graesser22/ppo_mujoco/rigl', "ENV_NAME='Hopper-v4'", 2048),
    ('sokar22/td3/ds_td3', "ENV_NAME='Ant-v4'", 25001),
    ('sokar22/td3/ds_td3', 'INITIAL_COLLECT_STEPS=3000', 3001),
  ],
)
def test_too_short_to_train(gin_file, binding, least, user_error):
  def first(scale=1.0, steps=None):
    bindings = [binding] + ([f'TRAIN_STEPS={steps}'] if steps else [])
    grid = _grid(gin_files=[f'gin_configs/{gin_file}.gin'], over={'SEED': 0})
    sweep = definition.Sweep('mine', (grid,))
    return sweep.runs(gin_bindings=bindings, scale=scale)[0]

  full = first().train_steps
  assert first(steps=least).train_steps == least
  with user_error(f'TRAIN_STEPS is {least - 1}', f'at least {least}'):
    first(steps=least - 1)
  with user_error('--scale is 0.0001', 'TRAIN_STEPS', 'at least 0.'):
    first(scale=1e-4)
  assert first(scale=(least + 100) / full).train_steps == least + 100


def test_too_short_to_train_without_a_history(user_error):
  grid = _grid(
    gin_files=['gin_configs/graesser22/dqn_classic/rigl.gin'], over={'SEED': 0}
  )
  sweep = definition.Sweep('mine', (grid,))
  bindings = ['SparseDQNAgent.min_replay_history=0', 'TRAIN_STEPS=2']
  with user_error('TRAIN_STEPS is 2', 'at least 3'):
    sweep.runs(gin_bindings=bindings)


def test_the_scale_that_an_error_names_is_enough(user_error):
  sweep = definition.Sweep('mine', (_grid(over={'SEED': 0}),))
  with user_error('at least 0.0101'):
    sweep.runs(scale=0.01)
  sweep.runs(scale=0.0101)


def test_what_is_left_out_may_be_too_short(user_error):
  lengths = {'SEED': 0, 'TRAIN_STEPS': (2000, 100000)}
  sweep = definition.Sweep('mine', (_grid(over=lengths),))
  with user_error('--scale is 0.1'):
    sweep.runs(scale=0.1)
  (run,) = sweep.runs(scale=0.1, filters=['TRAIN_STEPS=100000'])
  assert run.train_steps == 10000


def test_a_config_without_a_length(tmp_path, user_error):
  path = tmp_path / 'run.gin'
  path.write_text('train.train_steps = 5000\n')
  with user_error('TRAIN_STEPS is None', 'train.train_steps'):
    _grid(gin_files=[str(path)]).runs('mine')


@pytest.mark.parametrize('name', settings._FAMILIES.values())
def test_every_family_has_a_speed(name):
  assert costs.STEPS_PER_SECOND[name] > 0


@pytest.mark.parametrize(
  'sweep,families',
  [
    (
      'graesser22/fig01',
      {'sac', 'ppo', 'dqn_atari_cnn', 'dqn_atari_resnet'},
    ),
    ('graesser22/fig08', {'dqn_classic'}),
    ('sokar22/fig01', {'td3', 'sac'}),
  ],
)
def test_families(sweep, families):
  found = sweeps.load(sweep).runs(seeds=[0])
  assert {run.family for run in found} == families


def test_cost():
  found = _grid().runs('mine')
  speeds = costs.parse_speeds(['dqn_classic=100'])
  cost = costs.estimate(found, speeds)
  assert (cost.runs, cost.steps, cost.unknown) == (4, 400000, 0)
  assert cost.core_hours == pytest.approx(4000 / 3600)
  assert speeds['sac'] == costs.STEPS_PER_SECOND['sac']


def test_cost_of_another_agent(tmp_path):
  path = tmp_path / 'run.gin'
  path.write_text('TRAIN_STEPS = 10\ntrain.train_steps = %TRAIN_STEPS\n')
  (run,) = _grid(gin_files=[str(path)], over={}).runs('mine')
  cost = costs.estimate([run])
  assert (cost.steps, cost.core_hours, cost.unknown) == (10, 0, 1)


@pytest.mark.parametrize('text', ['sac', 'sac=', 'sac=0', 'none=3', 'sac=nan'])
def test_bad_speeds(text, user_error):
  with user_error('--steps_per_second', text.split('=')[0], 'dqn_classic'):
    costs.parse_speeds([text])
