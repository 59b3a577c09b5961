"""Training speed of PPO: ours, dense and sparse, and peers'.

All train on the same task with the same networks, minibatches and epochs, as
the gin files of Graesser et al. (2022) have them, and without evaluations.
"""

from __future__ import annotations

import argparse
from typing import Callable

from rigl_rl.benchmarks import mujoco_training

CONTENDERS = ('sb3', 'sbx', 'dense', 'rigl')
PEERS = ('sb3', 'sbx')
REFERENCES = ('sb3', 'sbx', 'dense')
WARM_UP_STEPS = 2048  # traces
PROBE_STEPS = 2048

add_arguments = mujoco_training.add_arguments


def peer_arguments(contender: str, arguments: argparse.Namespace) -> list[str]:
  """Returns what `peers.py` takes for a contender."""
  return mujoco_training.peer_arguments('ppo', contender, arguments)


def make(contender: str, arguments: argparse.Namespace) -> Callable[[int], int]:
  """Builds a contender; see the package."""
  return mujoco_training.make(
    f'gin_configs/graesser22/ppo_mujoco/{contender}.gin',
    arguments,
    [f'SPARSITY = {arguments.sparsity}'],
  )
