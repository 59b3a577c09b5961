"""StepPlan: what one train step changes, decided in Python.

Whether a step changes masks, trains the actor, or moves target networks depends
only on its number. So Python decides it before the step, and each plan has a
trace of its own, without branches for the work of other plans.

`StepPlan.bind` passes a plan to the function that is traced; code inside it
calls `current`. A user's own training loop has no plan: there the graph decides
by its step count.
"""

from __future__ import annotations

import collections
import contextvars
import dataclasses
import functools
from typing import Any, Callable, Iterable

import tensorflow as tf

# Each thread has its own, so that several may trace at a time.
_CURRENT: contextvars.ContextVar[Any] = contextvars.ContextVar(
  'step_plan', default=None
)


@dataclasses.dataclass(frozen=True)
class StepPlan:
  """What a train step does; by default it only trains."""

  mask_updates: frozenset[Any] = frozenset()  # Of these `SparseOptimizer`s.
  trains_actor: bool | tf.Tensor = True
  updates_targets: bool | tf.Tensor = False
  # Whether a mask may have changed since the targets were last updated.
  masks_moved: bool = False
  # Whether, in sparse storage too, all weights have gradients in any step.
  computes_densely: bool = False

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
    """Takes the `SparseOptimizer`s, and the train steps per update of others.

    Without a `target_period` no train step updates targets.
    """
    # By step: those that change masks in it.
    self._mask_updates: dict[int, frozenset[Any]] = collections.defaultdict(
      frozenset
    )
    for optimizer in optimizers:
      for step in optimizer.update_steps().tolist():
        self._mask_updates[step] |= {optimizer}
    # Few plans are different, and every train step needs one.
    self._make = functools.lru_cache(maxsize=None)(StepPlan)
    self._actor_period = actor_period
    self._target_period = target_period

  def plan(self, step: int) -> StepPlan:
    """Returns the plan of a train step, counted from 0."""
    updates_targets = _is_due(step, self._target_period)
    since_last = range(self._target_period or 0) if updates_targets else ()
    updates = self._mask_updates.get
    return self._make(
      updates(step, frozenset()),
      _is_due(step, self._actor_period),
      updates_targets,
      any(updates(step - ago) for ago in since_last),
    )

  def in_graph(self, step: tf.Tensor) -> StepPlan:
    """Returns the plan of a trace that serves all steps.

    Its fields are bool tensors of `step`, an int64 scalar, and each optimizer
    decides on its masks.
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
  """Whether a SparseWrapper now computes, and has gradients, of all weights."""
  plan = current()
  if plan is not None and (plan.computes_densely or not plan.mask_updates):
    return plan.computes_densely
  return layer.needs_dense_gradient


def when(
  condition: bool | tf.Tensor,
  body: Callable[[], Any],
  otherwise: Callable[[], Any],
) -> Any:
  """Calls one of two functions; the graph chooses by a tensor."""
  if tf.is_tensor(condition):
    return tf.cond(condition, body, otherwise)
  return body() if condition else otherwise()
