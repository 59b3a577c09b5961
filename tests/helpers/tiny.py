"""Bindings of short runs of small networks, for each agent.

They follow an agent's gin file; what a test is about, it binds after them. The
SHORT ones leave the networks as large as the file says.
"""

SHORT_DQN = (
  'SparseDQNAgent.batch_size = 8',
  'SparseDQNAgent.replay_capacity = 1000',
  'SparseDQNAgent.min_replay_history = 50',
  'SparseDQNAgent.target_update_period = 30',
  'UpdateSchedule.interval = 20',
  'DopamineRunner.evaluation_period = 100',
)
DQN = (
  *SHORT_DQN,
  'MLPQNetwork.hidden_units = (8, 8)',
  'DopamineRunner.evaluation_episodes = 2',
)
ATARI = (
  'SparseDQNAgent.batch_size = 2',
  'SparseDQNAgent.replay_capacity = 100',
  'SparseDQNAgent.min_replay_history = 20',
  'UpdateSchedule.interval = 2',
  'NatureQNetwork.dense_units = 8',
  'DopamineRunner.evaluation_period = 30',
  'DopamineRunner.evaluation_steps = 10',
  'DopamineRunner.max_steps_per_episode = 20',
)
HOPPER = (
  'ENV_NAME = "Hopper-v4"',
  'create_mujoco_environment.max_episode_steps = 20',
  'UpdateSchedule.interval = 5',
)
# Of SAC and TD3.
SHORT_OFF_POLICY = (
  *HOPPER,
  'TransitionBuffer.batch_size = 8',
  'TransitionBuffer.capacity = 1000',
  'ActorCriticLoop.initial_collect_steps = 30',
  'ActorCriticLoop.evaluation_period = 25',
  'ActorCriticLoop.evaluation_episodes = 2',
)
SAC = (
  *SHORT_OFF_POLICY,
  'SquashedGaussianActor.hidden_units = (8, 8)',
  'Critic.hidden_units = (8, 8)',
)
TD3 = (
  *SHORT_OFF_POLICY,
  'DeterministicActor.hidden_units = (8, 8)',
  'Critic.hidden_units = (8, 8)',
)
SHORT_PPO = (
  *HOPPER,
  'SparsePPOAgent.minibatch_size = 8',
  'SparsePPOAgent.num_epochs = 2',
  'PPOLoop.rollout_steps = 32',
  'PPOLoop.evaluation_episodes = 2',
)
PPO = (
  *SHORT_PPO,
  'GaussianActor.hidden_units = (8, 8)',
  'actor_critic.ValueNetwork.hidden_units = (8, 8)',
)
