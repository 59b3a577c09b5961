"""The greedy policy of a run as a TensorFlow SavedModel."""

from __future__ import annotations

import tensorflow as tf

from rigl_rl.sparsity import step_plan
from rigl_rl.training import saved_run


def write(policy: saved_run.Policy, directory: str) -> None:
  """Writes a policy so that it needs no code of this package.

  `tf.saved_model.load(directory).policy` maps observations `(batch,
  *policy.observation_shape)` to actions, as the policy does; so does the
  signature 'serving_default'.

  Args:
    policy: of an agent whose layers are all stored masked.
    directory: where to.
  """
  agent = policy.agent

  def act(observation):
    states = tf.reshape(observation, (-1, *agent.state_shape))
    return agent.greedy_actions(states)

  # With whole kernels: by TensorFlow's own operations.
  act = step_plan.StepPlan(computes_densely=True).bind(act)
  module = tf.Module()
  module.policy = tf.function(
    act,
    input_signature=[
      tf.TensorSpec(
        (None, *policy.observation_shape),
        agent.observation_dtype,
        name='observation',
      )
    ],
    autograph=False,
  )
  # What is saved must be found as an attribute.
  module.weights = module.policy.get_concrete_function().graph.variables
  tf.saved_model.save(module, directory, signatures=module.policy)
