"""Training speed by storage: dense, masked, and of the active weights only.

RigL, as the gin files of Graesser et al. (2022) have it; for TD3 DS-TD3's file,
with Erdős–Rényi kernels in place of its λ. A contender is a storage and a
sparsity in percent, such as sparse_90.
"""

from __future__ import annotations

import argparse
from typing import Callable

from rigl_rl.benchmarks import benchmark, dqn


def _add_arguments(parser: argparse.ArgumentParser) -> None:
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
    '--width',
    type=_widths,
    default=[1.0],
    metavar='W[,W...]',
    help="of all layers, as a multiple of the paper's; several, such as "
    '1,4,16, are measured one after the other, into one figure (default: 1)',
  )


def _widths(text: str) -> list[float]:
  return [float(width) for width in text.split(',')]


def _make(
  contender: str, arguments: argparse.Namespace
) -> Callable[[int], int]:
  storage, sparsity = benchmark.parse_contender(contender)
  (width,) = arguments.width
  bindings = [f'WIDTH = {width}']
  method = 'dense'
  if sparsity is not None:
    method = 'rigl'
    bindings += [
      f'SPARSITY = {sparsity}',
      f'sparsify.storage = {storage!r}',
    ]
  if arguments.agent == 'dqn':
    return dqn.make_ours(method, arguments.task or 'CartPole-v0', bindings)
  bindings.append(f'ENV_NAME = {arguments.task or "HalfCheetah-v4"!r}')
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
  return benchmark.make_run(gin_file, bindings)


BENCHMARK = benchmark.Benchmark(
  contenders=(
    'dense',
    *(
      f'{storage}_{sparsity}'
      for sparsity in benchmark.SPARSITIES
      for storage in ('masked', 'sparse', 'auto')
    ),
  ),
  references=('dense',),
  first_steps=520,  # With the first change of masks.
  least_steps=10,
  add_arguments=_add_arguments,
  make=_make,
)
