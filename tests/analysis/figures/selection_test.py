"""Tests of choosing runs."""

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis.figures import selection


@pytest.fixture
def load(tmp_path):
  """Writes runs, each a dict of arguments, and returns their table."""

  def load(*runs):
    for index, run in enumerate(runs):
      synthetic_runs.write_run(tmp_path / str(index), **run)
    return analysis.load(tmp_path).runs

  return load


def test_agents_networks_and_papers(load):
  runs = load(
    {'method': 'RigL'},
    {'method': 'RigL', 'network': 'CNN', 'task': 'Pong'},
    {'method': 'SAC', 'agent': 'SAC', 'distribution': 'erdos_renyi_lambda'},
    {'method': 'Dense', 'agent': 'SAC'},
  )
  chosen = selection.select(runs, 'DQN', 'CNN').runs
  assert list(chosen.task) == ['Pong']
  assert selection.tasks_of(chosen, ['Pong', 'Qbert']) == ('Pong', 'Qbert')
  assert list(selection.select(runs, 'SAC').runs.method) == ['Dense']
  sokar = selection.select(runs, 'SAC', paper='sokar22').runs
  assert list(sokar.method) == ['SAC']


def test_what_varies_has_to_be_asked_for(load):
  runs = load(
    {'seed': 0, 'sweep': 's', 'swept': {'SPARSITY': 0.9}},
    {'seed': 1, 'sweep': 's', 'more': {'RigL.drop_fraction': 0.1}},
    {'seed': 2, 'sweep': 's', 'more': {'Budget.total': 0.1}},
    {'seed': 3, 'more': {'erdos_renyi_kernel.power': 0.5}},
  )

  def seeds(*varied):
    return list(selection.select(runs, 'DQN', varied=varied).runs.seed)

  assert seeds() == [0]
  assert seeds('RigL.drop_fraction') == [0, 1]
  assert seeds('Budget.total') == [0, 2]
  assert seeds('power') == [0, 3]


def test_a_finished_run_goes_before_the_same_unfinished(load):
  runs = load({'finished': False}, {'finished': True})
  chosen = selection.select(runs, 'DQN')
  assert list(chosen.runs.finished) == [True]
  assert len(selection.finished(chosen.runs)) == 1


def test_all_are_as_long_as_the_longest(load):
  runs = load(
    {'train_steps': 10},
    {'train_steps': 100, 'seed': 1},
    {'train_steps': 50, 'seed': 2, 'task': 'Acrobot-v1'},
  )
  chosen = selection.select(runs, 'DQN')
  assert list(chosen.runs.seed) == [2, 1]
  assert chosen.notes == ['Left out: 1 run shorter than others of CartPole-v0.']
  chosen = selection.select(runs, 'DQN', by_task=False)
  assert list(chosen.runs.seed) == [1]
  assert chosen.notes == [
    'Left out: 2 runs shorter than others of Acrobot-v1, CartPole-v0.'
  ]
  progress = selection.Progress(None)
  progress.add(runs, runs)
  assert progress.notes[1] == (
    "Short runs of DQN: 10 or 50 or 100 of the paper's 100,000 steps."
  )


def test_no_runs(load):
  chosen = selection.select(load(), 'DQN')
  assert not len(chosen.runs) and not chosen.notes


def test_progress(load):
  runs = load({'seed': 0}, {'seed': 1}, {'seed': 2, 'finished': False})
  progress = selection.Progress(10)
  finished = runs[runs.finished]
  progress.add(finished, runs, ['a note'])
  progress.add(finished[:1], runs, ['a note'])
  assert progress.notes == ['2 of 10 runs, 1 begun and not finished.', 'a note']
  # Which of them were planned is not known: it does not say that all are here.
  progress = selection.Progress(1)
  progress.add(finished, runs)
  assert progress.notes[0].startswith('2 runs, more than the 1 of its sweep')
  progress = selection.Progress(None)
  progress.add(runs[:0], runs[:0])
  assert progress.notes == ['0 runs.']


def test_dense_sac_is_the_standard_one(load):
  def run(seed, method='Dense', task='Ant-v4', **kwargs):
    own = {'agent': 'SAC', 'task': task, 'seed': seed, 'method': method}
    return {**own, **kwargs}

  runs = load(
    run(0, score=10.0),
    run(1, score=20.0),
    # The same run in another sweep counts once.
    run(1, score=20.0, sweep='fig09'),
    run(0, task='Hopper-v4', score=7.0),
    run(0, 'RigL'),
    run(0, 'Small dense'),
    run(2, train_steps=1000),
    run(3, finished=False),
    run(4, 'SAC', distribution='erdos_renyi_lambda'),
    run(5, agent='PPO'),
    # Of figures 3, 4 and 13, whose dense networks are others.
    run(6, sweep='fig03', more={'Budget.total': 1.0}),
    run(7, sweep='fig04', swept={'WEIGHT_DECAY': 0.0}),
    run(8, sweep='fig13', more={'TransitionBuffer.batch_size': 32}),
  )
  dense = selection.dense_sac(runs)
  found = sorted(zip(dense.task, dense.seed))
  assert found == [('Ant-v4', 0), ('Ant-v4', 1), ('Hopper-v4', 0)]
