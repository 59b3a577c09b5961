"""Observations and actions of the paper's tasks, known without building one.

An Atari game takes most of a second to load, and a gymnasium task needs its
simulator: too much for a table of costs.
"""

from __future__ import annotations

import dataclasses

# Of every Atari game, under Dopamine's preprocessing.
ATARI_OBSERVATION_SHAPE = (84, 84, 1)
ATARI_FULL_ACTION_SET = 18

# Actions that have a meaning in the game: Dopamine's, and ALE's minimal set.
_ATARI_ACTIONS = {
  'Assault': 7,
  'Asterix': 9,
  'BeamRider': 9,
  'Boxing': 18,
  'Breakout': 4,
  'CrazyClimber': 9,
  'DemonAttack': 6,
  'Enduro': 9,
  'FishingDerby': 18,
  'MsPacman': 9,
  'Pong': 6,
  'Qbert': 6,
  'SpaceInvaders': 6,
  'Tutankham': 8,
  'VideoPinball': 9,
}


@dataclasses.dataclass(frozen=True)
class Spaces:
  """What goes into and comes out of an agent.

  Attributes:
    observation_shape: shape of one observation, without a stack.
    num_actions: number of discrete actions.
  """

  observation_shape: tuple[int, ...]
  num_actions: int


_CLASSIC_CONTROL = {
  'CartPole-v0': Spaces((4,), 2),
  'Acrobot-v1': Spaces((6,), 3),
  'MountainCar-v0': Spaces((2,), 3),
}


def find_spaces(task: str, full_action_set: bool = False) -> Spaces | None:
  """Looks up a task of Graesser et al. (2022).

  Args:
    task: a game as papers write it, such as 'MsPacman', or a gymnasium id.
    full_action_set: whether an Atari game offers all 18 actions.

  Returns:
    Its spaces; None if it is none of the fifteen games and three tasks.
  """
  if task in _ATARI_ACTIONS:
    num_actions = _ATARI_ACTIONS[task]
    if full_action_set:
      num_actions = ATARI_FULL_ACTION_SET
    return Spaces(ATARI_OBSERVATION_SHAPE, num_actions)
  return _CLASSIC_CONTROL.get(task)
