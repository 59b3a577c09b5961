"""Training speed of DQN: ours, dense and sparse, against Dopamine's TF agent.

All train on the same task with the same network, batch and schedule, as the gin
files of Graesser et al. (2022) have them, from the end of the initial
collection on, and without evaluations.
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Callable, Sequence

CONTENDERS = ('dopamine', 'dense', 'rigl')
REFERENCES = ('dopamine', 'dense')
WARM_UP_STEPS = 1000  # fills the replay buffer, and traces
PROBE_STEPS = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--task',
    default='CartPole-v0',
    help='CartPole-v0, Acrobot-v1, MountainCar-v0, or an Atari game '
    '(default: CartPole-v0)',
  )
  parser.add_argument(
    '--sparsity', type=float, default=0.9, help='of rigl (default: 0.9)'
  )


def make(contender: str, arguments: argparse.Namespace) -> Callable[[int], int]:
  """Builds a contender; see the package."""
  sparsity = [f'SPARSITY = {arguments.sparsity}']
  if contender != 'dopamine':
    return make_ours(contender, arguments.task, sparsity)
  _parse('dense', arguments.task, sparsity)
  runner = _dopamine_runner('-v' in arguments.task, arguments)
  return lambda steps: _train(runner, steps)


def make_ours(
  method: str, task: str, bindings: Sequence[str]
) -> Callable[[int], int]:
  """Builds our agent on a task: a function that trains it some steps.

  Args:
    method: name of a gin file, such as 'rigl'.
    task: a classic one, or an Atari game.
    bindings: more of them.
  """
  _parse(method, task, bindings)
  runner = _our_runner()
  return lambda steps: _train(runner, steps)


def _parse(method: str, task: str, bindings: Sequence[str]) -> None:
  from rigl_rl.config import parsing

  classic = '-v' in task
  suite, macro = ('classic', 'ENV_NAME') if classic else ('atari_cnn', 'GAME')
  parsing.parse(
    [f'gin_configs/graesser22/dqn_{suite}/{method}.gin'],
    [
      f'{macro} = {task!r}',
      # Training begins at once; ε, and with it the share of steps that
      # ask the network, is at its final value.
      'SparseDQNAgent.min_replay_history = 500',
      'SparseDQNAgent.epsilon_decay_period = 1',
      *bindings,
    ],
  )


def _train(runner, steps: int) -> int:
  from dopamine.discrete_domains import iteration_statistics

  runner._agent.eval_mode = False
  statistics = iteration_statistics.IterationStatistics()
  done, _, _ = runner._run_one_phase(steps, statistics, 'train')
  return done


def _our_runner():
  import gin

  from rigl_rl.training import dopamine_runner, run_directory

  directory = run_directory.RunDirectory(tempfile.mkdtemp())
  directory.prepare(gin.config_str())
  return dopamine_runner.DopamineRunner(
    directory, seed=0, train_steps=gin.query_parameter('%TRAIN_STEPS')
  )


def _dopamine_runner(classic: bool, arguments: argparse.Namespace):
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
      self.dense1 = tf.keras.layers.Dense(512, 'relu')
      self.dense2 = tf.keras.layers.Dense(512, 'relu')
      self.last = tf.keras.layers.Dense(num_actions)
      self.flatten = tf.keras.layers.Flatten()

    def call(self, state):
      x = self.flatten(tf.cast(state, tf.float32))
      return atari_lib.DQNNetworkType(self.last(self.dense2(self.dense1(x))))

  def create_agent(sess, environment, summary_writer=None):
    del sess, summary_writer
    config = tf.compat.v1.ConfigProto(
      inter_op_parallelism_threads=arguments.inter_op_threads,
      intra_op_parallelism_threads=arguments.intra_op_threads,
    )
    tf.compat.v1.disable_v2_behavior()
    space = environment.observation_space
    return dqn_agent.DQNAgent(
      tf.compat.v1.Session('', config=config),
      num_actions=environment.action_space.n,
      observation_shape=space.shape[:2] if not classic else space.shape,
      observation_dtype=tf.as_dtype(space.dtype),
      stack_size=gin.query_parameter('build_network.stack_size'),
      network=Network if classic else atari_lib.NatureDQNNetwork,
      gamma=value('gamma'),
      min_replay_history=value('min_replay_history'),
      update_period=value('update_period'),
      target_update_period=value('target_update_period'),
      epsilon_train=value('epsilon_train'),
      epsilon_decay_period=value('epsilon_decay_period'),
      optimizer=tf.compat.v1.train.AdamOptimizer(
        gin.query_parameter('adam.learning_rate')
      ),
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
