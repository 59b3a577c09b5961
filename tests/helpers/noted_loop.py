"""The off-policy loop, with an agent that only takes notes."""

import gin
import numpy as np

from rigl_rl.config import parsing
from rigl_rl.replay import transition_buffer
from rigl_rl.training import actor_critic_loop, run_directory

RIGL = 'gin_configs/graesser22/sac_mujoco/rigl.gin'

_BINDINGS = (
  'ENV_NAME = "Hopper-v4"',
  'create_mujoco_environment.max_episode_steps = 18',
  'SquashedGaussianActor.hidden_units = (8, 8)',
  'Critic.hidden_units = (8, 8)',
  'SPARSITY = 0.5',
  'UpdateSchedule.interval = 2',
  'TransitionBuffer.capacity = 20',
  'TransitionBuffer.batch_size = 4',
  'ActorCriticLoop.initial_collect_steps = 10',
  'ActorCriticLoop.evaluation_period = 8',
  'ActorCriticLoop.evaluation_episodes = 2',
)


class Notes:
  """What every loop asks of an agent, for agents that only take notes."""

  title = 'Notes'
  last_loss = None

  def __init__(self, time_step_spec, action_spec, seed):
    assert time_step_spec.observation.shape == (11,)
    assert action_spec.shape == (3,)
    self.rng = np.random.default_rng(seed)
    self.calls = []

  def write_summaries(self):
    pass

  def describe(self):
    return {}

  def get_state(self):
    return {'rng': self.rng.bit_generator.state}

  def set_state(self, state):
    self.rng.bit_generator.state = state['rng']


class Agent(Notes):
  """Acts at random and notes what it is asked."""

  def __init__(self, time_step_spec, action_spec, seed, gradient_steps):
    super().__init__(time_step_spec, action_spec, seed)
    self.seed = seed
    self.gradient_steps = gradient_steps
    self.batches = []
    self.observations = []

  def random_action(self):
    self.calls.append('random')
    return self.rng.uniform(-1, 1, 3).astype(np.float32)

  def explore(self, observation):
    self.calls.append('explore')
    self.observations.append(observation.copy())
    return self.rng.uniform(-1, 1, 3).astype(np.float32)

  def train_step(self, batch, observation):
    self.calls.append('train')
    self.batches.append(batch)
    self.observations.append(observation.copy())

  def greedy_policy(self):
    return lambda observations: np.zeros((len(observations), 3), np.float32)

  def get_state(self):
    return {**super().get_state(), 'batches': len(self.batches)}

  def set_state(self, state):
    super().set_state(state)
    self.batches = [None] * state['batches']


class Replay(transition_buffer.TransitionBuffer):
  """Notes what is added."""

  def __init__(self, *args, **kwargs):
    super().__init__(*args, **kwargs)
    self.added = []

  def add(self, *transition):
    self.added.append(
      transition_buffer.Transitions(*map(np.array, transition[:5]))
      + (bool(transition[5]),)
    )
    super().add(*transition)


def make(base_dir, *bindings, train_steps=30, seed=0, **arguments):
  """With the agent that takes notes, unless `create_agent` is another."""
  gin.clear_config()
  parsing.parse([RIGL], [*_BINDINGS, *bindings])
  defaults = {'create_agent': Agent, 'create_replay': Replay}
  loop = actor_critic_loop.ActorCriticLoop(
    run_directory.RunDirectory(str(base_dir)),
    seed=seed,
    train_steps=train_steps,
    **{**defaults, **arguments},
  )
  return loop


def run(*args, **arguments):
  loop = make(*args, **arguments)
  loop.run_experiment()
  return loop
