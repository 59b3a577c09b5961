"""What a sweep has to know of a run's config: its length, and its kind."""

from __future__ import annotations

import math
from typing import Any, Mapping

from rigl_rl.agents import gradient_steps
from rigl_rl.config import domains, gin_text
from rigl_rl.errors import UserError
from rigl_rl.training import attributes

TRAIN_STEPS = 'TRAIN_STEPS'
_LENGTH = 'train.train_steps'

# Keys are DQN's networks and the other agents, as run.json calls them; or a
# runner.
_FAMILIES = {
  'MLP': 'dqn_classic',
  'CNN': 'dqn_atari_cnn',
  'ResNet': 'dqn_atari_resnet',
  'SAC': 'sac',
  'TD3': 'td3',
  'PPO': 'ppo',
  'PPOLoop': 'ppo',
}
_KINDS = {
  'DopamineRunner': 'build_network.network',
  'ActorCriticLoop': 'ActorCriticLoop.create_agent',
}
# The bindings of the number of steps before training.
_WARM_UPS = {
  'DopamineRunner': 'SparseDQNAgent.min_replay_history',
  'ActorCriticLoop': 'ActorCriticLoop.initial_collect_steps',
}
_ROLLOUT = 'PPOLoop.rollout_steps'


def _name(config: gin_text.Config, binding: str) -> str:
  """Returns the configurable that is bound, without modules."""
  return getattr(config.value(binding), 'name', '')


def family(config: gin_text.Config) -> str | None:
  """Returns the agent's family, such as 'dqn_atari_cnn'; None if unknown."""
  runner = _name(config, 'train.runner')
  kind = _name(config, _KINDS.get(runner, 'train.runner'))
  return _FAMILIES.get(attributes.short_name(kind))


def recorded_family(record: Mapping[str, Any]) -> str | None:
  """Returns the family of the agent that a run.json tells; None if unknown."""
  agent = record['agent']
  return _FAMILIES.get(record['network'] if agent == 'DQN' else agent)


def least_train_steps(config: gin_text.Config) -> tuple[int, str]:
  """Returns the fewest steps in which a run trains, 1 if unknown, and why."""
  runner = _name(config, 'train.runner')
  if runner == 'PPOLoop':
    steps = config.value(_ROLLOUT)
    if domains.COUNT.holds(steps):
      return steps, f'a rollout ({_ROLLOUT}) takes {steps:,}'
  warm_up = _WARM_UPS.get(runner)
  steps = config.value(warm_up) if warm_up else None
  if not domains.COUNT_OR_ZERO.holds(steps):
    return 1, ''
  least = steps + 1
  if runner == 'DopamineRunner':
    others = ('SparseDQNAgent.update_period', 'SparseDQNAgent.update_horizon')
    values = [config.value(name, 1) for name in others]
    least = gradient_steps.GradientSteps(
      steps, *(value if domains.COUNT.holds(value) else 1 for value in values)
    ).least_train_steps
  return least, f'{steps:,} come before training ({warm_up})'


def train_steps(config: gin_text.Config, scale: float) -> tuple[int, str]:
  """Returns the scaled environment steps of a run, and what is wrong with them.

  Raises:
    UserError: the run has no TRAIN_STEPS.
  """
  full = config.value(TRAIN_STEPS)
  length = config.value(_LENGTH)
  if not domains.COUNT.holds(full) or not gin_text.same(full, length):
    raise UserError(
      f'{TRAIN_STEPS} is {full!r}, but must be a whole number of at least 1, '
      f'and what {_LENGTH} is bound to: a sweep shortens runs by it.'
    )
  steps = max(1, round(full * scale))
  least, reason = least_train_steps(config)
  if steps >= least:
    return steps, ''
  task = config.value('train.task', '')
  if scale == 1:
    return steps, (
      f'{TRAIN_STEPS} is {steps}, but must be at least {least} for {task}: '
      f'{reason}.'
    )
  lowest = math.ceil(1e4 * least / full) / 1e4
  allowed = f'at least {lowest:g}' if lowest <= 1 else '1'
  return steps, (
    f'--scale is {scale:g}, but must be {allowed} for {task}: of the {steps:,} '
    f'steps that {TRAIN_STEPS} becomes, {reason}.'
  )
