"""Tests of rigl_rl.environments.noise."""

import types

import numpy as np
import pytest

from rigl_rl import errors
from rigl_rl.environments import noise

SHAPE = (84, 84, 1)


class _Frames:
  """An environment that shows gray frames of one value."""

  def __init__(self, value=128, dtype=np.uint8):
    self.frame = np.full(SHAPE, value, dtype)
    self.observation_space = types.SimpleNamespace(dtype=np.dtype(dtype))
    self.action_space = types.SimpleNamespace(n=3)
    self.game_over = False
    self.steps = 0

  def reset(self):
    self.game_over = False
    return self.frame

  def step(self, action):
    self.steps += 1
    self.game_over = action == 2
    return self.frame, 1.5, self.game_over, {'lives': 3}

  def get_state(self):
    return {'steps': self.steps}

  def set_state(self, state):
    self.steps = state['steps']


def test_zero_noise_leaves_observations_alone():
  env = noise.ObservationNoise(_Frames(), seed=0, sigma=0)
  assert (env.reset() == 128).all()
  assert (env.step(0)[0] == 128).all()


@pytest.mark.parametrize('sigma', [0.5, 5, 30.0])
@pytest.mark.parametrize('value', [0, 128, 250])
def test_noise_is_truncated_and_clipped(sigma, value):
  env = noise.ObservationNoise(_Frames(value), seed=7, sigma=sigma)
  rng = np.random.default_rng(7)
  for observation in (env.reset(), env.step(0)[0]):
    drawn = np.trunc(rng.normal(0, sigma, SHAPE))
    np.testing.assert_array_equal(observation, np.clip(value + drawn, 0, 255))
    assert observation.dtype == np.uint8


def test_wrap_is_modulo_256():
  env = noise.ObservationNoise(_Frames(250), seed=7, sigma=30, wrap=True)
  drawn = np.trunc(np.random.default_rng(7).normal(0, 30, SHAPE)).astype(int)
  observation = env.reset()
  np.testing.assert_array_equal(observation, (250 + drawn) % 256)
  assert observation.min() < 30  # Some pixel went around.


def test_every_pixel_and_observation_has_noise_of_its_own():
  env = noise.ObservationNoise(_Frames(), seed=0, sigma=20)
  first = env.reset().astype(float) - 128
  second = env.step(0)[0].astype(float) - 128
  for drawn in (first, second):
    assert abs(drawn.std() - 20) < 1
    assert abs(drawn.mean()) < 1
  correlation = (first * second).mean() / 400
  assert abs(correlation) < 0.05
  neighbors = (first[:, 1:] * first[:, :-1]).mean() / 400
  assert abs(neighbors) < 0.05


def test_the_environment_is_left_as_it_is():
  frames = _Frames()
  env = noise.ObservationNoise(frames, seed=0, sigma=20)
  env.reset()
  observation, reward, is_terminal, info = env.step(2)
  assert (frames.frame == 128).all()
  assert (observation != 128).any()
  assert (reward, is_terminal, info) == (1.5, True, {'lives': 3})
  assert env.game_over is True
  assert env.action_space.n == 3
  env.reset()
  assert env.game_over is False


def test_seed_decides_the_noise():
  def first(seed):
    return noise.ObservationNoise(_Frames(), seed=seed, sigma=20).reset()

  assert (first(3) == first(3)).all()
  assert (first(3) != first(4)).any()


def test_state_continues_to_the_bit():
  env = noise.ObservationNoise(_Frames(), seed=0, sigma=20)
  env.reset()
  env.step(0)
  fresh = noise.ObservationNoise(_Frames(), seed=1, sigma=20)
  fresh.set_state(env.get_state())
  assert fresh.steps == 1
  np.testing.assert_array_equal(fresh.step(0)[0], env.step(0)[0])


@pytest.mark.parametrize(
  'sigma', [-1, float('nan'), float('inf'), '20', None, True]
)
def test_bad_sigma_is_a_user_error(sigma):
  with pytest.raises(errors.UserError) as info:
    noise.ObservationNoise(_Frames(), seed=0, sigma=sigma)
  message = str(info.value).splitlines()[0]
  assert message.startswith(f'ObservationNoise.sigma is {sigma!r}, but')


def test_only_pixels_are_allowed():
  with pytest.raises(errors.UserError, match='float32.*uint8 pixels'):
    noise.ObservationNoise(_Frames(dtype=np.float32), seed=0, sigma=1)
