"""A config and rows of evaluations, for run directories."""

CONFIG = """
import rigl_rl.agents.dqn

# Macros:
SEED = 3
SPARSITY = 0.9
ENV_NAME = 'CartPole-v0'

RigL.drop_fraction = 0.3
RigL.window = (0.0, 0.8)
online/MLP.widths = [512, 512]
Agent.algorithm = @RigL()
Agent.sparsity = %SPARSITY
Agent.custom = {'a': 1, 'b': None}
"""


def row(step, mean=1.0, std=0.5, episodes=20):
  return {
    'step': step,
    'return_mean': mean,
    'return_std': std,
    'episodes': episodes,
  }
