"""Longer runs: a finished run continues to a higher TRAIN_STEPS.

A run's length decides where the windows of mask updates and PPO's decay of the
learning rate end. An extension either leaves them where they were ('stay'), or
counts them by the new length from there on ('stretch'). `train.extended`, in
config.gin and run.json, holds the lengths that the run had before, each with
this choice.
"""

from __future__ import annotations

import contextlib
from typing import Literal, Sequence, get_args

import gin

from rigl_rl.config.domains import Count
from rigl_rl.config.gin_text import Config
from rigl_rl.errors import UserError
from rigl_rl.training import attributes, record, run_directory

Choice = Literal['stay', 'stretch']
Extended = Sequence[tuple[Count, Choice]]
CHOICES = get_args(Choice)


def bind(base_dir: str, choice: str | None) -> None:
  """Binds `train.extended` as the run in a directory needs it.

  Args:
    base_dir: the run directory.
    choice: one of CHOICES, to extend the run if TRAIN_STEPS is higher than
      before; None to continue it only.

  Raises:
    UserError: the run cannot be extended, or not so.
  """
  if choice not in (None, *CHOICES):
    raise UserError(
      f'extend is {choice!r}, but must be {" or ".join(map(repr, CHOICES))}.'
    )
  directory = run_directory.RunDirectory(base_dir)
  existing = None
  with contextlib.suppress(UserError):  # There is none, or the run is refused.
    existing = Config([directory.path(record.CONFIG)])
  if existing is None:
    return
  extended = existing.value(record.EXTENDED, ())
  before = existing.value(record.LENGTH)
  now = Config.of_text(gin.config_str())
  steps_now = now.value(record.LENGTH)
  for value in (before, steps_now) if choice else ():
    if not isinstance(value, int):
      raise UserError(
        f'train.train_steps is {value!r}, but must be a number with --extend.'
      )
  if choice and before < steps_now:
    steps = directory.checkpoints.steps()
    if not steps or steps[-1] < before:
      raise UserError(
        f'--extend is {choice!r}, but the run in {base_dir!r} must first be '
        f'finished, with TRAIN_STEPS = {before}.'
      )
    if choice == 'stretch':
      _check_stretch(now)
    extended = (*extended, (before, choice))
  if extended:
    with gin.unlock_config():
      gin.bind_parameter(record.EXTENDED, extended)


def _check_stretch(config: Config) -> None:
  """Raises UserError if an algorithm cannot take up what it has ended."""
  for name in attributes.Bindings(config).all('sparsify.algorithm'):
    if getattr(gin.get_configurable(name), 'starts_dense', False):
      raise UserError(
        f"--extend is 'stretch', but must be 'stay' for {name}: weights that "
        'are pruned stay pruned.'
      )


def lengths(extended: Extended, train_steps: int) -> tuple[list[int], int]:
  """Returns the lengths that a run had, and the one that schedules count by."""
  found = [*(steps for steps, _ in extended), train_steps]
  scheduled = found[0]
  for (_, choice), steps in zip(extended, found[1:]):
    if choice == 'stretch':
      scheduled = steps
  return found, scheduled
