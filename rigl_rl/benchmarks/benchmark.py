"""A benchmark, and what several benchmarks share."""

from __future__ import annotations

import abc
import argparse
import tempfile
from typing import Callable, Sequence

# In percent, of contenders such as sparse_90.
SPARSITIES = (50, 80, 90, 95, 99)


class Benchmark(abc.ABC):
  """A comparison of speeds."""

  contenders: Sequence[str]  # In the order in which they are shown.
  references: Sequence[str]  # Those that ratios are to, one column each.
  peers: Sequence[str] = ()  # Contenders of other libraries.
  first_steps: int = (
    520  # Fill the replay buffer, and trace all kinds of steps.
  )
  least_steps: int = 10  # A turn has at least as many.

  @abc.abstractmethod
  def add_arguments(self, parser: argparse.ArgumentParser) -> None:
    """Adds the benchmark's own flags to a parser."""

  @abc.abstractmethod
  def make(
    self, contender: str, arguments: argparse.Namespace
  ) -> Callable[[int], int]:
    """Builds a contender.

    Returns:
      A function that takes about so many steps, and returns how many.
    """

  def peer_arguments(
    self, contender: str, arguments: argparse.Namespace
  ) -> list[str]:
    """Returns the arguments of `peers.py` for a peer."""
    raise NotImplementedError

  def multiply_adds(
    self, contender: str, arguments: argparse.Namespace
  ) -> float | None:
    """Returns those of a step, of active weights only; None if not counted."""
    del contender, arguments
    return None


def parse_contender(name: str) -> tuple[str, float | None]:
  """Returns what comes before the sparsity, and that, in [0, 1), if given."""
  kind, _, percent = name.partition('_')
  return kind, int(percent) / 100 if percent else None


def make_run(gin_file: str, bindings: Sequence[str]) -> Callable[[int], int]:
  """Builds a run of ours; returns what trains some steps."""
  import gin

  from rigl_rl.config import parsing
  from rigl_rl.training import run_directory

  parsing.parse([gin_file], bindings)
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
