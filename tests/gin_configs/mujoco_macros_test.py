"""SAC and PPO with other tasks, algorithms, sparsities and widths."""

import gin
import numpy as np
import pytest

from helpers.gin_files import ALGORITHMS, TASKS, build, name_of, parse
from helpers.graesser22_tables import (
  SUITES,
  check_masks,
  kernel_shapes,
  shapes_of,
)
from rigl_rl.config import parsing

pytestmark = pytest.mark.usefixtures('no_gin_config')


@pytest.mark.parametrize(
  'task, steps',
  [
    ('HalfCheetah-v4', 10000),
    ('Ant-v4', 10000),
    ('Hopper-v4', 1000),
    ('Walker2d-v4', 1000),
    ('Humanoid-v4', 1000),
    ('Ant-v5', 10000),
    ('Humanoid-v5', 1000),
    ('gymnasium:Hopper-v4', 1000),
    ('Pendulum-v1', 10000),
    ('my_module:Swing-v0', 10000),
  ],
)
def test_initial_collection(task, steps):
  parse(('graesser22', 'sac_mujoco', 'rigl'), bindings=[f'ENV_NAME = {task!r}'])
  collect = gin.query_parameter('ActorCriticLoop.initial_collect_steps')
  assert collect.scoped_configurable_fn() == steps


@pytest.mark.parametrize(
  'name, task',
  [('ppo_mujoco', f'{task}-v4') for task in TASKS] + [('sac_mujoco', 'Ant-v4')],
)
def test_other_tasks(name, task, tmp_path):
  suite = SUITES[name]
  parse(
    ('graesser22', name, 'rigl'),
    bindings=[f'ENV_NAME = {task!r}', 'SPARSITY = 0.8', 'SEED = 3'],
  )
  agent = build(tmp_path).agent
  for network in agent.networks:
    assert kernel_shapes(agent, network) == shapes_of(suite, network, task)
  check_masks(agent, 'rigl', dict.fromkeys(suite.networks, 0.8))


@pytest.mark.parametrize('algorithm', ALGORITHMS)
@pytest.mark.parametrize('name', SUITES)
def test_algorithm_on_an_agent(name, algorithm, tmp_path):
  suite = SUITES[name]
  parse(('agents', name), ('algorithms', algorithm))
  agent = build(tmp_path).agent
  check_masks(agent, algorithm)
  for optimizer in agent.networks.optimizers.values():
    updater = optimizer.mask_updater
    if algorithm in ('dense', 'static'):
      assert not updater.layers
      continue
    begin = 0.2 if algorithm == 'prune' else 0.0
    assert updater.schedule.interval == 1000
    assert updater.schedule.begin_step == begin * suite.gradient_steps
    # DS adapts until the last of the steps, which are counted from 0.
    end = 0.8 * suite.gradient_steps
    if algorithm == 'ds':
      end = suite.gradient_steps - 1
    assert updater.schedule.end_step == end


def _described(tmp_path, name, *bindings):
  parse(('graesser22', name, 'static'), bindings=bindings)
  agent = build(tmp_path).agent
  return agent, agent.describe()['networks']


@pytest.mark.parametrize('name', SUITES)
def test_sparsity_of_actor_and_critic(name, tmp_path):
  agent, described = _described(
    tmp_path, name, 'ACTOR_SPARSITY = 0.5', 'CRITIC_SPARSITY = 0.95'
  )
  for network, (_, outputs) in SUITES[name].networks.items():
    expected = 0.5 if outputs else 0.95
    assert described[network]['sparsity'] == pytest.approx(expected, abs=2e-3)
  assert len(described) == len(agent.networks)


@pytest.mark.parametrize('name', SUITES)
def test_width_of_actor_and_critic(name, tmp_path):
  suite = SUITES[name]
  agent, _ = _described(
    tmp_path, name, 'ACTOR_WIDTH = 0.25', 'CRITIC_WIDTH = 0.5'
  )
  for network, (_, outputs) in suite.networks.items():
    units = int(suite.hidden_units * (0.25 if outputs else 0.5))
    assert kernel_shapes(agent, network) == shapes_of(
      suite, network, units=units
    )
  agent, _ = _described(tmp_path, name, 'WIDTH = 2')
  for network in suite.networks:
    assert kernel_shapes(agent, network) == shapes_of(
      suite, network, units=2 * suite.hidden_units
    )


def _dense_parameters(suite, network, sparsity):
  """Active weights and biases at a sparsity of all weights together."""
  shapes = shapes_of(suite, network)
  weights = sum(int(np.prod(shape)) for shape in shapes)
  return (1 - sparsity) * weights + sum(shape[-1] for shape in shapes)


@pytest.mark.parametrize('name', SUITES)
def test_matched_width(name, tmp_path):
  """A dense network as large as a sparse one, each of them by itself."""
  suite = SUITES[name]
  for bindings, sparsities in (
    (['WIDTH = @matched_width'], (0.9, 0.9)),
    (
      [
        'ACTOR_WIDTH = @matched_width',
        'actor/matched_width.sparsity = 0.8',
        'CRITIC_WIDTH = 1.0',
      ],
      (0.8, 0.0),
    ),
  ):
    parse(('graesser22', name, 'dense'), bindings=bindings)
    agent = build(tmp_path).agent
    for network, described in agent.describe()['networks'].items():
      sparsity = sparsities[0 if network == 'actor' else 1]
      expected = _dense_parameters(suite, network, sparsity)
      assert described['sparsity'] == 0
      mismatch = described['size_mismatch']
      if not sparsity:  # WIDTH is a number.
        assert (described['parameters'], mismatch) == (expected, None)
        continue
      assert mismatch == pytest.approx(
        described['parameters'] / expected - 1, abs=1e-3
      )
      assert abs(mismatch) < 0.05
    # A target network is as wide as what it follows.
    if name == 'sac_mujoco':
      copy = agent._target_critic_network_2
      assert [v.shape for v in copy.trainable_variables] == [
        v.shape for v in agent.networks['critic_2'].trainable_variables
      ]


def test_macro_that_others_replace(user_error, tmp_path):
  """The file binds it, which is no mistake, unless the user bound it."""
  rigl = ('graesser22', 'sac_mujoco', 'rigl')
  both = ['ACTOR_WIDTH = 0.5', 'CRITIC_WIDTH = 0.25']
  parse(rigl, bindings=both)
  with user_error('WIDTH is bound, but nothing uses it'):
    parse(rigl, bindings=[*both, 'WIDTH = 2.0'])
  # In a file of the user's, too.
  mine = tmp_path / 'mine.gin'
  lines = [f"include '{name_of(*rigl)}'", *both]
  mine.write_text('\n'.join(lines))
  gin.clear_config()
  parsing.parse([str(mine)], [])
  mine.write_text('\n'.join([*lines, 'WITDH = 2.0']))
  gin.clear_config()
  with user_error('WITDH is bound, but nothing uses it', 'ACTOR_WIDTH'):
    parsing.parse([str(mine)], [])
