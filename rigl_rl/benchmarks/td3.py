"""Training speed of TD3: ours, dense and sparse, and peers'.

All train on the same task with the same networks, batch and schedule, as the
gin files of Sokar et al. (2022) have them, but without weight decay, from the
end of the random steps on, and without evaluations.
"""

from __future__ import annotations

import argparse
from typing import Callable

from rigl_rl.benchmarks import mujoco_training

CONTENDERS = ('sb3', 'sbx', 'td3', 'ds_td3')
PEERS = ('sb3', 'sbx')
REFERENCES = ('sb3', 'sbx', 'td3')
WARM_UP_STEPS = 2000  # fills the replay buffer, and traces; masks move, too
PROBE_STEPS = 1000

add_arguments = mujoco_training.add_task_argument


def peer_arguments(contender: str, arguments: argparse.Namespace) -> list[str]:
  """Returns what `peers.py` takes for a contender."""
  return mujoco_training.peer_arguments('td3', contender, arguments)


def make(contender: str, arguments: argparse.Namespace) -> Callable[[int], int]:
  """Builds a contender; see the package."""
  return mujoco_training.make(
    f'gin_configs/sokar22/td3/{contender}.gin',
    arguments,
    [
      'INITIAL_COLLECT_STEPS = 500',
      'adam.weight_decay = 0.0',  # The peers have none.
    ],
  )
