"""Throughput of `launch.sweep`: two workers against one.

A turn is a whole sweep of four runs of RigL on CartPole, from its start to its
end, starts of processes included. About 30 seconds a turn of two workers on two
cores, and twice as long of one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from typing import Callable

from rigl_rl.errors import UserError

CONTENDERS = ('workers_1', 'workers_2')
REFERENCES = ('workers_1',)
TURN_STEPS = 16000  # environment steps of all runs
ROUNDS = 2

_RUNS = 4
_SWEEP = """
rigl/Grid.label = 'RigL'
rigl/Grid.gin_files = ['gin_configs/graesser22/dqn_classic/rigl.gin']
rigl/Grid.over = {{'SEED': {seeds}}}
rigl/Grid.bindings = {{
    'TRAIN_STEPS': {steps},
    'DopamineRunner.evaluation_period': {steps},
    'DopamineRunner.evaluation_episodes': 1,
}}
Sweep.grids = [@rigl/Grid()]
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  del parser  # Nothing can be chosen.


def make(contender: str, arguments: argparse.Namespace) -> Callable[[int], int]:
  """Builds a contender; see the package."""
  del arguments
  workers = int(contender.rpartition('_')[2])
  return lambda steps: _run_sweep(workers, steps)


def _run_sweep(workers: int, steps: int) -> int:
  """Runs the sweep; returns the environment steps of all its runs."""
  with tempfile.TemporaryDirectory() as directory:
    file = os.path.join(directory, 'sweep.gin')
    with open(file, 'w', encoding='utf-8') as opened:
      opened.write(
        _SWEEP.format(seeds=tuple(range(_RUNS)), steps=steps // _RUNS)
      )
    done = subprocess.run(
      [
        *(sys.executable, '-m', 'rigl_rl.commands', 'sweep'),
        f'--sweep={file}',
        f'--base_dir={os.path.join(directory, "runs")}',
        f'--workers={workers}',
      ],
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
  if done.returncode:
    last = done.stdout.strip().rpartition('\n')[2]
    raise UserError(f'The sweep ended with code {done.returncode}: {last}')
  return steps // _RUNS * _RUNS
