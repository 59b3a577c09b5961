"""A Dopamine DQN with sparse networks and a loss of its own.

python examples/dopamine_dqn.py
"""

import pathlib
import tempfile

import gin
import tensorflow as tf

import rigl_rl
from rigl_rl.agents import dqn


@gin.configurable
class DoubleDQNAgent(dqn.SparseDQNAgent):
  """Double DQN (van Hasselt et al., 2016), trained in Dopamine's Runner."""

  def compute_losses(
    self, online, target, states, actions, rewards, terminals, next_states
  ):
    best = tf.argmax(online(next_states), axis=1)
    next_values = tf.gather(target(next_states), best, batch_dims=1)
    targets = rewards + self.cumulative_gamma * (1.0 - terminals) * next_values
    values = tf.gather(online(states), actions, batch_dims=1)
    return tf.math.squared_difference(tf.stop_gradient(targets), values)


# In a file of its own beside the agent's module it begins with 'import' and the
# name of that module, and `launch.train --gin_files=…` trains it.
CONFIG = """
include 'gin_configs/graesser22/dqn_classic/rigl.gin'

DopamineRunner.agent = @DoubleDQNAgent
sparsify.distribution = @uniform
# A miniature: the included file trains 100,000 steps.
TRAIN_STEPS = 2000
SparseDQNAgent.min_replay_history = 500
DopamineRunner.evaluation_period = 500
DopamineRunner.evaluation_episodes = 5
UpdateSchedule.interval = 100
"""


def main():
  with tempfile.TemporaryDirectory() as directory:
    gin_file = pathlib.Path(directory, 'double_dqn.gin')
    gin_file.write_text(CONFIG)
    run = rigl_rl.train(str(gin_file), {'SEED': 1}, f'{directory}/run')
    print(run.evaluations[['step', 'return_mean']].to_string(index=False))
    print(run.info[['task', 'method', 'sparsity', 'final_score']])
    for name, layer in rigl_rl.named_layers(run.networks['online']).items():
      zeros = (layer.kernel.numpy() == 0).mean()
      print(f'{name}: {zeros:.1%} of {layer.kernel.shape} are zero')


if __name__ == '__main__':
  main()
