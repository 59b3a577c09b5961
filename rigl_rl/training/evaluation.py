"""Evaluation of a policy over whole episodes, many at a time."""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np


def evaluate_episodes(
  policy: Callable[[np.ndarray], np.ndarray],
  environments: Sequence,
  state_shape: Sequence[int],
  epsilon: float,
  rng: np.random.Generator,
  max_steps_per_episode: int,
) -> np.ndarray:
  """Plays one episode in each environment, all in step with one another.

  One call of the policy serves all episodes that still run.

  Args:
    policy: maps states (batch, *state_shape) to greedy actions (batch,).
    environments: one for each episode, of Dopamine's protocol.
    state_shape: `(*observation, stack)`; a state begins as zeros.
    epsilon: probability of a random action, in [0, 1].
    rng: draws the random actions.
    max_steps_per_episode: agent steps after which an episode is cut.

  Returns:
    float64 array of shape (episodes,): undiscounted returns.
  """
  num_actions = environments[0].action_space.n
  returns = np.zeros(len(environments))
  first = np.stack([environment.reset() for environment in environments])
  states = np.zeros((len(environments), *state_shape), first.dtype)
  states[..., -1] = first.reshape(states[..., -1].shape)
  running = np.arange(len(environments))
  for _ in range(max_steps_per_episode):
    actions = policy(states[running])
    # Drawn for every episode, so that one's end changes no other's actions.
    explores = rng.random(len(environments)) <= epsilon
    random_actions = rng.integers(num_actions, size=len(environments))
    actions = np.where(explores[running], random_actions[running], actions)
    still_running = []
    for index, action in zip(running, actions):
      environment = environments[index]
      observation, reward, _, _ = environment.step(int(action))
      returns[index] += reward
      if not environment.game_over:
        still_running.append(index)
        state = states[index]
        state[..., :-1] = state[..., 1:]
        state[..., -1] = observation.reshape(state[..., -1].shape)
    running = np.array(still_running, dtype=int)
    if not running.size:
      break
  return returns
