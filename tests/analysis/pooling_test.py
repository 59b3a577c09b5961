"""Tests of what runs of one point may differ in."""

import json

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis import pooling

COLUMNS = ['task', 'method']


@pytest.fixture
def differences(tmp_path):
  """Writes runs, one per dict of bindings, and compares them."""

  def differences(*bindings, ignore=(), methods=('RigL',), **kwargs):
    for number, more in enumerate(bindings):
      for method in methods:
        synthetic_runs.write_run(
          tmp_path / f'{method}{number}',
          method,
          seed=number,
          more=more,
          **kwargs,
        )
    runs = analysis.load(tmp_path).runs
    return pooling.differences(runs, COLUMNS, ignore)

  return differences


def test_runs_that_differ_in_their_seed_only(differences):
  assert differences({}, {}, {}, methods=('RigL', 'Dense')) == []


@pytest.mark.parametrize(
  'name,values,text',
  [
    ('adam.learning_rate', (1e-3, 3e-4), '(0.001, 0.0003)'),
    ('Critic.hidden_units', ((64, 64), (256,)), '((64, 64), (256,))'),
    ('sparsify.keep_dense', (('a',), None), "(('a',), unbound)"),
    ('sparsify.storage', ('masked', 'auto'), "('masked', 'auto')"),
    ('actor/sparsify.keep_dense', ('a', 'b'), "('a', 'b')"),
    ('sparsify.distribution', ('@uniform', '@erdos_renyi'), ''),
    # A macro is compared where it is used.
    ('SPARSITY', (0.5, 0.9), '(0.5, 0.9)'),
  ],
)
def test_a_setting_that_differs_is_named(differences, name, values, text):
  (note,) = differences(
    *({} if value is None else {name: value} for value in values)
  )
  named = 'sparsify.sparsity' if name == 'SPARSITY' else name
  assert f'{named} {text}'.rstrip() in note


@pytest.mark.parametrize(
  'name,values',
  [
    ('ActorCriticLoop.checkpoint_period', (1, 5)),
    ('SparseDQNAgent.summarize_gradient_snr', (True, False)),
    # Of what one run called, and the other one did not.
    ('HopperEnv.terminate', (True, None)),
    ('saved_policy.run', ('a/seed0', 'a/seed1')),
    ('NOTHING', (1, 2)),
  ],
)
def test_what_changes_no_result_may_differ(differences, name, values):
  assert (
    differences(*({} if value is None else {name: value} for value in values))
    == []
  )


def test_a_dense_run_has_no_masks(differences):
  assert (
    differences(
      {'SPARSITY': 0.5, 'UpdateSchedule.interval': 1},
      {'SPARSITY': 0.9, 'sparsify.keep_dense': ('a',)},
      methods=('Dense',),
    )
    == []
  )


def test_what_a_figure_varies_is_ignored(differences):
  name = 'DopamineRunner.evaluation_noise'
  assert differences({name: 1.0}, {name: 2.0}, ignore=[name]) == []


def test_long_lists_are_cut(differences):
  (note,) = differences(*({f'a.b{i}': i, 'a.c': i} for i in range(7)))
  assert 'a.c (0, 1, 2, 3, 3 more)' in note
  assert note.count('a.b') == 4 and note.endswith(', 3 more.')


def test_versions_that_differ_are_named(tmp_path):
  for seed, mujoco in enumerate(('3.1', '3.2', None)):
    path = synthetic_runs.write_run(tmp_path / str(seed), seed=seed)
    if mujoco:
      synthetic_runs.change_record(
        path, made_with=[_made_with(mujoco=mujoco, numpy='2.0')]
      )
  runs = analysis.load(tmp_path).runs
  assert pooling.differences(runs, COLUMNS) == [
    'Runs of one point differ beside their seed: mujoco (3.1, 3.2).'
  ]


def _made_with(step=0, **versions):
  return {
    'step': step,
    'git_revision': None,
    'processor': 'P',
    'versions': versions,
  }


def test_a_run_that_was_continued_with_another_version(tmp_path):
  for seed in range(2):
    path = synthetic_runs.write_run(tmp_path / str(seed), seed=seed)
    made_with = [_made_with(numpy='2.0'), _made_with(50_000, numpy='2.1')]
    synthetic_runs.change_record(path, made_with=made_with[: seed + 1])
  runs = analysis.load(tmp_path).runs
  assert list(runs.versions) == ['numpy 2.0', 'numpy 2.0 then 2.1']
  assert pooling.differences(runs, COLUMNS) == [
    'Runs of one point differ beside their seed: numpy (2.0, 2.0 then 2.1).'
  ]


def test_sizes_that_differ_are_named(tmp_path):
  for seed, outputs in enumerate((2, 3)):
    path = synthetic_runs.write_run(tmp_path / str(seed), seed=seed)
    summary = json.loads((path / 'summary.json').read_text())
    layers = summary['networks']['online']['layers']
    layers['layer2']['kernel'][-1] = outputs
    (path / 'summary.json').write_text(json.dumps(summary))
  runs = analysis.load(tmp_path).runs
  assert pooling.differences(runs, COLUMNS) == [
    'Runs of one point differ beside their seed: weights (265,216, 265,728).'
  ]


def test_points_are_compared_each_by_itself(differences):
  assert differences({}, {}, methods=('RigL', 'SET')) == []
