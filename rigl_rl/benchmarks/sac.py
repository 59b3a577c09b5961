"""Training speed of SAC: ours, dense and sparse, and peers'.

All train on the same task with the same networks, batch and schedule, as the
gin files of Graesser et al. (2022) have them, but for three points in which
ours does as the peers: no weight decay, bounds of log σ, and one sample of
actions for the actor's and the temperature's loss. From the end of the initial
collection on, and without evaluations.
"""

from __future__ import annotations

import argparse
from typing import Callable

from rigl_rl.benchmarks import mujoco_training

CONTENDERS = ('sb3', 'sbx', 'dense', 'rigl')
PEERS = ('sb3', 'sbx')
REFERENCES = ('sb3', 'sbx', 'dense')
WARM_UP_STEPS = 1000  # fills the replay buffer, and traces
PROBE_STEPS = 500

add_arguments = mujoco_training.add_arguments


def peer_arguments(contender: str, arguments: argparse.Namespace) -> list[str]:
  """Returns what `peers.py` takes for a contender."""
  return mujoco_training.peer_arguments('sac', contender, arguments)


def make(contender: str, arguments: argparse.Namespace) -> Callable[[int], int]:
  """Builds a contender; see the package."""
  return mujoco_training.make(
    f'gin_configs/graesser22/sac_mujoco/{contender}.gin',
    arguments,
    [
      f'SPARSITY = {arguments.sparsity}',
      'ActorCriticLoop.initial_collect_steps = 500',
      # As the peers.
      'SquashedGaussianActor.weight_decay = 0.0',
      'Critic.weight_decay = 0.0',
      'SquashedGaussianActor.log_std_min = -20.0',
      'SquashedGaussianActor.log_std_max = 2.0',
      'SparseSacAgent.resample_for_alpha = False',
    ],
  )
