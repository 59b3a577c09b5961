"""Estimates what a sweep costs, in environment steps and core-hours."""

from __future__ import annotations

from typing import Iterable, Mapping, NamedTuple, Sequence

from rigl_rl.errors import UserError
from rigl_rl.sweeps.runs import Run

# Environment steps (agent steps on Atari) per second of one core, with
# evaluations and mask updates, without start-up: the steps between two lengths
# of run, by the processor time between them. RigL (TD3: DS) on CartPole, Pong
# and HalfCheetah, --inter_op_threads=1 --intra_op_threads=1, on one core of a
# virtual machine of two (x86-64, AVX-512), beside other runs. On Atari an
# evaluation takes half the steps of the training before it, as the paper's.
STEPS_PER_SECOND = {
  'dqn_classic': 1000.0,
  'dqn_atari_cnn': 60.0,
  'dqn_atari_resnet': 11.0,
  'sac': 300.0,
  'ppo': 1300.0,
  'td3': 260.0,
}


class Cost(NamedTuple):
  """What some runs cost."""

  runs: int
  steps: int  # Environment steps of training (agent steps on Atari).
  core_hours: float  # Of the runs whose speed is known.
  unknown: int  # How many runs' speed is not.


def core_seconds(
  run: Run, speeds: Mapping[str, float] = STEPS_PER_SECOND
) -> float | None:
  """Returns the seconds that a run takes of one core; None if not known."""
  speed = speeds.get(run.family)
  return run.train_steps / speed if speed else None


def estimate(
  runs: Iterable[Run], speeds: Mapping[str, float] = STEPS_PER_SECOND
) -> Cost:
  """Estimates what runs cost, by steps per second of one core, by family."""
  runs = list(runs)
  seconds = [core_seconds(run, speeds) for run in runs]
  known = [s for s in seconds if s is not None]
  steps = sum(run.train_steps for run in runs)
  return Cost(len(runs), steps, sum(known) / 3600, len(runs) - len(known))


def parse_speeds(texts: Sequence[str]) -> dict[str, float]:
  """Returns the table of speeds, some of them replaced.

  Args:
    texts: such as 'sac=250', or several of them with commas in between.
  """
  speeds = dict(STEPS_PER_SECOND)
  for text in (part for whole in texts for part in whole.split(',')):
    name, _, number = text.partition('=')
    try:
      speed = float(number)
    except ValueError:
      speed = 0.0
    if name.strip() not in speeds or not 0 < speed < float('inf'):
      raise UserError(
        f"--steps_per_second is {text!r}, but must be such as 'sac=250', the "
        f'family one of {", ".join(speeds)}.'
      )
    speeds[name.strip()] = speed
  return speeds
