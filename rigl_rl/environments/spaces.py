"""Observations and actions of the papers' tasks, known without building one.

An Atari game takes most of a second to load, and a gymnasium task needs its
simulator: too much for a table of costs.
"""

from __future__ import annotations

import dataclasses

from rigl_rl import tasks

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


ANT_V4 = 'Ant-v4'
HUMANOID_V4 = 'Humanoid-v4'
# Six per body. Both tasks have 14 bodies; the ground is one of them.
CONTACT_FORCES = 84
# What these tasks observe before the contact forces, which come last.
BEFORE_CONTACT_FORCES = {ANT_V4: 27, HUMANOID_V4: 292}


@dataclasses.dataclass(frozen=True)
class Spaces:
  """What goes into and comes out of an agent with discrete actions.

  Attributes:
    observation_shape: shape of one observation, without a stack.
    num_actions: number of discrete actions.
  """

  observation_shape: tuple[int, ...]
  num_actions: int


@dataclasses.dataclass(frozen=True)
class ContinuousSpaces:
  """What goes into and comes out of an agent with continuous actions.

  Attributes:
    observation_size: length of an observation.
    action_size: length of an action.
  """

  observation_size: int
  action_size: int


_CLASSIC_CONTROL = {
  'CartPole-v0': Spaces((4,), 2),
  'Acrobot-v1': Spaces((6,), 3),
  'MountainCar-v0': Spaces((2,), 3),
}

# Of gymnasium's own observations.
_MUJOCO = {
  'HalfCheetah-v4': ContinuousSpaces(17, 6),
  'Hopper-v4': ContinuousSpaces(11, 3),
  'Walker2d-v4': ContinuousSpaces(17, 6),
  ANT_V4: ContinuousSpaces(27, 8),
  HUMANOID_V4: ContinuousSpaces(376, 17),
  'HalfCheetah-v5': ContinuousSpaces(17, 6),
  'Hopper-v5': ContinuousSpaces(11, 3),
  'Walker2d-v5': ContinuousSpaces(17, 6),
  'Ant-v5': ContinuousSpaces(105, 8),
  'Humanoid-v5': ContinuousSpaces(348, 17),
}


def find_spaces(task: str, full_action_set: bool = False) -> Spaces | None:
  """Looks up a task with discrete actions of Graesser et al. (2022).

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


def find_continuous_spaces(
  task: str, use_contact_forces: bool = False, ant_padding: bool = True
) -> ContinuousSpaces | None:
  """Looks up a MuJoCo task of the papers.

  Args:
    task: a gymnasium id, -v4 or -v5.
    use_contact_forces: as in `create_mujoco_environment`.
    ant_padding: as in `create_mujoco_environment`.

  Returns:
    Its spaces; None if it is none of the five tasks, or has no such option.
  """
  task = tasks.registered_id(task)
  found = _MUJOCO.get(task)
  if use_contact_forces and task not in BEFORE_CONTACT_FORCES:
    return None
  if task == ANT_V4 and (use_contact_forces or ant_padding):
    size = found.observation_size + CONTACT_FORCES
    return dataclasses.replace(found, observation_size=size)
  return found
