"""Smoke runs: what gin files describe, tried in less than a minute."""

from __future__ import annotations

from typing import Sequence

from rigl_rl.config.gin_text import Config, Reference
from rigl_rl.errors import UserError

# By runner, the bindings that make a run short.
_FILES = {
  'DopamineRunner': 'gin_configs/smoke/dopamine_runner.gin',
  'ActorCriticLoop': 'gin_configs/smoke/actor_critic_loop.gin',
  'PPOLoop': 'gin_configs/smoke/ppo_loop.gin',
}


def add_file(gin_files: Sequence[str], config: Config) -> list[str]:
  """Returns a run's gin files, with the one that makes it a smoke run last.

  Args:
    gin_files: of the run.
    config: what they say.

  Raises:
    UserError: the run has a runner of the user's own.
  """
  runner = config.value('train.runner')
  name = runner.name if isinstance(runner, Reference) else ''
  if name not in _FILES:
    raise UserError(
      f'--smoke is given, but train.runner is {runner!r}: it must be '
      f'@{", @".join(_FILES)}.'
    )
  return [*gin_files, _FILES[name]]
