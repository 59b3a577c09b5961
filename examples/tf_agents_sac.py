"""TF-Agents' own SacAgent with sparse networks.

python examples/tf_agents_sac.py
"""

import tensorflow as tf
from tf_agents.agents.ddpg import critic_network
from tf_agents.agents.sac import sac_agent, tanh_normal_projection_network
from tf_agents.drivers import dynamic_step_driver
from tf_agents.environments import tf_py_environment
from tf_agents.networks import actor_distribution_network
from tf_agents.policies import random_tf_policy
from tf_agents.replay_buffers import tf_uniform_replay_buffer
from tf_agents.utils import common

import rigl_rl
from rigl_rl.environments import mujoco

STEPS = 300


def sparsify(*networks):
  """Makes networks 90 % sparse; returns their sparse layers."""
  layers = []
  for seed, network in enumerate(networks):
    network.create_variables()
    layers += rigl_rl.sparsify(network, sparsity=0.9, seed=seed)
  return layers


def sparse_adam(layers):
  """Returns Adam for sparse layers, whose masks RigL updates."""
  return rigl_rl.make_sparse_optimizer(
    tf.keras.optimizers.legacy.Adam(3e-4),
    layers,
    schedule=rigl_rl.UpdateSchedule(STEPS, interval=50),
  )


def main():
  tf.random.set_seed(0)
  environment = tf_py_environment.TFPyEnvironment(
    mujoco.create_mujoco_environment('Hopper-v4', seed=0)
  )
  time_step_spec = environment.time_step_spec()
  observation_spec = environment.observation_spec()
  action_spec = environment.action_spec()
  actor = actor_distribution_network.ActorDistributionNetwork(
    observation_spec,
    action_spec,
    fc_layer_params=(256, 256),
    continuous_projection_net=(
      tanh_normal_projection_network.TanhNormalProjectionNetwork
    ),
  )
  # Two critics and two targets: copies that SacAgent makes have no masks.
  critics = [
    critic_network.CriticNetwork(
      (observation_spec, action_spec), joint_fc_layer_params=(256, 256)
    )
    for _ in range(4)
  ]
  actor_layers = sparsify(actor)
  critic_layers = sparsify(*critics[:2])
  sparsify(*critics[2:])  # `initialize` copies weights and masks to them.
  agent = sac_agent.SacAgent(
    time_step_spec,
    action_spec,
    actor_network=actor,
    critic_network=critics[0],
    critic_network_2=critics[1],
    target_critic_network=critics[2],
    target_critic_network_2=critics[3],
    actor_optimizer=sparse_adam(actor_layers),
    critic_optimizer=sparse_adam(critic_layers),
    alpha_optimizer=tf.keras.optimizers.legacy.Adam(3e-4),
    target_update_tau=0.005,
    gamma=0.99,
  )
  agent.initialize()

  replay = tf_uniform_replay_buffer.TFUniformReplayBuffer(
    agent.collect_data_spec, batch_size=1, max_length=10_000
  )

  def driver(policy, steps):
    return dynamic_step_driver.DynamicStepDriver(
      environment, policy, [replay.add_batch], num_steps=steps
    )

  random_policy = random_tf_policy.RandomTFPolicy(time_step_spec, action_spec)
  driver(random_policy, 200).run()
  collect = common.function(driver(agent.collect_policy, 1).run)
  train = common.function(agent.train)
  batches = iter(replay.as_dataset(sample_batch_size=256, num_steps=2))
  for step in range(1, STEPS + 1):
    collect()
    experience, _ = next(batches)
    loss = train(experience).loss
    if step % 100 == 0:
      print(f'step {step}: loss {loss:.3f}')

  for name, layers in (('actor', actor_layers), ('critics', critic_layers)):
    kernels = [layer.kernel.numpy() for layer in layers]
    zeros = sum((kernel == 0).sum() for kernel in kernels)
    size = sum(kernel.size for kernel in kernels)
    print(f'{name}: {zeros / size:.1%} of {size:,} weights are zero')


if __name__ == '__main__':
  main()
