"""A sparse SAC on an environment of your own.

python examples/own_environment.py

On the command line such a class lives in a module, whose name goes before the
task's: --gin_bindings='ENV_NAME="my_module:PointMass-v0"'.
"""

import tempfile

import gymnasium
import numpy as np

import rigl_rl


class PointMass(gymnasium.Env):
  """A mass on a line that should come to rest at 0."""

  observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
  action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    # `np_random` is what `seed` decides: equal seeds give equal runs.
    self._state = np.array([self.np_random.uniform(-1, 1), 0.0])
    return self._state.astype(np.float32), {}

  def step(self, action):
    position, velocity = self._state
    velocity = 0.95 * velocity + 0.1 * float(action[0])
    self._state = np.array([position + 0.5 * velocity, velocity])
    reward = -(self._state[0] ** 2) - 0.01 * float(action[0]) ** 2
    return self._state.astype(np.float32), reward, False, False, {}


# An episode is cut after 50 steps, which is not the end of the task: the value
# of its last state counts.
gymnasium.register('PointMass-v0', PointMass, max_episode_steps=50)


def main():
  with tempfile.TemporaryDirectory() as directory:
    run = rigl_rl.train(
      'gin_configs/graesser22/sac_mujoco/rigl.gin',
      {
        'ENV_NAME': 'PointMass-v0',
        'SPARSITY': 0.8,
        # A miniature: the file trains 1,000,000 steps of 2×256 units.
        'TRAIN_STEPS': 2000,
        'INITIAL_COLLECT_STEPS': 500,
        'ActorCriticLoop.evaluation_period': 500,
        'ActorCriticLoop.evaluation_episodes': 10,
        'SquashedGaussianActor.hidden_units': (64, 64),
        'Critic.hidden_units': (64, 64),
        'adam.learning_rate': 1e-3,
        'SparseSacAgent.reward_scale_factor': 1.0,
        'UpdateSchedule.interval': 100,
      },
      directory,
    )
    print(run.evaluations[['step', 'return_mean']].to_string(index=False))
    env = gymnasium.make('PointMass-v0')
    observation, _ = env.reset(seed=1)
    for _ in range(50):
      observation, *_ = env.step(run.policy(observation))
    print(f'it comes to rest at {observation[0]:.2f}')


if __name__ == '__main__':
  main()
