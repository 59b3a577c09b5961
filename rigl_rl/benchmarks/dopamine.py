"""Dopamine's TF agent of DQN, as our gin files configure ours."""

from __future__ import annotations

import argparse
import tempfile
from typing import Callable, Sequence


def make(
  gin_file: str, bindings: Sequence[str], arguments: argparse.Namespace
) -> Callable[[int], int]:
  """Builds the agent on a task; returns what trains it some steps."""
  from rigl_rl.compat import dopamine
  from rigl_rl.config import parsing

  parsing.parse([gin_file], bindings)
  runner = _make_runner('-v' in arguments.task, arguments)

  def train(steps):
    return sum(dopamine.train(runner, steps)['train_episode_lengths'])

  return train


def _make_runner(classic: bool, arguments: argparse.Namespace):
  """Dopamine's Runner and TF agent, with the values of the same gin files."""
  import gin
  import tensorflow as tf
  from dopamine.agents.dqn import dqn_agent
  from dopamine.discrete_domains import atari_lib, run_experiment

  def value(parameter):
    return gin.query_parameter(f'SparseDQNAgent.{parameter}')

  class Network(tf.keras.Model):
    """The MLP of our gin files, as Dopamine's agent calls networks."""

    def __init__(self, num_actions, name=None):
      super().__init__(name=name)
      dense = tf.keras.layers.Dense
      parts = [dense(512, 'relu'), dense(512, 'relu'), dense(num_actions)]
      self.all = tf.keras.Sequential([tf.keras.layers.Flatten(), *parts])

    def call(self, state):
      return atari_lib.DQNNetworkType(self.all(tf.cast(state, tf.float32)))

  def create_agent(sess, environment, summary_writer=None):
    del sess, summary_writer
    config = tf.compat.v1.ConfigProto(
      inter_op_parallelism_threads=arguments.inter_op_threads,
      intra_op_parallelism_threads=arguments.intra_op_threads,
    )
    tf.compat.v1.disable_v2_behavior()
    space = environment.observation_space
    rate = gin.query_parameter('adam.learning_rate')
    names = ('gamma', 'min_replay_history', 'update_period')
    names += ('target_update_period', 'epsilon_train', 'epsilon_decay_period')
    return dqn_agent.DQNAgent(
      tf.compat.v1.Session('', config=config),
      num_actions=environment.action_space.n,
      observation_shape=space.shape[:2] if not classic else space.shape,
      observation_dtype=tf.as_dtype(space.dtype),
      stack_size=gin.query_parameter('build_network.stack_size'),
      network=Network if classic else atari_lib.NatureDQNNetwork,
      optimizer=tf.compat.v1.train.AdamOptimizer(rate),
      **{name: value(name) for name in names},
    )

  with gin.unlock_config():
    buffer = 'dopamine.replay_memory.circular_replay_buffer.WrappedReplayBuffer'
    gin.bind_parameter(f'{buffer}.batch_size', value('batch_size'))
    gin.bind_parameter(f'{buffer}.replay_capacity', value('replay_capacity'))
  create_environment = gin.query_parameter('DopamineRunner.create_environment')
  return run_experiment.Runner(
    tempfile.mkdtemp(),
    create_agent,
    lambda: create_environment.scoped_configurable_fn(seed=0),
    clip_rewards=gin.query_parameter('DopamineRunner.clip_rewards'),
    use_legacy_logger=False,
    fine_grained_print_to_console=False,
  )
