"""Trains an agent of Stable-Baselines3 or SBX, under a Python that has them.

Speaks the protocol of `launch.benchmark`'s workers: for each line of stdin, a
number of steps, it trains as many and prints how many and the seconds.
"""

from __future__ import annotations

import argparse
import sys
import time

import gymnasium
import numpy as np


def _make_sac(library, environment, arguments):
  """The networks, batch and schedule of Graesser et al. (2022), table 8.

  They are the libraries' own defaults but for the initial collection.
  """
  del arguments
  return library.SAC(
    'MlpPolicy',
    environment,
    learning_rate=3e-4,
    batch_size=256,
    buffer_size=1000000,
    learning_starts=500,
    train_freq=1,
    gradient_steps=1,
    policy_kwargs={'net_arch': [256, 256]},
    seed=0,
  )


def _make_ppo(library, environment, arguments):
  """The schedule of Graesser et al. (2022), table 9."""
  return library.PPO(
    'MlpPolicy',
    environment,
    learning_rate=3e-4,
    n_steps=2048,
    batch_size=64,
    n_epochs=10,
    seed=0,
    **({'device': 'cpu'} if arguments.library == 'sb3' else {}),
  )


def _make_td3(library, environment, arguments):
  """TD3 of Sokar et al. (2022), without weight decay, after fewer steps."""
  # SBX takes its noise from Stable-Baselines3, on which it rests.
  from stable_baselines3.common import noise

  del arguments
  size = environment.action_space.shape
  return library.TD3(
    'MlpPolicy',
    environment,
    learning_rate=1e-3,
    batch_size=100,
    buffer_size=1000000,
    learning_starts=500,
    train_freq=1,
    gradient_steps=1,
    gamma=0.99,
    tau=0.005,
    policy_delay=2,
    target_policy_noise=0.2,
    target_noise_clip=0.5,
    action_noise=noise.NormalActionNoise(np.zeros(size), np.full(size, 0.1)),
    policy_kwargs={'net_arch': [256, 256]},
    seed=0,
  )


_MAKERS = {'sac': _make_sac, 'ppo': _make_ppo, 'td3': _make_td3}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--library', choices=('sb3', 'sbx'), required=True)
  parser.add_argument('--agent', choices=list(_MAKERS), required=True)
  parser.add_argument('--task', required=True)
  arguments = parser.parse_args()
  if arguments.library == 'sb3':
    import stable_baselines3 as library
  else:
    import sbx as library
  environment = gymnasium.make(arguments.task)
  model = _MAKERS[arguments.agent](library, environment, arguments)
  for line in sys.stdin:
    before = model.num_timesteps
    begin = time.perf_counter()
    model.learn(int(line), reset_num_timesteps=False)
    seconds = time.perf_counter() - begin
    print(f'turn {model.num_timesteps - before} {seconds}', flush=True)


if __name__ == '__main__':
  main()
