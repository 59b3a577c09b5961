"""Training speed of SAC, PPO and TD3: ours, dense and sparse, and peers'.

All train on the same task with the same networks, batch and schedule as the gin
files of the papers, from the end of the initial collection on, and without
evaluations. Ours does as the peers do where the papers differ from them: no
weight decay; in SAC also the bounds of log σ, and one sample of actions for the
actor's and the temperature's loss.
"""

from __future__ import annotations

import argparse
from typing import Callable, Sequence

from rigl_rl.benchmarks import benchmark

_PEERS = ('sb3', 'sbx')


def _make_benchmark(
  agent: str,
  directory: str,
  dense: str,
  sparse: str,
  first_steps: int,
  least_steps: int,
  bindings: Sequence[str] = (),
) -> benchmark.Benchmark:
  """Compares our gin files `dense` and `sparse` of a directory with peers."""
  has_sparsity = agent != 'td3'  # Which has one λ per task.

  def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
      '--task',
      default='HalfCheetah-v4',
      help='a MuJoCo task of gymnasium (default: HalfCheetah-v4)',
    )
    if has_sparsity:
      benchmark.add_sparsity_argument(parser)

  def make(
    contender: str, arguments: argparse.Namespace
  ) -> Callable[[int], int]:
    given = [f'ENV_NAME = {arguments.task!r}', *bindings]
    if has_sparsity:
      given.append(f'SPARSITY = {arguments.sparsity}')
    gin_file = f'gin_configs/{directory}/{contender}.gin'
    return benchmark.make_run(gin_file, given)

  def peer_arguments(
    contender: str, arguments: argparse.Namespace
  ) -> list[str]:
    return [
      f'--library={contender}',
      f'--agent={agent}',
      f'--task={arguments.task}',
    ]

  return benchmark.Benchmark(
    (*_PEERS, dense, sparse),
    (*_PEERS, dense),
    first_steps,
    least_steps,
    add_arguments,
    make,
    _PEERS,
    peer_arguments,
  )


BENCHMARKS = {
  'sac': _make_benchmark(
    'sac',
    'graesser22/sac_mujoco',
    'dense',
    'rigl',
    520,
    10,
    [
      'ActorCriticLoop.initial_collect_steps = 500',
      'SquashedGaussianActor.weight_decay = 0.0',
      'Critic.weight_decay = 0.0',
      'SquashedGaussianActor.log_std_min = -20.0',
      'SquashedGaussianActor.log_std_max = 2.0',
      'SparseSacAgent.resample_for_alpha = False',
    ],
  ),
  'ppo': _make_benchmark(
    'ppo', 'graesser22/ppo_mujoco', 'dense', 'rigl', 2048, 2048
  ),
  'td3': _make_benchmark(
    'td3',
    'sokar22/td3',
    'td3',
    'ds_td3',
    520,
    10,
    [
      'INITIAL_COLLECT_STEPS = 500',
      'adam.weight_decay = 0.0',
      # Masks first change at the first gradient step: traced in the warm-up.
      'UpdateSchedule.steps_before = None',
    ],
  ),
}
