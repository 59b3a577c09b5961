"""Tests of budgets: counts to the parameter, splits that cannot be had."""

import gin
import pytest
import tensorflow as tf
from tf_agents.specs import tensor_spec

# The environment, PPO and SAC are only for gin.
from rigl_rl.agents import budgets, ppo, sac  # noqa: F401
from rigl_rl.environments import mujoco  # noqa: F401
from rigl_rl.networks import actor_critic
from rigl_rl.sparsity import algorithms, counting, wrappers

pytestmark = pytest.mark.usefixtures('no_gin_config')

# Of HalfCheetah, weights and biases.
ACTOR = 17 * 256 + 256**2 + 256 * 12 + 256 + 256 + 12
CRITIC = 23 * 256 + 256**2 + 256 + 256 + 256 + 1
DENSE = ACTOR + 2 * CRITIC
ACTOR_BIASES = 256 + 256 + 12
CRITIC_BIASES = 256 + 256 + 1


def _bind(*lines, agent='SparseSacAgent', task='HalfCheetah-v4', **budget):
  gin.parse_config([
    f'Budget.agent = @{agent}',
    'Budget.create_environment = @create_mujoco_environment',
    f'create_mujoco_environment.env_name = "{task}"',
    *(f'Budget.{name} = {value!r}' for name, value in budget.items()),
    *lines,
  ])  # fmt: skip


def _sparsity(scope):
  with gin.config_scope(scope):
    return budgets.budget_sparsity()


def _count(scope):
  """Parameters of a network that is made as the agent makes it."""
  observation = tensor_spec.TensorSpec((17,), tf.float32)
  action = tensor_spec.BoundedTensorSpec((6,), tf.float32, -1, 1)
  inputs = {
    'actor': (actor_critic.SquashedGaussianActor, (observation, action)),
    'critic': (actor_critic.Critic, ((observation, action),)),
  }
  make, arguments = inputs[scope]
  with gin.config_scope(scope):
    network = make(*arguments, seed=0)
    network.create_variables()
    layers = wrappers.sparsify(network, algorithm=algorithms.Static())
  return counting.count_network(network, layers, current=True).parameters


BY_SPARSITY = (
  'actor/sparsify.sparsity = @actor/budget_sparsity()',
  'critic/sparsify.sparsity = @critic/budget_sparsity()',
)
BY_WIDTH = (
  'SquashedGaussianActor.width = @budget_width',
  'Critic.width = @budget_width',
  'sparsify.sparsity = 0.0',
)


@pytest.mark.parametrize('distribution', ['erdos_renyi_kernel', 'uniform'])
@pytest.mark.parametrize(
  'total,share', [(0.2, 0.1), (0.2, 0.5), (0.2, 0.9), (0.1, 0.1), (0.1, 0.9)]
)
def test_by_sparsity_to_the_parameter(total, share, distribution):
  _bind(
    *BY_SPARSITY,
    f'sparsify.distribution = @{distribution}',
    total=total,
    actor_share=share,
  )
  assert abs(_count('actor') - total * share * DENSE) <= 1
  assert abs(_count('critic') - total * (1 - share) * DENSE / 2) <= 1


def _nearest(parameters_of, target):
  return min(map(parameters_of, range(1, 600)), key=lambda n: abs(n - target))


@pytest.mark.parametrize('total', [1.0, 0.2, 0.1])
@pytest.mark.parametrize('share', [0.1, 0.3373, 0.5, 0.7, 0.9])
def test_by_width_the_nearest_units(total, share):
  """u units in both layers: u² + (inputs + outputs + 2) u + outputs."""
  _bind(*BY_WIDTH, total=total, actor_share=share)
  assert _count('actor') == _nearest(
    lambda units: units**2 + (17 + 12 + 2) * units + 12, total * share * DENSE
  )
  assert _count('critic') == _nearest(
    lambda units: units**2 + (23 + 1 + 2) * units + 1,
    total * (1 - share) * DENSE / 2,
  )


def test_the_whole_budget_in_the_standard_split_is_the_dense_agent():
  _bind(*BY_WIDTH, total=1.0)
  assert _sparsity('actor') == _sparsity('critic') == 0.0
  assert (_count('actor'), _count('critic')) == (ACTOR, CRITIC)


def test_the_standard_split_at_a_smaller_total():
  _bind(*BY_SPARSITY, total=0.1)
  assert abs(_count('actor') - ACTOR / 10) <= 1
  assert abs(_count('critic') - CRITIC / 10) <= 1


def test_sparsity_by_hand():
  """What is left of the weights makes up the budget with the biases."""
  _bind(total=0.2, actor_share=0.1)
  weights = 0.02 * DENSE - ACTOR_BIASES
  expected = 1 - weights / (ACTOR - ACTOR_BIASES)
  # ERK rounds zeros down twice in each of the three layers.
  assert _sparsity('actor') == pytest.approx(expected, abs=6 / 72960)
  # And so it reads: no digits that change nothing.
  assert len(str(_sparsity('actor'))) <= 8


def test_layers_kept_dense_and_custom_sparsities_count():
  _bind(
    *BY_SPARSITY,
    'actor/sparsify.keep_dense = ("output",)',
    'critic/sparsify.distribution = @uniform',
    'critic/uniform.custom = {"dense1": 0.25}',
    total=0.2,
    actor_share=0.2,
  )
  assert abs(_count('actor') - 0.04 * DENSE) <= 1
  assert abs(_count('critic') - 0.08 * DENSE) <= 1
  weights = 0.04 * DENSE - ACTOR_BIASES - 256 * 12
  expected = 1 - weights / (17 * 256 + 256**2)
  assert _sparsity('actor') == pytest.approx(expected, abs=6 / 69888)


def test_a_wider_actor_can_have_more_than_the_dense_one():
  """The dense agent is that of width 1 all the same."""
  _bind(
    *BY_SPARSITY,
    'SquashedGaussianActor.width = 2.0',
    total=1.0,
    actor_share=0.6,
  )
  assert 0.6 * DENSE > ACTOR
  assert abs(_count('actor') - 0.6 * DENSE) <= 1
  assert abs(_count('critic') - 0.2 * DENSE) <= 1


def test_ppo_has_one_value_network():
  _bind(
    'SquashedGaussianActor.hidden_units = (8,)',  # Not PPO's.
    'value/actor_critic.ValueNetwork.hidden_units = (32, 32)',
    agent='SparsePPOAgent',
    task='Hopper-v4',
    total=0.5,
    actor_share=0.7,
  )
  actor = 11 * 64 + 64**2 + 64 * 3
  value = 11 * 32 + 32**2 + 32
  dense = actor + 131 + value + 65
  expected = 1 - (0.35 * dense - 131) / actor
  assert _sparsity('actor') == pytest.approx(expected, abs=6 / 1408)
  expected = 1 - (0.15 * dense - 65) / value
  assert _sparsity('value') == pytest.approx(expected, abs=6 / 1408)


@pytest.mark.parametrize('task', ['Humanoid-v4', 'Ant-v4', 'Hopper-v4'])
def test_other_tasks_have_other_budgets(task):
  _bind(task=task, total=0.1, actor_share=0.1)
  inputs, actions = {
    'Humanoid-v4': (376, 17),
    'Ant-v4': (111, 8),
    'Hopper-v4': (11, 3),
  }[task]
  actor = 256 * (inputs + 256 + 2 * actions + 2) + 2 * actions
  critic = 256 * (inputs + actions + 256 + 1 + 2) + 1
  assert budgets.Budget().parameters('actor') == pytest.approx(
    0.01 * (actor + 2 * critic)
  )
  assert budgets.Budget().parameters('critic') == pytest.approx(
    0.045 * (actor + 2 * critic)
  )


@pytest.mark.parametrize(
  'scope,budget,words',
  [
    (
      'actor',
      {'total': 0.5, 'actor_share': 0.9},
      ('actor_share is 0.9', '[0.0049, 0.6745]', 'ACTOR_SPARSITY', '73,484'),
    ),
    (
      'critic',
      {'total': 1.0, 'actor_share': 0.3},
      ('actor_share is 0.3', '[0.3373, 0.9952]', 'CRITIC_SPARSITY', '72,193'),
    ),
    # 218 parameters, and 524 biases.
    (
      'actor',
      {'total': 0.01, 'actor_share': 0.1},
      ('[0.2406, 0.9999]', '525 to'),
    ),
    ('actor', {'total': 1.5}, ('total is 1.5', '[0.0072, 1]')),
    ('critic', {'total': 0.001}, ('total is 0.001', '[0.0072, 1]')),
    ('actor', {'total': 0}, ('Budget.total is 0',)),
    ('actor', {'total': 'all'}, ("Budget.total is 'all'",)),
    ('actor', {'total': 1, 'actor_share': 1}, ('actor_share is 1,', '(0, 1)')),
    ('actor', {'total': 1, 'actor_share': 0}, ('actor_share is 0,',)),
    ('value', {'total': 0.2}, ("'value'", 'actor or critic')),
    ('', {'total': 0.2}, ("''", '@actor/budget_sparsity()')),
  ],
)
def test_a_budget_that_cannot_be_had_is_one_line(
  scope, budget, words, user_error
):
  _bind(**budget)
  with user_error(*words):
    _sparsity(scope)


def test_the_range_that_an_error_names_can_be_had(user_error):
  for share in (0.0049, 0.6745):
    gin.clear_config()
    _bind(total=0.5, actor_share=share)
    assert 0 <= _sparsity('actor') < 1
  for share in (0.0048, 0.6746):
    gin.clear_config()
    _bind(total=0.5, actor_share=share)
    with user_error('[0.0049, 0.6745]'):
      _sparsity('actor')


def test_a_distribution_that_ignores_the_sparsity(user_error):
  gin.external_configurable(
    lambda shapes, sparsity: dict.fromkeys(shapes, 0.5), 'always_half'
  )
  _bind(
    'sparsify.distribution = @always_half',
    total=0.2,
    actor_share=0.1,
  )
  with user_error('Budget.actor_share is 0.1'):
    _sparsity('actor')


def test_a_distribution_with_dense_layers_of_its_own(user_error):
  _bind(
    'sparsify.distribution = @erdos_renyi_lambda',
    'erdos_renyi_lambda.lambdas = (7, 64)',
    total=0.2,
    actor_share=0.1,
  )
  with user_error('@erdos_renyi_lambda', 'such as @erdos_renyi_kernel'):
    _sparsity('actor')


def test_a_width_has_its_mismatch():
  """6 units in each layer of a critic on Humanoid make up 96 % of 2,530."""
  _bind(*BY_WIDTH, task='Humanoid-v4', total=0.1, actor_share=0.9)

  def shapes_at(width):
    units = int(max(1, 256 * width))
    return {'1': (393, units), '2': (units, units), 'output': (units, 1)}

  with gin.config_scope('critic'):
    width, mismatch = budgets.budget_width(shapes_at)
  budget = budgets.Budget().parameters('critic')
  assert int(256 * width) == 6
  assert mismatch == pytest.approx((36 + 396 * 6 + 1) / budget - 1)
  assert round(100 * mismatch, 2) == -4.41


def test_a_budget_that_no_width_comes_near(user_error):
  _bind(*BY_WIDTH, total=1e-4, actor_share=0.9)
  with user_error('Budget.actor_share is 0.9', '(scope critic)', '1 para'):
    _count('critic')


def test_an_agent_without_critics(user_error):
  gin.external_configurable(lambda actor: None, 'agent_without_critics')
  _bind(agent='agent_without_critics', total=0.2)
  with user_error('Budget.agent', 'critics or a value network'):
    _sparsity('actor')


def test_networks_do_not_depend_on_the_scope_of_the_macro():
  """gin evaluates macros in scopes of their own names."""
  _bind(
    'ACTOR_SPARSITY = @actor/budget_sparsity()',
    'actor/sparsify.sparsity = %ACTOR_SPARSITY',
    'actor/SquashedGaussianActor.hidden_units = (64, 64)',
    total=0.2,
    actor_share=0.1,
  )
  actor = 17 * 64 + 64**2 + 64 * 12 + 140
  budget = 0.02 * (actor + 2 * CRITIC)
  assert abs(_count('actor') - budget) <= 1
