"""Atari 2600 games of the Arcade Learning Environment, as Dopamine plays them.

The games (and their ROMs) come from ale-py; what the agent sees comes from
Dopamine's own `AtariPreprocessing`: an action lasts 4 frames, the last two
frames are pooled by their maximum, in gray, resized to 84 x 84; an episode ends
with the game, not with a life. Bindings of `AtariPreprocessing` apply.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from typing import Annotated, Any

import gin
import gymnasium
import numpy as np

from rigl_rl import errors, tasks, wording
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import Range


@contextlib.contextmanager
def _quietly():
  """Silences what Gym and ALE print when they load."""
  with warnings.catch_warnings(), open(os.devnull, 'w') as null:
    warnings.simplefilter('ignore')
    with contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
      yield


with _quietly():
  # Dopamine imports the old Gym, which prints that it is unmaintained.
  import ale_py  # pylint: disable=g-import-not-at-top
  from ale_py import roms
  from dopamine.discrete_domains import atari_lib

# Machado et al. (2018), section 5.3: the previous action is repeated with this
# probability, in each frame.
STICKY_ACTION_PROBABILITY = 0.25

# ale-py has no mode for one player in these.
_TWO_PLAYER_ROMS = frozenset(['combat', 'joust', 'maze_craze', 'warlords'])


class AleGame:
  """One game, frame by frame: the environment below `AtariPreprocessing`.

  It replaces Gym's `<game>NoFrameskip-v0` under Dopamine: a step is one frame.

  The sticky actions are drawn here, not in ALE: ALE neither saves nor reveals
  the action in effect, so that a restored game would diverge in one frame out
  of four. The rule is the same: each frame takes the new action with
  probability 1 - p, or else the one in effect in the frame before, which is 'no
  operation' after a reset.

  Attributes:
    ale: the ale_py.ALEInterface.
    action_space: gymnasium.spaces.Discrete.
    observation_space: gymnasium.spaces.Box of shape (height, width, 3).
  """

  def __init__(
    self, rom: str, seed: int, sticky_actions: float, full_action_set: bool
  ):
    """Loads a game; see `create_atari_environment`.

    `rom` is its name in ale-py, such as 'space_invaders'.
    """
    self._rom = rom
    self._sticky_actions = sticky_actions
    ale_seed, sticky_seed = np.random.SeedSequence(seed).spawn(2)
    self._rng = np.random.default_rng(sticky_seed)
    with _quietly():
      ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
      self.ale = ale_py.ALEInterface()
      # ALE takes a non-negative int32; -1 would mean the time of day.
      self.ale.setInt(
        'random_seed', int(ale_seed.generate_state(1)[0] & 0x7FFFFFFF)
      )
      self.ale.setFloat('repeat_action_probability', 0.0)
      self.ale.loadROM(roms.get_rom_path(rom))
    self._actions = (
      self.ale.getLegalActionSet()
      if full_action_set
      else self.ale.getMinimalActionSet()
    )
    self._action_in_effect = ale_py.Action.NOOP
    self.action_space = gymnasium.spaces.Discrete(len(self._actions))
    self.observation_space = gymnasium.spaces.Box(
      0, 255, self.ale.getScreenDims() + (3,), np.uint8
    )

  def reset(self) -> None:
    """Starts a game. The screen is read from `ale`."""
    self.ale.reset_game()
    self._action_in_effect = ale_py.Action.NOOP

  def step(self, action: int) -> tuple[None, float, bool, dict[str, Any]]:
    """Plays one frame; returns no observation, for the screen is in `ale`."""
    if self._sticky_actions == 0 or self._rng.random() >= self._sticky_actions:
      self._action_in_effect = self._actions[action]
    reward = self.ale.act(self._action_in_effect)
    return None, float(reward), self.ale.game_over(), {}

  def render(self, mode: str = 'rgb_array') -> np.ndarray:
    """Returns the screen, uint8 of shape (height, width, 3)."""
    del mode
    return self.ale.getScreenRGB()

  def close(self) -> None:
    pass

  def get_state(self) -> dict[str, Any]:
    # Not serialize(): before ale-py 0.12 it takes the bytes for text and fails.
    ale_state = self.ale.cloneState(include_rng=True).__getstate__()
    if isinstance(ale_state, tuple):  # Before ale-py 0.12.
      (ale_state,) = ale_state
    return {
      'rom': self._rom,
      'ale': np.frombuffer(ale_state, dtype=np.uint8).copy(),
      'action_in_effect': self._action_in_effect.value,
      'rng': self._rng.bit_generator.state,
    }

  def set_state(self, state: dict[str, Any]) -> None:
    if state['rom'] != self._rom:
      raise ValueError(
        f'This is the state of {state["rom"]}, not of {self._rom}.'
      )
    ale_state = np.asarray(state['ale'], dtype=np.uint8).tobytes()
    self.ale.restoreState(ale_py.ALEState(ale_state))
    self._action_in_effect = ale_py.Action(int(state['action_in_effect']))
    self._rng.bit_generator.state = state['rng']


class AtariEnvironment(atari_lib.AtariPreprocessing):
  """Dopamine's preprocessing around a game, with a state to save.

  Observations are uint8 of shape (84, 84, 1). See `AtariPreprocessing` for
  the rest, and for its bindings.
  """

  def __init__(self, environment: AleGame):
    super().__init__(environment)
    # The console shows 60 frames per second.
    self.render_fps = 60.0 / self.frame_skip
    for screen in self.screen_buffer:
      screen.fill(0)  # Until the first frame, so that a state is reproducible.

  def get_state(self) -> dict[str, Any]:
    """Returns all that decides what comes next, as JSON values and arrays."""
    return {
      'game': self.environment.get_state(),
      'screen_buffer': np.stack(self.screen_buffer),
      'game_over': bool(self.game_over),
      'lives': int(self.lives),
    }

  def set_state(self, state: dict[str, Any]) -> None:
    """Continues where `get_state` was called, on the same game and bindings.

    Raises:
      ValueError: if the state belongs to another game.
    """
    self.environment.set_state(state['game'])
    for screen, saved in zip(self.screen_buffer, state['screen_buffer']):
      screen[...] = saved
    self.game_over = bool(state['game_over'])
    self.lives = int(state['lives'])


@gin.configurable(denylist=['seed'])
def create_atari_environment(
  game: str = gin.REQUIRED,
  seed: int = 0,
  sticky_actions: Annotated[float, Range('[0, 1)')]
  | bool = STICKY_ACTION_PROBABILITY,
  full_action_set: bool = False,
) -> AtariEnvironment:
  """Builds an Atari game as Dopamine plays it.

  It has no time limit: Dopamine's Runner cuts an episode after
  `Runner.max_steps_per_episode` agent steps (27,000, which is 30 minutes).

  Args:
    game: name as papers write it: 'Pong', 'MsPacman', 'SpaceInvaders'.
    seed: non-negative integer that decides all randomness in the game.
    sticky_actions: probability in [0, 1) that a frame repeats the action of the
      frame before (Machado et al., 2018). As in Dopamine, True means .25 and
      False 0.
    full_action_set: whether all 18 actions of the console are offered, or only
      those that have a meaning in this game, as in Dopamine.

  Raises:
    UserError: if there is no such game, or `sticky_actions` is out of range.
  """
  roms_by_game = {
    rom.title().replace('_', ''): rom
    for rom in sorted(roms.get_all_rom_ids())
    if rom not in _TWO_PLAYER_ROMS
  }
  if game not in roms_by_game:
    raise errors.UserError(
      f'GAME = {game!r} is not an Atari game; allowed are the '
      f'{len(roms_by_game)} one-player games of ale-py, written as in '
      f'{", ".join(tasks.GRAESSER22_GAMES[:3])} or SpaceInvaders.'
      f'{wording.did_you_mean(str(game), roms_by_game)}'
    )
  check_arguments(create_atari_environment, locals())
  if isinstance(sticky_actions, bool):
    sticky_actions = STICKY_ACTION_PROBABILITY if sticky_actions else 0.0
  return AtariEnvironment(
    AleGame(roms_by_game[game], seed, float(sticky_actions), full_action_set)
  )
