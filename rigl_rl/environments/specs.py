"""Specs of a task with continuous actions, from its bindings."""

from __future__ import annotations

from typing import Any, Callable

from tf_agents.specs import tensor_spec


def find_specs(
  create_environment: Callable[..., Any],
) -> tuple[tensor_spec.TensorSpec, tensor_spec.BoundedTensorSpec]:
  """Returns the specs of a task's observations and actions, as tensors.

  Args:
    create_environment: makes an environment from a seed.

  Raises:
    UserError: if there is no such task.
  """
  with create_environment(seed=0) as environment:
    return tensor_spec.from_spec(
      (environment.observation_spec(), environment.action_spec())
    )
