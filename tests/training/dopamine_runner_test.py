"""Tests of the runner, in short runs of a tiny network on CartPole."""

import json
import shutil

import gin
import numpy as np
import pytest
import tensorflow as tf
from dopamine.discrete_domains import run_experiment

from helpers import runs, tiny
from rigl_rl import errors
from rigl_rl.config import parsing
from rigl_rl.training import (
  checkpointing,
  dopamine_runner,
  record,
  run_directory,
)

pytestmark = pytest.mark.usefixtures('no_gin_config')

_RIGL = 'gin_configs/graesser22/dqn_classic/rigl.gin'
_BINDINGS = [
  'SPARSITY = 0.5',
  'sparsify.distribution = @uniform',
  *tiny.DQN,
  'TRAIN_STEPS = 500',
  'DopamineRunner.evaluation_episodes = 3',
]


def _make_runner(base_dir, *bindings, train_steps=500, seed=0):
  gin.clear_config()
  parsing.parse([_RIGL], [*_BINDINGS, *bindings])
  directory = run_directory.RunDirectory(str(base_dir))
  config = gin.config_str()
  directory.check(config)
  runner = dopamine_runner.DopamineRunner(
    directory, seed=seed, train_steps=train_steps
  )
  directory.prepare(config)
  return runner, directory


def _run(base_dir, *bindings, **arguments):
  runner, directory = _make_runner(base_dir, *bindings, **arguments)
  runner.run_experiment()
  return runner, directory


def test_short_run(tmp_path):
  runner, directory = _run(tmp_path)
  rows = directory.evaluations
  assert rows == record.read_evaluations(str(tmp_path))
  # Each evaluation is at a multiple of the period, and less than an episode
  # of 200 steps behind it; the overshoot does not add up. The last is exact.
  assert len(rows) == 5 and rows[-1]['step'] == 500
  for number, row in enumerate(rows, start=1):
    assert 0 <= row['step'] - 100 * number < 200
    assert row['episodes'] == 3
    assert 1 <= row['return_mean'] <= 200 and row['return_std'] >= 0
  steps = [row['step'] for row in rows]
  assert steps == sorted(set(steps))
  assert runner.agent.training_steps == steps[-1]
  assert runner.agent.replay.add_count == steps[-1]
  assert runner.title == 'RigL at 50 % sparsity'

  timing = (tmp_path / 'timing.csv').read_text().splitlines()
  assert timing[0] == 'step,seconds,steps_per_second'
  assert [int(line.split(',')[0]) for line in timing[1:]] == steps
  assert directory.elapsed_seconds > 0
  # Evaluation adds no transition, and its summaries are there.
  assert list((tmp_path / 'events').glob('events*'))
  json.dumps(runner.describe())
  assert runner.describe()['gradient_steps'] == (
    runner.agent.optimizer.step.numpy()
  )


def test_nothing_is_a_pickle(tmp_path):
  _run(tmp_path, train_steps=100)
  files = [path for path in tmp_path.rglob('*') if path.is_file()]
  assert files and not any('pkl' in path.name for path in files)
  for path in files:
    if path.suffix == '.npz':
      with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
          archive[name]


def test_replay_segments_of_old_checkpoints_are_deleted(tmp_path):
  # Of 200 kept transitions, those of the first checkpoints are overwritten.
  _, _ = _run(tmp_path, 'SparseDQNAgent.replay_capacity = 200')
  checkpointer = checkpointing.Checkpointer(str(tmp_path / 'checkpoints'))
  steps = checkpointer.steps()
  assert len(steps) == 2
  needed = set()
  for step in steps:
    manifest = checkpointer.load(step)['loop']['replay']
    needed.update(segment['file'] for segment in manifest['segments'])
  there = {path.name for path in (tmp_path / 'replay').iterdir()}
  assert there == needed


def test_restart_equals_a_run_never_stopped(tmp_path):
  _run(tmp_path / 'whole')
  # Stopped after the third of five iterations, by an error in the fourth.
  runner, _ = _make_runner(tmp_path / 'cut')
  runs.interrupt(runner, 3)
  masks = [layer.mask.numpy() for layer in runner.agent.layers]

  resumed, directory = _make_runner(tmp_path / 'cut')
  assert len(directory.evaluations) == 3
  before = [layer.mask.numpy() for layer in resumed.agent.layers]
  assert [m.sum() for m in before] == [m.sum() for m in masks]
  resumed.run_experiment()
  runs.assert_same_run(tmp_path / 'whole', tmp_path / 'cut')


def test_torn_checkpoint_falls_back_to_the_one_before(tmp_path, caplog):
  _run(tmp_path / 'whole')
  whole = runs.evaluations(tmp_path / 'whole')
  _run(tmp_path / 'torn', train_steps=500)
  newest = sorted(
    (tmp_path / 'torn' / 'checkpoints').iterdir(),
    key=lambda path: int(path.name.split('-')[1]),
  )[-1]
  (newest / 'arrays.npz').write_bytes(b'torn')
  runner, directory = _make_runner(tmp_path / 'torn')
  assert len(directory.evaluations) == 4
  runner.run_experiment()
  assert runs.evaluations(tmp_path / 'torn') == whole


def test_continues_from_a_checkpoint_of_an_earlier_version(tmp_path):
  """Those had the replay's manifest in the agent's state, and `iteration`."""
  _run(tmp_path / 'whole')
  whole = runs.evaluations(tmp_path / 'whole')
  _run(tmp_path / 'old')
  checkpointer = checkpointing.Checkpointer(str(tmp_path / 'old/checkpoints'))
  step = checkpointer.steps()[0]
  state = checkpointer.load(step)
  state['agent']['replay'] = state.pop('loop')['replay']
  state['iteration'] = state.pop('periods_done') - 1
  shutil.rmtree(tmp_path / 'old/checkpoints')
  checkpointer.save(step, state)
  runner, directory = _make_runner(tmp_path / 'old')
  assert runner.steps_done == directory.evaluations[-1]['step'] == step < 500
  runner.run_experiment()
  assert runs.evaluations(tmp_path / 'old') == whole


def test_seed_decides_the_run(tmp_path):
  tables = []
  for name, seed in (('a', 0), ('b', 0), ('c', 1)):
    _, directory = _run(tmp_path / name, train_steps=200, seed=seed)
    tables.append(directory.evaluations)
  assert tables[0] == tables[1] != tables[2]


def test_run_shorter_than_the_period(tmp_path):
  _, directory = _run(tmp_path, train_steps=80)
  assert len(directory.evaluations) == 1
  assert directory.evaluations[0]['step'] == 80


def test_last_iteration_may_be_shorter(tmp_path):
  _, directory = _run(tmp_path, train_steps=250)
  assert len(directory.evaluations) == 3
  assert directory.evaluations[-1]['step'] == 250


def test_long_episode_over_several_periods(tmp_path):
  # An episode has 9 steps or more: some periods of 5 pass without its end.
  _, directory = _run(
    tmp_path, 'DopamineRunner.evaluation_period = 5', train_steps=100
  )
  steps = [row['step'] for row in directory.evaluations]
  assert steps == sorted(set(steps)) and len(steps) < 20 and steps[-1] == 100


def test_checkpoints_at_their_period(tmp_path):
  _, directory = _run(tmp_path, 'DopamineRunner.checkpoint_period = 3')
  steps = [row['step'] for row in directory.evaluations]
  found = checkpointing.Checkpointer(str(tmp_path / 'checkpoints')).steps()
  assert found == [steps[2], steps[4]]  # The third, and the last of all.


def test_evaluation_by_steps(tmp_path):
  _, directory = _run(
    tmp_path,
    'DopamineRunner.evaluation_episodes = None',
    'DopamineRunner.evaluation_steps = 120',
    train_steps=200,
  )
  for row in directory.evaluations:
    # Whole episodes, until there are 120 steps, each with a reward of 1.
    total = row['return_mean'] * row['episodes']
    assert 120 <= round(total, 6) < 320


def test_evaluation_leaves_training_alone(tmp_path):
  """More episodes of evaluation, or steps instead, change no weight."""
  weights = []
  for name, bindings in (
    ('a', ['DopamineRunner.evaluation_episodes = 1']),
    ('b', ['DopamineRunner.evaluation_episodes = 4']),
    (
      'c',
      [
        'DopamineRunner.evaluation_episodes = None',
        'DopamineRunner.evaluation_steps = 50',
      ],
    ),
  ):
    runner, _ = _run(tmp_path / name, *bindings, train_steps=200)
    weights.append([v.numpy() for v in runner.agent.online.variables])
  for other in weights[1:]:
    for one, two in zip(weights[0], other):
      np.testing.assert_array_equal(one, two)


def test_time_limit_reaches_the_agent(tmp_path):
  runner, _ = _make_runner(tmp_path, 'DopamineRunner.max_steps_per_episode = 5')
  ends = []
  end_episode = runner.agent.end_episode

  def recorded(reward, terminal=True):
    ends.append((runner.environment.game_over, terminal))
    end_episode(reward, terminal)

  runner.agent.end_episode = recorded
  runner.run_experiment()
  # CartPole never falls within 5 steps.
  assert len(ends) == 100 and not any(terminal for _, terminal in ends)


@pytest.mark.parametrize(
  'name, lost',
  [
    ('_initialize_checkpointer_and_maybe_resume', 'loads Dopamine pickles'),
    ('_run_one_episode', 'trains beyond train_steps'),
    ('_run_one_step', 'counts no steps'),
    ('_end_episode', 'takes a cut for a terminal state'),
    ('_run_train_phase', 'cannot train'),
    ('_run_eval_phase', 'cannot evaluate by steps'),
  ],
)
def test_private_methods_of_dopamines_runner(name, lost):
  method = getattr(run_experiment.Runner, name, None)
  assert callable(method), f'Without Runner.{name}, DopamineRunner {lost}.'


def test_bindings_of_dopamines_iterations_are_not_used(tmp_path):
  _make_runner(tmp_path)
  written = gin.operative_config_str()
  assert 'DopamineRunner.evaluation_period = 100' in written
  assert 'Runner.num_iterations' not in written


def test_noise_needs_pixels(tmp_path):
  with pytest.raises(errors.UserError, match='ObservationNoise.sigma'):
    _make_runner(tmp_path, 'DopamineRunner.evaluation_noise = 5.0')
  # Told before anything was trained or written.
  assert not list(tmp_path.glob('*.gin'))


def test_loss_that_is_not_finite_keeps_what_is_written(tmp_path):
  runner, _ = _make_runner(tmp_path)
  original = runner._run_train_phase

  def explode(statistics):
    original(statistics)
    if runner.steps_done > 200:
      runner.agent.learner.loss = tf.constant(float('nan'))

  runner._run_train_phase = explode
  with pytest.raises(errors.UserError, match='loss is not finite'):
    runner.run_experiment()
  rows = record.read_evaluations(str(tmp_path))
  assert rows and runner.steps_done > 200
  # Weights that are lost are neither evaluated nor saved.
  assert rows[-1]['step'] <= 200
  assert runs.latest(tmp_path)[0] == rows[-1]['step']


@pytest.mark.parametrize(
  'binding,message',
  [
    ('DopamineRunner.evaluation_period = 0', 'evaluation_period is 0'),
    ('DopamineRunner.evaluation_period = "x"', "evaluation_period is 'x'"),
    ('DopamineRunner.evaluation_episodes = 0', 'evaluation_episodes'),
    ('DopamineRunner.evaluation_episodes = None', 'exactly one'),
    ('DopamineRunner.evaluation_steps = 9', 'exactly one'),
    ('DopamineRunner.max_steps_per_episode = 0', 'max_steps_per_episode is 0'),
    ('DopamineRunner.checkpoint_period = 1.5', 'checkpoint_period is 1.5'),
    ('DopamineRunner.evaluation_noise = -1.0', 'evaluation_noise is -1.0'),
  ],
)
def test_value_outside_its_range(tmp_path, binding, message):
  with pytest.raises(errors.UserError, match=message):
    _make_runner(tmp_path, binding)


_OWN_AGENT = '''
"""An agent with a loss of its own: (Q - 1)^2 for any transition."""

import gin
import tensorflow as tf

from rigl_rl.agents import dqn


@gin.configurable
class ConstantAgent(dqn.SparseDQNAgent):

  def compute_losses(self, online, target, states, actions, *others):
    values = tf.gather(online(states), actions, batch_dims=1)
    return (values - 1.0) ** 2
'''


def test_an_agent_with_a_loss_of_its_own(tmp_path, monkeypatch):
  (tmp_path / 'constant_agent.py').write_text(_OWN_AGENT)
  monkeypatch.syspath_prepend(str(tmp_path))
  gin_file = tmp_path / 'own.gin'
  gin_file.write_text(
    f"include '{_RIGL}'\nimport constant_agent\n"
    'DopamineRunner.agent = @ConstantAgent\n'
  )
  parsing.parse([str(gin_file)], _BINDINGS)
  directory = run_directory.RunDirectory(str(tmp_path / 'run'))
  runner = dopamine_runner.DopamineRunner(directory, seed=0, train_steps=500)
  directory.prepare(gin.config_str())
  first = [layer.mask.numpy() for layer in runner.agent.layers]
  states = np.float32([[[0.01], [0.02], [0.03], [0.04]]])
  before = np.abs(runner.agent.online(states) - 1).max()
  runner.run_experiment()
  agent = runner.agent
  assert type(agent).__name__ == 'ConstantAgent'
  assert np.abs(agent.online(states) - 1).max() < before / 2
  for layer, mask in zip(agent.layers, first):
    assert layer.mask.numpy().sum() == mask.sum()
    assert not layer.kernel.numpy()[layer.mask.numpy() == 0].any()
  assert any(
    (layer.mask.numpy() != mask).any()
    for layer, mask in zip(agent.layers, first)
  )
