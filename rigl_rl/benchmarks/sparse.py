"""Training speed by storage: dense, masked, and by the active weights alone.

RigL, as the gin files of Graesser et al. (2022) have it; DS-TD3's file, with
Erdős–Rényi kernels in place of its λ, for TD3. A contender is a storage and a
sparsity in percent, such as sparse_90.
"""

from __future__ import annotations

import argparse
from typing import Callable

from rigl_rl.benchmarks import contenders, dqn, mujoco_training

CONTENDERS = ('dense',) + tuple(
  f'{storage}_{sparsity}'
  for sparsity in contenders.SPARSITIES
  for storage in ('masked', 'sparse', 'auto')
)
REFERENCES = ('dense',)
WARM_UP_STEPS = 2000  # fills the replay buffer, and traces; masks move, too
PROBE_STEPS = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--agent',
    default='sac',
    choices=('sac', 'td3', 'dqn'),
    help='(default: sac)',
  )
  parser.add_argument(
    '--task',
    default=None,
    help='(default: HalfCheetah-v4; of dqn, CartPole-v0)',
  )
  parser.add_argument(
    '--width', type=float, default=1.0, help='of all layers (default: 1.0)'
  )


def make(contender: str, arguments: argparse.Namespace) -> Callable[[int], int]:
  """Builds a contender; see the package."""
  storage, sparsity = contenders.parse(contender)
  bindings = [f'WIDTH = {arguments.width}']
  method = 'dense'
  if sparsity is not None:
    method = 'rigl'
    bindings += [
      f'SPARSITY = {sparsity}',
      f'sparsify.storage = {storage!r}',
    ]
  if arguments.agent == 'dqn':
    return dqn.make_ours(method, arguments.task or 'CartPole-v0', bindings)
  arguments.task = arguments.task or 'HalfCheetah-v4'
  if arguments.agent == 'sac':
    gin_file = f'gin_configs/graesser22/sac_mujoco/{method}.gin'
    bindings.append('ActorCriticLoop.initial_collect_steps = 500')
  else:
    gin_file = 'gin_configs/sokar22/td3/td3.gin'
    bindings.append('INITIAL_COLLECT_STEPS = 500')
    if sparsity is not None:
      bindings += [
        'sparsify.algorithm = @RigL()',
        'sparsify.distribution = @erdos_renyi_kernel',
      ]
  return mujoco_training.make(gin_file, arguments, bindings)
