"""A custom DQN with a sparse network, in Dopamine's Runner.

python examples/dopamine_dqn.py
"""

import tempfile

import numpy as np
import tensorflow as tf
from dopamine.discrete_domains import run_experiment
from dopamine.replay_memory import circular_replay_buffer

import rigl_rl
from rigl_rl.environments import classic_control

ITERATIONS, STEPS_PER_ITERATION, WARM_UP = 2, 1000, 200


def make_network():
  return tf.keras.Sequential(
    [
      tf.keras.Input((4,)),
      tf.keras.layers.Dense(256, activation='relu'),
      tf.keras.layers.Dense(256, activation='relu'),
      tf.keras.layers.Dense(2),
    ]
  )


class OwnDQN:
  """The methods that Dopamine's Runner calls, around a Keras network."""

  summary_writer = None
  eval_mode = False
  gradient_steps = 0

  def __init__(self):
    self.online, self.target = make_network(), make_network()
    self.layers = rigl_rl.sparsify(self.online, sparsity=0.9)
    steps = ITERATIONS * STEPS_PER_ITERATION
    self.optimizer = rigl_rl.make_sparse_optimizer(
      tf.keras.optimizers.Adam(1e-3),
      self.layers,
      schedule=rigl_rl.UpdateSchedule(steps, interval=100),
    )
    self.replay = circular_replay_buffer.OutOfGraphReplayBuffer(
      observation_shape=(4,),
      stack_size=1,
      replay_capacity=10_000,
      batch_size=64,
      observation_dtype=np.float32,
    )
    self.rng = np.random.default_rng(0)

  @tf.function
  def train(self, states, actions, rewards, next_states, terminals):
    next_values = tf.reduce_max(self.target(next_states), axis=1)
    targets = rewards + 0.99 * (1.0 - terminals) * next_values
    variables = self.online.trainable_variables
    with tf.GradientTape() as tape:
      values = tf.gather(self.online(states), actions, batch_dims=1)
      loss = tf.reduce_mean(tf.square(targets - values))
    self.optimizer.apply_gradients(
      zip(tape.gradient(loss, variables), variables)
    )

  def learn(self):
    if self.gradient_steps % 100 == 0:
      # Not set_weights: the target has no masks, and needs no masks.
      for target, online in zip(
        self.target.trainable_variables, self.online.trainable_variables
      ):
        target.assign(online)
    batch = self.replay.sample_transition_batch()
    states, actions, rewards, next_states, _, _, terminals, _ = batch
    self.train(
      states[..., 0],
      actions,
      rewards,
      next_states[..., 0],
      terminals.astype(np.float32),
    )
    self.gradient_steps += 1

  def begin_episode(self, observation):
    self.observation = np.reshape(observation, 4).astype(np.float32)
    self.action = int(np.argmax(self.online(self.observation[None])))
    if not self.eval_mode and self.rng.random() < 0.1:
      self.action = int(self.rng.integers(2))
    return self.action

  def step(self, reward, observation):
    self.end_episode(reward, terminal=False)
    if not self.eval_mode and self.replay.add_count >= WARM_UP:
      self.learn()
    return self.begin_episode(observation)

  def end_episode(self, reward, terminal=True):
    if not self.eval_mode:
      self.replay.add(self.observation, self.action, reward, terminal)

  def bundle_and_checkpoint(self, checkpoint_dir, iteration):
    return None  # This example saves nothing.


def main():
  tf.keras.utils.set_random_seed(0)
  agent = OwnDQN()
  with tempfile.TemporaryDirectory() as base_dir:
    runner = run_experiment.Runner(
      base_dir,
      lambda sess, environment, summary_writer: agent,
      lambda: classic_control.create_classic_control_environment('CartPole-v1'),
      num_iterations=ITERATIONS,
      training_steps=STEPS_PER_ITERATION,
      evaluation_steps=200,
      use_legacy_logger=False,
      fine_grained_print_to_console=False,
    )
    runner.run_experiment()
  print(f'{agent.gradient_steps:,} gradient steps')
  kernels = [layer.kernel.numpy() for layer in agent.layers]
  zeros = sum((kernel == 0).sum() for kernel in kernels)
  size = sum(kernel.size for kernel in kernels)
  print(f'{zeros / size:.1%} of {size:,} weights are zero')


if __name__ == '__main__':
  main()
