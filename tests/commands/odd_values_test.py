"""Odd values that are accepted, in runs: each ends well, or in one line.

The values come from what the parameters declare, so a new parameter takes part
by itself.
"""

from __future__ import annotations

import collections
import math
import random
import signal

import pytest

from helpers import command, tiny
from rigl_rl.config import declarations, domains

pytestmark = pytest.mark.usefixtures('no_gin_config', 'threads_as_they_are')

_SECONDS = 60

_OFF_POLICY = (
  'train.train_steps = 60',
  'ActorCriticLoop.evaluation_period = 60',
  'ActorCriticLoop.evaluation_episodes = 1',
)
# Short runs: a gin file, and bindings.
_DQN = (
  'gin_configs/graesser22/dqn_classic/rigl.gin',
  *tiny.DQN,
  'train.train_steps = 60',
  'SparseDQNAgent.min_replay_history = 20',
  'UpdateSchedule.interval = 5',
  'DopamineRunner.evaluation_period = 60',
  'DopamineRunner.evaluation_episodes = 1',
  'DopamineRunner.max_steps_per_episode = 20',
)
_SAC = (
  'gin_configs/graesser22/sac_mujoco/rigl.gin',
  *tiny.SAC,
  *_OFF_POLICY,
)
_TD3 = ('gin_configs/sokar22/td3/ds_td3.gin', *tiny.TD3, *_OFF_POLICY)
_PPO = (
  'gin_configs/graesser22/ppo_mujoco/rigl.gin',
  *tiny.PPO,
  'train.train_steps = 60',
  'PPOLoop.evaluation_episodes = 1',
)
_ATARI = (
  'gin_configs/graesser22/dqn_atari_cnn/rigl.gin',
  'train.train_steps = 30',
  *tiny.ATARI,
)
_IMPALA = (
  *_ATARI[:-4],
  *_ATARI[-3:],
  'build_network.network = @ImpalaQNetwork',
  'ImpalaQNetwork.dense_units = 8',
)
_NOISE = (
  *_ATARI,
  'DopamineRunner.evaluation_noise = 3',
)
_BUDGET = (
  *_SAC,
  'Budget.total = 0.3',
  'ACTOR_SPARSITY = @actor/budget_sparsity()',
  'CRITIC_SPARSITY = @critic/budget_sparsity()',
)
# The runs that a configurable is tried in, by its name.
_RUNS = {
  'MLPQNetwork': [_DQN],
  'NatureQNetwork': [_ATARI],
  'ImpalaQNetwork': [_IMPALA],
  'build_network': [_DQN],
  'SparseDQNAgent': [_DQN],
  'DopamineRunner': [_DQN],
  'ReplayBuffer': [_DQN],
  'huber_loss': [(*_DQN, 'SparseDQNAgent.loss = @huber_loss')],
  'create_classic_control_environment': [_DQN],
  'create_atari_environment': [_ATARI],
  'ObservationNoise': [_NOISE],
  'SparseSacAgent': [_SAC],
  'SquashedGaussianActor': [_SAC],
  'Critic': [_TD3],
  'SparseTd3Agent': [_TD3],
  'DeterministicActor': [_TD3],
  'SparsePPOAgent': [_PPO],
  'GaussianActor': [_PPO],
  'ValueNetwork': [_PPO],
  'PPOLoop': [_PPO],
  'ActorCriticLoop': [_SAC],
  'TransitionBuffer': [_SAC],
  'ReverbBuffer': [(*_SAC, 'ActorCriticLoop.create_replay = @ReverbBuffer')],
  'create_mujoco_environment': [_SAC],
  'orthogonal': [_PPO],
  'variance_scaling': [_PPO],
  'small_uniform': [_PPO],
  'matched_width': [(*_SAC, 'WIDTH = @matched_width')],
  'Budget': [_BUDGET],
  'saved_policy': [(*_TD3, 'ActorCriticLoop.initial_policy = @saved_policy')],
  'erdos_renyi_lambda': [_TD3],
  'uniform': [(*_DQN, 'sparsify.distribution = @uniform')],
  'erdos_renyi': [(*_DQN, 'sparsify.distribution = @erdos_renyi')],
  'erdos_renyi_kernel': [_SAC],
  'sparsify': [_DQN, _TD3],
  'make_sparse_optimizer': [_DQN, _TD3],
  'UpdateSchedule': [_DQN, _SAC],
  'SET': [(*_DQN, 'sparsify.algorithm = @SET()')],
  'DS': [_TD3],
  'RigL': [_PPO],
  'adam': [_DQN, _TD3, _PPO],
  'train': [_DQN, _SAC, _PPO],
  'final_score': [_PPO],
}
# How many run in the fast suite, of those that take the least time.
_FAST = {_DQN: 3, _TD3: 2, _PPO: 1}
# In an order that does not depend on the file system.
_CONFIGURABLES = sorted(
  declarations.of_package().all(), key=lambda found: (found.module, found.name)
)
# What they hold belongs to other parameters.
_OTHERS = ('by_task', 'by_algorithm')
# A large value only takes its time.
_LENGTH = 'train.train_steps'


def _functions(domain):
  """Yields references to what makes the right thing."""
  for found in _CONFIGURABLES:
    makes = found.function.makes
    for promised, text in ((makes, '()'), (found.function, '')):
      reference = domains.Promise(promised, f'@{found.name}{text}')
      if not isinstance(makes, domains.Anything) and domain.holds(reference):
        yield reference.text


def _numbers(domain):
  low, high = domain.range.low, domain.range.high
  if domain.whole:
    values = [0, 1, 2, 7, -3, low, 2**63 - 1]
    if high <= 1000:
      values[-1:] = [high, high - 1]
    elif high < math.inf:  # A size: see the tests of memory.
      values.pop()
    return [int(value) for value in values if math.isfinite(value)]
  some = [0.0, 1e-300, 1e-9, 1 - 1e-16, 1.0, 3.0, 1e9, 3e38, -1e9, low]
  return some if high > 1 else [*some, high]


def _odd(domain):
  """Yields odd values of a domain, as gin files write them."""
  if isinstance(domain, domains.Either):
    for member in domain.members:
      yield from _odd(member)
  elif isinstance(domain, domains.Number):
    yield from map(repr, filter(domain.holds, _numbers(domain)))
  elif isinstance(domain, domains.Options):
    texts = ['', 'x', '/', 'two\nlines', 'Ant-v4']
    free = {bool: [True, False], str: texts, type(None): [None]}
    yield from map(repr, domain.values or free[domain.type])
  elif isinstance(domain, domains.Items):
    yield from ['()'][: not domain.least]
    for item in _odd(domain.item):
      yield f'({item},)'
      yield f'({item}, {item})'
    yield '(' + ', '.join([*_odd(domain.item)][:1] * 9) + ')'
  elif isinstance(domain, domains.Table):
    yield '{}'
    yield from (f'{{"x": {value}}}' for value in _odd(domain.values))
    yield from (f'{{"dense1": {value}}}' for value in _odd(domain.values))
  else:
    yield from _functions(domain)


def _cases():
  """Returns runs, each with one odd binding; all values of all parameters."""
  cases = []
  for found in _CONFIGURABLES:
    for name, parameter in found.parameters.items():
      default = (parameter.default or '').rpartition('.')[2]
      for text in dict.fromkeys(_odd(parameter.domain)):
        full = f'{found.name}.{name}'
        if found.name in _OTHERS or full == _LENGTH and len(text) > 2:
          continue
        if text.lstrip('@') in (default, parameter.default):
          continue
        module = found.module.rpartition('.')[2]
        binding = f'{module}.{full} = {text}'
        cases += [(run, binding) for run in _RUNS[found.name]]
  return cases


def _sample():
  """Returns one case per parameter, drawn by a seed, in random order."""
  rng = random.Random(17)
  by_parameter = {}
  for run, binding in _cases():
    name = binding.partition(' ')[0]
    by_parameter.setdefault(name, []).append((run, binding))
  drawn = [rng.choice(cases) for cases in by_parameter.values()]
  rng.shuffle(drawn)
  return drawn


def _parameters():
  seen = collections.Counter()
  for run, binding in _sample():
    seen[run] += 1
    marks = [pytest.mark.slow] if seen[run] > _FAST.get(run, 0) else []
    yield pytest.param(run, binding, id=binding, marks=marks)


@pytest.fixture
def limited():
  """An end to a run that does not come to one."""

  def stop(*_):
    raise TimeoutError(f'no end after {_SECONDS} s')

  before = signal.signal(signal.SIGALRM, stop)
  signal.alarm(_SECONDS)
  yield
  signal.alarm(0)
  signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize('run,binding', _parameters())
def test_an_odd_value(run, binding, tmp_path, capsys, limited):
  file, *bindings = run
  code = command.run(
    tmp_path, *bindings, binding, gin_files=(file,), small=False
  )
  lines = capsys.readouterr().err.splitlines()
  if code == 2:
    assert lines.pop().startswith('error: ')
  else:
    assert code == 0 and (tmp_path / 'summary.json').exists()
  assert all(line.startswith('note: ') for line in lines)
