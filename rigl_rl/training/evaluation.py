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
  """Plays one episode in each environment, side by side.

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


def evaluate_policy(
  policy: Callable[[np.ndarray], np.ndarray], environments: Sequence
) -> np.ndarray:
  """Plays one episode of continuous actions in each environment, side by side.

  One call of the policy serves all episodes that still run. The environments
  step one after the other: two threads took twice as long on HalfCheetah, and
  0.7 times as long on Humanoid.

  Args:
    policy: maps observations (batch, n) to actions (batch, m). The array of
      observations is overwritten after the call: copy what is to last.
    environments: one per episode, TF-Agents PyEnvironments, seeded.

  Returns:
    float64 array of shape (episodes,): undiscounted returns.
  """
  # TF-Agents takes most of a second to import, which DQN need not wait for.
  from tf_agents.trajectories import time_step as ts

  mid, last = ts.StepType.MID, ts.StepType.LAST
  returns = [0.0] * len(environments)
  observations = np.stack(
    [environment.reset().observation for environment in environments]
  )
  # Index and step() of each episode that still runs, by row of `observations`.
  running = [
    (i, environment.step) for i, environment in enumerate(environments)
  ]
  while running:
    ended = []
    actions = policy(observations)
    for row, (index, step) in enumerate(running):
      step_type, reward, _, observation = step(actions[row])
      returns[index] += float(reward)
      observations[row] = observation
      # Arrays: to compare them takes longer than all else here but the step.
      if step_type is not mid and step_type == last:
        ended.append(row)
    if ended:
      running = [kept for row, kept in enumerate(running) if row not in ended]
      observations = np.delete(observations, ended, axis=0)
  return np.array(returns)
