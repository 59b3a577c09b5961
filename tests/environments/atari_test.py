"""Tests of rigl_rl.environments.atari."""

import os
import subprocess
import sys

import ale_py
import cv2
import gin
import numpy as np
import pytest
from ale_py import roms

from helpers.discrete_tasks import roll
from rigl_rl import errors, tasks
from rigl_rl.environments import atari, noise

create = atari.create_atari_environment


def _assert_equal(state, expected):
  assert type(state) is type(expected)
  if isinstance(state, dict):
    assert state.keys() == expected.keys()
    for key, value in state.items():
      _assert_equal(value, expected[key])
  else:
    np.testing.assert_array_equal(state, expected)


@pytest.mark.parametrize('game', tasks.GRAESSER22_GAMES)
def test_game_of_the_paper(game):
  env = create(game, seed=0)
  observation = env.reset()
  assert observation.shape == (84, 84, 1)
  assert observation.dtype == np.uint8
  assert observation.max() > 0
  assert env.observation_space.shape == (84, 84, 1)
  seen = [env.step(i % env.action_space.n)[0] for i in range(100)]
  # Some games begin with a tune, and a still picture.
  assert any((frame != observation).any() for frame in seen)
  assert not env.game_over
  env.close()


def test_minimal_and_full_action_set():
  assert create('Pong', seed=0).action_space.n == 6
  assert create('Breakout', seed=0).action_space.n == 4
  assert create('Pong', seed=0, full_action_set=True).action_space.n == 18


def test_frames_by_hand():
  """Four frames, the maximum of the last two, in gray, resized by area."""
  env = create('Pong', seed=0, sticky_actions=0.0)
  env.reset()
  ale = ale_py.ALEInterface()
  ale.setInt('random_seed', 1)
  ale.setFloat('repeat_action_probability', 0.0)
  ale.loadROM(roms.get_rom_path('pong'))
  ale.reset_game()
  ale.restoreState(env.environment.ale.cloneState(include_rng=True))
  actions = ale.getMinimalActionSet()
  for step in range(60):
    action = (step // 5) % len(actions)
    reward, screens = 0, []
    for _ in range(4):
      reward += ale.act(actions[action])
      screens.append(ale.getScreenGrayscale())
    pooled = np.maximum(screens[2], screens[3])
    expected = cv2.resize(pooled, (84, 84), interpolation=cv2.INTER_AREA)
    observation, actual_reward, _, _ = env.step(action)
    np.testing.assert_array_equal(observation[..., 0], expected)
    assert actual_reward == reward


def test_a_lost_life_does_not_end_the_game():
  env = create('Breakout', seed=0)
  env.reset()
  rng = np.random.default_rng(0)
  lives = [env.environment.ale.lives()]
  while not env.game_over:
    _, _, is_terminal, _ = env.step(int(rng.integers(4)))
    assert is_terminal == env.game_over
    ale_lives = env.environment.ale.lives()
    if ale_lives != lives[-1]:
      lives.append(ale_lives)
  assert lives == [5, 4, 3, 2, 1, 0]


class _RecordingAle:
  """Stands in for the console; keeps the actions that reach it."""

  def __init__(self):
    self.actions = []

  def act(self, action):
    self.actions.append(action)
    return 0

  def game_over(self):
    return False

  def reset_game(self):
    pass


def test_sticky_actions_repeat_a_quarter_of_the_frames():
  env = create('Pong', seed=0)
  ale = env.environment.ale = _RecordingAle()
  for frame in range(10_000):
    env.environment.step(frame % 2 + 2)  # Never the same action twice.
  repeats = np.mean([a == b for a, b in zip(ale.actions, ale.actions[1:])])
  in_effect = np.array([action.value for action in ale.actions])
  wanted = np.array(
    [env.environment._actions[frame % 2 + 2].value for frame in range(10_000)]
  )
  followed = np.mean(in_effect == wanted)
  # A frame follows the policy if the last fresh draw lies an even number of
  # frames back: (1 - p)(1 + p^2 + p^4 + ...) = 1 / (1 + p) = 0.8.
  assert abs(followed - 0.8) < 0.015
  # The action is the last one by a repeat (p), or because the policy wants what
  # a repeat has left in effect ((1 - p) * 0.2).
  assert abs(repeats - 0.4) < 0.015


def test_the_first_frames_may_stick_to_no_operation():
  env = create('Pong', seed=0)
  game = env.environment
  ale = game.ale = _RecordingAle()
  for _ in range(4000):
    game.reset()
    game.step(3)
  noops = np.mean([action == ale_py.Action.NOOP for action in ale.actions])
  assert abs(noops - 0.25) < 0.025


def test_no_sticky_actions():
  env = create('Pong', seed=0, sticky_actions=False)
  ale = env.environment.ale = _RecordingAle()
  for frame in range(100):
    env.environment.step(frame % 2 + 2)
  assert all(a != b for a, b in zip(ale.actions, ale.actions[1:]))


def test_true_is_the_usual_stickiness():
  def trajectory(sticky_actions):
    env = create('Pong', seed=0, sticky_actions=sticky_actions)
    env.reset()
    return roll(env, 60, seed=0)

  assert trajectory(True) == trajectory(0.25)
  assert trajectory(True) != trajectory(False)


def test_seed_decides_everything():
  def trajectory(seed):
    env = create('Pong', seed=seed)
    env.reset()
    return roll(env, 60, seed=0)

  assert trajectory(3) == trajectory(3)
  assert trajectory(3) != trajectory(4)


# Paddles, a joystick, flicker over two frames, and frames of unequal length.
@pytest.mark.parametrize(
  'game', ['Breakout', 'Pong', 'MsPacman', 'Asterix', 'DemonAttack']
)
def test_state_within_a_game_continues_to_the_bit(game, through_json):
  env = create(game, seed=11)
  fresh = create(game, seed=99)  # One that never was reset.
  env.reset()
  for moment in range(12):
    roll(env, 10 * moment + 1, seed=moment)
    state = through_json(env.get_state())
    expected = roll(env, 25, seed=100 + moment)
    fresh.set_state(state)
    _assert_equal(fresh.get_state(), state)
    assert roll(fresh, 25, seed=100 + moment) == expected, moment


def test_state_after_the_end_of_a_game(through_json):
  env = create('Breakout', seed=11)
  env.reset()
  while not env.game_over:
    roll(env, 1, seed=1)
    env.step(1)
  state = through_json(env.get_state())
  expected = roll(env, 400, seed=2)  # Into another game, and beyond.
  assert any('reset' in seen for seen in expected)
  fresh = create('Breakout', seed=99)
  fresh.set_state(state)
  assert fresh.game_over
  assert roll(fresh, 400, seed=2) == expected


def test_state_before_the_first_reset(through_json):
  env = create('Qbert', seed=11)
  fresh = create('Qbert', seed=99)
  fresh.set_state(through_json(env.get_state()))
  np.testing.assert_array_equal(fresh.reset(), env.reset())
  assert roll(fresh, 30, seed=0) == roll(env, 30, seed=0)


def test_state_of_another_game_is_refused():
  state = create('Pong', seed=0).get_state()
  with pytest.raises(ValueError, match='pong, not of qbert'):
    create('Qbert', seed=0).set_state(state)


def test_noise_goes_on_the_processed_frame(through_json):
  plain = create('Pong', seed=0)
  noisy = noise.ObservationNoise(create('Pong', seed=0), seed=1, sigma=20.0)
  for frame, noisy_frame in (
    (plain.reset(), noisy.reset()),
    (plain.step(2)[0], noisy.step(2)[0]),
  ):
    assert noisy_frame.shape == (84, 84, 1)
    difference = noisy_frame.astype(int) - frame
    assert 15 < difference[frame > 80].std() < 21
  assert noisy.action_space.n == 6
  fresh = noise.ObservationNoise(create('Pong', seed=5), seed=6, sigma=20.0)
  fresh.set_state(through_json(noisy.get_state()))
  assert roll(fresh, 20, seed=0) == roll(noisy, 20, seed=0)


@pytest.mark.parametrize(
  'game, hint',
  [
    ('Pnog', 'Did you mean Pong?'),
    ('pong', 'Did you mean Pong'),
    ('space_invaders', 'Did you mean SpaceInvaders'),
    ('Xyzzyxyzzy', 'ale-py'),
    ('Joust', 'ale-py'),  # For two players only.
    (None, 'ale-py'),
  ],
)
def test_unknown_game_is_a_user_error_of_one_line(game, hint):
  with pytest.raises(errors.UserError) as info:
    create.__wrapped__(game, seed=0)
  message = str(info.value)
  assert '\n' not in message
  assert message.startswith(f'GAME = {game!r} is not an Atari game')
  assert 'MsPacman, Pong, Qbert' in message
  assert hint in message


@pytest.mark.parametrize('sticky_actions', [-0.1, 1.0, 'often', None])
def test_bad_stickiness_is_a_user_error(sticky_actions):
  with pytest.raises(errors.UserError) as info:
    create('Pong', seed=0, sticky_actions=sticky_actions)
  message = str(info.value).splitlines()[0]
  assert (
    f'create_atari_environment.sticky_actions is {sticky_actions!r}' in message
  )


def test_bindings_of_the_preprocessing_apply():
  with gin.unlock_config():
    gin.parse_config(
      [
        "atari.create_atari_environment.game = 'Pong'",
        'atari_lib.AtariPreprocessing.screen_size = 42',
        'atari_lib.AtariPreprocessing.terminal_on_life_loss = True',
      ]
    )
    try:
      env = create(seed=0)
      assert env.reset().shape == (42, 42, 1)
      assert env.terminal_on_life_loss
    finally:
      gin.clear_config()


def test_nothing_is_printed():
  program = (
    'from rigl_rl.environments import atari\n'
    "env = atari.create_atari_environment('Pong', seed=0)\n"
    'env.reset()\n'
    'env.step(1)\n'
  )
  environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL='3')
  environment['PYTHONPATH'] = os.pathsep.join(sys.path)
  run = subprocess.run(
    [sys.executable, '-c', program],
    capture_output=True,
    check=True,
    env=environment,
    text=True,
  )
  assert run.stdout == ''
  for word in ('Gym', 'gym', 'A.L.E', 'Stella', 'Warning'):
    assert word not in run.stderr, run.stderr
