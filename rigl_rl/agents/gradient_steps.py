"""The agent steps at which DQN takes a gradient step."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class GradientSteps:
  """Says at which agent steps DQN trains, and so how often.

  Agent steps are counted from 0; before agent step t the replay buffer has
  stored t transitions. As in Dopamine, training has begun at step t if
  t > min_replay_history, and then takes a gradient step at each t that
  update_period divides.

  Differs from Dopamine in two points. The zeros that pad a stack at the
  beginning of an episode are no history: Dopamine counts them, so that its
  first gradient step depends on the number of episodes. And training waits for
  update_horizon transitions, since before there is none to sample.

  Attributes:
    min_replay_history: transitions stored before training begins, >= 0.
    update_period: agent steps between gradient steps, >= 1.
    update_horizon: n of n-step returns, >= 1.
  """

  min_replay_history: int
  update_period: int = 1
  update_horizon: int = 1

  @property
  def _history(self) -> int:
    return max(self.min_replay_history, self.update_horizon)

  def have_begun(self, step: int) -> bool:
    """Returns whether training has begun at an agent step."""
    return step > self._history

  def is_due(self, step: int) -> bool:
    """Returns whether an agent step takes a gradient step."""
    return step > self._history and step % self.update_period == 0

  def count(self, train_steps: int) -> int:
    """Returns the gradient steps of a training of `train_steps` agent steps."""
    last_step = train_steps - 1
    before = self._history // self.update_period
    return max(0, last_step // self.update_period - before)

  @property
  def least_train_steps(self) -> int:
    """The fewest agent steps of a training with a gradient step."""
    return (self._history // self.update_period + 1) * self.update_period + 1
