"""Training speed of DQN: ours, dense and sparse, against Dopamine's TF agent.

All train on the same task with the same network, batch and schedule, as the gin
files of Graesser et al. (2022) have them, from the end of the initial
collection on, and without evaluations.
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Callable, Sequence

from rigl_rl.benchmarks import benchmark


def _add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--task',
    default='CartPole-v0',
    help='CartPole-v0, Acrobot-v1, MountainCar-v0, or an Atari game '
    '(default: CartPole-v0)',
  )
  benchmark.add_sparsity_argument(parser)


def _make(
  contender: str, arguments: argparse.Namespace
) -> Callable[[int], int]:
  sparsity = [f'SPARSITY = {arguments.sparsity}']
  if contender != 'dopamine':
    return make_ours(contender, arguments.task, sparsity)
  from rigl_rl.compat import dopamine
  from rigl_rl.config import parsing

  gin_file, bindings = _config('dense', arguments.task, sparsity)
  parsing.parse([gin_file], bindings)
  runner = _dopamine_runner('-v' in arguments.task, arguments)

  def train(steps):
    return sum(dopamine.train(runner, steps)['train_episode_lengths'])

  return train


def make_ours(
  method: str, task: str, bindings: Sequence[str]
) -> Callable[[int], int]:
  """Builds our agent on a task: a function that trains it some steps.

  Args:
    method: name of a gin file, such as 'rigl'.
    task: a classic one, or an Atari game.
    bindings: more of them.
  """
  return benchmark.make_run(*_config(method, task, bindings))


def _config(
  method: str, task: str, bindings: Sequence[str]
) -> tuple[str, list[str]]:
  """Returns the gin file and the bindings of a run."""
  classic = '-v' in task
  suite, macro = ('classic', 'ENV_NAME') if classic else ('atari_cnn', 'GAME')
  return f'gin_configs/graesser22/dqn_{suite}/{method}.gin', [
    f'{macro} = {task!r}',
    # Training begins at once; ε, and with it the share of steps that ask the
    # network, is at its final value.
    'SparseDQNAgent.min_replay_history = 500',
    'SparseDQNAgent.epsilon_decay_period = 1',
    *bindings,
  ]


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


BENCHMARK = benchmark.Benchmark(
  contenders=('dopamine', 'dense', 'rigl'),
  references=('dopamine', 'dense'),
  first_steps=600,
  least_steps=100,
  add_arguments=_add_arguments,
  make=_make,
)
