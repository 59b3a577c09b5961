"""Training speed of our agents: beside other libraries', and by storage.

All contenders train on the same task with the same networks, batch and schedule
as the gin files of the papers, from the end of the initial collection on, and
without evaluations.
"""

from __future__ import annotations

import dataclasses
from typing import Sequence

from rigl_rl.benchmarks import benchmark, dopamine

_DQN = [
  'SparseDQNAgent.min_replay_history = 500',
  # ε, and with it the share of steps that ask the network, is final.
  'SparseDQNAgent.epsilon_decay_period = 1',
]
# By agent, the directory of its gin files, and bindings by which training
# begins at once.
_OURS = {
  'dqn_classic': ('graesser22/dqn_classic', _DQN),
  'dqn_atari_cnn': ('graesser22/dqn_atari_cnn', _DQN),
  'sac': (
    'graesser22/sac_mujoco',
    ['ActorCriticLoop.initial_collect_steps = 500'],
  ),
  'ppo': ('graesser22/ppo_mujoco', []),
  'td3': ('sokar22/td3', ['INITIAL_COLLECT_STEPS = 500']),
}
# What the peers do and the papers do not: no weight decay; in SAC also the
# bounds of log σ, and one sample of actions for the actor's and the
# temperature's loss.
_AS_PEERS = {
  'sac': [
    'SquashedGaussianActor.weight_decay = 0.0',
    'Critic.weight_decay = 0.0',
    'SquashedGaussianActor.log_std_min = -20.0',
    'SquashedGaussianActor.log_std_max = 2.0',
    'SparseSacAgent.resample_for_alpha = False',
  ],
  'td3': [
    'adam.weight_decay = 0.0',
    # Masks first change at the first gradient step: traced in the warm-up.
    'UpdateSchedule.steps_before = None',
  ],
}


def _config(
  agent: str, method: str, task: str, bindings: Sequence[str]
) -> tuple[str, list[str]]:
  """Returns the gin file and the bindings of a run of ours."""
  macro = 'ENV_NAME' if '-v' in task else 'GAME'
  if agent == 'dqn':
    agent = 'dqn_classic' if '-v' in task else 'dqn_atari_cnn'
  directory, at_once = _OURS[agent]
  gin_file = f'gin_configs/{directory}/{method}.gin'
  return gin_file, [f'{macro} = {task!r}', *at_once, *bindings]


@dataclasses.dataclass(frozen=True)
class BesidePeers(benchmark.Benchmark):
  """One of our agents, dense and sparse, and the same of other libraries."""

  agent: str
  dense: str = 'dense'  # Gin files of ours.
  sparse: str = 'rigl'
  peers: Sequence[str] = ('sb3', 'sbx')
  first_steps: int = 520
  least_steps: int = 10
  task: str = 'HalfCheetah-v4'
  tasks: str = 'a MuJoCo task of gymnasium'

  @property
  def contenders(self):
    return (*self.peers, self.dense, self.sparse)

  @property
  def references(self):
    return self.contenders[:-1]

  def add_arguments(self, parser):
    text = f'{self.tasks} (default: {self.task})'
    parser.add_argument('--task', default=self.task, help=text)
    if self.agent != 'td3':  # Which has one λ per task.
      text = 'of rigl (default: 0.9)'
      parser.add_argument('--sparsity', type=float, default=0.9, help=text)

  def make(self, contender, arguments):
    bindings = list(_AS_PEERS.get(self.agent, ()))
    if self.agent != 'td3':
      bindings.append(f'SPARSITY = {arguments.sparsity}')
    config = _config(self.agent, contender, arguments.task, bindings)
    return benchmark.make_run(*config)

  def peer_arguments(self, contender, arguments):
    return [
      f'--library={contender}',
      f'--agent={self.agent}',
      f'--task={arguments.task}',
    ]


class BesideDopamine(BesidePeers):
  """DQN, dense and sparse, and Dopamine's TF agent, which is installed."""

  @property
  def contenders(self):
    return ('dopamine', *super().contenders)

  def make(self, contender, arguments):
    if contender != 'dopamine':
      return super().make(contender, arguments)
    sparsity = [f'SPARSITY = {arguments.sparsity}']
    config = _config('dqn', 'dense', arguments.task, sparsity)
    return dopamine.make(*config, arguments)


class ByStorage(benchmark.Benchmark):
  """Dense, masked, and of the active weights only.

  RigL, as the gin files of Graesser et al. (2022) have it; for TD3 DS-TD3's
  file, with Erdős–Rényi kernels in place of its λ. A contender is a storage and
  a sparsity in percent, such as sparse_90. `first_steps` include the first
  change of masks.
  """

  contenders = (
    'dense',
    *(
      f'{storage}_{sparsity}'
      for sparsity in benchmark.SPARSITIES
      for storage in ('masked', 'sparse', 'auto')
    ),
  )
  references = ('dense',)

  def add_arguments(self, parser):
    add = parser.add_argument
    agents = ('sac', 'td3', 'dqn')
    add('--agent', default='sac', choices=agents, help='(default: sac)')
    add('--task', help='(default: HalfCheetah-v4; of dqn, CartPole-v0)')
    add(
      '--width',
      type=_widths,
      default=[1.0],
      metavar='W[,W...]',
      help="of all layers, as a multiple of the paper's; several, such as "
      '1,4,16, are measured one after the other, into one figure (default: 1)',
    )

  def make(self, contender, arguments):
    storage, sparsity = benchmark.parse_contender(contender)
    agent = arguments.agent
    (width,) = arguments.width
    bindings = [f'WIDTH = {width}']
    method = 'dense' if sparsity is None else 'rigl'
    if sparsity is not None:
      bindings += [f'SPARSITY = {sparsity}', f'sparsify.storage = {storage!r}']
    if agent == 'td3':
      method = 'td3'
      if sparsity is not None:
        bindings += [
          'sparsify.algorithm = @RigL()',
          'sparsify.distribution = @erdos_renyi_kernel',
        ]
    task = 'CartPole-v0' if agent == 'dqn' else 'HalfCheetah-v4'
    config = _config(agent, method, arguments.task or task, bindings)
    return benchmark.make_run(*config)


def _widths(text: str) -> list[float]:
  return [float(width) for width in text.split(',')]


BENCHMARKS = {
  'dqn': BesideDopamine(
    'dqn',
    peers=(),
    first_steps=600,
    least_steps=100,
    task='CartPole-v0',
    tasks='CartPole-v0, Acrobot-v1, MountainCar-v0, or an Atari game',
  ),
  'sac': BesidePeers('sac'),
  'ppo': BesidePeers('ppo', first_steps=2048, least_steps=2048),
  'td3': BesidePeers('td3', 'td3', 'ds_td3'),
  'sparse': ByStorage(),
}
