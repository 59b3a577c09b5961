"""Tasks of discrete actions: Atari games and classic control."""

import numpy as np


def roll(env, steps, seed):
  """Acts at random for some steps, across episodes; returns all that it saw."""
  rng = np.random.default_rng(seed)
  seen = []
  for _ in range(steps):
    if env.game_over:
      observation = env.reset()
      seen.append((observation.tobytes(), observation.dtype.str, 'reset'))
    observation, reward, is_terminal, _ = env.step(
      int(rng.integers(env.action_space.n))
    )
    lives = getattr(env, 'lives', None)  # On Atari.
    seen.append(
      (observation.tobytes(), reward, is_terminal, env.game_over, lives)
    )
  return seen
