"""What the benchmarks of agents for MuJoCo share."""

from __future__ import annotations

import argparse
import tempfile
from typing import Callable, Sequence


def add_task_argument(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--task',
    default='HalfCheetah-v4',
    help='a MuJoCo task of gymnasium (default: HalfCheetah-v4)',
  )


def add_arguments(parser: argparse.ArgumentParser) -> None:
  add_task_argument(parser)
  parser.add_argument(
    '--sparsity', type=float, default=0.9, help='of rigl (default: 0.9)'
  )


def peer_arguments(
  agent: str, contender: str, arguments: argparse.Namespace
) -> list[str]:
  """Returns what `peers.py` takes for a contender."""
  return [
    f'--library={contender}',
    f'--agent={agent}',
    f'--task={arguments.task}',
  ]


def make(
  gin_file: str, arguments: argparse.Namespace, bindings: Sequence[str]
) -> Callable[[int], int]:
  """Builds a contender of ours; returns what trains some steps.

  Args:
    gin_file: which describes its run.
    arguments: the command's, with the task.
    bindings: more of them.
  """
  import gin

  from rigl_rl.config import parsing
  from rigl_rl.training import run_directory

  parsing.parse([gin_file], [f'ENV_NAME = {arguments.task!r}', *bindings])
  directory = run_directory.RunDirectory(tempfile.mkdtemp())
  directory.prepare(gin.config_str())
  runner = gin.query_parameter('train.runner').scoped_configurable_fn
  loop = runner(
    directory, seed=0, train_steps=gin.query_parameter('%TRAIN_STEPS')
  )

  def train(steps):
    begin = loop.steps_done
    loop.train(begin + steps)
    return loop.steps_done - begin

  return train
