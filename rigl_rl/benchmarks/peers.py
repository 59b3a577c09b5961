"""Trains what other libraries offer, under a Python that has them.

Speaks the protocol of `launch.benchmark`'s workers: for each line of stdin, a
number of steps, it takes as many and prints how many and the seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time


def _settings(arguments, environment):
  """The networks, batch and schedule of our gin files, after fewer steps.

  PPO's are of Graesser et al. (2022), table 9. SAC's, of their table 8, are the
  libraries' own defaults but for the initial collection. TD3's are of Sokar et
  al. (2022), without weight decay.
  """
  if arguments.agent == 'ppo':
    device = {'device': 'cpu'} if arguments.library == 'sb3' else {}
    sizes = {'n_steps': 2048, 'batch_size': 64, 'n_epochs': 10}
    return {'learning_rate': 3e-4, **sizes, **device}
  settings = {
    'learning_rate': 3e-4,
    'batch_size': 256,
    'buffer_size': 1000000,
    'learning_starts': 500,
    'train_freq': 1,
    'gradient_steps': 1,
    'policy_kwargs': {'net_arch': [256, 256]},
  }
  if arguments.agent == 'td3':
    import numpy as np

    # SBX builds on Stable-Baselines3, and uses its noise.
    from stable_baselines3.common import noise

    size = environment.action_space.shape
    mean, std = np.zeros(size), np.full(size, 0.1)
    settings |= {
      'learning_rate': 1e-3,
      'batch_size': 100,
      'gamma': 0.99,
      'tau': 0.005,
      'policy_delay': 2,
      'target_policy_noise': 0.2,
      'target_noise_clip': 0.5,
      'action_noise': noise.NormalActionNoise(mean, std),
    }
  return settings


def _make_agent(arguments):
  """Builds an agent of Stable-Baselines3 or SBX."""
  import gymnasium

  if arguments.library == 'sb3':
    import stable_baselines3 as library
  else:
    import sbx as library
  environment = gymnasium.make(arguments.task)
  settings = _settings(arguments, environment)
  kind = getattr(library, arguments.agent.upper())
  model = kind('MlpPolicy', environment, seed=0, **settings)

  def train(steps):
    before = model.num_timesteps
    model.learn(steps, reset_num_timesteps=False)
    return model.num_timesteps - before

  return train


def _make_layer(arguments):
  """Builds a layer of PyTorch or SparseProp."""
  # SparseProp's threads, which its library reads when it is loaded.
  os.environ['OMP_NUM_THREADS'] = str(arguments.threads)
  import torch

  torch.set_num_threads(arguments.threads)
  torch.manual_seed(0)
  inputs, outputs, examples = map(int, arguments.shape.split(','))
  layer = torch.nn.Linear(inputs, outputs)
  if arguments.library == 'sparseprop':
    from sparseprop.modules.linear import SparseLinear

    # As many weights in each layer as ours has.
    zeros = round(arguments.sparsity * inputs * outputs)
    order = torch.randperm(inputs * outputs)
    with torch.no_grad():
      layer.weight.view(-1)[order[:zeros]] = 0
    layer = SparseLinear.from_dense(layer)
  x = torch.randn(examples, inputs, requires_grad=True)
  dy = torch.randn(examples, outputs)
  variables = [x, *layer.parameters()]

  def train(steps):
    for _ in range(steps):
      torch.autograd.grad(layer(x), variables, dy)
    return steps

  return train


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  libraries = ('sb3', 'sbx', 'torch', 'sparseprop')
  parser.add_argument('--library', choices=libraries, required=True)
  parser.add_argument('--agent', choices=('sac', 'ppo', 'td3'))
  parser.add_argument('--task')
  parser.add_argument('--sparsity', type=float)
  parser.add_argument('--shape')
  parser.add_argument('--threads', type=int)
  arguments = parser.parse_args()
  train = (_make_agent if arguments.agent else _make_layer)(arguments)
  for line in sys.stdin:
    begin = time.perf_counter()
    done = train(int(line))
    print(f'turn {done} {time.perf_counter() - begin}', flush=True)


if __name__ == '__main__':
  # Libraries first: this folder has a mujoco.py of its own.
  sys.path.append(sys.path.pop(0))
  main()
