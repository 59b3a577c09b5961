"""A benchmark, and what several benchmarks share."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from typing import Callable, Sequence

# In percent, of contenders such as sparse_90.
SPARSITIES = (50, 80, 90, 95, 99)


@dataclasses.dataclass(frozen=True)
class Benchmark:
  """A comparison of speeds.

  Attributes:
    contenders: in the order in which they are shown.
    references: those that ratios are to, one column each.
    first_steps: fill the replay buffer, and trace all kinds of steps.
    least_steps: a turn has at least as many.
    add_arguments: adds the benchmark's own flags to a parser.
    make: builds a contender by its name and the flags: returns a function that
      takes about so many steps, and returns how many.
    peers: contenders of other libraries.
    peer_arguments: returns the arguments of `peers.py` for a peer.
    multiply_adds: returns those of a contender's step, of active weights only;
      None if they are not counted.
  """

  contenders: Sequence[str]
  references: Sequence[str]
  first_steps: int
  least_steps: int
  add_arguments: Callable[[argparse.ArgumentParser], None]
  make: Callable[[str, argparse.Namespace], Callable[[int], int]]
  peers: Sequence[str] = ()
  peer_arguments: Callable[[str, argparse.Namespace], list[str]] | None = None
  multiply_adds: Callable[[str, argparse.Namespace], float] | None = None


def add_sparsity_argument(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--sparsity', type=float, default=0.9, help='of rigl (default: 0.9)'
  )


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
