"""TF-Agents' own SacAgent, made sparse in three lines.

python examples/tf_agents_sac.py
"""

import rigl_rl  # Before TF-Agents: it chooses Keras 2.

# isort: split
import tensorflow as tf
from tf_agents.agents.ddpg import critic_network
from tf_agents.agents.sac import sac_agent, tanh_normal_projection_network
from tf_agents.drivers import dynamic_step_driver
from tf_agents.environments import tf_py_environment
from tf_agents.networks import actor_distribution_network
from tf_agents.policies import random_tf_policy
from tf_agents.replay_buffers import tf_uniform_replay_buffer
from tf_agents.utils import common

from rigl_rl.environments import mujoco

STEPS = 300


def main():
  tf.random.set_seed(0)
  hopper = mujoco.create_mujoco_environment('Hopper-v4', seed=0)
  environment = tf_py_environment.TFPyEnvironment(hopper)
  observation_spec = environment.observation_spec()
  action_spec = environment.action_spec()
  squash = tanh_normal_projection_network.TanhNormalProjectionNetwork
  actor = actor_distribution_network.ActorDistributionNetwork(
    observation_spec,
    action_spec,
    fc_layer_params=(256, 256),
    continuous_projection_net=squash,
  )
  agent = sac_agent.SacAgent(
    environment.time_step_spec(),
    action_spec,
    actor_network=actor,
    critic_network=critic_network.CriticNetwork(
      (observation_spec, action_spec), joint_fc_layer_params=(256, 256)
    ),
    actor_optimizer=tf.keras.optimizers.legacy.Adam(3e-4),
    critic_optimizer=tf.keras.optimizers.legacy.Adam(3e-4),
    alpha_optimizer=tf.keras.optimizers.legacy.Adam(3e-4),
    target_update_tau=0.005,
    gamma=0.99,
  )
  agent.initialize()
  # From here on 90 % of each network's weights are zero, of targets, too.
  schedule = rigl_rl.UpdateSchedule(STEPS, interval=50)
  layers = rigl_rl.sparsify_agent(agent, schedule, sparsity=0.9)

  replay = tf_uniform_replay_buffer.TFUniformReplayBuffer(
    agent.collect_data_spec, batch_size=1, max_length=10_000
  )

  def driver(policy, steps):
    return dynamic_step_driver.DynamicStepDriver(
      environment, policy, [replay.add_batch], num_steps=steps
    )

  random = random_tf_policy.RandomTFPolicy(agent.time_step_spec, action_spec)
  driver(random, 200).run()
  collect = common.function(driver(agent.collect_policy, 1).run)
  train = common.function(agent.train)
  batches = iter(replay.as_dataset(sample_batch_size=256, num_steps=2))
  for step in range(1, STEPS + 1):
    collect()
    experience, _ = next(batches)
    loss = train(experience).loss
    if step % 100 == 0:
      print(f'step {step}: loss {loss:.3f}')

  for name, sparse_layers in layers.items():
    masks = tf.concat([tf.reshape(x.mask, [-1]) for x in sparse_layers], axis=0)
    print(f'{name}: {1 - tf.reduce_mean(masks):.1%} of {len(masks):,} are zero')


if __name__ == '__main__':
  main()
