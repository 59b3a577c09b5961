"""Specs of a task with continuous actions, from its bindings."""

from __future__ import annotations

from typing import Any, Callable

import tensorflow as tf
from tf_agents.specs import tensor_spec

from rigl_rl.config import bindings
from rigl_rl.environments import mujoco, spaces


def find_specs(
  create_environment: Callable[..., Any],
) -> tuple[tensor_spec.TensorSpec, tensor_spec.BoundedTensorSpec]:
  """Returns the specs of the task that gin binds.

  An environment is built, to be asked, only for a task that the papers do not
  have, or by another function than `create_mujoco_environment`.

  Args:
    create_environment: makes an environment from a seed.

  Returns:
    Specs of observations and of actions, as tensors. Actions are said to lie in
    [-1, 1] where no environment was built.

  Raises:
    UserError: if there is no such task.
  """
  found = None
  if create_environment is mujoco.create_mujoco_environment:
    bound = bindings.read(
      create_environment, ('env_name', 'use_contact_forces', 'ant_padding')
    )
    found = spaces.find_continuous_spaces(
      bound.get('env_name'), bound['use_contact_forces'], bound['ant_padding']
    )
  if found is not None:
    return make_specs(found)
  environment = create_environment(seed=0)
  try:
    return (
      tensor_spec.from_spec(environment.observation_spec()),
      tensor_spec.from_spec(environment.action_spec()),
    )
  finally:
    environment.close()


def make_specs(
  sizes: spaces.ContinuousSpaces,
) -> tuple[tensor_spec.TensorSpec, tensor_spec.BoundedTensorSpec]:
  """Returns specs of these sizes, actions lying in [-1, 1]."""
  return (
    tensor_spec.TensorSpec(
      (sizes.observation_size,), tf.float32, 'observation'
    ),
    tensor_spec.BoundedTensorSpec(
      (sizes.action_size,), tf.float32, -1.0, 1.0, 'action'
    ),
  )
