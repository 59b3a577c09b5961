"""Tests of choosing runs."""

import pytest

from helpers import synthetic_runs
from rigl_rl import analysis
from rigl_rl.analysis.figures import base, selection


@pytest.fixture
def load(tmp_path):
  """Writes runs, each a dict of arguments, and returns their table."""

  def load(*runs):
    for index, run in enumerate(runs):
      synthetic_runs.write_run(tmp_path / str(index), **run)
    return analysis.load(tmp_path).runs

  return load


def _request(planned=None):
  options = base.Options(planned={'name': planned} if planned else {})
  return base.Request('name', None, options)


def test_agents_networks_and_papers(load):
  runs = load(
    {'method': 'RigL'},
    {'method': 'RigL', 'network': 'CNN', 'task': 'Pong'},
    {'method': 'SAC', 'agent': 'SAC', 'distribution': 'erdos_renyi_lambda'},
    {'method': 'Dense', 'agent': 'SAC'},
  )
  chosen, _ = selection.select(runs, 'DQN', 'CNN')
  assert list(chosen.task) == ['Pong']
  assert selection.tasks_of(chosen, ['Pong', 'Qbert']) == ('Pong', 'Qbert')
  assert list(selection.select(runs, 'SAC')[0].method) == ['Dense']
  sokar, _ = selection.select(runs, 'SAC', paper='sokar22')
  assert list(sokar.method) == ['SAC']


def test_what_varies_has_to_be_asked_for(load):
  runs = load(
    {'seed': 0, 'sweep': 's', 'swept': {'SPARSITY': 0.9}},
    {'seed': 1, 'sweep': 's', 'more': {'RigL.drop_fraction': 0.1}},
    {'seed': 2, 'sweep': 's', 'more': {'Budget.total': 0.1}},
    {'seed': 3, 'more': {'erdos_renyi_kernel.power': 0.5}},
  )

  def seeds(*varied):
    return list(selection.select(runs, 'DQN', varied=varied)[0].seed)

  assert seeds() == [0]
  assert seeds('RigL.drop_fraction') == [0, 1]
  assert seeds('Budget.total') == [0, 2]
  assert seeds('power') == [0, 3]


def test_a_finished_run_goes_before_the_same_unfinished(load):
  runs = load({'finished': False}, {'finished': True})
  chosen, _ = selection.select(runs, 'DQN')
  assert list(chosen.finished) == [True]
  assert len(selection.finished(chosen)) == 1


def test_all_are_as_long_as_the_longest(load):
  runs = load(
    {'train_steps': 10},
    {'train_steps': 100, 'seed': 1},
    {'train_steps': 50, 'seed': 2, 'task': 'Acrobot-v1'},
  )
  chosen, notes = selection.select(runs, 'DQN')
  assert list(chosen.seed) == [2, 1]
  assert notes == ['Left out: 1 run shorter than others of CartPole-v0.']
  chosen, notes = selection.select(runs, 'DQN', by_task=False)
  assert list(chosen.seed) == [1]
  assert notes == [
    'Left out: 2 runs shorter than others of Acrobot-v1, CartPole-v0.'
  ]
  request = _request()
  request.add(runs, runs)
  assert request.notes[1] == (
    "Short runs of DQN: 10 or 50 or 100 of the paper's 100,000 steps."
  )


def test_no_runs(load):
  chosen, notes = selection.select(load(), 'DQN')
  assert not len(chosen) and not notes


def test_progress(load):
  runs = load({'seed': 0}, {'seed': 1}, {'seed': 2, 'finished': False})
  request = _request(10)
  finished = runs[runs.finished]
  request.add(finished, runs, ['a note'])
  request.add(finished[:1], runs, ['a note'])
  assert request.notes == ['2 of 10 runs, 1 begun and not finished.', 'a note']
  # Which of them were planned is not known: it does not say that all are here.
  request = _request(1)
  request.add(finished, runs)
  assert request.notes[0].startswith('2 runs, more than the 1 of its sweep')
  request = _request()
  request.add(runs[:0], runs[:0])
  assert request.notes == ['0 runs.']


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
