"""Estimates of advantages from rollouts."""

from __future__ import annotations

import numpy as np


def generalized_advantages(
  rewards: np.ndarray,
  discounts: np.ndarray,
  values: np.ndarray,
  next_values: np.ndarray,
  is_last: np.ndarray,
  lambda_: float,
) -> np.ndarray:
  """Generalized advantage estimation (Schulman et al., 2016, equation 16).

  A_t = δ_t + γ_t λ A_{t+1},  δ_t = r_t + γ_t V(s_{t+1}) − V(s_t),

  within each episode: an episode's last step has no A_{t+1}.

  Args:
    rewards, values, next_values: r_t, V(s_t), V(s_{t+1}), float (steps,).
    discounts: float (steps,), γ, and 0 where the episode terminated.
    is_last: bool (steps,), whether the episode ended, or was cut.
    lambda_: λ, in [0, 1].

  Returns:
    float32 array (steps,).
  """
  errors = rewards + discounts * next_values - values
  decays = (discounts * lambda_ * ~is_last).tolist()
  advantages = errors.tolist()
  for t in range(len(advantages) - 2, -1, -1):
    advantages[t] += decays[t] * advantages[t + 1]
  return np.array(advantages, np.float32)
