"""Trains an agent of Stable-Baselines3 or SBX, under a Python that has them.

Speaks the protocol of `launch.benchmark`'s workers: for each line of stdin, a
number of steps, it trains as many and prints how many and the seconds.
"""

from __future__ import annotations

import argparse
import sys
import time

import gymnasium


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--library', choices=('sb3', 'sbx'), required=True)
  parser.add_argument('--agent', choices=('sac', 'ppo'), required=True)
  parser.add_argument('--task', required=True)
  arguments = parser.parse_args()
  if arguments.library == 'sb3':
    import stable_baselines3 as library
  else:
    import sbx as library
  environment = gymnasium.make(arguments.task)
  if arguments.agent == 'sac':
    # The networks, batch and schedule of Graesser et al. (2022), table 8, which
    # are the libraries' own defaults but for the initial collection.
    model = library.SAC(
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
  else:
    # Table 9.
    model = library.PPO(
      'MlpPolicy',
      environment,
      learning_rate=3e-4,
      n_steps=2048,
      batch_size=64,
      n_epochs=10,
      seed=0,
      **({'device': 'cpu'} if arguments.library == 'sb3' else {}),
    )
  for line in sys.stdin:
    before = model.num_timesteps
    begin = time.perf_counter()
    model.learn(int(line), reset_num_timesteps=False)
    seconds = time.perf_counter() - begin
    print(f'turn {model.num_timesteps - before} {seconds}', flush=True)


if __name__ == '__main__':
  main()
