"""The sweep files of both papers: their runs, counted by hand."""

from __future__ import annotations

import collections
import pathlib

import gin
import pytest

from rigl_rl import sweeps
from rigl_rl.config import parsing
from rigl_rl.sweeps import definition

_ROOT = pathlib.Path(__file__).parents[2] / 'gin_configs' / 'sweeps'

# Small dense, pruning, static, SET, RigL; at each sparsity.
_SIZED = 5
_SPARSE = 4
# 50, 80, 90, 95 %.
_LEVELS = 4
# A dense network, and the five at each sparsity.
_CURVES = 1 + _SIZED * _LEVELS
# Graesser et al., section 3: at least 10 seeds; captions 16 to 18: 9.
_SEEDS = 10
_CLASSIC, _MUJOCO, _GAMES, _MAIN = 3, 5, 15, 3
# Appendix A.3: weight decay, interval, drop fraction, sparsity-aware init.
_WD, _INTERVAL, _DROP, _INIT = 4, 5, 5, 2
_SEARCH = (
  _WD  # Dense
  + _WD * _INTERVAL  # Pruning
  + _WD * _INIT  # Static
  + 2 * _WD * _INTERVAL * _DROP * _INIT  # SET and RigL
)

_COUNTS = {
  # 90 %: two agents on 5 tasks, two on 15 games.
  'graesser22/fig01': 2 * (_MUJOCO + _GAMES) * (1 + _SIZED) * _SEEDS,
  'graesser22/fig02_dqn': 3 * _CURVES * _SEEDS,
  'graesser22/fig02_sac': _MAIN * _CURVES * _SEEDS,
  'graesser22/fig02_ppo': _MAIN * _CURVES * _SEEDS,
  # Budgets: 100 % dense; 20 and 10 % dense and RigL; five splits beside the
  # default one, which is dense, and small dense and RigL at 80 and 90 %.
  'graesser22/fig03': _MAIN * (1 + 2 * 2) * (5 + 1) * _SEEDS,
  'graesser22/fig04': (
    (1 + _SPARSE) * _WD  # Center, its defaults being ERK's of the left.
    + _SPARSE  # Left, uniform.
    + 3 * 2  # Right: static, SET, RigL, both distributions, the other init.
  )
  * _SEEDS,
  # Dense and RigL at four sparsities.
  'graesser22/fig05': (_CLASSIC + _MUJOCO) * (1 + _LEVELS) * _SEEDS,
  # 100 %; 50 and 10 % small dense, SET, RigL.
  'graesser22/fig06': 3 * (1 + 2 * 3) * _SEEDS,
  # ERK and uniform, of which dense networks know nothing.
  'graesser22/fig08': _CLASSIC * (_CURVES + _SPARSE * _LEVELS) * _SEEDS,
  'graesser22/fig09': 2 * 2 * _CURVES * _SEEDS,
  'graesser22/fig10': _GAMES * _CURVES * _SEEDS,
  'graesser22/fig11': _GAMES * _CURVES * _SEEDS,
  'graesser22/fig12_dqn': 3 * _CURVES * _SEEDS,
  'graesser22/fig12_sac': _MAIN * _CURVES * _SEEDS,
  'graesser22/fig12_ppo': _MAIN * _CURVES * _SEEDS,
  'graesser22/fig13': (
    2 * 5  # Drop fractions of SET and RigL.
    + 5  # Intervals of pruning;
    + 2 * (5 - 1)  # of SET and RigL, beside their own, which are above.
    + 1  # Static has none.
    + 5  # Batch sizes of dense networks;
    + _SPARSE * (5 - 1)  # of the others, beside 256.
  )
  * _SEEDS,
  # Dense and four methods under two distributions: SAC with all layers sparse
  # and with the last one dense; DQN.
  'graesser22/fig14': (2 * (1 + _SPARSE * _LEVELS * 2) + _SPARSE * _LEVELS * 2)
  * _SEEDS,
  # 50, 90, 95 % on five tasks, 99 % on three.
  'graesser22/fig15': (5 + _SIZED * (3 * 5 + 3)) * 10,
  # 50 and 90 % on five tasks, 95 % on four, 99 % on three; and dense SAC.
  'graesser22/fig16': (5 + _SIZED * (2 * 5 + 4 + 3) + 5) * 9,
  'graesser22/fig17': 15 * (1 + _SIZED * 4) * 9,
  'graesser22/fig18': 15 * (1 + _SIZED * 4) * 9,
  'graesser22/search_dqn': _SEARCH * _SEEDS,
  'graesser22/search_sac': _SEARCH * _SEEDS,
  'graesser22/search_ppo': _SEARCH * _SEEDS,
  # Weight decay by learning rate, on three games.
  'graesser22/search_resnet': 3 * 4 * 4 * _SEEDS,
  # TD3, Static-TD3, DS-TD3, SAC; five tasks, five seeds.
  'sokar22/fig01': 4 * 5 * 5,
  'sokar22/table01': 4 * 5 * 5,
  'sokar22/table02': 4 * 5 * 5,
  # TD3; e = 200, 500, 1000, 2000; 25 and 80 %, e = 1000 being 50 %.
  'sokar22/fig02': (1 + 4 + 2) * 5,
  # Policies of TD3 and DS-TD3 after 5e5 and 7e5 steps, and five runs of each.
  'sokar22/fig03': 2 * 2 * (1 + 5),
  'sokar22/fig04': 2 * 5 * 5,
  'sokar22/table04': 2 * 5 * 5,
  'sokar22/table05': 2 * 5 * 5,
}


@pytest.fixture(scope='module')
def all_runs():
  return {name: sweeps.load(name).runs() for name in definition.shipped()}


def test_every_file_is_counted(all_runs):
  assert set(all_runs) == set(_COUNTS)
  # What lies deeper is included by these.
  files = {p.relative_to(_ROOT).with_suffix('') for p in _ROOT.glob('*/*.gin')}
  assert {path.as_posix() for path in files} == set(_COUNTS)


@pytest.mark.parametrize('name', _COUNTS)
def test_count(name, all_runs):
  runs = all_runs[name]
  assert len(runs) == _COUNTS[name]
  assert len({run.directory for run in runs}) == len(runs)


def test_search_of_a3_is_432_settings():
  assert _SEARCH == 4 + 20 + 8 + 200 + 200


def test_no_run_is_trained_twice(all_runs):
  """One directory is one config, in all sweeps, and the other way round."""
  by_directory, by_config = {}, {}
  for runs in all_runs.values():
    for run in runs:
      config = (run.gin_files, frozenset(run.gin_bindings()))
      assert by_directory.setdefault(run.directory, config) == config
      assert by_config.setdefault(config, run.directory) == run.directory
  # Most of the runs above are another figure's as well.
  assert len(by_directory) < 0.75 * sum(_COUNTS.values())


@pytest.mark.parametrize(
  'part,whole',
  [
    ('fig02_dqn', ['fig10']),
    ('fig05', ['fig02_sac', 'fig08', 'fig09']),
    ('fig06', ['fig10']),
    ('fig17', ['fig10', 'fig17']),
    ('fig13', ['search_sac', 'fig13', 'fig02_sac']),
    (
      'fig01',
      ['fig02_sac', 'fig02_ppo', 'fig09', 'fig10', 'fig11'],
    ),
  ],
)
def test_runs_of_other_figures(part, whole, all_runs):
  directories = {run.directory for run in all_runs[f'graesser22/{part}']}
  others = {
    run.directory for name in whole for run in all_runs[f'graesser22/{name}']
  }
  assert directories <= others


def test_slices_of_the_search(all_runs):
  """Of figures 4 and 13, all that A.3 searched over; at RigL's optimum too."""
  search = {run.directory for run in all_runs['graesser22/search_sac']}
  for name, parameters in (
    ('fig04', {'WEIGHT_DECAY'}),
    ('fig13', {'SET.drop_fraction', 'RigL.drop_fraction'}),
    ('fig13', {'UpdateSchedule.interval'}),
  ):
    for run in all_runs[f'graesser22/{name}']:
      if parameters & set(run.values):
        assert run.directory in search
  default = 'graesser22/sac_mujoco/rigl/ENV_NAME=Walker2d-v4,SPARSITY=0.8/seed0'
  assert default in search
  for name in ('fig02_sac', 'fig04', 'fig13', 'fig15'):
    found = {run.directory for run in all_runs[f'graesser22/{name}']}
    assert (default in found) == (name != 'fig15')


def test_seeds_and_tasks(all_runs):
  def counted(name, key):
    return collections.Counter(run.values.get(key) for run in all_runs[name])

  assert {run.seed for run in all_runs['graesser22/fig08']} == set(range(10))
  assert {run.seed for run in all_runs['graesser22/fig18']} == set(range(9))
  assert {run.seed for run in all_runs['sokar22/fig01']} == set(range(5))
  games = counted('graesser22/fig10', 'GAME')
  assert len(games) == 15 and set(games.values()) == {210}
  assert set(counted('graesser22/fig02_dqn', 'GAME')) == {
    'MsPacman',
    'Pong',
    'Qbert',
  }
  assert counted('graesser22/fig16', 'SPARSITY')[0.95] == 5 * 4 * 9
  assert counted('graesser22/fig15', 'SPARSITY')[0.99] == 5 * 3 * 10
  steps = {run.train_steps for run in all_runs['graesser22/fig01']}
  assert steps == {1000000, 10000000}
  steps = {run.train_steps for run in all_runs['sokar22/fig03']}
  assert steps == {500000, 700000, 1000000}


def test_figure_3_of_sokar(all_runs):
  """Each run starts from the policy of its own kind."""
  runs = {run.directory: run for run in all_runs['sokar22/fig03']}
  policies = [run for run in runs.values() if not run.needs]
  assert list(runs.values())[:4] == policies
  for run in runs.values():
    for need in run.needs:
      assert runs[need].label == f'Policy of {run.label}'
      assert f"saved_policy.run='/base/{need}'" in run.gin_bindings('/base')
  steps = collections.Counter(
    runs[need].train_steps for run in runs.values() for need in run.needs
  )
  assert steps == {500000: 10, 700000: 10}
  # Other seeds are for the agents, not for the policies.
  few = sweeps.load('sokar22/fig03').runs(seeds=[7])
  assert [run.seed for run in few] == [0, 0, 0, 0, 7, 7, 7, 7]


def _one_of_each(all_runs):
  """A run of each set of bindings that there is, with their values' kinds."""
  found = {}
  for runs in all_runs.values():
    for run in runs:
      names = [binding.partition('=')[0] for binding in run.gin_bindings()]
      texts = [b for b in run.gin_bindings() if '@' in b or '%' in b]
      found.setdefault((run.gin_files, *names, *texts), run)
  return list(found.values())


def test_launch_train_reads_all_bindings(all_runs, no_gin_config):
  from rigl_rl import quiet

  chosen = _one_of_each(all_runs)
  assert len(chosen) > 60
  with quiet.import_quietly():
    for run in chosen:
      gin.clear_config()
      parsing.parse(run.gin_files, run.gin_bindings('/base'))
      assert gin.query_parameter('%SEED') == run.seed
      assert gin.query_parameter('%TRAIN_STEPS') == run.train_steps
      for name, value in run.values.items():
        if '.' not in name and name not in ('WEIGHT_DECAY',):
          assert gin.query_parameter(f'%{name}') == value


@pytest.mark.parametrize(
  'task,sparsity,units',
  [
    ('HalfCheetah-v4', 0.5, {'actor': 43, 'value': 43}),
    ('HalfCheetah-v4', 0.99, {'actor': 6, 'value': 7}),
    ('Hopper-v4', 0.95, {'actor': 13, 'value': 14}),
    ('Ant-v4', 0.95, {'actor': 6, 'value': 6}),
    ('Humanoid-v4', 0.9, {'actor': 8, 'value': 8}),
  ],
)
def test_small_ppo_networks(task, sparsity, units, all_runs, no_gin_config):
  """Both layers have equally many units; the size's mismatch is reported."""
  from rigl_rl import quiet

  with quiet.import_quietly():
    from rigl_rl import costs

    (run,) = [
      run
      for run in all_runs['graesser22/fig16']
      if run.label == 'Small dense'
      and run.seed == 0
      and run.values['ENV_NAME'] == task
      and run.values['SPARSITY'] == sparsity
    ]
    parsing.parse(run.gin_files, run.gin_bindings())
    small = costs.read_job(None)
    gin.clear_config()
    parsing.parse(
      ['gin_configs/graesser22/ppo_mujoco/rigl.gin'],
      [f'ENV_NAME={task!r}', f'SPARSITY={sparsity}'],
    )
    full = costs.read_job(None)
  for name, network in small.networks.items():
    hidden = [layer.kernel_shape[-1] for layer in network.count.layers[:-1]]
    assert hidden == 2 * [units[name]]
    dense = full.dense_counts[name]
    target = (1 - sparsity) * dense.weights + dense.biases
    assert network.size_mismatch == pytest.approx(
      network.count.parameters / target - 1, abs=0.003
    )
