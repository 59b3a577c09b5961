"""Noise on an agent's observations, for evaluation only.

Graesser et al. (2022), section 8 and figure 6: how well does a trained policy
stand noise that it has not seen in training?
"""

from __future__ import annotations

from typing import Any

import gin
import numpy as np

from rigl_rl import errors
from rigl_rl.config.declarations import check_arguments
from rigl_rl.config.domains import NonNegative


@gin.configurable(denylist=['environment', 'seed'])
class ObservationNoise:
  """Adds Gaussian noise to each pixel of each observation of an environment.

  The noise is drawn from N(0, sigma), independently per pixel, made an integer
  by truncation towards zero (the paper says 'quantized to an integer'; the
  released code truncates), and added to the frame in [0, 255] before frames are
  stacked or normalized. Unlike the released code, which adds it in training
  too, leaves out the first frame of an episode, and lets a pixel wrap around:
  every observation gets noise, and the result is clipped to [0, 255].

  What is not named here (`game_over`, `action_space`, ...) is the wrapped
  environment's.
  """

  def __init__(
    self,
    environment: Any,
    seed: int,
    sigma: NonNegative = 0.0,
    wrap: bool = False,
  ):
    """Wraps an environment.

    Args:
      environment: one under Dopamine's protocol, with uint8 observations.
      seed: non-negative integer that decides the noise.
      sigma: standard deviation of the noise, in units of a pixel's 0 to 255;
        >= 0, and 0 for no noise. The paper takes 0 to 30.
      wrap: whether a pixel that leaves [0, 255] wraps around (modulo 256), as
        in the released code, or is clipped.

    Raises:
      UserError: if sigma is out of range, or observations are no pixels.
    """
    check_arguments(type(self), locals())
    dtype = np.dtype(environment.observation_space.dtype)
    if dtype != np.uint8:
      raise errors.UserError(
        f'ObservationNoise.sigma = {sigma!r} is given for an environment with'
        f' {dtype} observations; allowed are images with uint8 pixels.'
      )
    self._environment = environment
    self._rng = np.random.default_rng(seed)
    self._sigma = float(sigma)
    self._wrap = wrap

  def __getattr__(self, name: str) -> Any:
    if name.startswith('_'):  # Otherwise a copy would recurse forever.
      raise AttributeError(name)
    return getattr(self._environment, name)

  def reset(self) -> np.ndarray:
    """Starts an episode; the observation has noise."""
    return self._add_noise(self._environment.reset())

  def step(self, action: int) -> tuple[np.ndarray, float, bool, dict[str, Any]]:
    """Takes a step; the observation has noise."""
    observation, *rest = self._environment.step(action)
    return self._add_noise(observation), *rest

  def get_state(self) -> dict[str, Any]:
    """Returns the state of the environment and of the noise."""
    return {
      'environment': self._environment.get_state(),
      'rng': self._rng.bit_generator.state,
    }

  def set_state(self, state: dict[str, Any]) -> None:
    """Continues where `get_state` was called."""
    self._environment.set_state(state['environment'])
    self._rng.bit_generator.state = state['rng']

  def _add_noise(self, observation: np.ndarray) -> np.ndarray:
    if self._sigma == 0:
      return observation
    noise = self._rng.normal(0.0, self._sigma, observation.shape)
    # int64 holds any sum exactly; a cast of a float truncates towards zero.
    noisy = observation.astype(np.int64) + noise.astype(np.int64)
    if self._wrap:
      return (noisy % 256).astype(np.uint8)
    return np.clip(noisy, 0, 255).astype(np.uint8)
