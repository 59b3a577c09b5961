"""StepPlan: what one train step changes, decided in Python.

Whether a step changes masks, trains the actor, or moves target networks follows
only from its number. So Python decides it before the step, and each plan has a
trace of its own: no trace branches on another plan's work.

`StepPlan.bind` passes a plan to the function that is traced; code inside it
calls `current`. A user's own training loop has no plan: there the graph decides
by its step count.
"""

from __future__ import annotations

import contextvars
import dataclasses
from typing import Any, Callable, Iterable

import tensorflow as tf

# Each thread has its own, so that several may trace at a time.
_CURRENT: contextvars.ContextVar[Any] = contextvars.ContextVar(
  'step_plan', default=None
)


@dataclasses.dataclass(frozen=True)
class StepPlan:
  """What a train step does; by default it trains, and changes nothing else.

  Attributes:
    mask_updates: the `SparseOptimizer`s that change masks.
    trains_actor: whether the actor takes a gradient step.
    updates_targets: whether the target networks are updated.
    masks_moved: whether a mask may have changed since they were last updated.
  """

  mask_updates: frozenset[Any] = frozenset()
  trains_actor: bool | tf.Tensor = True
  updates_targets: bool | tf.Tensor = False
  masks_moved: bool = False

  def computes_densely(self, layer: Any) -> bool:
    """Whether a layer in sparse storage computes with its whole kernel.

    The gradient is then that of all weights.

    Args:
      layer: a SparseWrapper.
    """
    return bool(self.mask_updates) and layer.needs_dense_gradient

  def bind(self, function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that follows this plan when it is traced."""

    def planned(*args, **kwargs):
      token = _CURRENT.set(self)
      try:
        return function(*args, **kwargs)
      finally:
        _CURRENT.reset(token)

    return planned


class StepPlanner:
  """Makes the plan of each train step."""

  def __init__(
    self,
    optimizers: Iterable[Any],
    actor_period: int = 1,
    target_period: int | None = None,
  ):
    """Initializes the planner.

    Args:
      optimizers: the `SparseOptimizer`s.
      actor_period: train steps per step of the actor.
      target_period: train steps between target updates; None for no updates in
        a train step.
    """
    self._update_steps = {
      optimizer: frozenset(optimizer.update_steps().tolist())
      for optimizer in optimizers
    }
    self._actor_period = actor_period
    self._target_period = target_period

  def plan(self, step: int) -> StepPlan:
    """Returns the plan of a train step, counted from 0."""
    updates_targets = _is_due(step, self._target_period)
    return StepPlan(
      self._mask_updates(step),
      _is_due(step, self._actor_period),
      updates_targets,
      updates_targets
      and any(
        self._mask_updates(step - ago)
        for ago in range(self._target_period or 0)
      ),
    )

  def _mask_updates(self, step):
    return frozenset(
      optimizer
      for optimizer, steps in self._update_steps.items()
      if step in steps
    )

  def in_graph(self, step: tf.Tensor) -> StepPlan:
    """Returns the plan of a trace that serves all steps.

    Its parts are bool tensors, and each optimizer decides on its masks.

    Args:
      step: int64 scalar.
    """
    return StepPlan(
      trains_actor=_is_due(step, self._actor_period),
      updates_targets=_is_due(step, self._target_period),
      masks_moved=True,
    )


def _is_due(step, period):
  """Whether a step is the last one of its period; False without a period."""
  if period is None or period == 1:
    return period == 1
  return (step + 1) % period == 0


def current() -> StepPlan | None:
  """Returns the plan of what is being traced, or None if the graph decides."""
  return _CURRENT.get()


def computes_densely(layer: Any) -> bool:
  """Whether a layer in sparse storage computes with its whole kernel now."""
  plan = current()
  if plan is None:
    return layer.needs_dense_gradient
  return plan.computes_densely(layer)


def when(
  condition: bool | tf.Tensor,
  body: Callable[[], Any],
  otherwise: Callable[[], Any],
) -> Any:
  """Calls one of two functions; the graph chooses if the condition is a tensor.

  Args:
    condition: whether to call `body`: a bool, or a bool scalar tensor.
    body: a function without arguments.
    otherwise: another one, with a result of the same type.
  """
  if tf.is_tensor(condition):
    return tf.cond(condition, body, otherwise)
  return body() if condition else otherwise()
