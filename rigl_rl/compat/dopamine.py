"""Private names of Dopamine's Runner."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

from dopamine.discrete_domains import iteration_statistics, run_experiment


def train(runner: run_experiment.Runner, steps: int) -> dict[str, list[Any]]:
  """Trains for at least `steps` agent steps, in whole episodes.

  Returns:
    Dopamine's statistics: 'train_episode_lengths' and 'train_episode_returns'
    among them.
  """
  statistics = iteration_statistics.IterationStatistics()
  runner._training_steps = steps
  runner._run_train_phase(statistics)
  return statistics.data_lists


def evaluate(
  runner: run_experiment.Runner, environment: Any
) -> dict[str, list[Any]]:
  """Plays the Runner's evaluation steps in another environment.

  Returns:
    Dopamine's statistics, 'eval_episode_returns' among them.
  """
  statistics = iteration_statistics.IterationStatistics()
  own, runner._environment = runner._environment, environment
  try:
    runner._run_eval_phase(statistics)
  finally:
    runner._environment = own
  return statistics.data_lists


@contextlib.contextmanager
def episode_limit(runner: run_experiment.Runner, steps: int) -> Iterator[None]:
  """Cuts episodes after `steps` agent steps at the latest."""
  own = runner._max_steps_per_episode
  runner._max_steps_per_episode = min(own, steps)
  try:
    yield
  finally:
    runner._max_steps_per_episode = own
