"""Bindings are held against what parameters declare, without TensorFlow."""

from __future__ import annotations

import math
import pathlib
import subprocess
import sys

import gin
import numpy as np
import pytest

from rigl_rl.config import checking, declarations, domains, gin_text
from rigl_rl.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[2]
DQN = 'gin_configs/graesser22/dqn_classic/rigl.gin'
ATARI = 'gin_configs/graesser22/dqn_atari_cnn/rigl.gin'
SAC = 'gin_configs/graesser22/sac_mujoco/rigl.gin'
PPO = 'gin_configs/graesser22/ppo_mujoco/rigl.gin'
SHIPPED = sorted(
  str(path.relative_to(ROOT))
  for folder in ('agents', 'algorithms', 'graesser22', 'sokar22')
  for path in (ROOT / 'gin_configs' / folder).rglob('*.gin')
)
# Of all parameters that can be bound.
PARAMETERS = {
  f'{found.name}.{name}': parameter
  for found in declarations.of_package().all()
  for name, parameter in found.parameters.items()
}
# Values that belong to another parameter: what they may be is its own matter.
_ANY = ('by_task.otherwise', 'by_algorithm.otherwise')
# Values as gin files write them; no parameter takes half of them.
NONSENSE = (
  'None',
  'True',
  '-1',
  '0',
  '0.5',
  '1e400',
  '-1e400',
  '10000000000000000000000',
  "''",
  "'x'",
  '()',
  '(0,)',
  '(None, 1)',
  "('x', ())",
  '((), ((), ()))',
  '{}',
  "{'x': None}",
  "{0: ['x']}",
  '@adam',
  '@adam()',
  '@RigL',
  '@RigL()',
  '@UpdateSchedule',
  '@TransitionBuffer',
  '@a/b/copy_masks()',
  '%NOPE',
)


def _check(file, *bindings):
  checking.check([file], bindings)


@pytest.mark.parametrize(
  'file,binding,allowed',
  [
    (DQN, 'DopamineRunner.clip_rewards = "x"', 'True or False'),
    (SAC, 'SparseSacAgent.learn_alpha = "no"', 'True or False'),
    (DQN, 'SparseDQNAgent.overlap_training = "no"', 'True or False'),
    (SAC, 'SparseSacAgent.target_sparsity = 3', 'a function'),
    (DQN, 'SparseDQNAgent.epsilon_fn = None', 'a function'),
    (SAC, 'ActorCriticLoop.create_agent = None', 'OffPolicyAgent'),
    (SAC, 'SparseSacAgent.actor = @adam', 'makes an Optimizer'),
    (ATARI, 'build_network.stack_size = 0', 'a whole number in [1, 100]'),
    (DQN, 'sparsify.keep_dense = 3', 'a text in quotes'),
    (SAC, 'Critic.hidden_units = ()', 'at least 1 item'),
    (DQN, 'MLPQNetwork.hidden_units = (512, 0)', '[1, 100000]'),
    (DQN, 'adam.learning_rate = 1e400', 'a number above 0'),
    (SAC, 'TransitionBuffer.capacity = 1', '[2, 1000000000]'),
    (PPO, 'PPOLoop.evaluation_episodes = 1000000', '[1, 10000]'),
    (SAC, 'SPARSITY = %SPARSITY', 'refers to itself'),
    (SAC, 'SPARSITY = %SPARSTY', 'SPARSTY is not bound'),
    (SAC, 'TRAIN_STEPS = 0', 'TRAIN_STEPS (train.train_steps) is 0'),
    (SAC, 'SPARSITY = 3', 'SPARSITY (actor/sparsify.sparsity) is 3'),
    (SAC, 'sparsify.algorithm = @RigL', 'Did you mean @RigL()?'),
    (SAC, 'sparsify.sparsty = 0', 'Did you mean sparsity?'),
    (SAC, 'sparsify.seed = 0', 'cannot be bound'),
    (SAC, 'sparsify.initializer = @glorot_uniform', 'Tensor'),
    (SAC, 'SparseSacAgent.critic = @SquashedGaussianActor', 'a Critic'),
    (SAC, 'train.runner = @SparseSacAgent', 'TrainingLoop'),
    (SAC, 'sparsify.distribution = @train', 'which takes other arguments'),
    (DQN, 'SparseDQNAgent.loss = @sparsity_aware', 'takes other arguments'),
    (DQN, 'SparseDQNAgent.epsilon_fn = @steps_before_training', 'takes other'),
    (DQN, 'sparsify.initializer = @squared_loss', 'takes other arguments'),
    (SAC, 'Critic.kernel_initializer = @zero_biases', 'takes other arguments'),
    (SAC, 'Budget.create_environment = @zero_biases', 'makes an Initializer'),
    (SAC, 'Budget.agent = @Critic', 'OffPolicyAgent, or a SparsePPOAgent'),
    (SAC, 'erdos_renyi_lambda.lambdas = ()', 'at least 1 item'),
    (SAC, 'erdos_renyi_lambda.lambdas = (7, 0)', 'a number of at least 1e-6'),
    (SAC, 'WIDTH = 1e9', 'a number in (0, 100]'),
    (SAC, 'adam.learning_rate = 1e39', 'The largest number is 3.40282e+38.'),
    (SAC, 'WIDTH = @matched_width()', 'which is a Match'),
    (SAC, 'initial_collect/by_task.values = {"HalfCheetah": 0}', 'at least 1'),
  ],
)
def test_a_mistake_is_refused(file, binding, allowed, user_error):
  with user_error(allowed):
    _check(file, binding)


@pytest.mark.parametrize('file', SHIPPED)
def test_all_shipped_files_pass(file):
  # A block leaves some macros to the files that include it.
  is_block = file.startswith(('gin_configs/agents', 'gin_configs/algorithms'))
  checking.check([file], is_saved=is_block)


@pytest.mark.parametrize(
  'binding,part',
  [
    ('SPRSITY = 0.5', 'Did you mean SPARSITY?'),
    ('LR = 0.5', 'LR is bound, but nothing uses it'),
  ],
)
def test_a_macro_that_nothing_uses_is_refused(binding, part, user_error):
  with user_error(part):
    _check(DQN, binding)


@pytest.mark.parametrize(
  'binding,part',
  [
    ('SparseDQNAgnt.gamma = 0.5', 'Did you mean SparseDQNAgent'),
    ('sparsify.algorithm = @RigLL()', '@RigLL() is used, but there is no'),
    ('sparsify.keep_dense = (1, @s/Nothng)', 'no configurable Nothng.'),
  ],
)
def test_an_unknown_name_is_refused(binding, part, user_error):
  with user_error(part):
    _check(DQN, binding)


@gin.configurable
def of_this_script(x=1):
  return x


@pytest.mark.parametrize(
  'binding', ['SacAgent.debug_summaries = True', 'of_this_script.x = 1']
)
def test_names_of_others_pass(binding):
  _check(DQN, binding)


def test_a_macro_of_a_file_may_lose_its_use():
  _check(DQN, 'sparsify.sparsity = 0.5')


@pytest.mark.parametrize(
  'name,value',
  [
    ('critic/sparsify.sparsity', 0.8),
    ('train.task', 'Hopper-v5'),
    ('ActorCriticLoop.initial_collect_steps', 1000),
    # Defaults.
    ('matched_width.sparsity', 0.9),
    ('erdos_renyi_kernel.custom', None),
    ('saved_policy.run', None),
    ('Budget.total', None),  # Required, and not bound.
    ('Nothing.at_all', None),
  ],
)
def test_effective_values(name, value):
  bindings = ['ENV_NAME = "Hopper-v5"', 'SPARSITY = 0.8']
  config = gin_text.Config([SAC], bindings)
  assert checking.effective(config, name) == value


def test_effective_references():
  config = gin_text.Config([SAC])
  assert checking.effective(config, 'sparsify.algorithm').name == 'RigL'
  network = checking.effective(config, 'build_network.network')
  assert network.name == 'NatureQNetwork'


def test_a_refusal_takes_no_tensorflow():
  code = (
    'import sys\n'
    'from rigl_rl.commands import train\n'
    f'code = train.main(["--gin_files={DQN}", "--gin_bindings=SPARSITY=2", '
    '"--base_dir=unused"])\n'
    'assert code == 2 and "tensorflow" not in sys.modules\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert done.stderr == (
    'error: SPARSITY (sparsify.sparsity) is 2, but must be a number in '
    '[0, 1), or None.\n'
  )


@pytest.mark.parametrize('name', sorted(PARAMETERS))
def test_every_parameter_declares_what_it_takes(name):
  assert "unread='" not in repr(PARAMETERS[name].domain)
  if name not in _ANY:
    assert not isinstance(PARAMETERS[name].domain, domains.Anything)


@pytest.mark.parametrize('name', sorted(PARAMETERS))
def test_a_parameter_without_a_default_is_required(name):
  """A call without it would be a TypeError; gin's error says what to bind."""
  if not name.startswith('ReplayBuffer.'):  # The agent gives both.
    assert PARAMETERS[name].default is not None


@pytest.mark.parametrize('name', sorted(PARAMETERS))
def test_only_values_of_the_domain_are_accepted(name):
  """Over all parameters some 3,000 bindings; none ends in a traceback."""
  domain = PARAMETERS[name].domain
  refused = 0
  for text in NONSENSE:
    try:
      checking.check([], [f'{name} = {text}'])
    except UserError as error:
      assert '\n' not in str(error)
      assert name in str(error)
      refused += 1
      continue
    value = gin_text.parse_value(text)
    if not isinstance(value, gin_text.Reference):
      assert domain.holds(value)
  least = 1 if name in _ANY else len(NONSENSE) // 2
  assert refused >= least


def _ends(domain):
  """Yields values inside a domain, its ends included, and ones outside."""
  if isinstance(domain, domains.Either):
    for member in domain.members:
      for value, is_inside in _ends(member):
        yield value, is_inside or domain.holds(value)
  elif isinstance(domain, domains.Number):
    one = 1 if domain.whole else 1e-3
    low, high = domain.range.low, domain.range.high
    number = int if domain.whole else float
    if low > float('-inf'):
      yield number(low), '[' in domain.range.text
      yield number(low) - one, False
      yield number(low) + one, True
    if high < float('inf'):
      yield number(high), ']' in domain.range.text
      yield number(high) + one, False
    yield True, False
  elif isinstance(domain, domains.Options):
    for value in domain.values:
      yield value, True


@pytest.mark.parametrize('name', sorted(PARAMETERS))
def test_the_ends_of_a_range(name):
  for value, is_inside in _ends(PARAMETERS[name].domain):
    if is_inside:
      checking.check([], [f'{name} = {value!r}'])
    else:
      with pytest.raises(UserError, match=f'is {value!r}'):
        checking.check([], [f'{name} = {value!r}'])


@pytest.mark.parametrize(
  'value,is_number,is_whole',
  [
    (1, True, True),
    (np.int64(1), True, True),
    (1.0, True, False),
    (np.float32(0.5), True, False),
    (2, False, False),
    (10**400, False, False),
    (math.inf, False, False),
    (math.nan, False, False),
    (True, False, False),
    (None, False, False),
    ('1', False, False),
    (np.ones(1), False, False),
  ],
)
def test_numbers(value, is_number, is_whole):
  limits = domains.Range('(0, 1]')
  assert domains.Number(False, limits).holds(value) == is_number
  assert domains.Number(True, limits).holds(value) == is_whole


_MINE = """
import enum
import gin

class Base:
  pass

@gin.configurable('renamed', module='lab')
def scale(x: float, factor: int = None, *, mode: 'Unknown' = 3, **more):
  return 1

@gin.configurable
def of_one(x):
  return {}

@gin.configurable(denylist=['more'])
def of_three(shapes: str, sparsity, more):
  return {}

@gin.configurable
class Mine(Base):
  def __init__(self, size: int, limits: list[float] | None = ()):
    raise SystemExit('is not called')

@gin.configurable
def make_mine() -> Mine:
  raise SystemExit('is not called')

raise SystemExit('is not run')
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
  """A gin file that imports a module of a user's own."""
  (tmp_path / 'my_lab').mkdir()
  (tmp_path / 'my_lab' / '__init__.py').write_text('raise SystemExit("no")')
  (tmp_path / 'my_lab' / 'things.py').write_text(_MINE)
  (tmp_path / 'mine.gin').write_text('import my_lab.things\n')
  monkeypatch.syspath_prepend(tmp_path)
  declarations.of_package.cache_clear()
  yield str(tmp_path / 'mine.gin')
  declarations.of_package.cache_clear()


@pytest.mark.parametrize(
  'binding',
  [
    'renamed.x = 1',
    'lab.renamed.factor = None',
    'renamed.factor = 3',
    'renamed.mode = 4',
    'renamed.mode = "x"',
    'renamed.other = 4',
    'Mine.limits = None',
    'Mine.limits = ()',
    'Mine.size = %my_lab.CONSTANT',
    'sparsify.distribution = @renamed',
    'sparsify.algorithm = @make_mine()',
    'SparseSacAgent.actor = @Mine',
    'unknown.name = 1',
  ],
)
def test_what_a_user_may_mean_passes(mine, binding):
  _check(mine, binding)


@pytest.mark.parametrize(
  'binding,part',
  [
    ('renamed.x = "1"', "renamed.x is '1', but must be a number."),
    ('Mine.size = 1.5', 'Mine.size is 1.5, but must be a whole number.'),
    ('Mine.sizes = 1', 'Did you mean size?'),
    ('Mine.limits = (1, "x")', "(1, 'x')"),
    ('sparsify.distribution = @of_one', 'which takes other arguments'),
    ('sparsify.distribution = @of_three', 'which takes other arguments'),
  ],
)
def test_what_a_user_declares_is_checked(mine, binding, part, user_error):
  with user_error(part):
    _check(mine, binding)
