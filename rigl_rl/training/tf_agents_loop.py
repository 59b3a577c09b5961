"""TFAgentsLoop: a loop over a TF-Agents environment, step by step."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

from rigl_rl import seeding
from rigl_rl.training import evaluation, training_loop


def make(
  create_environment: Callable[..., Any],
  create_agent: Callable[..., Any],
  seed: int,
  **length: int,
) -> tuple[Any, Any]:
  """Makes a loop's environment, and its agent, which trains for a `length`."""
  environment = create_environment(
    seed=seeding.stream_seed(seed, 'environment')
  )
  specs = (environment.time_step_spec(), environment.action_spec())
  agent = create_agent(*tensor_spec.from_spec(specs), seed=seed, **length)
  return environment, agent


class TFAgentsLoop(training_loop.TrainingLoop):
  """What loops over TF-Agents' environments share: all but how they train.

  The agent must also have `greedy_policy()`.
  """

  def __init__(
    self,
    create_environment: Callable[..., Any],
    evaluation_episodes: int,
    **arguments: Any,
  ):
    """Takes what evaluations need, and the arguments of `TrainingLoop`."""
    # They hold no state, since each evaluation seeds them.
    self._evaluation_environments = [
      create_environment(seed=0) for _ in range(evaluation_episodes)
    ]
    # The current observation; None if the next step begins an episode.
    self._observation = None
    self._episode_return = 0.0
    self._episode_begin = 0  # In environment steps.
    super().__init__(**arguments)

  def _begin(self) -> np.ndarray:
    """Returns the observation to act on, in a new episode if there is none."""
    if self._observation is None:
      self._observation = self.environment.reset().observation
    return self._observation

  def _go_on(
    self, time_step: ts.TimeStep, episodes: list[tuple[float, float]]
  ) -> np.ndarray:
    """Returns the observation to act on after a step, before it is counted.

    If the episode ended, that is the first of a new one, and `episodes` gets
    its return and length.
    """
    self._episode_return += float(time_step.reward)
    # Not is_last(), which takes longer than everything else here.
    if time_step.step_type == ts.StepType.LAST:
      end = self.steps_done + 1
      episodes.append((self._episode_return, end - self._episode_begin))
      self._episode_return, self._episode_begin = 0.0, end
      time_step = self.environment.reset()
    self._observation = time_step.observation
    return self._observation

  def _play(self, watch, seed, *names):
    return self._play_by(self.agent.greedy_policy(), watch, seed, *names)

  def _play_by(
    self, policy: Callable[[np.ndarray], np.ndarray], watch, seed, *names
  ) -> np.ndarray:
    """As `_play`, by a policy of the agent's; without TensorFlow."""
    environments = list(self._evaluation_environments)
    if watch is not None:
      environments[0] = watch(environments[0])
    for episode, environment in enumerate(environments):
      environment.seed(seeding.stream_seed(seed, 'evaluation', *names, episode))
    return evaluation.evaluate_policy(policy, environments)

  def _get_state(self):
    return {
      'observation': self._observation,
      'episode_return': self._episode_return,
      'episode_begin': self._episode_begin,
    }

  def _set_state(self, state):
    self._observation = state['observation']
    self._episode_return = state['episode_return']
    self._episode_begin = state.get('episode_begin')

  def _resume(self, state):
    super()._resume(state)
    # No checkpoint is taken at the end of an episode: so this environment could
    # not be restored to the middle of one. gymnasium's own tasks can be.
    if self.environment.current_time_step().step_type == ts.StepType.LAST:
      self._observation = None
      self._episode_return, self._episode_begin = 0.0, self.steps_done
    if self._episode_begin is None:  # Earlier versions did not save it.
      self._episode_begin = self.steps_done
