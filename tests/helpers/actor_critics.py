"""Small actors, critics and value networks."""

import numpy as np
import tensorflow as tf
from tf_agents.specs import tensor_spec

from rigl_rl.networks import actor_critic, sparse_layers
from rigl_rl.sparsity import wrappers

OBSERVATION = tf.TensorSpec((5,), tf.float32, 'observation')

ACTION = tensor_spec.BoundedTensorSpec(
  (3,), tf.float32, [-0.4, -1.0, 0.0], [0.4, 3.0, 1.0], 'action'
)


SAC_ACTOR, PPO_ACTOR, TD3_ACTOR, CRITIC, VALUE = (
  actor_critic.SquashedGaussianActor,
  actor_critic.GaussianActor,
  actor_critic.DeterministicActor,
  actor_critic.Critic,
  actor_critic.ValueNetwork,
)

# As TD3's released code, in PyTorch, initializes its layers.
AS_PYTORCH = {
  'kernel_initializer': sparse_layers.fan_in_uniform,
  'output_initializer': sparse_layers.fan_in_uniform,
  'bias_initializer': sparse_layers.fan_in_uniform_biases,
}


def make(network, observation=OBSERVATION, action=ACTION, seed=0, **kwargs):
  """Constructs a network without building it."""
  specs = {
    SAC_ACTOR: (observation, action),
    PPO_ACTOR: (observation, action),
    TD3_ACTOR: (observation, action),
    CRITIC: ((observation, action),),
    VALUE: (observation,),
  }
  return network(*specs[network], seed=seed, **kwargs)


def build(network, **kwargs):
  made = make(network, **kwargs)
  made.create_variables()
  return made


def kernels(network):
  layers = wrappers.named_layers(network)
  return {path: layer.kernel.numpy() for path, layer in layers.items()}


def biases(network):
  layers = wrappers.named_layers(network)
  return {path: layer.bias.numpy() for path, layer in layers.items()}


def observations(batch=7, seed=0):
  x = np.random.default_rng(seed).normal(size=(batch, 5))
  return tf.constant(x, tf.float32)


def actions(batch=7, seed=1):
  x = np.random.default_rng(seed).uniform(
    ACTION.minimum, ACTION.maximum, (batch, 3)
  )
  return tf.constant(x, tf.float32)


def randomize_biases(network):
  rng = np.random.default_rng(0)
  for variable in network.trainable_variables:
    if variable.shape.rank == 1:
      variable.assign(variable + rng.normal(0, 0.1, variable.shape))
